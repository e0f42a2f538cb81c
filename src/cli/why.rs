//! `muster why HOST KEY`: every layer that set a value.

use serde_json::json;

use super::console::Console;
use super::context::Context;
use super::exit::Exit;
use super::global::Global;
use crate::model::diagnostic::{Diagnostics, did_you_mean};
use crate::model::id::{HostId, ModuleName};
use crate::plan::values::{LayerValue, Resolved, Valued};

/// Print every layer that set a value on a host, and which one won
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The host
    host: HostId,
    /// The value: an input's name, or MODULE.INPUT where several modules have it
    key: String,
}

/// An input of the host that answers to the key.
type Found<'r, 'a> = (&'a ModuleName, &'r str, &'r Valued<'a>);

impl Args {
    /// Runs the verb.
    pub(super) fn run(self, global: &Global, console: &mut Console) -> Exit {
        let context = match Context::read(global, console) {
            Ok(context) => context,
            Err(exit) => return exit,
        };
        // Mistakes elsewhere are no reason not to answer: this verb is for finding them.
        let resolved = context.resolve(&mut Diagnostics::default());
        if !context.inventory.hosts.contains_key(&self.host) {
            let names = context.inventory.hosts.keys().map(HostId::as_str);
            return refuse(
                console,
                &format!("there is no host `{}`", self.host),
                did_you_mean(self.host.as_str(), names),
            );
        }
        let found = self.find(&resolved);
        if found.is_empty() {
            let inputs: Vec<&str> = resolved
                .modules_of(&self.host)
                .flat_map(|(_, inputs)| inputs.keys().copied())
                .collect();
            let message = format!("no module on `{}` has a value `{}`", self.host, self.key);
            return refuse(console, &message, did_you_mean(&self.key, inputs));
        }
        match console.is_json() {
            true => self.print_json(&found, console),
            false => found.iter().for_each(|found| console.text(&self.text(found))),
        }
        Exit::Done
    }

    fn find<'r, 'a>(&self, resolved: &'r Resolved<'a>) -> Vec<Found<'r, 'a>> {
        let inputs = resolved
            .modules_of(&self.host)
            .flat_map(|(module, inputs)| inputs.iter().map(move |(input, valued)| (module, *input, valued)));
        inputs
            .filter(|(module, input, _)| *input == self.key || format!("{module}.{input}") == self.key)
            .collect()
    }

    fn text(&self, (module, input, valued): &Found<'_, '_>) -> String {
        let mut text = format!("{}: {module}.{input}\n", self.host);
        if valued.layers.is_empty() {
            text.push_str("    nobody set it, and it may be left out\n");
        }
        let rows: Vec<[String; 3]> = valued.layers.iter().map(row).collect();
        let width = |column: usize| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let (layers, values) = (width(0), width(1));
        for ([layer, value, place], said) in rows.iter().zip(&valued.layers) {
            let mark = if said.won { "→" } else { " " };
            text.push_str(&format!("  {mark} {layer:layers$}  {value:values$}  {place}\n"));
        }
        text
    }

    fn print_json(&self, found: &[Found<'_, '_>], console: &mut Console) {
        console.begin_json("why");
        for (module, input, valued) in found {
            for said in &valued.layers {
                console.object(&json!({
                    "type": "layer", "host": self.host, "module": module, "input": input, "layer": said.layer.to_string(),
                    "value": said.shown(), "place": said.place, "variable": said.variable, "won": said.won,
                }));
            }
        }
    }
}

fn row(said: &LayerValue<'_>) -> [String; 3] {
    let place = match (said.place, said.variable) {
        (Some(place), _) => place.to_string(),
        (None, Some(variable)) => variable.to_owned(),
        (None, None) => "command line".to_owned(),
    };
    [said.layer.to_string(), said.shown(), place]
}

fn refuse(console: &Console, message: &str, hint: Option<String>) -> Exit {
    console.error(message);
    if let Some(hint) = hint {
        console.note(&format!("hint: {hint}"));
    }
    Exit::Error
}
