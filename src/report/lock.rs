//! Who has which host.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::line::{Line, Page, Tone};
use crate::model::holder::{Grip, Holder};
use crate::model::id::HostId;

/// What is known of a host: who has it, if anybody; or why that is not known.
pub type Standing = Result<Option<Holder>, String>;

/// Tells who has which host.
pub fn page(standings: &BTreeMap<HostId, Standing>) -> Page {
    let width = standings
        .keys()
        .map(|host| host.as_str().len())
        .max()
        .unwrap_or(0);
    let lines = standings.iter().map(|(host, standing)| {
        let (tone, text) = match standing {
            Ok(None) => (Tone::Muted, "free".to_owned()),
            Ok(Some(holder)) => (tone(holder.grip), holder.to_string()),
            Err(why) => (Tone::Warn, format!("not known: {why}")),
        };
        Line::new(tone, 0, format!("{:width$}  {text}", host.as_str()))
    });
    Page {
        title: Line::new(Tone::Head, 0, "Who has which host"),
        lines: lines.collect(),
        sum: Line::new(Tone::Plain, 0, sum(standings)),
    }
}

fn tone(grip: Grip) -> Tone {
    match grip {
        Grip::Reserved | Grip::Locked | Grip::Busy => Tone::Change,
        Grip::Held | Grip::Armed => Tone::Warn,
    }
}

fn sum(standings: &BTreeMap<HostId, Standing>) -> String {
    let count = |is: &dyn Fn(&Standing) -> bool| standings.values().filter(|standing| is(standing)).count();
    let had =
        |grip: Grip| move |standing: &Standing| matches!(standing, Ok(Some(holder)) if holder.grip == grip);
    let parts = [
        (count(&|standing| matches!(standing, Ok(None))), "free"),
        (count(&had(Grip::Reserved)), Grip::Reserved.word()),
        (count(&had(Grip::Locked)), Grip::Locked.word()),
        (count(&had(Grip::Armed)), Grip::Armed.word()),
        (count(&had(Grip::Held)), Grip::Held.word()),
        (count(&had(Grip::Busy)), Grip::Busy.word()),
        (count(&Result::is_err), "not known"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    match parts.as_slice() {
        [] => "No hosts.".to_owned(),
        parts => format!("{}.", parts.join(", ")),
    }
}

/// Returns one host's object.
pub fn json(host: &HostId, standing: &Standing) -> Value {
    match standing {
        Ok(None) => json!({ "type": "host", "host": host, "state": "free" }),
        Ok(Some(holder)) => json!({
            "type": "host",
            "host": host,
            "state": holder.grip.word(),
            "run": holder.run,
            "who": holder.who,
            "age_secs": holder.age_secs,
            "reason": holder.reason,
        }),
        Err(why) => json!({ "type": "host", "host": host, "state": "unknown", "why": why }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_has_its_line_and_nothing_acts_on_the_terminal() {
        let held = Holder {
            grip: Grip::Held,
            run: None,
            who: "bob@desk".to_owned(),
            age_secs: 7200,
            reason: Some("disk\u{1b}[2J swap".to_owned()),
        };
        let standings: BTreeMap<HostId, Standing> = [
            ("h1", Ok(None)),
            ("val-2", Ok(Some(held))),
            ("h3", Err("no route".to_owned())),
        ]
        .into_iter()
        .map(|(host, standing)| (host.parse().expect("a name"), standing))
        .collect();
        assert_eq!(
            page(&standings).plain(),
            "h1     free\nh3     not known: no route\nval-2  held by bob@desk for 2 h: disk\\u{1b}[2J swap\n\
             1 free, 1 held, 1 not known.\n"
        );
    }
}
