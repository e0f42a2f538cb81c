//! `muster logs`: what containers say, of many hosts at once.

use std::collections::BTreeSet;
use std::sync::Mutex;

use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::watch;

use super::carry;
use super::console::Console;
use super::context::Context;
use super::exit::Exit;
use super::global::Global;
use super::survey::{self, Declared, Options};
use crate::model::diagnostic::did_you_mean;
use crate::model::id::HostId;
use crate::model::quantity::parse_duration;
use crate::model::selector::fits;
use crate::ports::{LogEnd, LogRequest, Logs as _, Output, Untold};
use crate::report::escape;
use crate::resource::Spec;
use crate::resource::container::Container;
use crate::resource::desired::Desired;
use crate::transport::fleet::FleetTransport;

/// Show what containers say, of many hosts at once
///
/// Containers are those that the inventory's modules declare; they are named by their service, by project/service or by their own name, with `*` for
/// any characters. Values of secrets, and of variables that nobody declared public, are taken out. Where a service's log is secret
/// (`x-muster: { logs: secret }`), only how to read it on the host is said.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Go on with what they say, and with what comes in their place, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// How many of the last lines of each, or `all`
    #[arg(short = 'n', long, value_name = "LINES", default_value = "100", value_parser = parse_tail)]
    tail: Tail,
    /// Only what was said in this last time, such as 10m or 2d, or since a moment such as 2026-01-02T03:04:05Z
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<Since>,
    /// Say when each line was said
    #[arg(short, long)]
    timestamps: bool,
    /// Leave secrets unresolved: only the values of the containers' own variables are taken out
    #[arg(long)]
    no_secrets: bool,
    /// The services; all if none is named
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// How many of the last lines.
#[derive(Debug, Clone, Copy)]
enum Tail {
    All,
    Lines(u64),
}

/// From when on.
#[derive(Debug, Clone, Copy)]
enum Since {
    Ago(u64),
    Moment(Timestamp),
}

fn parse_tail(text: &str) -> Result<Tail, String> {
    match text {
        "all" => Ok(Tail::All),
        _ => text
            .parse()
            .map(Tail::Lines)
            .map_err(|_| "a number of lines, or `all`".to_owned()),
    }
}

fn parse_since(text: &str) -> Result<Since, String> {
    match (parse_duration(text), text.parse()) {
        (Ok(secs), _) => Ok(Since::Ago(secs)),
        (Err(_), Ok(moment)) => Ok(Since::Moment(moment)),
        (Err(_), Err(_)) => {
            Err("a time such as `10m`, or a moment such as `2026-01-02T03:04:05Z`".to_owned())
        }
    }
}

/// One container whose log is wanted.
struct Source {
    host: HostId,
    container: Container,
}

/// A line that waits to be put in order.
struct Line {
    at: Timestamp,
    source: usize,
    output: Output,
    text: String,
}

impl Args {
    /// Runs the verb.
    pub(super) fn run(self, global: &Global, console: &mut Console) -> Exit {
        super::block_on(self.logs(global, console)).unwrap_or_else(|exit| exit)
    }

    async fn logs(&self, global: &Global, console: &mut Console) -> Result<Exit, Exit> {
        let context = Context::load(global, console)?;
        let hosts = context.limited(global, console)?;
        let options = Options {
            without_secrets: self.no_secrets,
            keeps_open: true,
            ..Options::default()
        };
        let Declared {
            transport, wished, ..
        } = survey::declared(&context, global, console, &options).await?;
        let sources = self.sources(&wished.desired, &hosts, console)?;
        if sources.is_empty() {
            console.note("No containers.");
            return Ok(Exit::Done);
        }
        if console.is_json() {
            console.begin_json("logs");
        }
        let (secret, open): (Vec<Source>, Vec<Source>) = sources
            .into_iter()
            .partition(|source| source.container.spec.is_log_secret);
        for source in &secret {
            let (host, name) = (&source.host, &source.container.spec.name);
            console.note(&format!(
                "{host} {name}: its log is secret; on the host `docker logs {name}` shows it"
            ));
        }
        Ok(self.read(&open, &transport, console).await)
    }

    /// Returns the containers that are meant, by host and name.
    fn sources(
        &self,
        desired: &Desired,
        hosts: &BTreeSet<HostId>,
        console: &mut Console,
    ) -> Result<Vec<Source>, Exit> {
        let declared = desired.hosts.iter().filter(|(host, _)| hosts.contains(*host));
        let all: Vec<Source> = declared
            .flat_map(|(host, desired)| desired.entries.values().map(move |entry| (host, &entry.spec)))
            .filter_map(|(host, spec)| match spec {
                Spec::Container(container) => Some(Source {
                    host: host.clone(),
                    container: container.clone(),
                }),
                _ => None,
            })
            .collect();
        let mut is_known = true;
        for service in &self.services {
            if !all.iter().any(|source| source.is_meant_by(service)) {
                console.error(&format!("no container is declared for `{service}`"));
                let names = all.iter().map(|source| source.container.spec.service.as_str());
                did_you_mean(service, names)
                    .iter()
                    .for_each(|hint| console.note(&format!("hint: {hint}")));
                is_known = false;
            }
        }
        let is_meant = |source: &Source| {
            self.services.is_empty() || self.services.iter().any(|service| source.is_meant_by(service))
        };
        match is_known {
            true => Ok(all.into_iter().filter(is_meant).collect()),
            false => Err(Exit::Error),
        }
    }

    async fn read(&self, sources: &[Source], transport: &FleetTransport, console: &mut Console) -> Exit {
        let since = self.since.map(|since| match since {
            Since::Moment(moment) => moment,
            Since::Ago(secs) => {
                let ago = i64::try_from(secs).unwrap_or(i64::MAX);
                let now = Timestamp::now().as_second();
                Timestamp::from_second(now.saturating_sub(ago)).unwrap_or(Timestamp::UNIX_EPOCH)
            }
        });
        let tail = match self.tail {
            Tail::All => None,
            Tail::Lines(lines) => Some(lines),
        };
        let width = sources
            .iter()
            .map(|source| source.label().len())
            .max()
            .unwrap_or(0);
        // Lines of many hosts are put in the order in which they were said, where there is an end to wait for.
        let waits = !self.follow && tail.is_some();
        let waiting: Mutex<Vec<Line>> = Mutex::default();
        let (stop, stopped) = watch::channel(false);
        let ends = {
            let shared = Mutex::new(&mut *console);
            let reading = join_all(sources.iter().enumerate().map(|(index, source)| {
                let (shared, waiting, mut stopped) = (&shared, &waiting, stopped.clone());
                async move {
                    let hear = |at: Timestamp, output: Output, text: &str| match waits {
                        true => waiting.lock().expect("nothing panics under it").push(Line {
                            at,
                            source: index,
                            output,
                            text: text.to_owned(),
                        }),
                        false => {
                            let console = &mut **shared.lock().expect("nothing panics under it");
                            self.say(console, source, width, at, output, text);
                        }
                    };
                    let request = LogRequest {
                        container: source.container.probe(),
                        tail,
                        since,
                        follow: self.follow,
                    };
                    let stop = Box::pin(async move { drop(stopped.wait_for(|stopped| *stopped).await) });
                    transport.logs(&source.host, &request, &hear, stop).await
                }
            }));
            let mut interrupts = carry::interrupts();
            tokio::pin!(reading);
            loop {
                tokio::select! {
                    ends = &mut reading => break ends,
                    Some(()) = interrupts.recv() => drop(stop.send_replace(true)),
                }
            }
        };
        let mut lines = waiting.into_inner().expect("nothing panicked under it");
        lines.sort_by_key(|line| (line.at, line.source));
        for line in lines {
            self.say(
                console,
                &sources[line.source],
                width,
                line.at,
                line.output,
                &line.text,
            );
        }
        conclude(console, sources, &ends)
    }

    fn say(
        &self,
        console: &mut Console,
        source: &Source,
        width: usize,
        at: Timestamp,
        output: Output,
        text: &str,
    ) {
        let spec = &source.container.spec;
        if console.is_json() {
            console.object(&json!({
                "type": "line", "host": source.host, "project": spec.project, "service": spec.service,
                "container": spec.name, "at": at.to_string(), "stream": output.name(), "text": text,
            }));
            return;
        }
        let at = if self.timestamps {
            format!("{at:.3} ")
        } else {
            String::new()
        };
        let line = format!("{:width$} | {at}{}", source.label(), escape::controls(text));
        console.data(&format!("{}\n", line.trim_end()));
    }
}

impl Source {
    fn label(&self) -> String {
        format!("{} {}", self.host, self.container.spec.service)
    }

    fn is_meant_by(&self, pattern: &str) -> bool {
        let spec = &self.container.spec;
        let of_project = format!("{}/{}", spec.project, spec.service);
        [spec.service.as_str(), spec.name.as_str(), of_project.as_str()]
            .iter()
            .any(|name| fits(pattern, name))
    }
}

/// Says whose log could not be read, and returns the exit code.
fn conclude(console: &mut Console, sources: &[Source], ends: &[Result<LogEnd, Untold>]) -> Exit {
    let mut exit = Exit::Done;
    for (source, end) in sources.iter().zip(ends) {
        let name = &source.container.spec.name;
        match end {
            Ok(LogEnd::Read) => {}
            Ok(LogEnd::Absent) => {
                console.note(&format!("{}: there is no container `{name}`", source.host));
            }
            Err(error) => {
                console.error(&format!(
                    "{} {name}: {}",
                    source.host,
                    escape::controls(&error.to_string())
                ));
                exit = exit.and_untold(error);
            }
        }
    }
    exit
}
