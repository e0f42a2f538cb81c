//! Trouble: a failed rendering becomes a wish for facts, a held host, or a diagnostic that names the line to mend.

use crate::model::code;
use crate::model::diagnostic::{Diagnostic, Place, did_you_mean};
use crate::model::id::HostId;
use crate::model::inventory::{Host, Use};
use crate::model::module::Module;
use crate::plan::scope::FACTS_WANTED;
use crate::plan::template::RenderError;

use super::{FactsHole, Wish};

impl<'a> Wish<'a> {
    /// Turns a failed rendering into a request for facts, a held host, or a diagnostic.
    pub(super) fn fail(
        &mut self,
        host: &Host,
        used: &Use,
        module: &Module,
        error: &RenderError,
        place: &Place,
    ) {
        if let Some(wanted) = error.message.strip_prefix(FACTS_WANTED) {
            let Ok(wanted) = wanted.parse::<HostId>() else {
                return;
            };
            match self.facts.lost.get(&wanted) {
                Some(why) => {
                    let held = format!("its templates read facts of `{wanted}`, which did not answer: {why}");
                    self.wished.desired.hosts.entry(host.id.clone()).or_default().held = Some(held);
                }
                None => {
                    let place = in_template(module, error).unwrap_or_else(|| place.clone());
                    self.wished.facts_holes.push(FactsHole {
                        host: host.id.clone(),
                        module: module.name.clone(),
                        wanted: wanted.clone(),
                        place,
                    });
                    self.wished.facts_wanted.insert(wanted);
                }
            }
            return;
        }
        let message = format!(
            "cannot render module `{}` for `{}`: {}",
            module.name, host.id, error.message
        );
        let template = in_template(module, error);
        let (mend, said) = self.mend(
            host,
            used,
            module,
            error.names().find(|name| module.has_input(name)),
        );
        let mut diagnostic = Diagnostic::error(code::TEMPLATE, message);
        diagnostic = match template {
            Some(place) => diagnostic.at(place, "in this template").and(mend, said),
            None => diagnostic.at(place.clone(), "here").and(mend, said),
        };
        if error.is_undefined {
            let names = module.inputs.iter().map(|input| input.name.as_str());
            let names = names.chain(module.derived.iter().map(|derived| derived.name.as_str()));
            let word = error.names().next().unwrap_or_default();
            let hint = did_you_mean(word, names).unwrap_or_else(|| {
                format!(
                    "declare `{word}` under [inputs] of {}, or mend the template",
                    module.file
                )
            });
            diagnostic = diagnostic.hint(hint);
        }
        self.wished.diagnostics.push(diagnostic);
    }

    /// Returns the inventory line to mend: where the input is set, else where the module is used.
    pub(super) fn mend(
        &self,
        host: &Host,
        used: &Use,
        module: &Module,
        input: Option<&str>,
    ) -> (Place, String) {
        let set = input.and_then(|input| self.resolved.of(&host.id, &module.name)?.get(input)?.place());
        match (set, input) {
            (Some(place), Some(input)) => (place.clone(), format!("`{input}` is set here")),
            (_, Some(input)) => (
                used.origin.clone(),
                format!("used here, where nothing sets `{input}`"),
            ),
            (_, None) => (used.origin.clone(), "used here".to_owned()),
        }
    }
}

/// Returns the place within a template file at which rendering failed.
fn in_template(module: &Module, error: &RenderError) -> Option<Place> {
    let text = module.templates.get(error.template.as_ref()?)?;
    Some(Place::in_text(
        &text.file,
        &text.text,
        error.line?,
        error.range.clone(),
    ))
}
