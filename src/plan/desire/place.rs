//! Places of mistakes in rendered texts: the line of the template where that can be told, else the rendered text itself.

use std::collections::BTreeMap;

use crate::model::diagnostic::{Diagnostic, Label, Place, Sources};
use crate::model::id::HostId;
use crate::model::module::Module;

/// Where a project's rendered texts come from.
pub(super) struct Origins<'a> {
    pub(super) host: &'a HostId,
    pub(super) module: &'a Module,
    /// The template of each text, by the path under which the text is known.
    pub(super) templates: &'a BTreeMap<String, String>,
    /// The table that declares the project.
    pub(super) table: &'a Place,
}

impl Origins<'_> {
    /// Returns a diagnostic that points to what people wrote. `shown` has the rendered texts; one that must be shown itself is added
    /// to `sources` under a name that says for whom it was rendered.
    pub(super) fn place(
        &self,
        mut diagnostic: Diagnostic,
        shown: &Sources,
        sources: &mut Sources,
    ) -> Diagnostic {
        let labels = diagnostic.place.iter_mut().chain(&mut diagnostic.others);
        for label in labels {
            self.turn(label, shown, sources);
        }
        match diagnostic.place {
            None => diagnostic.at(self.table.clone(), "declared here"),
            Some(_) => diagnostic.and(self.table.clone(), "read for this table"),
        }
    }

    fn turn(&self, label: &mut Label, shown: &Sources, sources: &mut Sources) {
        let Some(text) = shown.text(&label.place.file) else {
            return;
        };
        let template = self.templates.get(&label.place.file);
        let template = template.and_then(|name| self.module.templates.get(name));
        let found =
            template.and_then(|template| in_template(&template.file, &template.text, text, &label.place));
        match found {
            Some(place) => label.place = place,
            None => {
                let name = format!("{} as rendered for {}", label.place.file, self.host);
                sources.add(name.clone(), text.clone());
                label.place.file = name;
            }
        }
    }
}

/// Finds the one line of a template that became the line of a place.
fn in_template(file: &str, template: &str, rendered: &str, place: &Place) -> Option<Place> {
    let line = rendered.lines().nth(place.line.checked_sub(1)?)?;
    let mut starts = 0;
    let lines = template.split_inclusive('\n').map(|text| {
        let start = starts;
        starts += text.len();
        (start, text.trim_end_matches(['\n', '\r']))
    });
    let lines: Vec<(usize, &str)> = lines.collect();
    let same = lines.iter().filter(|(_, text)| *text == line);
    let could = lines.iter().filter(|(_, text)| became(text, line));
    let (start, text) = only(same).or_else(|| only(could))?;
    let number = lines.partition_point(|(begin, _)| begin <= start);
    let within = place.column.saturating_sub(1);
    let indent = text.len() - text.trim_start().len();
    let span = match *text == line {
        // The very place.
        true => {
            let from = text.char_indices().nth(within).map_or(text.len(), |(at, _)| at);
            let length = place.span.as_ref().map_or(1, |span| span.len());
            start + from..start + text.len().min(from + length.max(1))
        }
        false => start + indent..start + text.trim_end().len(),
    };
    let mut sources = Sources::default();
    sources.add(file, template);
    let place = sources.place(file, span);
    debug_assert_eq!(place.line, number);
    Some(place)
}

fn only<'l>(mut lines: impl Iterator<Item = &'l (usize, &'l str)>) -> Option<&'l (usize, &'l str)> {
    let first = lines.next()?;
    lines.next().is_none().then_some(first)
}

/// Says whether a template's line can have become a text: its own words stand there in their order.
fn became(template: &str, text: &str) -> bool {
    if !template.contains("{{") {
        return false;
    }
    let mut own = Vec::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        own.push(before);
        rest = after.split_once("}}").map_or("", |(_, after)| after);
    }
    own.push(rest);
    let (Some(first), Some(last)) = (own.first(), own.last()) else {
        return false;
    };
    // A line that is nothing but an expression could have become anything.
    if own.iter().all(|part| part.trim().is_empty()) {
        return false;
    }
    let Some(mut left) = text.strip_prefix(first) else {
        return false;
    };
    for part in &own[1..own.len() - 1] {
        match left.split_once(part) {
            Some((_, after)) => left = after,
            None => return false,
        }
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "services:\n  api:\n    image: {{ image }}\n{% if gpu %}\n    runtime: nvidia\n{% endif %}\n    portz: [\"80\"]\n";
    const RENDERED: &str = "services:\n  api:\n    image: app:1\n    runtime: nvidia\n    portz: [\"80\"]\n";

    fn placed(rendered: &str, what: &str) -> Option<(usize, usize, String)> {
        let mut sources = Sources::default();
        sources.add("c.yml", rendered);
        let at = rendered.find(what).unwrap();
        let place = sources.place("c.yml", at..at + what.len());
        let place = in_template("t.j2", TEMPLATE, rendered, &place)?;
        let text = TEMPLATE[place.span.clone().unwrap()].to_owned();
        Some((place.line, place.column, text))
    }

    #[test]
    fn line_that_stands_in_the_template_is_pointed_to_there() {
        assert_eq!(placed(RENDERED, "portz"), Some((7, 5, "portz".to_owned())));
        assert_eq!(placed(RENDERED, "nvidia"), Some((5, 14, "nvidia".to_owned())));
    }

    #[test]
    fn line_with_an_expression_is_found_by_its_own_words() {
        assert_eq!(
            placed(RENDERED, "app:1"),
            Some((3, 5, "image: {{ image }}".to_owned()))
        );
    }

    #[test]
    fn line_that_could_be_of_several_is_shown_as_rendered() {
        let rendered = RENDERED.replace("runtime: nvidia", "made: up");
        assert_eq!(placed(&rendered, "made"), None);
    }
}
