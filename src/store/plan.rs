//! Saved plans: `<id>.plan.json`, pretty-printed for review, with long contents in `blobs/` beside it.
//!
//! Plans live for hours, so a reader accepts only its own format. The header is read before anything else and never
//! changes its form: `format` and `made`.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use super::blob::{self, Blobs};
use super::{StoreError, atomic, read_text};
use crate::model::change::{Change, Undo};
use crate::model::digest::Digest;
use crate::model::id::{PlanId, RunId};
use crate::model::op::Op;
use crate::model::plan::{PLAN_FORMAT, Plan};

/// Who made a plan and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// The version of muster.
    pub by_version: String,
    /// When it was saved: its age counts from here.
    pub at: jiff::Timestamp,
}

impl Made {
    /// Says that this version makes something now.
    pub fn now(at: jiff::Timestamp) -> Self {
        Self {
            by_version: env!("CARGO_PKG_VERSION").to_owned(),
            at,
        }
    }
}

/// A plan as it was saved.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedPlan {
    /// Its name.
    pub id: PlanId,
    /// Who made it and when.
    pub made: Made,
    /// The plan.
    pub plan: Plan,
    /// The file it was read from or written to.
    pub path: PathBuf,
}

/// What is read first, whatever the format.
#[derive(Deserialize)]
struct Header {
    format: u64,
    #[serde(default)]
    made: Value,
}

/// Returns the file of a plan in an inventory's folder.
pub fn path(folder: &Path, id: &PlanId) -> PathBuf {
    folder.join(format!("{id}.plan.json"))
}

/// Saves a plan under its own name in an inventory's folder (see [`super::folder`]).
///
/// A plan that is there already is made anew: equal plans rest on equal looks, so its age counts from the latest.
///
/// # Errors
/// [`StoreError::Write`].
pub fn save(plan: Plan, made: Made, folder: &Path) -> Result<SavedPlan, StoreError> {
    let digest = plan.digest();
    let path = path(folder, &PlanId::of(&digest));
    let id = save_under(&plan, digest, &made, &path)?;
    Ok(SavedPlan { id, made, plan, path })
}

/// Saves a plan in a file and returns its name. Its blobs go to `blobs/` in the same folder, before the plan itself.
///
/// # Errors
/// [`StoreError::Write`].
pub fn save_as(plan: &Plan, made: &Made, path: &Path) -> Result<PlanId, StoreError> {
    save_under(plan, plan.digest(), made, path)
}

fn save_under(plan: &Plan, digest: Digest, made: &Made, path: &Path) -> Result<PlanId, StoreError> {
    let id = PlanId::of(&digest);
    let blobs = RefCell::new(Blobs::new(blobs(path)));
    let page = Page {
        format: PLAN_FORMAT,
        id: &id,
        digest,
        made,
        plan: Lean { plan, blobs: &blobs },
    };
    let written = atomic::write_with(path, |mut file| {
        serde_json::to_writer_pretty(&mut file, &page)?;
        file.write_all(b"\n")
    });
    // A blob that could not be written ends the writing of the plan, and says more.
    blobs.into_inner().result()?;
    written?;
    Ok(id)
}

/// A plan's file.
#[derive(Serialize)]
struct Page<'a> {
    format: u32,
    id: &'a PlanId,
    digest: Digest,
    made: &'a Made,
    plan: Lean<'a>,
}

/// A plan without its long strings. They are taken out change by change: as one value, a plan of thousands of changes takes many
/// times its size.
struct Lean<'a> {
    plan: &'a Plan,
    blobs: &'a RefCell<Blobs>,
}

impl Serialize for Lean<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = self.taken_out(&self.plan.without_changes())?;
        let mut map = serializer.serialize_map(None)?;
        for (field, value) in fields.as_object().into_iter().flatten() {
            match field.as_str() {
                "changes" => map.serialize_entry(field, &Changes(self))?,
                _ => map.serialize_entry(field, value)?,
            }
        }
        map.end()
    }
}

impl Lean<'_> {
    fn taken_out<E: serde::ser::Error>(&self, value: &impl Serialize) -> Result<Value, E> {
        let value = serde_json::to_value(value).map_err(E::custom)?;
        let lean = self.blobs.borrow_mut().take_out(value);
        lean.ok_or_else(|| E::custom("a blob cannot be written"))
    }
}

/// The changes of a lean plan.
struct Changes<'a>(&'a Lean<'a>);

impl Serialize for Changes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let changes = &self.0.plan.changes;
        let mut map = serializer.serialize_map(Some(changes.len()))?;
        for (id, change) in changes {
            map.serialize_entry(id, &self.0.taken_out::<S::Error>(change)?)?;
        }
        map.end()
    }
}

/// Loads a plan.
///
/// # Errors
/// [`StoreError::Format`] if another format's version made it; [`StoreError::Damaged`] if the digest does not match, or a
/// blob is missing or altered; [`StoreError::Read`].
pub fn load(path: &Path) -> Result<SavedPlan, StoreError> {
    let damaged = |why: String| StoreError::Damaged {
        path: path.to_owned(),
        why,
    };
    let text = read_text(path)?;
    let header: Header =
        serde_json::from_str(&text).map_err(|error| damaged(format!("it is no plan: {error}")))?;
    if header.format != u64::from(PLAN_FORMAT) {
        let by = header.made["by_version"].as_str().unwrap_or("?").to_owned();
        return Err(StoreError::Format {
            path: path.to_owned(),
            found: header.format,
            wanted: PLAN_FORMAT,
            by,
        });
    }
    let mut file: Value = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    let made: Made = serde_json::from_value(header.made).map_err(|error| damaged(error.to_string()))?;
    let value = blob::put_back(file["plan"].take(), &blobs(path))?;
    // Both digests: the value's finds every edit, the plan's finds what this version would silently leave out.
    let digest = Digest::of_value(&value);
    let plan: Plan = serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
    let id = PlanId::of(&digest);
    let is_whole = file["digest"] == json!(digest) && plan.digest() == digest && file["id"] == json!(id);
    if !is_whole {
        return Err(damaged("its digest does not match its content".to_owned()));
    }
    // A digest finds accidents. Whoever forges a plan can make one, but no script under the name of something else.
    if let Some(change) = plan.changes.values().find(|change| runs_wrongly(change)) {
        let why = format!("{} runs a script, which only a `command` does", change.target);
        return Err(damaged(why));
    }
    Ok(SavedPlan {
        id,
        made,
        plan,
        path: path.to_owned(),
    })
}

/// Returns the name of a plan's next run in an inventory's folder: one more than the highest journal there.
///
/// # Errors
/// [`StoreError::Read`] if the folder is there and cannot be read.
pub fn next_run(folder: &Path, plan: &PlanId) -> Result<RunId, StoreError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries.collect::<Result<Vec<_>, _>>(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    let entries = entries.map_err(|source| StoreError::Read {
        path: folder.to_owned(),
        source,
    })?;
    let prefix = format!("{plan}-");
    let highest = entries
        .iter()
        .filter_map(|entry| {
            let name = entry.file_name();
            let number = name
                .to_str()?
                .strip_prefix(&prefix)?
                .strip_suffix(".journal.jsonl")?;
            number.parse::<u64>().ok()
        })
        .max();
    let next = format!("{plan}-{}", highest.unwrap_or(0) + 1);
    Ok(next.parse().expect("a plan id with a number is a run id"))
}

fn runs_wrongly(change: &Change) -> bool {
    let undo = match &change.undo {
        Undo::Exact(ops) | Undo::Inverse { ops, .. } => ops.as_slice(),
        Undo::Impossible(_) => &[],
    };
    let mut ops = change.ops.iter().chain(undo);
    change.target.key.kind.as_str() != "command" && ops.any(|op| matches!(op, Op::Run { .. }))
}

fn blobs(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).join("blobs")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::model::change::{Action, Disruption, Keep, Reason};
    use crate::model::id::{ResourceId, ResourceKey};
    use crate::model::wave::RolloutPolicy;

    fn change(id: &ResourceId, content: &str) -> Change {
        Change {
            target: id.clone(),
            action: Action::Create,
            fields: Vec::new(),
            reasons: vec![Reason::Missing],
            needs: BTreeSet::new(),
            disruption: Disruption::None,
            ops: Vec::new(),
            undo: Undo::Exact(Vec::new()),
            probes: Vec::new(),
            spec: json!({ "path": "/etc/a", "content": content }),
            keep: Keep::default(),
            former: None,
            back: None,
            gates: Vec::new(),
            modules: BTreeSet::new(),
            origins: Vec::new(),
        }
    }

    fn sample(content: &str) -> Plan {
        let id = ResourceKey::new("file", "/etc/a").on(&"val-1".parse().unwrap());
        Plan {
            fleet: "demo".parse().unwrap(),
            purpose: Default::default(),
            inputs: BTreeMap::new(),
            basis: BTreeMap::new(),
            changes: BTreeMap::from([(id.clone(), change(&id, content))]),
            takes: BTreeMap::new(),
            waves: Vec::new(),
            switches: BTreeMap::new(),
            held: Vec::new(),
            notes: Vec::new(),
            hosts: BTreeMap::new(),
            policy: RolloutPolicy::default(),
            fleet_size: 1,
            limited_to: None,
            aimed: None,
            hooks: Vec::new(),
            inventory_file: "inventories/demo.toml".to_owned(),
        }
    }

    fn made() -> Made {
        Made::now("2026-11-21T08:00:00Z".parse().unwrap())
    }

    fn edit(path: &Path, from: &str, to: &str) {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }

    #[test]
    fn a_plan_comes_back_as_it_was_with_its_long_contents_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let long = "line\n".repeat(2000);
        let saved = save(sample(&long), made(), folder.path()).unwrap();
        let text = std::fs::read_to_string(&saved.path).unwrap();
        assert!(text.len() < 4000 && text.lines().count() > 20, "{text}");
        assert_eq!(std::fs::read_dir(folder.path().join("blobs")).unwrap().count(), 1);
        assert_eq!(load(&saved.path).unwrap(), saved);
    }

    #[test]
    fn a_plan_has_the_digest_of_its_canonical_form() {
        let mut plan = sample("x");
        // By host these come in one order, and by name in another.
        for name in ["file[/z]@a", "file[/a]@z", "directory[/m]@b"] {
            let id: ResourceId = name.parse().unwrap();
            plan.changes.insert(id.clone(), change(&id, "y"));
        }
        assert_eq!(plan.digest(), Digest::of_value(&plan));
        plan.changes.clear();
        assert_eq!(plan.digest(), Digest::of_value(&plan));
    }

    #[test]
    fn a_missing_blob_refuses_the_plan() {
        let folder = tempfile::tempdir().unwrap();
        let saved = save(sample(&"x".repeat(5000)), made(), folder.path()).unwrap();
        std::fs::remove_dir_all(folder.path().join("blobs")).unwrap();
        assert_eq!(
            load(&saved.path).unwrap_err().diagnostic().code,
            crate::model::code::STORED_DAMAGED
        );
    }

    #[test]
    fn an_edited_plan_is_refused() {
        for (from, to) in [
            ("/etc/a\"", "/etc/b\""),
            ("\"fleet_size\": 1", "\"fleet_size\": 2"),
            ("\"held\": []", "\"held\": [], \"more\": 1"),
            ("\"id\": \"", "\"id\": \"0"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let saved = save(sample("x"), made(), folder.path()).unwrap();
            edit(&saved.path, from, to);
            let error = load(&saved.path).unwrap_err().diagnostic();
            assert_eq!(
                error.code,
                crate::model::code::STORED_DAMAGED,
                "{from}: {error:?}"
            );
        }
    }

    #[test]
    fn another_format_says_which_version_made_it_before_anything_else_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.plan.json");
        std::fs::write(
            &path,
            r#"{"format": 7, "made": {"by_version": "9.1.0"}, "plan": "unheard of"}"#,
        )
        .unwrap();
        let error = load(&path).unwrap_err().diagnostic();
        assert_eq!(error.code, crate::model::code::STORED_FORMAT);
        assert!(
            error.message.contains("made by muster 9.1.0"),
            "{}",
            error.message
        );
        assert_eq!(error.hint.as_deref(), Some("plan again"));
    }

    #[test]
    fn the_time_of_making_is_no_part_of_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let early = save(sample("x"), made(), folder.path()).unwrap();
        let late = Made::now("2027-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(save(sample("x"), late, folder.path()).unwrap().id, early.id);
        assert_ne!(sample("y").id(), early.id);
    }

    #[test]
    fn runs_are_counted_from_their_journals() {
        let folder = tempfile::tempdir().unwrap();
        let id = sample("x").id();
        let next = || next_run(folder.path(), &id).unwrap().to_string();
        assert_eq!(next(), format!("{id}-1"));
        for number in [2, 10] {
            std::fs::write(folder.path().join(format!("{id}-{number}.journal.jsonl")), "").unwrap();
        }
        std::fs::write(folder.path().join("other-99.journal.jsonl"), "").unwrap();
        assert_eq!(next(), format!("{id}-11"));
        assert!(next_run(&folder.path().join("none"), &id).is_ok());
    }
}
