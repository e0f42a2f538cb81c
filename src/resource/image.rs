//! An image in the store of a host's Docker engine.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::body::Body;
use crate::model::change::{Action, FieldChange, Undo};
use crate::model::container::is_default;
use crate::model::digest::Digest;
use crate::model::engine::{EngineOp, EngineProbe, Login};
use crate::model::inspected;
use crate::model::observation::{Answer, Observed};
use crate::model::op::{Op, Probe};
use crate::model::registry::is_pinned;

use super::{Claim, Context, Kind, Mistake, Step, engine};

/// The field of an image of which the registry has another under its name.
const DIGEST: &str = "digest";

/// An image in the store of the host's Docker engine. It is pulled where the host lacks it.
///
/// A name with a digest means one image for ever; a tag means what the host has under it. With `pull_policy = "always"` every plan
/// asks the registry what the tag means there, and another image is pulled; a digest leaves nothing to ask. The images of a [`compose`](#compose) project need no table.
///
/// ```toml
/// [[image]]
/// name = "ghcr.io/example/app:1.4@sha256:0f1e…"
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Its name: `registry/name:tag`, `name@sha256:…`, or both.
    pub name: String,
    /// The platform, such as `linux/amd64`; the host's where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// When it is pulled: `missing`, where the host has none, or `always`, where the registry has another.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pull_policy: PullPolicy,
    /// Who asks the registry; where it is not said, the inventory's `[registries]` say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PullPolicy {
    /// Where the host has none under its name.
    #[default]
    Missing,
    /// Where its registry has another under its name.
    Always,
}

/// An image that is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActualImage {
    /// The engine's id for it: the digest of its configuration.
    pub id: String,
    /// The digests under which registries know it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub digests: BTreeSet<String>,
    /// The digest that its registry has under the name now, where that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
}

impl Image {
    /// Says whether its registry is asked at every plan. A digest means the same for ever.
    pub fn is_asked_for(&self) -> bool {
        self.pull_policy == PullPolicy::Always && !is_pinned(&self.name)
    }

    fn pull(&self, newer: bool) -> Op {
        EngineOp::Pull {
            image: self.name.clone(),
            platform: self.platform.clone(),
            login: self.login.clone(),
            newer,
        }
        .into()
    }
}

impl Kind for Image {
    const NAME: &'static str = "image";
    const FIELDS: &'static [&'static str] = &[DIGEST];
    const KEPT_UNLESS_DELETE: bool = true;
    type Actual = ActualImage;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn check(&self) -> Vec<Mistake> {
        let is_name = !self.name.is_empty()
            && !self.name.starts_with(['-', '/', ':'])
            && self
                .name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-/:@".contains(c));
        let mistake = || Mistake::new("name", format!("`{}` is not the name of an image", self.name));
        (!is_name).then(mistake).into_iter().collect()
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim {
            what: format!("image:{}", self.name),
            keys: None,
        }]
    }

    /// Who asks for it always asks for all.
    fn joined(&self, other: &Self) -> Option<Self> {
        let asked = [self, other]
            .into_iter()
            .find(|image| image.pull_policy == PullPolicy::Always);
        let joined = asked.unwrap_or(self).clone();
        let is_same = |image: &Self| {
            let like = Self {
                pull_policy: joined.pull_policy,
                ..image.clone()
            };
            like == joined
        };
        (is_same(self) && is_same(other)).then(|| joined.clone())
    }

    fn probes(&self) -> Vec<Probe> {
        let probe = match self.is_asked_for() {
            true => EngineProbe::Fresh {
                image: self.name.clone(),
                login: self.login.clone(),
            },
            false => EngineProbe::Image(self.name.clone()),
        };
        vec![Probe::Engine(probe)]
    }

    fn read(&self, answers: &[Answer]) -> Observed<ActualImage> {
        engine::read(&answers[0]).map(|image: inspected::Image| ActualImage {
            id: image.id,
            digests: image.digests,
            registry: image.registry,
        })
    }

    /// What a name means on the host is what its containers are held to; what it means to the registry only where that is asked for.
    fn compare(&self, actual: &ActualImage, _context: &Context<'_>) -> Vec<FieldChange> {
        let digest = |name: &String| name.split_once('@').map(|(_, digest)| digest.to_owned());
        let has: BTreeSet<String> = actual.digests.iter().filter_map(digest).collect();
        let now = actual.registry.as_ref().filter(|_| self.is_asked_for());
        let newer = now.filter(|now| !has.contains(*now));
        let before = || Vec::from_iter(has.iter().cloned()).join(", ");
        newer
            .map(|now| FieldChange::text(DIGEST, before(), now.as_str()))
            .into_iter()
            .collect()
    }

    /// What its registry has is no state of the host.
    fn digest(&self, actual: &ActualImage) -> Digest {
        Digest::of_value(&ActualImage {
            id: actual.id.clone(),
            digests: BTreeSet::new(),
            registry: None,
        })
    }

    fn ops(&self, step: &Step<'_, ActualImage>) -> Vec<Op> {
        match step.action {
            Action::Create => vec![self.pull(false)],
            Action::Update | Action::Replace => vec![self.pull(true)],
            Action::Delete => vec![EngineOp::RemoveImage(self.name.clone()).into()],
            Action::Forget => Vec::new(),
        }
    }

    fn undo(&self, step: &Step<'_, ActualImage>) -> Undo {
        match step.action {
            Action::Create => Undo::Exact(vec![EngineOp::RemoveImage(self.name.clone()).into()]),
            Action::Update | Action::Replace => {
                Undo::Impossible("its registry has another image under its name by now".to_owned())
            }
            Action::Delete => Undo::Inverse {
                ops: vec![self.pull(false)],
                loses: "the image itself, where the registry has another under its name by now".to_owned(),
            },
            Action::Forget => Undo::Exact(Vec::new()),
        }
    }

    fn bodies(&self) -> Vec<&Body> {
        let login = self.login.iter();
        login.flat_map(|login| [&login.user, &login.password]).collect()
    }

    fn consumed(&self) -> Digest {
        Digest::of(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_that_declare_one_image_agree_and_one_that_asks_always_asks_for_both() {
        let image = |policy: &str, platform: &str| -> Image {
            let spec = serde_json::json!({ "name": "app:1", "pull_policy": policy, "platform": platform });
            serde_json::from_value(spec).expect("an image")
        };
        let (plain, always) = (image("missing", "linux/amd64"), image("always", "linux/amd64"));
        for (first, second) in [(&plain, &always), (&always, &plain), (&always, &always)] {
            assert_eq!(first.joined(second).as_ref(), Some(&always));
        }
        assert_eq!(plain.joined(&plain).as_ref(), Some(&plain));
        assert_eq!(plain.joined(&image("always", "linux/arm64")), None);
    }
}
