//! The way to hosts for verbs that need no module, and no secret of one.

use std::collections::BTreeSet;

use super::carry;
use super::console::Console;
use super::context::Context;
use super::exit::Exit;
use super::global::Global;
use super::survey::transport_ports;
use crate::model::hook::Hook;
use crate::model::target::Sudo;
use crate::ports::{Ports, Secrets};
use crate::vault;

/// Hosts within reach.
pub struct Reach {
    /// The world.
    pub ports: Ports,
    /// The passwords of sudo, and the secrets of hooks around a run.
    pub secrets: Secrets,
    /// How many hosts are worked on at once.
    pub parallel: usize,
}

/// Reads the inventory. Mistakes in modules, or in what the inventory gives to them, do not stand in the way.
///
/// # Errors
/// [`Exit::Error`], after saying why, where there is no inventory.
pub fn inventory(global: &Global, console: &mut Console) -> Result<Context, Exit> {
    let context = Context::read(global, console)?;
    if context.diagnostics.has_errors() {
        console.note("note: the inventory or its modules have mistakes, which `muster validate` lists; this goes on without them");
    }
    Ok(context)
}

/// Makes the way to every host of an inventory.
///
/// # Errors
/// [`Exit::Error`], after saying why, where one of these secrets is not to be had.
pub async fn reach(context: &Context, global: &Global, console: &mut Console) -> Result<Reach, Exit> {
    let inventory = &context.inventory;
    let targets = inventory
        .hosts
        .iter()
        .map(|(id, host)| (id.clone(), host.target.clone()));
    let targets: std::collections::BTreeMap<_, _> = targets.collect();
    let passwords = targets.values().filter_map(|target| match &target.sudo {
        Sudo::Password(source) => Some(source),
        Sudo::None | Sudo::Passwordless => None,
    });
    let hooks = inventory.hooks.iter().filter(|hook| hook.on.is_of_run());
    let sources: BTreeSet<_> = passwords.chain(hooks.flat_map(Hook::secrets)).cloned().collect();
    let options = vault::Options::for_inventory(&inventory.file, inventory.age_identity.clone());
    let secrets = match vault::resolve(&sources, &options).await {
        Ok(resolved) => resolved.secrets,
        Err(errors) => {
            let found = errors.iter().map(vault::VaultError::diagnostic);
            return Err(carry::fail_all(console, found));
        }
    };
    let parallel = context.parallel(global);
    Ok(Reach {
        ports: transport_ports(targets, &inventory.file, global, secrets.clone(), parallel),
        secrets,
        parallel,
    })
}
