//! `--target` and `--exclude`, which `plan`, `apply` and `drift` share.

use crate::model::aim::{Aim, Aims};

/// Which resources.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct AimArgs {
    /// Only this resource, and what it needs: kind[name], kind[name]@host, @host or module:name, with `*` for any characters
    #[arg(long = "target", value_name = "RESOURCE")]
    targets: Vec<Aim>,
    /// Not this resource; what needs its change is held
    #[arg(long = "exclude", value_name = "RESOURCE")]
    excludes: Vec<Aim>,
}

impl AimArgs {
    /// Returns what was asked for.
    pub fn aims(&self) -> Aims {
        Aims {
            targets: self.targets.clone(),
            excludes: self.excludes.clone(),
        }
    }
}
