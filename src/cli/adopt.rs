//! `muster adopt HOST`: accept a host that is held because it is not the one that muster knew.

use std::collections::BTreeSet;

use super::carry;
use super::console::Console;
use super::context::Context;
use super::exit::Exit;
use super::global::Global;
use super::survey;
use crate::model::id::HostId;
use crate::model::manifest::{Manifest, ManifestState};
use crate::ports::{LockRequest, LookReply, LookRequest, Ports};
use crate::store;
use crate::store::hosts::{KnownHost, KnownHosts};

/// Accept a host that is held because it is not the one that muster knew
///
/// Says first what is there and what will be believed from now on, and asks. Nothing but the manifest's head and hosts.json
/// is changed; the next plan says what differs.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The host, by its name in the inventory
    host: HostId,
    /// It was reinstalled, or another machine stands in its place: begin anew with what is there
    #[arg(long, conflicts_with = "take_over", required_unless_present = "take_over")]
    new_lineage: bool,
    /// Its manifest names another fleet or host: take it over, with everything that muster made there
    #[arg(long)]
    take_over: bool,
}

impl Args {
    /// Looks, asks and accepts.
    pub fn run(self, global: &Global, console: &mut Console) -> Exit {
        super::block_on(self.adopt(global, console)).unwrap_or_else(|exit| exit)
    }

    async fn adopt(self, global: &Global, console: &mut Console) -> Result<Exit, Exit> {
        let context = Context::load(global, console)?;
        let folder = store::folder(&context.inventory.file);
        let mut known = store::hosts::load(&folder).map_err(|error| fail(console, &super::chain(&error)))?;
        let ports = self.ports(&context, global, console).await?;
        let reply = self.look(&ports, console).await?;
        if self.take_over {
            self.take_over(&context, global, console, &ports, &reply, &mut known)
                .await?;
        } else {
            self.begin_anew(&context, global, console, &reply, &mut known)?;
        }
        ports.transport.close(&self.host).await;
        store::hosts::save(&known, &folder).map_err(|error| fail(console, &super::chain(&error)))?;
        console.note("Now `muster plan` says what differs.");
        Ok(Exit::Done)
    }

    async fn ports(&self, context: &Context, global: &Global, console: &Console) -> Result<Ports, Exit> {
        if !context.inventory.hosts.contains_key(&self.host) {
            return Err(fail(
                console,
                &format!("the inventory has no host `{}`", self.host),
            ));
        }
        let hosts = BTreeSet::from([self.host.clone()]);
        Ok(survey::by_hand(context, global, console, &hosts).await?.ports)
    }

    async fn look(&self, ports: &Ports, console: &Console) -> Result<LookReply, Exit> {
        ports
            .transport
            .look(&self.host, &LookRequest::default())
            .await
            .map_err(|error| {
                console.error(&format!("`{}` cannot be looked at: {error}", self.host));
                Exit::Unreachable
            })
    }

    /// Lets `hosts.json` know the lineage that is there, or none.
    fn begin_anew(
        &self,
        context: &Context,
        global: &Global,
        console: &Console,
        reply: &LookReply,
        known: &mut KnownHosts,
    ) -> Result<(), Exit> {
        let before = known.hosts.get(&self.host).map(|host| host.lineage.clone());
        let before = before.unwrap_or_else(|| "nothing".to_owned());
        match &reply.manifest {
            ManifestState::Unreadable(why) => {
                let text = format!(
                    "its manifest cannot be read ({why}); mend or remove /var/lib/muster on it first"
                );
                return Err(fail(console, &text));
            }
            ManifestState::Absent => {
                console.note(&format!(
                    "`{}` has no manifest; muster knew lineage {before}",
                    self.host
                ));
                console.note("What muster made there before is forgotten: nothing of it will be deleted.");
                self.confirm(global, console)?;
                known.hosts.remove(&self.host);
            }
            ManifestState::Present(manifest) => {
                console.note(&format!(
                    "`{}` {}; muster knew lineage {before}",
                    self.host,
                    described(manifest)
                ));
                self.confirm(global, console)?;
                known
                    .hosts
                    .insert(self.host.clone(), self.entry(context, manifest));
            }
        }
        Ok(())
    }

    /// Writes the inventory's fleet and name into the manifest; its lineage and its entries stay.
    async fn take_over(
        &self,
        context: &Context,
        global: &Global,
        console: &Console,
        ports: &Ports,
        reply: &LookReply,
        known: &mut KnownHosts,
    ) -> Result<(), Exit> {
        let ManifestState::Present(manifest) = &reply.manifest else {
            return Err(fail(
                console,
                &format!("`{}` has no manifest that could be taken over", self.host),
            ));
        };
        console.note(&format!("`{}` {}", self.host, described(manifest)));
        console.note(&format!(
            "It becomes `{}` of fleet `{}`.",
            self.host, context.inventory.name
        ));
        self.confirm(global, console)?;
        let request = LockRequest {
            run: "adopt".parse().expect("a word is a name"),
            who: carry::who(),
            fleet: context.inventory.name.clone(),
            former: Some((manifest.fleet.clone(), manifest.host.clone())),
            lease_secs: context.inventory.policy.lease_secs,
        };
        let fence = ports
            .transport
            .lock(&self.host, &request)
            .await
            .map_err(|error| {
                console.error(&format!("`{}` cannot be taken over: {error}", self.host));
                Exit::Locked
            })?;
        known
            .hosts
            .insert(self.host.clone(), self.entry(context, manifest));
        let released = ports.transport.release(&self.host, &fence).await;
        released.map_err(|error| {
            fail(
                console,
                &format!("the lock of `{}` was not freed: {error}", self.host),
            )
        })
    }

    fn entry(&self, context: &Context, manifest: &Manifest) -> KnownHost {
        let target = context.inventory.hosts.get(&self.host).map(|host| &host.target);
        KnownHost {
            address: target.map(store::hosts::address).unwrap_or_default(),
            lineage: manifest.lineage.clone(),
        }
    }

    fn confirm(&self, global: &Global, console: &Console) -> Result<(), Exit> {
        super::confirm(&format!("Accept `{}` as it is?", self.host), global, console)
    }
}

/// Says what a manifest is, in one clause.
fn described(manifest: &Manifest) -> String {
    let Manifest {
        host,
        fleet,
        lineage,
        owned,
        ..
    } = manifest;
    format!(
        "is `{host}` of fleet `{fleet}`, lineage {lineage}, with {} resources",
        owned.len()
    )
}

fn fail(console: &Console, text: &str) -> Exit {
    console.error(text);
    Exit::Error
}
