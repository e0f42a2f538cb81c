//! `muster pin`: which digests the images' names mean, kept beside the inventory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::json;

use super::console::Console;
use super::context::Context;
use super::exit::Exit;
use super::global::Global;
use super::survey::{self, Declared, Options};
use crate::load;
use crate::model::diagnostic::did_you_mean;
use crate::model::id::HostId;
use crate::model::registry::{Images, LOCK_FORMAT, Lock, is_pinned};
use crate::model::selector::fits;
use crate::plan::desire::Named;
use crate::ports::{Registries as _, Untold};
use crate::report::escape;
use crate::store;
use crate::transport::fleet::FleetTransport;

/// What stands at the head of the file.
const HEAD: &str =
    "# Which image each name means. Written by `muster pin`; it belongs into version control.\n";

/// Ask registries which digests the images' names mean, and keep the digests beside the inventory
///
/// Images are those that modules name, without a digest of their own. Each is asked for by the engine of a host that has it: over its network, with its
/// mirrors, where `[registries]` say it comes from. The digests go into INVENTORY.images.lock; from then on plans name images by them, until they are
/// asked for again with --update. Names that nobody declares any more leave the file. Nothing is changed on any host.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ask again for those that have a digest
    #[arg(long)]
    update: bool,
    /// Write nothing; exit with 2 if something would change
    #[arg(long)]
    check: bool,
    /// The images, with `*` for any characters; all if none is named
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
}

/// What becomes of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    name: String,
    before: Option<String>,
    after: Option<String>,
}

impl Args {
    /// Runs the verb.
    pub(super) fn run(self, global: &Global, console: &mut Console) -> Exit {
        super::block_on(self.pin(global, console)).unwrap_or_else(|exit| exit)
    }

    async fn pin(&self, global: &Global, console: &mut Console) -> Result<Exit, Exit> {
        let context = Context::load(global, console)?;
        let hosts = context.limited(global, console)?;
        let options = Options {
            keeps_open: true,
            ..Options::default()
        };
        let Declared {
            transport,
            wished,
            is_whole,
        } = survey::declared(&context, global, console, &options).await?;
        let images = &context.inventory.images;
        let open: BTreeMap<&String, &Named> = wished
            .images
            .iter()
            .filter(|(name, _)| !is_pinned(name))
            .collect();
        self.check_names(&open, console)?;
        let is_meant =
            |name: &str| self.images.is_empty() || self.images.iter().any(|pattern| fits(pattern, name));
        let asked = open
            .iter()
            .filter(|(name, _)| is_meant(name) && (self.update || !images.pins.contains_key(**name)));
        let asked: Vec<(&String, BTreeSet<&HostId>)> = asked
            .map(|(name, named)| (*name, named.hosts.intersection(&hosts).collect()))
            .collect();
        let parallel = context.parallel(global);
        let told = ask(&asked, images, &transport, parallel).await;
        // What was asked for in vain keeps what it has.
        let mut pins: BTreeMap<String, String> = images.pins.clone();
        // What a host declares that could not be rendered is not known, and keeps its pins.
        pins.retain(|name, _| !is_whole || wished.images.contains_key(name));
        let mut exit = Exit::Done;
        for (name, said) in told {
            match said {
                Ok(digest) => drop(pins.insert(name, digest)),
                Err(error) => {
                    console.error(&format!(
                        "{}: {}",
                        escape::controls(&name),
                        escape::controls(&error.to_string())
                    ));
                    exit = exit.and_untold(&error);
                }
            }
        }
        let changes = changes(&images.pins, &pins);
        tell(console, &changes);
        let path = load::lock_file(Path::new(&context.inventory.file));
        if !self.check && !changes.is_empty() {
            write(&path, pins).map_err(|error| {
                console.error(&error.to_string());
                Exit::Error
            })?;
            console.note(&format!("Written: {}", path.display()));
        }
        Ok(match exit {
            Exit::Done if self.check && !changes.is_empty() => Exit::Pending,
            exit => exit,
        })
    }

    /// Refuses names that nobody declares.
    fn check_names(&self, open: &BTreeMap<&String, &Named>, console: &mut Console) -> Result<(), Exit> {
        let strange: Vec<&String> = self
            .images
            .iter()
            .filter(|pattern| !open.keys().any(|name| fits(pattern, name)))
            .collect();
        for pattern in &strange {
            console.error(&format!("no module names an image `{pattern}` without a digest"));
            did_you_mean(pattern, open.keys().map(|name| name.as_str()))
                .iter()
                .for_each(|hint| console.note(&format!("hint: {hint}")));
        }
        match strange.is_empty() {
            true => Ok(()),
            false => Err(Exit::Error),
        }
    }
}

/// Asks for each image on the first of its hosts that can tell.
async fn ask(
    asked: &[(&String, BTreeSet<&HostId>)],
    images: &Images,
    transport: &FleetTransport,
    parallel: usize,
) -> BTreeMap<String, Result<String, Untold>> {
    // What a name means now, whatever it was held to.
    let unpinned = Images {
        pins: BTreeMap::new(),
        ..images.clone()
    };
    let answers = asked.iter().map(|(name, hosts)| {
        let placed = unpinned.place(name);
        async move {
            let mut last = Err(Untold::Engine(
                "none of the hosts that were named has it".to_owned(),
            ));
            for host in hosts {
                last = transport.digest(host, &placed).await;
                // A registry that said no says it to every host; a host that cannot ask leaves others to try.
                if !matches!(last, Err(Untold::Reach(_))) {
                    break;
                }
            }
            ((*name).clone(), last)
        }
    });
    stream::iter(answers)
        .buffer_unordered(parallel.max(1))
        .collect()
        .await
}

fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<Change> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let change = |name: &String| Change {
        name: name.clone(),
        before: before.get(name).cloned(),
        after: after.get(name).cloned(),
    };
    let all = names.into_iter().map(change);
    all.filter(|change| change.before != change.after).collect()
}

fn tell(console: &mut Console, changes: &[Change]) {
    if console.is_json() {
        console.begin_json("pin");
        for change in changes {
            console.object(&json!({
                "type": "image", "name": change.name, "before": change.before, "after": change.after,
            }));
        }
        return;
    }
    for Change { name, before, after } in changes {
        let line = match (before, after) {
            (None, Some(after)) => format!("+ {name} {after}"),
            (Some(before), Some(after)) => format!("~ {name} {before} → {after}"),
            (Some(before), None) => format!("- {name} {before}"),
            (None, None) => continue,
        };
        console.text(&format!("{line}\n"));
    }
    if changes.is_empty() {
        console.note("No changes.");
    }
}

fn write(path: &Path, images: BTreeMap<String, String>) -> Result<(), store::StoreError> {
    let lock = Lock {
        format: LOCK_FORMAT,
        images,
    };
    let text = toml::to_string(&lock).expect("names and digests are TOML");
    store::write(path, format!("{HEAD}{text}").as_bytes())
}
