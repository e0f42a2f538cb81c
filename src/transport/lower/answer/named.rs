//! What the look's programs said of packages and units.

use std::collections::BTreeMap;

use crate::model::observation::Answer;

use super::super::look::{self, Classes};
use super::super::reply::Reply;
use super::{good, not_as_asked};

/// Answers by name.
pub(super) struct Named {
    answers: BTreeMap<String, Answer>,
}

impl Named {
    pub(super) fn answer(&self, name: &str) -> Answer {
        self.answers.get(name).cloned().unwrap_or_else(not_as_asked)
    }
}

pub(super) fn packages(classes: &Classes<'_>, reply: &Reply) -> Named {
    let mut answers = BTreeMap::new();
    let chunks = look::chunks(&classes.packages);
    for (chunk, said) in chunks.iter().zip(reply.all("package")) {
        // dpkg-query says 1 where it does not know some of the names, and 2 where it cannot read its database.
        if said.status > 1 {
            answers.extend(
                chunk
                    .iter()
                    .map(|name| (name.to_string(), Answer::NoAnswer(said.why()))),
            );
            continue;
        }
        let text = said.text();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
        let is_unknown = |name: &str| said.errors.lines().any(|line| is_no_match(line, name));
        answers.extend(
            chunk
                .iter()
                .map(|name| (name.to_string(), package(name, &lines, is_unknown(name)))),
        );
    }
    Named { answers }
}

/// Tells whether dpkg-query says here that it does not know a name.
fn is_no_match(line: &str, name: &str) -> bool {
    let line = line.to_ascii_lowercase();
    line.split_once("no packages found matching ")
        .is_some_and(|(_, unknown)| unknown.trim_end_matches('.') == name.to_ascii_lowercase())
}

fn package(name: &str, lines: &[Vec<&str>], is_unknown: bool) -> Answer {
    let (plain, wanted_arch) = match name.split_once(':') {
        Some((plain, arch)) => (plain, Some(arch)),
        None => (name, None),
    };
    let mut fitting: Vec<&[&str]> = lines
        .iter()
        .filter_map(|line| match line.as_slice() {
            [package, arch, states @ ..]
                if *package == plain && wanted_arch.is_none_or(|wanted| wanted == *arch) =>
            {
                Some(states)
            }
            _ => None,
        })
        .collect();
    // Of several architectures the one that is installed counts.
    fitting.sort_by_key(|states| states.get(1) != Some(&"installed"));
    match fitting.first() {
        Some(states) => good(states.join("\t") + "\n"),
        None if is_unknown => good(""),
        None => not_as_asked(),
    }
}

pub(super) fn units(classes: &Classes<'_>, reply: &Reply) -> Named {
    let mut answers = BTreeMap::new();
    let chunks = look::chunks(&classes.units);
    for (chunk, said) in chunks.iter().zip(reply.all("unit")) {
        let text = said.text();
        let blocks: Vec<&str> = text
            .split("\n\n")
            .filter(|block| !block.trim().is_empty())
            .collect();
        // One block for each name, in their order; the Id may be another name of the same unit.
        let fitting = |index: usize| (blocks.len() == chunk.len()).then(|| blocks[index]);
        answers.extend(chunk.iter().enumerate().map(|(index, name)| {
            let answer = match fitting(index) {
                Some(block) if !block.starts_with("Failed=") => good(format!("{}\n", block.trim_end())),
                Some(_) | None => Answer::NoAnswer(said.why()),
            };
            (name.to_string(), answer)
        }));
    }
    Named { answers }
}
