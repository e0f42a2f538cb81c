//! A network of a host's Docker engine.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::change::{Action, Disruption, FieldChange, Undo};
use crate::model::container::strangers;
use crate::model::digest::Digest;
use crate::model::engine::{EngineOp, EngineProbe};
use crate::model::manifest::Owned;
use crate::model::network::{NetworkSpec, Subnet};
use crate::model::observation::{Answer, Observed};
use crate::model::op::{Op, Probe};

use super::engine::{self, Seen};
use super::{Claim, Context, Kind, Mistake, Step};

/// A network of the host's Docker engine.
///
/// No engine changes a network: one that differs is made anew, and what was attached to it is attached again, which its
/// connections do not survive. The networks of a [`compose`](#compose) project need no table.
///
/// ```toml
/// [[network]]
/// name     = "edge"
/// internal = true
/// subnets  = [{ subnet = "172.30.0.0/24", gateway = "172.30.0.1" }]
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Its name on the engine.
    pub name: String,
    /// Whether others make it: then it must be there, and nothing else is said of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub external: bool,
    /// The driver; `bridge` where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The driver's options.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
    /// Whether it has no way out of the host.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub internal: bool,
    /// Whether others may be attached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub attachable: bool,
    /// Whether it has IPv6 addresses.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub enable_ipv6: bool,
    /// The driver of its addresses; `default` where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipam_driver: Option<String>,
    /// The options of that driver.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ipam_options: BTreeMap<String, String>,
    /// Its subnets; without any the engine picks one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<Subnet>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl From<&NetworkSpec> for Network {
    fn from(spec: &NetworkSpec) -> Self {
        let spec = spec.clone();
        Self {
            name: spec.name,
            external: spec.is_external,
            driver: spec.driver,
            driver_opts: spec.driver_opts,
            internal: spec.is_internal,
            attachable: spec.is_attachable,
            enable_ipv6: spec.has_ipv6,
            ipam_driver: spec.ipam_driver,
            ipam_options: spec.ipam_options,
            subnets: spec.subnets,
            labels: spec.labels,
        }
    }
}

impl Network {
    fn spec(&self) -> NetworkSpec {
        let own = self.clone();
        NetworkSpec {
            name: own.name,
            is_external: own.external,
            driver: own.driver.filter(|driver| driver != "bridge"),
            driver_opts: own.driver_opts,
            is_internal: own.internal,
            is_attachable: own.attachable,
            has_ipv6: own.enable_ipv6,
            ipam_driver: own.ipam_driver.filter(|driver| driver != "default"),
            ipam_options: own.ipam_options,
            subnets: own.subnets,
            labels: own.labels,
        }
    }
}

/// What is there of a subnet, as far as the wanted one says something: an engine chooses what nobody asked for.
fn as_asked(is: &Subnet, wanted: &Subnet) -> Subnet {
    Subnet {
        subnet: is.subnet.clone().filter(|_| wanted.subnet.is_some()),
        gateway: is.gateway.clone().filter(|_| wanted.gateway.is_some()),
        ip_range: is.ip_range.clone().filter(|_| wanted.ip_range.is_some()),
        aux_addresses: is.aux_addresses.clone(),
    }
}

fn shown(subnets: &[Subnet]) -> String {
    let one = |subnet: &Subnet| {
        let parts = [&subnet.subnet, &subnet.gateway, &subnet.ip_range];
        let named = parts.into_iter().flatten().cloned();
        named
            .chain(Some(engine::pairs(&subnet.aux_addresses)).filter(|text| !text.is_empty()))
            .collect::<Vec<_>>()
            .join(" ")
    };
    subnets.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn told(word: &'static str) -> impl Fn(&bool) -> String {
    move |is| {
        if *is {
            word.to_owned()
        } else {
            format!("not {word}")
        }
    }
}

impl Kind for Network {
    const NAME: &'static str = "network";
    const FIELDS: &'static [&'static str] = &[
        "driver",
        "driver_opts",
        "internal",
        "attachable",
        "enable_ipv6",
        "ipam_driver",
        "ipam_options",
        "subnets",
        "labels",
    ];
    type Actual = Seen<NetworkSpec>;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn check(&self) -> Vec<Mistake> {
        engine::check_name(&self.name).into_iter().collect()
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim {
            what: format!("network:{}", self.name),
            keys: None,
        }]
    }

    fn probes(&self) -> Vec<Probe> {
        vec![Probe::Engine(EngineProbe::Network(self.name.clone()))]
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
        let declared: Vec<NetworkSpec> = [Some(self), former.as_ref()]
            .into_iter()
            .flatten()
            .map(Self::spec)
            .collect();
        Seen::veil(&answers[0], &declared, salt, seen)
    }

    fn digest(&self, actual: &Seen<NetworkSpec>) -> Digest {
        actual.digest()
    }

    fn read(&self, answers: &[Answer]) -> Observed<Seen<NetworkSpec>> {
        engine::external(engine::read(&answers[0]), self.external)
    }

    fn compare(&self, is: &Seen<NetworkSpec>, _context: &Context<'_>) -> Vec<FieldChange> {
        let mut fields = Vec::new();
        if self.external {
            return fields;
        }
        let wanted = self.spec();
        let or =
            |or: &'static str| move |word: &Option<String>| word.clone().unwrap_or_else(|| or.to_owned());
        engine::differ(&mut fields, "driver", &is.driver, &wanted.driver, or("bridge"));
        let options = engine::wanted_keys(&is.driver_opts, &wanted.driver_opts);
        engine::differ(
            &mut fields,
            "driver_opts",
            &options,
            &wanted.driver_opts,
            engine::pairs,
        );
        engine::differ(
            &mut fields,
            "internal",
            &is.is_internal,
            &wanted.is_internal,
            told("internal"),
        );
        // The old tool lets everybody be attached, which concerns nobody without a swarm.
        if wanted.is_attachable {
            let word = told("attachable");
            engine::differ(
                &mut fields,
                "attachable",
                &is.is_attachable,
                &wanted.is_attachable,
                word,
            );
        }
        engine::differ(
            &mut fields,
            "enable_ipv6",
            &is.has_ipv6,
            &wanted.has_ipv6,
            told("with IPv6"),
        );
        engine::differ(
            &mut fields,
            "ipam_driver",
            &is.ipam_driver,
            &wanted.ipam_driver,
            or("default"),
        );
        let options = engine::wanted_keys(&is.ipam_options, &wanted.ipam_options);
        engine::differ(
            &mut fields,
            "ipam_options",
            &options,
            &wanted.ipam_options,
            engine::pairs,
        );
        if !wanted.subnets.is_empty() {
            let mut subnets = is.subnets.clone();
            if subnets.len() == wanted.subnets.len() {
                let pairs = is.subnets.iter().zip(&wanted.subnets);
                subnets = pairs.map(|(is, wanted)| as_asked(is, wanted)).collect();
            }
            engine::differ(&mut fields, "subnets", &subnets, &wanted.subnets, |subnets| {
                shown(subnets)
            });
        }
        let must = strangers(&wanted.labels);
        let labels = engine::wanted_keys(&is.labels, &must);
        engine::differ(&mut fields, "labels", &labels, &must, engine::pairs);
        fields
    }

    fn ops(&self, step: &Step<'_, Seen<NetworkSpec>>) -> Vec<Op> {
        let op = match step.action {
            Action::Create => EngineOp::Network(self.spec()),
            Action::Update | Action::Replace => EngineOp::RemakeNetwork(self.spec()),
            Action::Delete => EngineOp::RemoveNetwork(self.name.clone()),
            Action::Forget => return Vec::new(),
        };
        vec![op.into()]
    }

    fn replace(&self, step: &Step<'_, Seen<NetworkSpec>>) -> Vec<Op> {
        self.ops(step)
    }

    fn immutable<'a>(&self, fields: &'a [FieldChange]) -> Option<&'a FieldChange> {
        fields.first()
    }

    fn undo(&self, step: &Step<'_, Seen<NetworkSpec>>) -> Undo {
        let before = step.before.present();
        if before.is_some_and(|seen| seen.veiled.is_some()) {
            return Undo::Impossible("what hands had written into it is not kept".to_owned());
        }
        let was = || before.map(|seen| seen.spec.clone()).unwrap_or_default();
        match step.action {
            Action::Create => Undo::Exact(vec![EngineOp::RemoveNetwork(self.name.clone()).into()]),
            Action::Update | Action::Replace => Undo::Exact(vec![EngineOp::RemakeNetwork(was()).into()]),
            Action::Delete => Undo::Exact(vec![EngineOp::Network(was()).into()]),
            Action::Forget => Undo::Exact(Vec::new()),
        }
    }

    fn disruption(&self, step: &Step<'_, Seen<NetworkSpec>>) -> Disruption {
        match step.action {
            Action::Update | Action::Replace => {
                Disruption::Service(format!("what is attached to {}", self.name))
            }
            Action::Create | Action::Delete | Action::Forget => Disruption::None,
        }
    }
}
