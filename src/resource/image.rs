//! An image in the store of a host's Docker engine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::body::Body;
use crate::model::change::{Action, FieldChange, Undo};
use crate::model::digest::Digest;
use crate::model::engine::{EngineOp, EngineProbe, Login};
use crate::model::inspected;
use crate::model::observation::{Answer, Observed};
use crate::model::op::{Op, Probe};

use super::{Claim, Context, Kind, Mistake, Step, engine};

/// An image in the store of the host's Docker engine. It is pulled where the host lacks it.
///
/// A name with a digest means one image for ever; a tag means what the host has under it, and a tag that moved in the
/// registry is not pulled again. The images of a [`compose`](#compose) project need no table.
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
    /// Who asks the registry; where it is not said, the inventory's `[registries]` say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
}

/// An image that is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActualImage {
    /// The engine's id for it: the digest of its configuration.
    pub id: String,
}

impl Kind for Image {
    const NAME: &'static str = "image";
    const FIELDS: &'static [&'static str] = &[];
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

    fn probes(&self) -> Vec<Probe> {
        vec![Probe::Engine(EngineProbe::Image(self.name.clone()))]
    }

    fn read(&self, answers: &[Answer]) -> Observed<ActualImage> {
        engine::read(&answers[0]).map(|image: inspected::Image| ActualImage { id: image.id })
    }

    /// What a name means on the host is what its containers are held to.
    fn compare(&self, _actual: &ActualImage, _context: &Context<'_>) -> Vec<FieldChange> {
        Vec::new()
    }

    fn ops(&self, step: &Step<'_, ActualImage>) -> Vec<Op> {
        match step.action {
            Action::Create | Action::Update | Action::Replace => vec![
                EngineOp::Pull {
                    image: self.name.clone(),
                    platform: self.platform.clone(),
                    login: self.login.clone(),
                }
                .into(),
            ],
            Action::Delete => vec![EngineOp::RemoveImage(self.name.clone()).into()],
            Action::Forget => Vec::new(),
        }
    }

    fn undo(&self, step: &Step<'_, ActualImage>) -> Undo {
        match step.action {
            Action::Create | Action::Update | Action::Replace => {
                Undo::Exact(vec![EngineOp::RemoveImage(self.name.clone()).into()])
            }
            Action::Delete => Undo::Inverse {
                ops: vec![
                    EngineOp::Pull {
                        image: self.name.clone(),
                        platform: self.platform.clone(),
                        login: self.login.clone(),
                    }
                    .into(),
                ],
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
