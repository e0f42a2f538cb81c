//! One host with an engine, reached by the transport as an apply reaches it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use muster::compose;
use muster::keyed;
use muster::model::body::Body;
use muster::model::container::{ContainerSpec, LABEL_NUMBER, LABEL_ONEOFF, LABEL_PROJECT, LABEL_SERVICE};
use muster::model::engine::{ContainerProbe, EngineOp, EngineProbe};
use muster::model::id::{HostId, ResourceKey, RunId};
use muster::model::inspected::{Effect, Inspected};
use muster::model::observation::Answer;
use muster::model::op::{Op, Probe};
use muster::model::secret::Secret;
use muster::model::target::{HostKey, SshTarget, Sudo, Target, Transport as Way};
use muster::ports::{Call, Fence, LockRequest, LookRequest, PerformError, Secrets, Transport as _};
use muster::resource::container::Container;
use muster::transport::connector::{Connector, Limits, Places};
use muster::transport::engine::{EngineReads, Traffic};
use muster::transport::fleet::FleetTransport;
use muster::transport::perform::Keyed;

use crate::fleet::Fleet;

/// A secret that must be found nowhere but in its container.
pub const POISON: &str = "s3cr3t-Wq8eXzP0uVb2";

pub struct Bed {
    pub transport: FleetTransport,
    runtime: tokio::runtime::Runtime,
    host: HostId,
}

fn secrets() -> Secrets {
    Secrets::new([("env:POISON".parse().expect("a source"), Secret::new(POISON))].into())
}

/// Returns a plain body.
pub fn text(text: &str) -> Body {
    Body::text(text)
}

/// Returns a body that is the secret.
pub fn secret() -> Body {
    serde_json::from_value(serde_json::json!([{ "secret": "plain|env:POISON" }])).expect("a body")
}

impl Bed {
    /// Reaches `h1` as an account.
    pub fn new(fleet: &Fleet, user: &str) -> Self {
        let target = Target {
            transport: Way::Ssh(SshTarget {
                address: fleet.address("h1"),
                port: None,
                user: Some(user.to_owned()),
                identity_file: Some(fleet.file("key").to_string_lossy().into_owned()),
                host_key: HostKey::KnownHosts,
                via: None,
            }),
            sudo: if user == "root" {
                Sudo::None
            } else {
                Sudo::Passwordless
            },
        };
        let places = Places {
            known_hosts: Some(fleet.file("known_hosts")),
            ..Places::of_user()
        };
        let connector = Connector::new(Limits::default(), places, secrets(), None);
        let keyed = Keyed {
            read: keyed::read,
            edit: keyed::edit,
        };
        let engine = EngineReads {
            container: |container, image, shows, print| {
                compose::inspected(container, image, &compose::Veil { shows, print })
            },
            image: |image, shows, print| compose::image(image, &compose::Veil { shows, print }),
            network: compose::network,
            volume: compose::volume,
        };
        let host: HostId = "h1".parse().expect("a host");
        let targets = BTreeMap::from([(host.clone(), target)]);
        Self {
            transport: FleetTransport::new(targets, Arc::new(connector), secrets(), keyed)
                .with_engines(engine),
            runtime: tokio::runtime::Runtime::new().expect("a runtime"),
            host,
        }
    }

    /// Takes the host's lock for a run.
    pub fn lock(&self, run: &str) -> Fence {
        let request = LockRequest {
            run: run.parse::<RunId>().expect("a run"),
            who: "alice@laptop".to_owned(),
            fleet: "engines".parse().expect("a fleet"),
            former: None,
            lease_secs: 60,
        };
        let locked = self.runtime.block_on(self.transport.lock(&self.host, &request));
        locked.expect("the host can be locked")
    }

    /// Gives the host's lock up.
    pub fn release(&self, fence: &Fence) {
        let released = self.runtime.block_on(self.transport.release(&self.host, fence));
        released.expect("the lock can be given up");
    }

    /// Does ops.
    pub fn act(&self, fence: &Fence, ops: Vec<EngineOp>) -> Result<(), PerformError> {
        let call = Call {
            fence: fence.clone(),
            is_under_switch: false,
            intents: BTreeMap::new(),
            ops: ops.into_iter().map(Op::Engine).collect(),
            probes: BTreeMap::new(),
            deadline: Duration::from_secs(300),
        };
        let performed = self.runtime.block_on(self.transport.perform(&self.host, &call));
        performed.map(drop)
    }

    /// Asks the engine.
    pub fn ask(&self, probe: EngineProbe) -> Answer {
        self.ask_all(vec![probe]).remove(0)
    }

    /// Asks the engine several things in one look.
    pub fn ask_all(&self, probes: Vec<EngineProbe>) -> Vec<Answer> {
        let key = ResourceKey::new("file", "/probe");
        let probes = probes.into_iter().map(Probe::Engine).collect();
        let request = LookRequest {
            probes: BTreeMap::from([(key.clone(), probes)]),
            tools: BTreeSet::new(),
            facts: false,
        };
        let looked = self.runtime.block_on(self.transport.look(&self.host, &request));
        let mut reply = looked.expect("the host can be looked at");
        reply.answers.remove(&key).expect("it was asked")
    }

    /// Says how much went over to the engine.
    pub fn traffic(&self) -> Traffic {
        self.runtime.block_on(self.transport.engine_traffic(&self.host))
    }

    /// Returns what the engine says of a container.
    pub fn inspect(&self, spec: &ContainerSpec) -> Option<Inspected> {
        match self.ask(EngineProbe::Container(probe(spec))) {
            Answer::Text { output, status: 0 } => {
                serde_json::from_str(&output).expect("an inspected container")
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Returns the question for a container.
pub fn probe(spec: &ContainerSpec) -> ContainerProbe {
    Container::new(spec.clone(), 30).probe()
}

/// Returns a container that sleeps.
pub fn sleeper(service: &str) -> ContainerSpec {
    let mut spec = ContainerSpec {
        project: "trial".to_owned(),
        service: service.to_owned(),
        number: 1,
        name: format!("trial-{service}-1"),
        image: "box:1".to_owned(),
        ..ContainerSpec::default()
    };
    spec.settings.stop_grace_secs = Some(1);
    spec.settings.command = Some(vec!["sleep".to_owned(), "3600".to_owned()]);
    for (label, value) in [
        (LABEL_PROJECT, "trial"),
        (LABEL_SERVICE, service),
        (LABEL_NUMBER, "1"),
        (LABEL_ONEOFF, "False"),
    ] {
        spec.settings.labels.insert(label.to_owned(), value.to_owned());
    }
    spec
}

/// Returns the op that makes a container anew.
pub fn make(spec: &ContainerSpec) -> EngineOp {
    EngineOp::Container {
        spec: Box::new(spec.clone()),
        effect: Effect::Recreate,
        within_secs: 30,
    }
}
