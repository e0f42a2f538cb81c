//! `muster destroy`.

use std::collections::BTreeMap;

use super::carry;
use super::console::Console;
use super::exit::Exit;
use super::global::Global;
use super::offer::Offer;
use super::reach;
use crate::model::aim::Aims;
use crate::model::observation::FactsSeen;
use crate::model::plan::{Plan, Purpose};
use crate::observe::{self, LookOptions};
use crate::plan::{self, PlanInput};
use crate::resource::desired::{Desired, DesiredHost};
use crate::store;

/// Take away from the fleet what muster made there
///
/// What muster made and what still is as it left it is deleted, in the reverse order of its needs; what it found is forgotten. Changed by
/// hand, `protect = true`, identities and directories that hold something else stay. The plan is shown and carried out when you
/// type the name of the fleet. --limit leaves hosts out.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name of the fleet, instead of typing it; --yes does not stand for it
    #[arg(long, value_name = "FLEET")]
    confirm: Option<String>,
    #[command(flatten)]
    offer: Offer,
}

impl Args {
    /// Runs the verb.
    pub(super) fn run(self, global: &Global, console: &mut Console) -> Exit {
        super::block_on(self.destroy(global, console)).unwrap_or_else(|exit| exit)
    }

    async fn destroy(&self, global: &Global, console: &mut Console) -> Result<Exit, Exit> {
        let context = reach::inventory(global, console)?;
        let inventory = &context.inventory;
        let folder = store::folder(&inventory.file);
        let known = store::hosts::load(&folder);
        let known = known.map_err(|error| carry::fail(console, error.diagnostic()))?;
        for lost in known.lost(inventory) {
            console.note(&format!("note: {}; nothing is taken away there", lost.message));
        }
        let limit = match &global.limit {
            Some(selector) => Some((selector.to_string(), context.limited(global, console)?)),
            None => None,
        };
        let reach = reach::reach(&context, global, console).await?;
        let nothing = |host: &crate::model::id::HostId| (host.clone(), DesiredHost::default());
        let desired = Desired {
            hosts: inventory.hosts.keys().map(nothing).collect(),
        };
        let look = LookOptions {
            parallel: reach.parallel,
            closes: false,
        };
        let hosts = match &limit {
            Some((_, hosts)) => hosts.clone(),
            None => inventory.hosts.keys().cloned().collect(),
        };
        let seen = observe::look(&reach.ports, &desired, &hosts, &FactsSeen::default(), look).await;
        let lineages = known.lineages(inventory);
        let planned = plan::plan(&PlanInput {
            inventory,
            desired: &desired,
            seen: &seen.observation,
            prints: &BTreeMap::new(),
            without_secrets: true,
            limit,
            aims: &Aims::default(),
            inputs: BTreeMap::new(),
            lineages: &lineages,
        });
        let plan = planned.map_err(|found| {
            console.diagnostics(&found, &context.sources);
            Exit::Error
        })?;
        let plan = Plan {
            purpose: Purpose::Destroy,
            ..plan
        };
        let fleet = inventory.name.to_string();
        let confirm =
            |console: &Console| super::confirm_fleet(&fleet, self.confirm.as_deref(), global, console);
        self.offer
            .make(plan, reach, &folder, confirm, (global, console))
            .await
    }
}
