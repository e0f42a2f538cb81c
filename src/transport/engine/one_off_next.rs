//! What comes next when a container is run once: decided from what is there alone, so that whoever goes on runs it neither twice at
//! once nor again after it has ended well. Pure.

use std::collections::BTreeSet;

use crate::model::container::{ContainerSpec, LABEL_DIGEST, LABEL_ONCE};

use super::next::There;

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Once<'a> {
    /// The container.
    pub spec: &'a ContainerSpec,
    /// The statuses with which it has done what it is for.
    pub success: &'a BTreeSet<i64>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Make it.
    Create,
    /// Start it.
    Start(String),
    /// Wait for its end.
    Await(String),
    /// Remove what is left of an earlier try.
    Drop(String),
    /// It has ended well: remove it, and that is all.
    Finish(String),
    /// It has failed in this try. It stays.
    Failed(String),
    /// Somebody else's container has its name.
    Foreign,
}

impl Once<'_> {
    /// Returns the next step. `is_tried` says whether this try has seen it run.
    pub(super) fn next(&self, there: Option<&There>, is_tried: bool) -> Step {
        let Some(there) = there else {
            return Step::Create;
        };
        let label = |name: &str| there.labels.get(name).map(String::as_str);
        if label(LABEL_ONCE) != Some(self.spec.name.as_str()) {
            return Step::Foreign;
        }
        let id = there.id.clone();
        let is_wanted = label(LABEL_DIGEST) == Some(self.spec.digest().to_string().as_str());
        if there.state.is_up() || there.state.status == "removing" {
            // One of another declaration too: nobody knows what it would leave half done.
            return Step::Await(id);
        }
        match (is_wanted, there.state.status.as_str()) {
            (true, "created") => Step::Start(id),
            (true, _) if self.success.contains(&there.state.exit_code) => Step::Finish(id),
            (true, _) if is_tried => Step::Failed(id),
            (true | false, _) => Step::Drop(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::inspected::State;

    fn spec() -> ContainerSpec {
        let mut spec = ContainerSpec {
            name: "warm-key".to_owned(),
            image: "app:1".to_owned(),
            ..ContainerSpec::default()
        };
        spec.settings
            .labels
            .insert(LABEL_ONCE.to_owned(), "warm-key".to_owned());
        spec
    }

    fn there(spec: &ContainerSpec, status: &str, exit_code: i64) -> There {
        There {
            id: "one".to_owned(),
            name: spec.name.clone(),
            labels: [
                (LABEL_ONCE.to_owned(), spec.name.clone()),
                (LABEL_DIGEST.to_owned(), spec.digest().to_string()),
            ]
            .into(),
            state: State {
                status: status.to_owned(),
                exit_code,
                ..State::default()
            },
            ..There::default()
        }
    }

    fn next(there: Option<&There>, is_tried: bool) -> Step {
        let (spec, success) = (spec(), BTreeSet::from([0, 7]));
        let once = Once {
            spec: &spec,
            success: &success,
        };
        once.next(there, is_tried)
    }

    #[test]
    fn one_that_broke_off_is_gone_on_with_and_never_begun_beside_itself() {
        let id = || "one".to_owned();
        assert_eq!(next(None, false), Step::Create);
        assert_eq!(
            next(Some(&there(&spec(), "created", 0)), false),
            Step::Start(id())
        );
        for status in ["running", "paused", "restarting", "removing"] {
            assert_eq!(
                next(Some(&there(&spec(), status, 0)), false),
                Step::Await(id()),
                "{status}"
            );
        }
    }

    #[test]
    fn a_result_counts_whoever_comes_for_it_and_a_failure_only_in_its_own_try() {
        let id = || "one".to_owned();
        for status in [0, 7] {
            assert_eq!(
                next(Some(&there(&spec(), "exited", status)), false),
                Step::Finish(id())
            );
        }
        assert_eq!(next(Some(&there(&spec(), "exited", 1)), false), Step::Drop(id()));
        assert_eq!(next(Some(&there(&spec(), "exited", 1)), true), Step::Failed(id()));
    }

    #[test]
    fn one_of_another_declaration_is_waited_for_and_its_result_is_not_ours() {
        let mut former = spec();
        former.image = "app:0".to_owned();
        let id = || "one".to_owned();
        assert_eq!(
            next(Some(&there(&former, "running", 0)), false),
            Step::Await(id())
        );
        for (status, exit_code) in [("created", 0), ("exited", 0), ("exited", 1)] {
            assert_eq!(
                next(Some(&there(&former, status, exit_code)), true),
                Step::Drop(id())
            );
        }
    }

    #[test]
    fn a_container_of_others_under_its_name_is_left_alone() {
        let mut foreign = there(&spec(), "exited", 0);
        foreign.labels.remove(LABEL_ONCE);
        assert_eq!(next(Some(&foreign), false), Step::Foreign);
    }
}
