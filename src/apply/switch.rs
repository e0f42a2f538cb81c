//! Changes under a host's dead-man switch: arming it, making them, and a new login that confirms them. Whatever fails, the
//! host takes everything back by itself; what became of it is asked, never assumed.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::change::Change;
use crate::model::event::Event;
use crate::model::id::{HostId, ResourceId};
use crate::ports::{Arming, Outcome, PerformError, SwitchState};

use super::crew::{Crew, Then};
use super::perform::{broken, failed};
use super::verify::Outputs;

/// The pause between two attempts to log in, and between two questions.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a host may take to put everything back and be reached again, after the time for a new login is over.
const PUTTING_BACK_SECS: i64 = 180;
/// As above, for a host that is perhaps only down: a later resume asks again.
const SETTLING_SECS: i64 = 30;

impl Crew<'_, '_> {
    /// Arms a host's switch for changes. `is_again` says that one of them began before: then the host is looked at first, and
    /// where all are as declared nothing is done.
    pub(super) async fn arm(
        &self,
        host: &HostId,
        ids: &[ResourceId],
        is_again: bool,
        outputs: Outputs,
    ) -> Vec<Event> {
        let outputs = self.with_manifests(outputs);
        let changes: Vec<&Change> = ids.iter().map(|id| self.change(id)).collect();
        if is_again {
            match self.look_again(host, &changes).await {
                Ok(outcome)
                    if self
                        .first_unsettled(host, &changes, &outcome, &outputs, false)
                        .is_none() =>
                {
                    return self
                        .settle(host, &changes, &outcome, &outputs, false, Then::Stay)
                        .await
                        .0;
                }
                Ok(_) => {}
                Err(error) => return changes.iter().map(|change| failed(change, &error)).collect(),
            }
        }
        let within_secs = self.within_secs(host);
        let armed = match self.arming(host, &changes) {
            Ok(request) => self.run.ports.transport.arm(host, &request).await,
            Err(why) => Err(PerformError::Fenced(why)),
        };
        match armed {
            Ok(()) => vec![Event::Armed {
                host: host.clone(),
                changes: ids.to_vec(),
                within_secs,
            }],
            // Nothing was changed yet, whatever became of the switch.
            Err(error) => changes
                .iter()
                .map(|change| {
                    let why = format!("the dead-man switch could not be armed: {}", said(&error));
                    broken(change, why, false)
                })
                .collect(),
        }
    }

    /// Makes changes under an armed switch, and confirms them by a new login.
    pub(super) async fn switched(&self, host: &HostId, ids: &[ResourceId], outputs: Outputs) -> Vec<Event> {
        let outputs = self.with_manifests(outputs);
        let changes: Vec<&Change> = ids.iter().map(|id| self.change(id)).collect();
        let over_at = self.over_at(host);
        let made = match self.prepared(host, &changes, &outputs).await {
            Ok(mut call) => {
                call.is_under_switch = true;
                self.run.ports.transport.perform(host, &call).await
            }
            Err(why) => return self.take_back(host, &changes, &why, over_at).await,
        };
        let is_seen = made.is_ok();
        let outcome = match made {
            Ok(outcome) => outcome,
            // The connection may be what was cut: whether all was done is seen over another.
            Err(error @ (PerformError::Unknown { .. } | PerformError::Reach(_))) => {
                match self.look_until(host, &changes, over_at).await {
                    Some(outcome) => outcome,
                    None => return self.hear(host, &changes, &said(&error), over_at).await,
                }
            }
            Err(error @ (PerformError::Failed { .. } | PerformError::Fenced(_))) => {
                return self.take_back(host, &changes, &said(&error), over_at).await;
            }
        };
        if let Some(why) = self.first_unsettled(host, &changes, &outcome, &outputs, is_seen) {
            return self.take_back(host, &changes, &why, over_at).await;
        }
        let (state, last) = self.log_in(host, over_at).await;
        let why = format!("no new login within {} s{last}", self.within_secs(host));
        match state {
            SwitchState::Confirmed => self.keep(host, &changes, &outcome, &outputs, is_seen).await,
            SwitchState::Armed => self.hear(host, &changes, &why, over_at).await,
            state @ (SwitchState::Restored { .. } | SwitchState::None) => {
                self.settled(host, &changes, state, &why)
            }
        }
    }

    /// Finds out what became of a switch that an earlier session left. One that is still armed is not confirmed now: nobody
    /// knows whether all was done.
    pub(super) async fn settle_switch(&self, host: &HostId) -> Vec<Event> {
        let within = i64::try_from(self.within_secs(host)).unwrap_or(i64::MAX);
        let until = self.after(within.saturating_add(SETTLING_SECS));
        let transport = &self.run.ports.transport;
        let mut is_asked = false;
        loop {
            let stands = match transport.switch(host, &self.run.id).await {
                Ok(SwitchState::Armed) if !is_asked => {
                    is_asked = transport.put_back(host, &self.run.id).await.is_ok();
                    Ok(SwitchState::Armed)
                }
                stands => stands,
            };
            let event = match stands {
                Ok(SwitchState::None) => Some(Event::Unarmed { host: host.clone() }),
                Ok(SwitchState::Confirmed) => Some(Event::Confirmed { host: host.clone() }),
                Ok(SwitchState::Restored { trouble }) => Some(Event::Restored {
                    host: host.clone(),
                    why: "the run was broken off before a new login confirmed it".to_owned(),
                    trouble,
                }),
                Ok(SwitchState::Armed) if self.is_over(until) => {
                    Some(self.unsettled(host, "its dead-man switch is still armed"))
                }
                Err(error) if self.is_over(until) => Some(self.unsettled(host, &error.to_string())),
                Ok(SwitchState::Armed) | Err(_) => None,
            };
            if let Some(event) = event {
                return vec![event];
            }
            self.run.ports.clock.sleep(PAUSE).await;
        }
    }

    fn unsettled(&self, host: &HostId, why: &str) -> Event {
        Event::Unsettled {
            host: host.clone(),
            why: why.to_owned(),
        }
    }

    /// Tries to log in anew until the switch is settled or the time for it is over, and says what hindered it last.
    async fn log_in(&self, host: &HostId, over_at: Timestamp) -> (SwitchState, String) {
        let mut last = String::new();
        loop {
            match self.run.ports.transport.confirm(host, &self.run.id).await {
                Ok(SwitchState::Armed) => {}
                Ok(state) => return (state, last),
                Err(error) => last = format!(": {error}"),
            }
            if self.is_over(over_at) {
                return (SwitchState::Armed, last);
            }
            self.run.ports.clock.sleep(PAUSE).await;
        }
    }

    /// Looks at changes again until the host answers or the time is over.
    async fn look_until(&self, host: &HostId, changes: &[&Change], over_at: Timestamp) -> Option<Outcome> {
        while !self.is_over(over_at) {
            if let Ok(outcome) = self.look_again(host, changes).await {
                return Some(outcome);
            }
            self.run.ports.clock.sleep(PAUSE).await;
        }
        None
    }

    /// Has the host put everything back at once, and waits for it.
    async fn take_back(
        &self,
        host: &HostId,
        changes: &[&Change],
        why: &str,
        over_at: Timestamp,
    ) -> Vec<Event> {
        // If it does not hear this, its timer comes.
        drop(self.run.ports.transport.put_back(host, &self.run.id).await);
        self.hear(host, changes, why, over_at).await
    }

    /// Waits until the host says how its switch was settled. Without an answer nobody knows how far it is.
    async fn hear(&self, host: &HostId, changes: &[&Change], why: &str, over_at: Timestamp) -> Vec<Event> {
        let until = over_at + jiff::SignedDuration::from_secs(PUTTING_BACK_SECS);
        loop {
            let last = match self.run.ports.transport.switch(host, &self.run.id).await {
                Ok(SwitchState::Armed) => "its dead-man switch is still armed".to_owned(),
                Ok(state) => return self.settled(host, changes, state, why),
                Err(error) => error.to_string(),
            };
            if self.is_over(until) {
                let why = format!("{why}; and the host does not say that it put everything back: {last}");
                return changes
                    .iter()
                    .map(|change| broken(change, why.clone(), true))
                    .collect();
            }
            self.run.ports.clock.sleep(PAUSE).await;
        }
    }

    fn settled(&self, host: &HostId, changes: &[&Change], state: SwitchState, why: &str) -> Vec<Event> {
        match state {
            SwitchState::Restored { trouble } => vec![Event::Restored {
                host: host.clone(),
                why: why.to_owned(),
                trouble,
            }],
            // Somebody confirmed what failed here, or took the host's records away: neither is what this run brought about.
            SwitchState::Confirmed | SwitchState::None | SwitchState::Armed => changes
                .iter()
                .map(|change| broken(change, format!("{why}; and its dead-man switch is gone"), true))
                .collect(),
        }
    }

    /// Records changes that were confirmed. Without contact for a while the lease is over; nobody else can have had the host.
    async fn keep(
        &self,
        host: &HostId,
        changes: &[&Change],
        outcome: &Outcome,
        outputs: &Outputs,
        is_seen: bool,
    ) -> Vec<Event> {
        let mut events = vec![Event::Confirmed { host: host.clone() }];
        let fence = self.claims.hold_on(host).await.ok().flatten();
        events.extend(fence.map(|fence| Event::Locked {
            host: host.clone(),
            token: fence.token,
            lineage: None,
        }));
        let (settled, rest) = self
            .settle(host, changes, outcome, outputs, is_seen, Then::Stay)
            .await;
        events.extend(settled);
        events.extend(rest.into_iter().map(|(change, why)| broken(change, why, false)));
        events
    }

    fn first_unsettled(
        &self,
        host: &HostId,
        changes: &[&Change],
        outcome: &Outcome,
        outputs: &Outputs,
        is_seen: bool,
    ) -> Option<String> {
        changes.iter().find_map(|change| {
            let error = self.verified(host, change, outcome, outputs, is_seen).err()?;
            Some(format!("{} {error}", change.target.key))
        })
    }

    fn arming(&self, host: &HostId, changes: &[&Change]) -> Result<Arming, String> {
        let switch = self.run.plan.switches.get(host);
        let switch = switch.ok_or_else(|| format!("the plan has no dead-man switch for {host}"))?;
        let keys = changes.iter().flat_map(|change| {
            let key = change.target.key.clone();
            std::iter::once(key).chain(change.keep.moved_from.clone())
        });
        Ok(Arming {
            fence: self.fence(host)?,
            within_secs: switch.within_secs,
            restores: switch.restores.clone(),
            entries: keys.collect(),
        })
    }

    fn with_manifests(&self, mut outputs: Outputs) -> Outputs {
        outputs.extend(self.outputs_in_manifests());
        outputs
    }

    fn within_secs(&self, host: &HostId) -> u64 {
        let switch = self.run.plan.switches.get(host);
        switch.map_or(0, |switch| switch.within_secs)
    }

    fn over_at(&self, host: &HostId) -> Timestamp {
        self.after(i64::try_from(self.within_secs(host)).unwrap_or(i64::MAX))
    }

    fn after(&self, secs: i64) -> Timestamp {
        let wait = jiff::SignedDuration::from_secs(secs);
        let now = self.run.ports.clock.now();
        now.checked_add(wait).unwrap_or(Timestamp::MAX)
    }

    fn is_over(&self, at: Timestamp) -> bool {
        self.run.ports.clock.now() >= at
    }
}

/// Says what failed, with the last lines that the host said.
fn said(error: &PerformError) -> String {
    match error {
        PerformError::Failed { tail, .. } if !tail.is_empty() => format!("{error}: {}", tail.join(" / ")),
        error => error.to_string(),
    }
}
