//! Command lines in the documents, and the generated page of all commands.

use std::fmt::Write as _;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command};

use super::page::Page;

const HEAD: &str = "\
# Commands

<!-- Generated from the types by tests/docs.rs. Edit the doc comments under src/cli/ instead. -->

Data goes to standard output, everything else to standard error. [Exit codes](exit-codes.md) have a page of their own.
";

/// Returns the page of all commands.
pub fn page(mut root: Command) -> String {
    root.build();
    let mut page = HEAD.to_owned();
    page.push_str("\n## Flags of every command\n\n");
    let globals: Vec<&Arg> = root.get_arguments().filter(|arg| arg.is_global_set()).collect();
    table(&mut page, &globals);
    for command in visible(&root) {
        section(&mut page, command, 2);
    }
    page
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && command.get_name() != "help")
}

fn section(page: &mut String, command: &Command, level: usize) {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let about = command
        .get_long_about()
        .or_else(|| command.get_about())
        .unwrap_or_else(|| panic!("`{name}` has a doc comment"));
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    write!(
        page,
        "\n{} {name}\n\n{about}\n\n```text\n{usage}\n```\n",
        "#".repeat(level)
    )
    .expect("writing to a String does not fail");
    let own: Vec<&Arg> = command.get_arguments().filter(|arg| is_own(arg)).collect();
    if !own.is_empty() {
        page.push('\n');
        table(page, &own);
    }
    for command in visible(command) {
        section(page, command, level + 1);
    }
}

fn is_own(arg: &Arg) -> bool {
    !arg.is_global_set() && !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str())
}

fn table(page: &mut String, args: &[&Arg]) {
    page.push_str("| argument | meaning |\n| --- | --- |\n");
    for arg in args {
        let help = arg
            .get_long_help()
            .or_else(|| arg.get_help())
            .map(|help| help.to_string().replace('\n', " ").replace('|', "\\|"))
            .unwrap_or_else(|| panic!("`{}` has a doc comment", arg.get_id()));
        let extras = extras(arg);
        let stop = if extras.is_empty() || help.ends_with(['.', ']']) {
            ""
        } else {
            "."
        };
        writeln!(page, "| {} | {help}{stop}{extras} |", spelling(arg))
            .expect("writing to a String does not fail");
    }
}

/// Writes an argument as people type it: `-i`, `--inventory FILE`.
fn spelling(arg: &Arg) -> String {
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let value = match arg.get_value_names() {
        Some(names) if takes_value => names.join(" "),
        _ => String::new(),
    };
    if arg.is_positional() {
        return format!("`{value}`");
    }
    let names: Vec<String> = arg
        .get_short()
        .map(|short| format!("`-{short}`"))
        .into_iter()
        .chain(
            arg.get_long()
                .map(|long| format!("`{}`", format!("--{long} {value}").trim())),
        )
        .collect();
    names.join(", ")
}

/// Writes an argument's possible values, its variable and its default.
fn extras(arg: &Arg) -> String {
    let mut extras = String::new();
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|_| matches!(arg.get_action(), ArgAction::Set | ArgAction::Append))
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !values.is_empty() {
        write!(extras, " One of {}.", values.join(", ")).expect("writing to a String does not fail");
    }
    if let Some(variable) = arg.get_env() {
        write!(extras, " Else `{}`.", variable.to_string_lossy()).expect("writing to a String does not fail");
    }
    if let [default] = arg.get_default_values()
        && matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
    {
        write!(extras, " Default: `{}`.", default.to_string_lossy())
            .expect("writing to a String does not fail");
    }
    extras
}

/// Returns the command lines of a page that the program would refuse, each with what it would say.
pub fn refused(page: &Page, root: &Command) -> Vec<String> {
    let in_blocks = page
        .blocks
        .iter()
        .filter(|block| ["sh", "yaml", "bash"].contains(&block.language()))
        .flat_map(|block| block.text.lines().filter_map(of_line))
        .filter_map(|words| refusal(root, words, &[]));
    // A sentence may name a command without its arguments.
    let bare = [ErrorKind::MissingRequiredArgument, ErrorKind::MissingSubcommand];
    let in_sentences = page
        .code_spans
        .iter()
        .filter(|span| span.starts_with("muster ") && !span.contains('…'))
        .filter_map(|span| of_line(span))
        .filter_map(|words| refusal(root, words, &bare));
    in_blocks.chain(in_sentences).collect()
}

/// Returns how many command lines a page has.
pub fn count(page: &Page) -> usize {
    let lines = page.blocks.iter().flat_map(|block| block.text.lines());
    lines.filter(|line| of_line(line).is_some()).count()
}

fn refusal(root: &Command, words: Vec<String>, fine: &[ErrorKind]) -> Option<String> {
    let line = words.join(" ");
    let error = root.clone().try_get_matches_from(words).err()?;
    let help = [
        ErrorKind::DisplayHelp,
        ErrorKind::DisplayVersion,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
    ];
    let is_fine = fine.contains(&error.kind()) || help.contains(&error.kind());
    (!is_fine).then(|| {
        format!(
            "`{line}`: {}",
            error.to_string().lines().next().unwrap_or_default()
        )
    })
}

/// Returns the words of the call of muster within a line of shell, without what the shell takes for itself.
fn of_line(line: &str) -> Option<Vec<String>> {
    let words = words(line);
    let start = words
        .iter()
        .position(|word| word == "muster" || word.ends_with("/muster"))?;
    // `cargo build` and comments may speak of muster too; a call is the first word, or comes after an assignment.
    if words[..start]
        .iter()
        .any(|word| !word.contains('=') && word != "$" && word != "-" && word != "run:")
    {
        return None;
    }
    let mut call = vec!["muster".to_owned()];
    call.extend(
        words[start + 1..]
            .iter()
            .take_while(|word| !is_operator(word))
            .cloned(),
    );
    Some(call)
}

fn is_operator(word: &str) -> bool {
    ["|", "||", "&&", ";", "&", "#"].contains(&word) || word.starts_with('>') || word.starts_with("2>")
}

/// Splits a line at blanks outside quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    for c in line.trim().chars() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, ' ') => words.push(std::mem::take(&mut word)),
            (_, c) => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}
