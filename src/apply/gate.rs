//! Asking a gate until it opens or its time is up.

use std::time::Duration;

use crate::model::event::{Event, GateId};
use crate::model::gate::{Gate, Verdict};
use crate::model::id::HostId;
use crate::ports::Said;
use crate::rollout::gates::{Answer, Watch};

use super::crew::Crew;

impl Crew<'_, '_> {
    /// Asks a gate's question again and again. A host that could not be asked has said neither yes nor no.
    pub(super) async fn ask(&self, id: &GateId, host: &HostId, gate: &Gate) -> Vec<Event> {
        let ports = &self.run.ports;
        let began = ports.clock.now();
        let mut watch = Watch::default();
        loop {
            let deadline = Duration::from_secs(gate.within_secs.clamp(1, ANSWER_SECS_MAX));
            let (answer, what) = match ports.transport.ask(host, &gate.check, deadline).await {
                Ok(Said { good: true, what }) => (Answer::Good, what),
                Ok(Said { good: false, what }) => (Answer::Bad, what),
                Err(error) => (Answer::None, error.to_string()),
            };
            let passed = ports.clock.now().duration_since(began).as_secs();
            let (open, why) = match watch.judge(gate, passed.unsigned_abs(), answer, &what) {
                Verdict::Open => (true, what),
                Verdict::Shut { why } => (false, why),
                Verdict::Wait { again_after_secs, .. } => {
                    ports.clock.sleep(Duration::from_secs(again_after_secs)).await;
                    continue;
                }
            };
            return vec![Event::GateSaid {
                gate: id.clone(),
                open,
                why,
            }];
        }
    }
}

/// The longest that one answer may take.
const ANSWER_SECS_MAX: u64 = 30;
