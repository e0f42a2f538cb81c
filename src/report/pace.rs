//! Which word of pulls is worth a line, where each stays: few of them, however long a pull takes and however many there are.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::id::HostId;
use crate::model::pulling::Pulling;

/// How many seconds lie between two lines of one pull, at least. One that is through before that has none.
const PAUSE_SECS: i64 = 5;

/// What was said of each pull: one line for a tenth, so ten at most.
#[derive(Default)]
pub struct Pace(BTreeMap<(HostId, String), Said>);

struct Said {
    at: Timestamp,
    tenths: u64,
}

impl Pace {
    /// Says whether this word is to be passed on.
    pub fn passes(&mut self, at: Timestamp, pulling: &Pulling) -> bool {
        let tenths = pulling.layers.tenths();
        let key = (pulling.host.clone(), pulling.image.clone());
        let said = self.0.entry(key).or_insert(Said { at, tenths: 0 });
        let passes = tenths > said.tenths && at.as_second() - said.at.as_second() >= PAUSE_SECS;
        if passes {
            *said = Said { at, tenths };
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::pulling::LayersDone;

    fn word(image: &str, bytes_done: u64) -> Pulling {
        Pulling {
            host: "h1".parse().unwrap(),
            image: image.to_owned(),
            layers: LayersDone {
                layers: 3,
                bytes_done,
                bytes: 1000,
                ..LayersDone::default()
            },
        }
    }

    fn passed(secs: i64, bytes_done: impl Fn(i64) -> u64) -> usize {
        let mut pace = Pace::default();
        // Twice a second, as the transport tells.
        let times = (0..=secs * 2).map(|half| Timestamp::from_millisecond(half * 500).unwrap());
        times
            .zip(0..)
            .filter(|(at, half)| pace.passes(*at, &word("app:1", bytes_done(half / 2))))
            .count()
    }

    #[test]
    fn a_pull_has_ten_lines_at_most_and_a_brief_one_none() {
        assert_eq!(passed(4, |secs| 250 * secs as u64), 0);
        assert_eq!(passed(20, |secs| 50 * secs as u64), 4);
        assert_eq!(passed(3600, |secs| secs as u64 * 1000 / 3600), 10);
        assert_eq!(passed(3600, |_| 100), 1, "one that stands still says so once");
        // Engines learn of more bytes on the way: what was said is not said again.
        assert_eq!(passed(3600, |secs| if secs % 20 < 10 { 500 } else { 100 }), 1);
    }

    #[test]
    fn pulls_do_not_wait_for_each_other() {
        let mut pace = Pace::default();
        let at = |secs| Timestamp::from_second(secs).unwrap();
        assert!(!pace.passes(at(0), &word("a:1", 100)) && !pace.passes(at(0), &word("b:1", 100)));
        assert!(pace.passes(at(5), &word("a:1", 300)) && pace.passes(at(5), &word("b:1", 300)));
    }
}
