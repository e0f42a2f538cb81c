//! Judging gates: what a row of answers amounts to. Time comes in as seconds since the gate was first asked.

use crate::model::gate::{Gate, Verdict};

/// What has been heard of a gate so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watch {
    /// Since when the answer has been good without a break, in seconds since the first question.
    good_since_secs: Option<u64>,
}

impl Watch {
    /// Takes one answer in and judges.
    ///
    /// A condition that holds when the time is up, but has not held long enough, is given no more time: a deadline that
    /// moves is none.
    pub fn judge(&mut self, gate: &Gate, now_secs: u64, is_good: bool, what: &str) -> Verdict {
        self.good_since_secs = is_good.then(|| self.good_since_secs.unwrap_or(now_secs));
        let held = self.good_since_secs.map(|since| now_secs.saturating_sub(since));
        match held {
            Some(held_secs) if held_secs >= gate.stable_for_secs => Verdict::Open,
            _ if now_secs >= gate.within_secs => Verdict::Shut {
                why: shut(gate, held, what),
            },
            _ => Verdict::Wait {
                again_after_secs: gate.every_secs.min(gate.within_secs - now_secs).max(1),
                why: what.to_owned(),
            },
        }
    }
}

fn shut(gate: &Gate, held_secs: Option<u64>, what: &str) -> String {
    match held_secs {
        Some(held) => format!(
            "good for {held} s of the {} s wanted: {what}",
            gate.stable_for_secs
        ),
        None => format!("{what}, after {} s", gate.within_secs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::gate::{Check, OnDeadline};

    fn gate(within_secs: u64, stable_for_secs: u64) -> Gate {
        Gate {
            name: "g".into(),
            check: Check::Command("true".into()),
            within_secs,
            stable_for_secs,
            every_secs: 2,
            on_deadline: OnDeadline::Halt,
        }
    }

    #[test]
    fn a_gate_opens_at_the_first_good_answer_where_once_is_enough() {
        let mut watch = Watch::default();
        let wait = watch.judge(&gate(10, 0), 0, false, "no");
        assert_eq!(
            wait,
            Verdict::Wait {
                again_after_secs: 2,
                why: "no".into()
            }
        );
        assert_eq!(watch.judge(&gate(10, 0), 2, true, "yes"), Verdict::Open);
    }

    #[test]
    fn a_break_starts_the_stable_time_anew() {
        let mut watch = Watch::default();
        let gate = gate(60, 4);
        for (now, is_good) in [(0, true), (2, true), (3, false), (4, true), (7, true)] {
            assert!(
                matches!(watch.judge(&gate, now, is_good, ""), Verdict::Wait { .. }),
                "at {now}"
            );
        }
        assert_eq!(watch.judge(&gate, 8, true, ""), Verdict::Open);
    }

    #[test]
    fn a_gate_shuts_when_its_time_is_up_even_if_the_answer_has_just_become_good() {
        let mut watch = Watch::default();
        assert!(matches!(
            watch.judge(&gate(4, 10), 3, true, "up"),
            Verdict::Wait {
                again_after_secs: 1,
                ..
            }
        ));
        let shut = watch.judge(&gate(4, 10), 4, true, "up");
        assert_eq!(
            shut,
            Verdict::Shut {
                why: "good for 1 s of the 10 s wanted: up".into()
            }
        );
    }
}
