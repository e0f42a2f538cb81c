//! `muster render HOST`: a host as it would be, without looking.

mod tree;

use std::path::{Path, PathBuf};

use super::console::Console;
use super::context::Context;
use super::exit::Exit;
use super::global::Global;
use crate::model::code;
use crate::model::diagnostic::{Diagnostic, Diagnostics, did_you_mean};
use crate::model::id::HostId;
use crate::model::observation::FactsSeen;
use crate::plan::desire::{FactsHole, desire};
use crate::report::render::{self, Rendered, Rendering};
use crate::store;

/// Print the files and all other resources of a host as they would be, without looking
///
/// Secrets stand as references and outputs as `?`; no secret is read. Facts come from a recording, kept with `muster plan --record FILE`.
/// With --out a tree is written that can be compared from one commit to the next.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The host
    host: HostId,
    /// Write a tree here: files/ with the files, resources.txt with everything else
    #[arg(long, value_name = "DIR", conflicts_with_all = ["path", "json"])]
    out: Option<PathBuf>,
    /// Write into a folder that holds files of others, too
    #[arg(long, requires = "out")]
    force: bool,
    /// Only what has this name or path; the text alone where it is a file
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Take the facts from what the hosts said before, kept with `muster plan --record FILE`
    #[arg(long, value_name = "FILE")]
    recorded: Option<PathBuf>,
}

impl Args {
    /// Runs the verb.
    pub(super) fn run(self, global: &Global, console: &mut Console) -> Exit {
        self.render(global, console).unwrap_or_else(|exit| exit)
    }

    fn render(&self, global: &Global, console: &mut Console) -> Result<Exit, Exit> {
        let context = Context::load(global, console)?;
        if !context.inventory.hosts.contains_key(&self.host) {
            console.error(&format!("there is no host `{}`", self.host));
            let names = context.inventory.hosts.keys().map(HostId::as_str);
            did_you_mean(self.host.as_str(), names)
                .iter()
                .for_each(|hint| console.note(&format!("hint: {hint}")));
            return Err(Exit::Error);
        }
        let facts = self.facts(&context, console)?;
        let resolved = context.resolve(&mut Diagnostics::default());
        let wished = desire(&context.inventory, &context.modules, &resolved, &facts);
        let mut found = wished.diagnostics;
        let holes = wished.facts_holes.iter().filter(|hole| hole.host == self.host);
        found.extend(holes.map(|hole| self.hole(hole)));
        console.diagnostics(&found, &context.sources_with(&wished.sources));
        let entries = wished
            .desired
            .hosts
            .get(&self.host)
            .into_iter()
            .flat_map(|host| &host.entries);
        let resources = entries.map(|(key, entry)| Rendered {
            key: key.clone(),
            spec: entry.spec.encode(),
            needs: entry.needs.clone(),
            modules: entry.modules.clone(),
            origins: entry.origins.clone(),
        });
        let rendering = Rendering {
            host: self.host.clone(),
            resources: resources.collect(),
        };
        match &self.out {
            // Half a tree would look like deletions.
            Some(_) if found.has_errors() => console.note("Nothing was written."),
            Some(folder) => self.write(&rendering, folder, console)?,
            None => self.print(rendering, console)?,
        }
        Ok(if found.has_errors() {
            Exit::Error
        } else {
            Exit::Done
        })
    }

    fn facts(&self, context: &Context, console: &mut Console) -> Result<FactsSeen, Exit> {
        let Some(path) = &self.recorded else {
            return Ok(FactsSeen::default());
        };
        let seen = store::recorded::load(path).map_err(|error| {
            let mut found = Diagnostics::default();
            found.push(error.diagnostic());
            console.diagnostics(&found, &context.sources);
            Exit::Error
        })?;
        Ok(super::survey::recorded_facts(&seen))
    }

    fn hole(&self, hole: &FactsHole) -> Diagnostic {
        let message = format!(
            "module `{}` reads a fact of `{}` here, and nobody looks",
            hole.module, hole.wanted
        );
        let record = format!("muster plan -l {} --record seen.json", hole.wanted);
        let hint = match &self.recorded {
            Some(path) => format!("`{}` has no facts of that host: `{record}`", path.display()),
            None => format!(
                "`{record}`, then `muster render {} --recorded seen.json`",
                self.host
            ),
        };
        Diagnostic::error(code::FACT_NOT_RECORDED, message)
            .at(hole.place.clone(), "this fact")
            .hint(hint)
    }

    fn print(&self, mut rendering: Rendering, console: &mut Console) -> Result<(), Exit> {
        if let Some(path) = &self.path {
            let names: Vec<String> = rendering
                .resources
                .iter()
                .map(|rendered| rendered.key.name.clone())
                .collect();
            let is_named =
                |rendered: &Rendered| rendered.key.name == *path || rendered.key.to_string() == *path;
            rendering.resources.retain(is_named);
            if rendering.resources.is_empty() {
                console.error(&format!("`{}` has no resource `{path}`", self.host));
                did_you_mean(path, names.iter().map(String::as_str))
                    .iter()
                    .for_each(|hint| console.note(&format!("hint: {hint}")));
                return Err(Exit::Error);
            }
        }
        if console.is_json() {
            console.begin_json("render");
            for rendered in &rendering.resources {
                console.object(&render::json(&rendering, rendered));
            }
            return Ok(());
        }
        match (&self.path, rendering.resources.as_slice()) {
            (Some(_), [one]) if one.content().is_some() => console.data(&one.content().unwrap_or_default()),
            (_, _) => console.page(&render::page(&rendering)),
        }
        Ok(())
    }

    fn write(&self, rendering: &Rendering, folder: &Path, console: &mut Console) -> Result<(), Exit> {
        let files = rendering.resources.iter().filter_map(|rendered| {
            let name = rendered.key.name.trim_start_matches('/');
            Some((format!("files/{name}"), rendered.content()?))
        });
        let listing = ("resources.txt".to_owned(), render::listing(rendering));
        let files: Vec<(String, String)> = files.chain([listing]).collect();
        tree::write(folder, &files, self.force).map_err(|error| {
            console.error(&super::chain(&error));
            if matches!(error, tree::TreeError::NotOurs(_)) {
                console.note("hint: name a folder of its own, or say `--force`: then what has the same name is replaced");
            }
            Exit::Error
        })?;
        console.note(&format!("{} files written: {}", files.len(), folder.display()));
        Ok(())
    }
}
