//! A volume of a host's Docker engine.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::change::{Action, FieldChange, Undo};
use crate::model::digest::Digest;
use crate::model::engine::{EngineOp, EngineProbe};
use crate::model::manifest::Owned;
use crate::model::observation::{Answer, Observed};
use crate::model::op::{Op, Probe};
use crate::model::volume::VolumeSpec;

use super::engine::{self, Seen};
use super::{Claim, Context, Kind, Mistake, Step};

/// A volume of the host's Docker engine. Its data outlive every container.
///
/// A volume cannot change: one that is there with another driver or other options is held, since its data would go with
/// it. Its labels are set when it is made, and not compared. The volumes of a [`compose`](#compose) project need no table.
///
/// ```toml
/// [[volume]]
/// name        = "metrics"
/// driver_opts = { type = "none", o = "bind", device = "/srv/metrics" }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// Its name on the engine.
    pub name: String,
    /// Whether others make it: then it must be there, and nothing else is said of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub external: bool,
    /// The driver; `local` where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The driver's options.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl From<&VolumeSpec> for Volume {
    fn from(spec: &VolumeSpec) -> Self {
        Self {
            name: spec.name.clone(),
            external: spec.is_external,
            driver: spec.driver.clone(),
            driver_opts: spec.driver_opts.clone(),
            labels: spec.labels.clone(),
        }
    }
}

impl Volume {
    fn spec(&self) -> VolumeSpec {
        VolumeSpec {
            name: self.name.clone(),
            is_external: self.external,
            driver: self.driver.clone().filter(|driver| driver != "local"),
            driver_opts: self.driver_opts.clone(),
            labels: self.labels.clone(),
        }
    }

    fn make(&self) -> Op {
        EngineOp::Volume(self.spec()).into()
    }

    fn remove(&self) -> Op {
        EngineOp::RemoveVolume(self.name.clone()).into()
    }
}

impl Kind for Volume {
    const NAME: &'static str = "volume";
    const FIELDS: &'static [&'static str] = &["driver", "driver_opts"];
    const KEPT_UNLESS_DELETE: bool = true;
    type Actual = Seen<VolumeSpec>;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn check(&self) -> Vec<Mistake> {
        engine::check_name(&self.name).into_iter().collect()
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim {
            what: format!("volume:{}", self.name),
            keys: None,
        }]
    }

    fn probes(&self) -> Vec<Probe> {
        vec![Probe::Engine(EngineProbe::Volume(self.name.clone()))]
    }

    /// Options may hold the password of a share, and hands may have written them.
    fn veil(
        &self,
        owned: Option<&Owned>,
        answers: &[Answer],
        salt: Option<&[u8]>,
        seen: &dyn Fn() -> Digest,
    ) -> Option<Vec<Answer>> {
        let former = owned.and_then(|owned| Self::deserialize(&owned.spec).ok());
        let declared: Vec<VolumeSpec> = [Some(self), former.as_ref()]
            .into_iter()
            .flatten()
            .map(Self::spec)
            .collect();
        Seen::veil(&answers[0], &declared, salt, seen)
    }

    fn digest(&self, actual: &Seen<VolumeSpec>) -> Digest {
        actual.digest()
    }

    fn read(&self, answers: &[Answer]) -> Observed<Seen<VolumeSpec>> {
        engine::external(engine::read(&answers[0]), self.external)
    }

    fn compare(&self, actual: &Seen<VolumeSpec>, _context: &Context<'_>) -> Vec<FieldChange> {
        let mut fields = Vec::new();
        if !self.external {
            let wanted = self.spec();
            let driver = |driver: &Option<String>| driver.clone().unwrap_or_else(|| "local".to_owned());
            engine::differ(&mut fields, "driver", &actual.driver, &wanted.driver, driver);
            engine::differ(
                &mut fields,
                "driver_opts",
                &actual.driver_opts,
                &wanted.driver_opts,
                engine::pairs,
            );
        }
        fields
    }

    fn ops(&self, step: &Step<'_, Seen<VolumeSpec>>) -> Vec<Op> {
        match step.action {
            Action::Create | Action::Update | Action::Replace => vec![self.make()],
            Action::Delete => vec![self.remove()],
            Action::Forget => Vec::new(),
        }
    }

    fn immutable<'a>(&self, fields: &'a [FieldChange]) -> Option<&'a FieldChange> {
        fields.first()
    }

    fn never_replaced(&self) -> Option<String> {
        Some("its data would go with it; move them, remove it by hand, and apply again".to_owned())
    }

    fn undo(&self, step: &Step<'_, Seen<VolumeSpec>>) -> Undo {
        match step.action {
            Action::Create => Undo::Impossible(
                "a volume may hold data as soon as it is there, and is not removed without being asked"
                    .to_owned(),
            ),
            Action::Update | Action::Replace | Action::Delete => {
                Undo::Impossible("the data of a volume that was removed are gone".to_owned())
            }
            Action::Forget => Undo::Exact(Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hands_wrote_into_options_is_hidden_and_what_is_declared_is_shown() {
        let volume = Volume::from(&VolumeSpec {
            name: "share".to_owned(),
            driver_opts: [("type".to_owned(), "cifs".to_owned())].into(),
            ..VolumeSpec::default()
        });
        let answer = |options: &str| Answer::Text {
            output: format!(r#"{{"name":"share","driver_opts":{{{options}}}}}"#),
            status: 0,
        };
        let all = || Digest::of("all of it");
        let by_hand = answer(r#""type":"cifs","o":"username=u,password=hunter2""#);
        let veiled = volume.veil(None, &[by_hand], Some(b"salt"), &all).unwrap();
        let Observed::Present(seen) = volume.read(&veiled) else {
            panic!("it is there");
        };
        assert_eq!(seen.driver_opts["type"], "cifs");
        assert!(!seen.driver_opts["o"].contains("hunter2"), "{seen:?}");
        assert_eq!(Kind::digest(&volume, &seen), all());
        let as_declared = answer(r#""type":"cifs""#);
        assert_eq!(volume.veil(None, &[as_declared], Some(b"salt"), &all), None);
    }
}
