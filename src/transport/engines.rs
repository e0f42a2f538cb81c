//! The engines of a fleet: probes and ops that concern them, over the connection that the host has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::model::body::Body;
use crate::model::container::ContainerSpec;
use crate::model::engine::{EngineOp, EngineProbe};
use crate::model::id::{HostId, ResourceKey};
use crate::model::observation::Answer;
use crate::model::op::{Op, Probe};
use crate::model::pulling::Pulling;
use crate::model::redaction::Redaction;
use crate::model::registry::{Placed, registry_of};
use crate::ports::{
    Call, Fence, HearLine, LockError, LogEnd, LogRequest, Logs, PerformError, Registries, Untold,
};

use super::engine::{self, Asked, ConvergeError, Engine, EngineError, EngineVeil, Means, Traffic};
use super::fleet::{FleetTransport, Retry};
use super::lower;
use super::perform;
use super::shell::Shell;

/// How long the guard's lock file may be busy, before a change is given up.
const BUSY: Duration = Duration::from_secs(60);
/// How long the question may take who listens on a port.
const LISTENERS: Duration = Duration::from_secs(20);

/// A host's engine, and the connection over which it is spoken with.
pub(super) type Opened = Option<(Arc<dyn Shell>, Arc<Engine>)>;

impl FleetTransport {
    /// Returns the engine of a host over the connection that the host has now.
    async fn engine(&self, host: &HostId) -> Result<Arc<Engine>, EngineError> {
        Ok(self.engine_and_way(host).await?.1)
    }

    /// Returns it with that connection.
    async fn engine_and_way(&self, host: &HostId) -> Result<(Arc<dyn Shell>, Arc<Engine>), EngineError> {
        let unreachable = |error: &dyn std::fmt::Display| EngineError::NoAnswer(error.to_string());
        let shell = self
            .shell(host, Retry::Yes)
            .await
            .map_err(|error| unreachable(&error))?;
        let slot = self.engine_slot(host).map_err(|error| unreachable(&error))?;
        let mut slot = slot.lock().await;
        match &*slot {
            Some((over, engine)) if Arc::ptr_eq(over, &shell) => return Ok((shell, Arc::clone(engine))),
            Some(_) | None => {}
        }
        let engine = Arc::new(Engine::open(Arc::clone(&shell)).await?);
        *slot = Some((Arc::clone(&shell), Arc::clone(&engine)));
        Ok((shell, engine))
    }

    /// Says how much went over to a host's engine so far, over the connection on which it was last spoken with.
    pub async fn engine_traffic(&self, host: &HostId) -> Traffic {
        match self.engine_slot(host) {
            Ok(slot) => slot.lock().await.as_ref().map(|(_, engine)| engine.traffic()),
            Err(_) => None,
        }
        .unwrap_or_default()
    }

    /// Puts the engine's answers in the place of what the shell could tell of its probes.
    pub(super) async fn ask_engine(
        &self,
        host: &HostId,
        probes: &BTreeMap<ResourceKey, Vec<Probe>>,
        answers: &mut BTreeMap<ResourceKey, Vec<Answer>>,
        veil: EngineVeil<'_>,
    ) {
        let mut asked = Vec::new();
        let mut places = Vec::new();
        for (key, probes) in probes {
            for (index, probe) in probes.iter().enumerate() {
                let Probe::Engine(probe) = probe else { continue };
                let shell = answers.get(key).and_then(|answers| answers.get(index));
                asked.push(Asked {
                    probe,
                    changed: changed(probe, shell),
                });
                places.push((key, index));
            }
        }
        if asked.is_empty() {
            return;
        }
        let said = match (self.engine(host).await, self.engine_reads()) {
            (Ok(engine), Some(reads)) => {
                let fill = |body: &Body| perform::fill(body, self.secrets());
                engine.look(&asked, &reads, veil, &fill).await
            }
            // Where there is no engine, nothing of one is there.
            (Err(EngineError::NotInstalled), _) => vec![nothing(); asked.len()],
            (Err(error), _) => {
                let why = self.redactor().clause(&error.to_string());
                vec![Answer::NoAnswer(why); asked.len()]
            }
            (Ok(_), None) => {
                vec![Answer::NoAnswer("nobody here reads what an engine says".to_owned()); asked.len()]
            }
        };
        for ((key, index), said) in places.into_iter().zip(said) {
            if let Some(place) = answers.get_mut(key).and_then(|answers| answers.get_mut(index)) {
                *place = said;
            }
        }
    }

    /// Does one op on a host's engine, for a call that holds the host.
    pub(super) async fn act_on_engine(
        &self,
        host: &HostId,
        call: &Call,
        op: &EngineOp,
        ends_at: Instant,
    ) -> Result<(), PerformError> {
        let (shell, engine) = match self.engine_and_way(host).await {
            Ok(found) => found,
            Err(error) => return Err(self.failed_on_engine(op, error.into(), None)),
        };
        let _turn = match op {
            EngineOp::Pull { image, .. } => Some(self.pulls().turn(registry_of(image)).await),
            _ => None,
        };
        let ask = || -> BoxFuture<'_, Result<(), ConvergeError>> {
            let shell = &shell;
            Box::pin(async move {
                self.still_ours(host, &call.fence, shell)
                    .await
                    .map_err(ConvergeError::Guard)
            })
        };
        let fill = |body: &Body| perform::fill(body, self.secrets());
        let tell = |image: &str, layers| {
            self.pulls().tell(Pulling {
                host: host.clone(),
                image: image.to_owned(),
                layers,
            });
        };
        let means = Means {
            run: call.fence.run.as_str(),
            fill: &fill,
            ask: &ask,
            tell: &tell,
        };
        let acted = engine.act(op, &means);
        match tokio::time::timeout_at(ends_at, acted).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let taken = self.who_has_the_port(host, &engine, op, &error).await;
                Err(self.failed_on_engine(op, error, taken))
            }
            Err(_) => Err(PerformError::Unknown {
                why: format!("`{op}` did not come to an end in time"),
            }),
        }
    }

    /// Makes sure that this run still holds the host, over the connection on which the engine is spoken with: renewing notes that
    /// connection in the fence, so that whoever takes the host over ends it. Over another one the answer would be worth nothing.
    async fn still_ours(
        &self,
        host: &HostId,
        fence: &Fence,
        way: &Arc<dyn Shell>,
    ) -> Result<(), PerformError> {
        let script = self.guard().renew(fence, self.over(host));
        let until = Instant::now() + BUSY;
        loop {
            match self
                .ask_guard(host, "asking whether the host is still ours", &script)
                .await
            {
                // An operation holds the lock file: nobody knows whose until it ends.
                Ok(reply) if reply.word("busy").is_some() && Instant::now() < until => {}
                Ok(reply) if reply.word("busy").is_some() => {
                    return Err(PerformError::Fenced(
                        "another operation is still running here".to_owned(),
                    ));
                }
                Ok(_) => match self.shell(host, Retry::No).await {
                    Ok(now) if Arc::ptr_eq(&now, way) => return Ok(()),
                    Ok(_) | Err(_) => {
                        return Err(PerformError::Unknown {
                            why: "the connection to the host was lost, and another is in its place"
                                .to_owned(),
                        });
                    }
                },
                Err(LockError::Reach(error)) => {
                    return Err(PerformError::Unknown {
                        why: error.to_string(),
                    });
                }
                Err(error) => return Err(PerformError::Fenced(error.to_string())),
            }
        }
    }

    /// Says who has the port that the engine could not publish for an op, if that is why it failed. Best effort: it is for people.
    async fn who_has_the_port(
        &self,
        host: &HostId,
        engine: &Engine,
        op: &EngineOp,
        error: &ConvergeError,
    ) -> Option<String> {
        let (EngineOp::Container { spec, .. }, ConvergeError::Engine(EngineError::Refused { message, .. })) =
            (op, error)
        else {
            return None;
        };
        let address = engine::address(message)?;
        let port = engine::port(address)?;
        if let Ok(Some(container)) = engine.publisher(port, &spec.name).await {
            return Some(format!("{address} is taken by the container `{container}`"));
        }
        let script = lower::listeners(port);
        let ran = self.run(host, &script, LISTENERS, Retry::No).await.ok()?;
        let said = String::from_utf8_lossy(&ran.stdout);
        Some(match engine::process(&said) {
            Some((name, pid)) => format!("{address} is taken by the process `{name}` ({pid})"),
            None => format!("{address} is taken; `ss -lntup 'sport = :{port}'` on the host says by whom"),
        })
    }

    fn failed_on_engine(&self, op: &EngineOp, error: ConvergeError, more: Option<String>) -> PerformError {
        let operation = Op::Engine(op.clone()).to_string();
        let own = self.values_of(op);
        let lines = |text: &str| self.redactor().lines(&own.apply(text));
        let help = |error: &EngineError| engine::hint(op, error).map(|hint| format!("help: {hint}"));
        let failed = |status, tail: Vec<String>| PerformError::Failed {
            at: None,
            operation: operation.clone(),
            status,
            tail,
        };
        match error {
            ConvergeError::Guard(error) => error,
            ConvergeError::Engine(error @ (EngineError::NoAnswer(_) | EngineError::Odd(_))) => {
                let why = lines(&error.to_string()).pop().unwrap_or_default();
                let help = help(&error).map(|help| format!("; {help}")).unwrap_or_default();
                PerformError::Unknown {
                    why: format!("{operation}: {why}{help}"),
                }
            }
            ConvergeError::Engine(error) => {
                let said = lines(&error.to_string());
                failed(1, said.into_iter().chain(more).chain(help(&error)).collect())
            }
            ConvergeError::Unproven { why, exit_code, log } => {
                let status = i32::try_from(exit_code).unwrap_or(1);
                let mut tail: Vec<String> = log.iter().flat_map(|line| lines(line)).collect();
                tail.extend(lines(&why));
                failed(status.max(1), tail)
            }
        }
    }

    /// Returns what takes the values out that a container's environment has and nobody declared public: its log may repeat them.
    fn values_of(&self, op: &EngineOp) -> Redaction {
        let spec: Option<&ContainerSpec> = match op {
            EngineOp::Container { spec, .. } | EngineOp::Once { spec, .. } => Some(spec),
            _ => None,
        };
        let sensitive = spec.into_iter().flat_map(ContainerSpec::sensitive_env);
        let values: Vec<String> = sensitive
            .filter_map(|(_, body)| perform::fill(body, self.secrets()).ok())
            .collect();
        Redaction::of(values.iter().map(String::as_str))
    }
}

impl Logs for FleetTransport {
    fn logs<'a>(
        &'a self,
        host: &'a HostId,
        request: &'a LogRequest,
        hear: &'a HearLine<'a>,
        stop: BoxFuture<'a, ()>,
    ) -> BoxFuture<'a, Result<LogEnd, Untold>> {
        Box::pin(async move {
            self.shell(host, Retry::Yes).await?;
            let failed = |error: EngineError| Untold::Engine(self.redactor().clause(&error.to_string()));
            let engine = match self.engine(host).await {
                Ok(engine) => engine,
                Err(EngineError::NotInstalled) => return Ok(LogEnd::Absent),
                Err(error) => return Err(failed(error)),
            };
            let known = self.secrets().redaction();
            let clean = |own: &Redaction, line: &str| known.apply(&own.apply(line));
            engine.logs(request, hear, &clean, stop).await.map_err(failed)
        })
    }
}

impl Registries for FleetTransport {
    fn digest<'a>(&'a self, host: &'a HostId, image: &'a Placed) -> BoxFuture<'a, Result<String, Untold>> {
        Box::pin(async move {
            self.shell(host, Retry::Yes).await?;
            let failed = |why: String| Untold::Engine(self.redactor().clause(&why));
            let fill = |body: &Body| perform::fill(body, self.secrets());
            let engine = self
                .engine(host)
                .await
                .map_err(|error| failed(error.to_string()))?;
            let said = engine.digest(&image.name, image.login.as_ref(), &fill).await;
            said.map_err(|error| failed(error.to_string()))
        })
    }
}

fn nothing() -> Answer {
    Answer::Text {
        output: "null".to_owned(),
        status: 0,
    }
}

/// Reads what the shell found of mounted files.
fn changed(probe: &EngineProbe, said: Option<&Answer>) -> Result<BTreeMap<String, u64>, String> {
    match (probe, said) {
        (EngineProbe::Container(_), Some(Answer::Text { output, status: 0 })) => {
            serde_json::from_str(output).map_err(|error| error.to_string())
        }
        (EngineProbe::Container(_), Some(Answer::Text { output, .. } | Answer::NoAnswer(output))) => {
            Err(output.clone())
        }
        (EngineProbe::Container(_), None) => Err("the host did not answer".to_owned()),
        (_, _) => Ok(BTreeMap::new()),
    }
}
