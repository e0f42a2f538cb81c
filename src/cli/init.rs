//! `muster init`: an inventory to start from, by the questions of Gonka's quickstart.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::console::Console;
use super::exit::Exit;
use super::global::Global;
use crate::model::id::FleetName;
use crate::store;

mod starter;

use starter::{Certificates, Provider, Way};

/// Write a commented inventory to start from, by a few questions
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to write, within DIR
    #[arg(default_value = "inventories/gonka.toml")]
    file: PathBuf,
    /// The folder to begin in [default: here]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How the public reaches the node
    #[arg(long, value_enum)]
    protocol: Option<Protocol>,
    /// The node's full domain name; without one there are no certificates
    #[arg(long, value_name = "NAME", value_parser = starter::domain)]
    domain: Option<String>,
    /// Where the certificate comes from
    #[arg(long, value_enum)]
    certificates: Option<Certificates>,
    /// Who serves the domain's DNS, for automatic certificates
    #[arg(long, value_enum)]
    provider: Option<Provider>,
    /// Start over where the file is there already
    #[arg(long)]
    force: bool,
}

/// How the public reaches the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Protocol {
    /// On port 8000, in the clear
    Http,
    /// On port 8443, which needs a domain
    Https,
}

const NO_DOMAIN: &str = "certificates need a name, so without a domain the node is reached by HTTP on port 8000; \
                         in production use HTTPS";

impl Args {
    /// Runs the verb.
    pub(super) fn run(self, global: &Global, console: &mut Console) -> Exit {
        let path = match &self.dir {
            Some(dir) => dir.join(&self.file),
            None => self.file.clone(),
        };
        let mut asker = Asker {
            input: std::io::stdin().lock(),
            output: std::io::stderr(),
            may_ask: !global.no_input,
        };
        match self.write(&path, global, &mut asker) {
            Ok(Some(way)) => {
                self.tell(&path, &way, console);
                Exit::Done
            }
            Ok(None) => {
                console.note(&format!("{} stays as it is", path.display()));
                Exit::Done
            }
            Err(why) => {
                console.error(&why);
                Exit::Error
            }
        }
    }

    /// Returns the way that was chosen, or `None` if the file is to stay.
    fn write<R: BufRead, W: Write>(
        &self,
        path: &Path,
        global: &Global,
        asker: &mut Asker<R, W>,
    ) -> Result<Option<Way>, String> {
        let name = fleet_name(path)?;
        if path.exists() && !self.force && !global.yes && !asker.start_over(path)? {
            return Ok(None);
        }
        let way = self.way(asker)?;
        let text = starter::text(&name, &way);
        store::write(path, text.as_bytes()).map_err(|error| match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        })?;
        Ok(Some(way))
    }

    /// Asks what the flags leave open, with the branches of the quickstart.
    fn way<R: BufRead, W: Write>(&self, asker: &mut Asker<R, W>) -> Result<Way, String> {
        let protocol = asker.choose("--protocol", "How does the public reach the node?", self.protocol)?;
        if protocol == Protocol::Http {
            return Ok(Way::Http { wanted_https: false });
        }
        let Some(domain) = asker.domain(self.domain.clone())? else {
            return Ok(Way::Http { wanted_https: true });
        };
        let question = "Where does the certificate come from?";
        match asker.choose("--certificates", question, self.certificates)? {
            Certificates::Manual => Ok(Way::Manual { domain }),
            Certificates::Auto => {
                let provider = asker.choose("--provider", "Who serves the domain's DNS?", self.provider)?;
                Ok(Way::Auto { domain, provider })
            }
        }
    }

    fn tell(&self, path: &Path, way: &Way, console: &mut Console) {
        let text = starter::text(
            &fleet_name(path).expect("the file was written under this name"),
            way,
        );
        let (blanks, secrets) = (starter::blanks(&text), starter::secrets(&text));
        let warning = (*way == Way::Http { wanted_https: true }).then_some(NO_DOMAIN);
        if console.is_json() {
            console.begin_json("init");
            let blanks: Vec<_> = blanks
                .iter()
                .map(|(line, key)| json!({ "line": line, "key": key }))
                .collect();
            console.object(&json!({
                "type": "init", "file": path, "fill_in": blanks, "secrets": secrets, "warning": warning,
            }));
            return;
        }
        if let Some(warning) = warning {
            console.note(&format!("warning: {warning}"));
        }
        console.text(&format!(
            "wrote {}\n\nFill in, before `muster plan`:\n",
            path.display()
        ));
        for (line, key) in blanks {
            console.text(&format!("  {}:{line}  {key}\n", path.display()));
        }
        console.text("\nHave ready when muster runs:\n");
        secrets
            .iter()
            .for_each(|secret| console.text(&format!("  {secret}\n")));
    }
}

fn fleet_name(path: &Path) -> Result<FleetName, String> {
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    let is_toml = path.extension().is_some_and(|extension| extension == "toml");
    match stem.parse() {
        Ok(name) if is_toml => Ok(name),
        Ok(_) => Err(format!("{} does not end in .toml", path.display())),
        Err(error) => Err(format!("the file's name becomes the fleet's, and {error}")),
    }
}

/// Asks a person, or refuses to.
struct Asker<R, W> {
    input: R,
    output: W,
    may_ask: bool,
}

impl<R: BufRead, W: Write> Asker<R, W> {
    /// Returns what was given, else asks for one of the choices until one is named.
    fn choose<T: clap::ValueEnum + Clone>(
        &mut self,
        flag: &str,
        question: &str,
        given: Option<T>,
    ) -> Result<T, String> {
        if let Some(given) = given {
            return Ok(given);
        }
        let choices: Vec<String> = T::value_variants()
            .iter()
            .filter_map(|choice| {
                choice
                    .to_possible_value()
                    .map(|value| value.get_name().to_owned())
            })
            .collect();
        let choices = choices.join(", ");
        loop {
            let answer = self.ask(flag, &format!("{question} ({choices})"))?;
            match T::from_str(&answer, true) {
                Ok(choice) => return Ok(choice),
                Err(_) => self.say(&format!("one of: {choices}")),
            }
        }
    }

    /// Returns the domain, or `None` if there is none. Where nobody may be asked, no flag means none.
    fn domain(&mut self, given: Option<String>) -> Result<Option<String>, String> {
        if given.is_some() || !self.may_ask {
            return Ok(given);
        }
        loop {
            let answer = self.ask("--domain", "The node's full domain name? (empty: there is none)")?;
            match answer.as_str() {
                "" | "no" | "none" => return Ok(None),
                name => match starter::domain(name) {
                    Ok(name) => return Ok(Some(name)),
                    Err(why) => self.say(&why),
                },
            }
        }
    }

    fn start_over(&mut self, path: &Path) -> Result<bool, String> {
        let question = format!("{} is there already. Start over? (yes, no)", path.display());
        self.ask("--force", &question)
            .map(|answer| ["y", "yes"].contains(&answer.to_lowercase().as_str()))
    }

    fn ask(&mut self, flag: &str, question: &str) -> Result<String, String> {
        if !self.may_ask {
            return Err(format!("nobody may be asked: {question}; answer it with {flag}"));
        }
        self.say(question);
        let mut answer = String::new();
        match self.input.read_line(&mut answer) {
            Ok(0) => Err(format!("no answer to: {question}; answer it with {flag}")),
            Ok(_) => Ok(answer.trim().to_owned()),
            Err(error) => Err(format!("the answer cannot be read: {error}")),
        }
    }

    /// A question that cannot be shown is answered or not all the same.
    fn say(&mut self, text: &str) {
        drop(writeln!(self.output, "{text}"));
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
        #[command(flatten)]
        global: Global,
    }

    /// Runs the verb in a folder of its own; returns the way and what was asked.
    fn init(folder: &Path, flags: &str, answers: &str) -> Result<Option<Way>, String> {
        let line = Line::parse_from(["init"].into_iter().chain(flags.split_whitespace()));
        let mut asker = Asker {
            input: answers.as_bytes(),
            output: Vec::new(),
            may_ask: !line.global.no_input,
        };
        line.args
            .write(&folder.join(&line.args.file), &line.global, &mut asker)
    }

    fn fresh(flags: &str, answers: &str) -> Result<Option<Way>, String> {
        init(tempfile::tempdir().unwrap().path(), flags, answers)
    }

    #[test]
    fn questions_branch_as_the_quickstart_does() {
        let domain = || "node.example.com".to_owned();
        let http = |wanted_https| Way::Http { wanted_https };
        let auto = Way::Auto {
            domain: domain(),
            provider: Provider::Hetzner,
        };
        for (answers, way) in [
            ("http\n", http(false)),
            ("HTTPS\n\n", http(true)),
            (
                "what\nhttps\nnot a name\nnode.example.com\nmanual\n",
                Way::Manual { domain: domain() },
            ),
            ("https\nNode.Example.com.\nauto\nnobody\nhetzner\n", auto),
        ] {
            assert_eq!(fresh("", answers).unwrap(), Some(way), "{answers}");
        }
    }

    #[test]
    fn flags_answer_and_without_input_what_is_missing_is_named() {
        let flags = "--no-input --protocol https --domain n.example.com";
        let way = fresh(&format!("{flags} --certificates auto --provider gcloud"), "").unwrap();
        assert_eq!(
            way,
            Some(Way::Auto {
                domain: "n.example.com".to_owned(),
                provider: Provider::Gcloud
            })
        );
        assert!(fresh("--no-input", "").unwrap_err().contains("--protocol"));
        assert!(fresh(flags, "").unwrap_err().contains("--certificates"));
        assert_eq!(
            fresh("--no-input --protocol https", "").unwrap(),
            Some(Way::Http { wanted_https: true })
        );
    }

    #[test]
    fn starting_over_is_asked_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inventories/gonka.toml");
        init(folder.path(), "", "http\n").unwrap();
        std::fs::write(&path, "mine").unwrap();
        assert_eq!(init(folder.path(), "", "no\n").unwrap(), None);
        assert!(
            init(folder.path(), "--no-input --protocol http", "")
                .unwrap_err()
                .contains("--force")
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        assert!(init(folder.path(), "", "yes\nhttp\n").unwrap().is_some());
        assert_ne!(std::fs::read_to_string(&path).unwrap(), "mine");
        assert!(
            init(folder.path(), "--no-input --force --protocol http", "")
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn a_file_that_cannot_name_a_fleet_is_refused() {
        assert!(fresh("a.txt", "http\n").unwrap_err().contains(".toml"));
        assert!(fresh("-- -a.toml", "http\n").unwrap_err().contains("fleet"));
    }
}
