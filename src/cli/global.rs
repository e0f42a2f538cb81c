//! Flags that every verb has.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::load::{Overrides, VARIABLE};
use crate::model::selector::Selector;

/// Flags that every verb has.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global flags")]
pub struct Global {
    /// The inventory [default: $MUSTER_INVENTORY, then the one file in inventories/]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub inventory: Option<PathBuf>,
    /// The folder of modules [default: modules/ beside the inventory's folder, or here]
    #[arg(long, global = true, value_name = "DIR")]
    pub modules: Option<PathBuf>,
    /// Only these hosts: a name or pattern, @group, label=value; joined with `,` and ` - `
    #[arg(short, long, global = true, value_name = "SELECTOR")]
    pub limit: Option<Selector>,
    /// How many hosts are worked on at once [default: the inventory's policy, else 64]
    #[arg(long, global = true, value_name = "N")]
    pub parallel: Option<NonZeroUsize>,
    /// Print one JSON object a line, the first of which names the format
    #[arg(long, global = true)]
    pub json: bool,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// Say less on standard error
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more on standard error; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Answer every question with yes
    #[arg(short, long, global = true)]
    pub yes: bool,
    /// Never ask: what would be asked is an error instead
    #[arg(long, global = true)]
    pub no_input: bool,
    /// Set a value above all layers: KEY=VALUE, or MODULE.KEY=VALUE for one module [also: $MUSTER_VAR_KEY, below --var-file]
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = parse_var)]
    pub var: Vec<(String, String)>,
    /// A TOML file of values above all layers but `--var`
    #[arg(long, global = true, value_name = "FILE")]
    pub var_file: Vec<PathBuf>,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Global {
    /// Returns what the environment and the command line set above the layers of the files.
    ///
    /// A variable whose name or value is not UTF-8 stands with a mark in place of what is not, so that it is refused and named.
    pub fn overrides(&self) -> Overrides {
        let named = |(name, text): (std::ffi::OsString, std::ffi::OsString)| {
            let name = name.to_string_lossy().strip_prefix(VARIABLE)?.to_owned();
            Some((name, text.to_string_lossy().into_owned()))
        };
        Overrides {
            environment: std::env::vars_os().filter_map(named).collect(),
            files: self.var_file.clone(),
            vars: self.var.clone(),
        }
    }
}

fn parse_var(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}
