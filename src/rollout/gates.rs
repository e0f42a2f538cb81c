//! Judging gates: what a row of answers amounts to. Time comes in as seconds since the gate was first asked.

use crate::model::gate::{Gate, Verdict};

/// What has been heard of a gate so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watch {
    /// Since when the answer has been good without a break, in seconds since the first question.
    good_since_secs: Option<u64>,
    /// How often in a row the host could not be asked.
    unasked: u32,
}

/// What came of asking once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The condition holds.
    Good,
    /// It does not.
    Bad,
    /// The host could not be asked, so nobody knows.
    None,
}

/// The longest pause before a host is asked again that could not be asked.
const PAUSE_SECS_MAX: u64 = 30;

impl Watch {
    /// Takes one answer in and judges.
    ///
    /// A condition that holds when the time is up, but has not held long enough, is given no more time: a deadline that
    /// moves is none.
    ///
    /// A host that cannot be asked is asked again after pauses that double: it may be starting, and many may be. That it was good
    /// before does not count across such a gap.
    pub fn judge(&mut self, gate: &Gate, now_secs: u64, answer: Answer, what: &str) -> Verdict {
        let is_good = answer == Answer::Good;
        self.good_since_secs = is_good.then(|| self.good_since_secs.unwrap_or(now_secs));
        self.unasked = match answer {
            Answer::None => self.unasked.saturating_add(1),
            Answer::Good | Answer::Bad => 0,
        };
        let what = match answer {
            Answer::None => &format!("could not be asked: {what}"),
            Answer::Good | Answer::Bad => what,
        };
        let held = self.good_since_secs.map(|since| now_secs.saturating_sub(since));
        match held {
            Some(held_secs) if held_secs >= gate.stable_for_secs => Verdict::Open,
            _ if now_secs >= gate.within_secs => Verdict::Shut {
                why: shut(gate, held, what),
            },
            _ => Verdict::Wait {
                again_after_secs: self.pause(gate).min(gate.within_secs - now_secs).max(1),
                why: what.to_owned(),
            },
        }
    }
}

impl Watch {
    fn pause(&self, gate: &Gate) -> u64 {
        let doubled = gate.every_secs << self.unasked.saturating_sub(1).min(10);
        doubled.min(PAUSE_SECS_MAX.max(gate.every_secs))
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
        let wait = watch.judge(&gate(10, 0), 0, Answer::Bad, "no");
        assert_eq!(
            wait,
            Verdict::Wait {
                again_after_secs: 2,
                why: "no".into()
            }
        );
        assert_eq!(watch.judge(&gate(10, 0), 2, Answer::Good, "yes"), Verdict::Open);
    }

    #[test]
    fn a_break_starts_the_stable_time_anew() {
        let mut watch = Watch::default();
        let gate = gate(60, 4);
        for (now, is_good) in [(0, true), (2, true), (3, false), (4, true), (7, true)] {
            assert!(
                matches!(
                    watch.judge(&gate, now, if is_good { Answer::Good } else { Answer::Bad }, ""),
                    Verdict::Wait { .. }
                ),
                "at {now}"
            );
        }
        assert_eq!(watch.judge(&gate, 8, Answer::Good, ""), Verdict::Open);
    }

    #[test]
    fn a_gate_shuts_when_its_time_is_up_even_if_the_answer_has_just_become_good() {
        let mut watch = Watch::default();
        assert!(matches!(
            watch.judge(&gate(4, 10), 3, Answer::Good, "up"),
            Verdict::Wait {
                again_after_secs: 1,
                ..
            }
        ));
        let shut = watch.judge(&gate(4, 10), 4, Answer::Good, "up");
        assert_eq!(
            shut,
            Verdict::Shut {
                why: "good for 1 s of the 10 s wanted: up".into()
            }
        );
    }

    #[test]
    fn a_host_that_cannot_be_asked_is_asked_again_after_longer_and_longer_pauses() {
        let (mut watch, gate) = (Watch::default(), gate(100, 0));
        let mut pauses = Vec::new();
        let mut now = 0;
        while let Verdict::Wait {
            again_after_secs,
            why,
        } = watch.judge(&gate, now, Answer::None, "no route")
        {
            assert_eq!(why, "could not be asked: no route");
            pauses.push(again_after_secs);
            now += again_after_secs;
        }
        assert_eq!(pauses, [2, 4, 8, 16, 30, 30, 10]);
        let shut = watch.judge(&gate, now, Answer::None, "no route");
        let why = "could not be asked: no route, after 100 s".to_owned();
        assert_eq!(shut, Verdict::Shut { why });
        // An answer, however bad, brings the usual pause back.
        let mut watch = Watch::default();
        watch.judge(&gate, 0, Answer::None, "");
        watch.judge(&gate, 2, Answer::None, "");
        let wait = watch.judge(&gate, 6, Answer::Bad, "status 500");
        assert!(matches!(
            wait,
            Verdict::Wait {
                again_after_secs: 2,
                ..
            }
        ));
    }

    #[test]
    fn what_was_good_before_a_gap_does_not_count_after_it() {
        let (mut watch, gate) = (Watch::default(), gate(60, 4));
        for (now, answer) in [
            (0, Answer::Good),
            (2, Answer::None),
            (4, Answer::Good),
            (7, Answer::Good),
        ] {
            assert!(
                matches!(watch.judge(&gate, now, answer, ""), Verdict::Wait { .. }),
                "at {now}"
            );
        }
        assert_eq!(watch.judge(&gate, 8, Answer::Good, ""), Verdict::Open);
    }
}
