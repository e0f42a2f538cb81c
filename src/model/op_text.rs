//! Ops for people: what each does, in one clause without secrets. Names of paths stand as they are; who prints them cleans them.

use std::fmt;

use super::op::{Op, UnitVerb};

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::WriteFile { path, .. } => format!("write {path}"),
            Self::SetAttributes {
                path,
                owner,
                group,
                mode,
            } => {
                format!("set {path} to {owner}:{group} {mode}")
            }
            Self::MakeDirectory { path, .. } => format!("make directory {path}"),
            Self::Link { path, to } => format!("link {path} to {to}"),
            Self::RemoveFile { path } => format!("remove {path}"),
            Self::RemoveDirectory { path } => format!("remove directory {path}"),
            Self::Restore { path, .. } => format!("restore {path}"),
            Self::Group { name, .. } => format!("make or change group {name}"),
            Self::RemoveGroup { name } => format!("remove group {name}"),
            Self::Account { name, .. } => format!("make or change account {name}"),
            Self::RemoveAccount { name, .. } => format!("remove account {name}"),
            Self::Packages {
                install,
                remove,
                hold,
                unhold,
            } => {
                let parts = [
                    ("install", install.keys().collect::<Vec<_>>()),
                    ("remove", remove.iter().collect()),
                    ("hold", hold.iter().collect()),
                    ("unhold", unhold.iter().collect()),
                ];
                let named = |(verb, names): &(&str, Vec<&String>)| {
                    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
                    format!("{verb} {}", names.join(" "))
                };
                parts
                    .iter()
                    .filter(|(_, names)| !names.is_empty())
                    .map(named)
                    .collect::<Vec<_>>()
                    .join(", ")
            }
            Self::ReloadUnits => "reload systemd's unit files".to_owned(),
            Self::EnableUnit { unit, enabled } => {
                format!("{} {unit}", if *enabled { "enable" } else { "disable" })
            }
            Self::ControlUnit { unit, verb } => format!("{verb} {unit}"),
            Self::Sysctl { key, value, .. } => format!("set {key} to {value}"),
            Self::Settings { path, .. } => format!("change keys of {path}"),
            Self::Engine(op) => op.to_string(),
            Self::Run { user, .. } => format!("run a script as {}", user.as_deref().unwrap_or("root")),
        };
        f.write_str(&what)
    }
}

impl fmt::Display for UnitVerb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Reload => "reload",
        })
    }
}
