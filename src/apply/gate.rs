//! Asking a gate until it opens or its time is up.

use std::time::Duration;

use crate::model::event::{Event, GateId};
use crate::model::gate::{Gate, Verdict};
use crate::model::id::HostId;
use crate::ports::Said;
use crate::rollout::gates::Watch;

use super::crew::Crew;

impl Crew<'_, '_> {
    /// Asks a gate's question again and again. A host that does not answer has not said yes.
    pub(super) async fn ask(&self, id: &GateId, host: &HostId, gate: &Gate) -> Vec<Event> {
        let ports = &self.run.ports;
        let began = ports.clock.now();
        let mut watch = Watch::default();
        loop {
            let deadline = Duration::from_secs(gate.within_secs.clamp(1, ANSWER_SECS_MAX));
            let said = match ports.transport.ask(host, &gate.check, deadline).await {
                Ok(said) => said,
                Err(error) => Said {
                    good: false,
                    what: error.to_string(),
                },
            };
            let passed = ports.clock.now().duration_since(began).as_secs();
            let (open, why) = match watch.judge(gate, passed.unsigned_abs(), said.good, &said.what) {
                Verdict::Open => (true, said.what),
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
