//! The survey: what `plan`, `apply` and `drift` share, from the files to the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::SystemClock;
use crate::compose;
use crate::hooks::LocalHooks;
use crate::keyed;
use crate::model::aim::Aims;
use crate::model::code;
use crate::model::diagnostic::Diagnostic;
use crate::model::digest::{Digest, Fingerprint};
use crate::model::hook::{Hook, Moment};
use crate::model::id::HostId;
use crate::model::observation::{FactsSeen, Observation};
use crate::model::plan::Plan;
use crate::model::secret::SecretSource;
use crate::model::target::Sudo;
use crate::model::value::Value;
use crate::observe::{self, LookOptions, Seen};
use crate::plan::desire::{Wished, desire};
use crate::plan::values::Resolved;
use crate::plan::{self, PlanInput};
use crate::ports::{Ports, Secrets};
use crate::resource::desired::Desired;
use crate::store::{self, hosts::KnownHosts};
use crate::transport::connector::{Connector, Limits, Places};
use crate::transport::engine::EngineReads;
use crate::transport::fleet::FleetTransport;
use crate::transport::perform::Keyed;
use crate::vault;

use super::calls::{Calls, around_plan};
use super::console::Console;
use super::context::Context;
use super::exit::Exit;
use super::global::Global;
use super::prompter;

/// How the transport reads and edits keyed files, which is a room of its own.
const KEYED: Keyed = Keyed {
    read: keyed::read,
    edit: keyed::edit,
};

/// How the transport reads what an engine says, which is a room of its own.
const ENGINE: EngineReads = EngineReads {
    container: |container, image, shows, print| {
        compose::inspected(container, image, &compose::Veil { shows, print })
    },
    image: |image, shows, print| compose::image(image, &compose::Veil { shows, print }),
    network: compose::network,
    volume: compose::volume,
};

/// How a survey goes about it.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether secrets are left unresolved, so that hosts are held against what was last applied.
    pub without_secrets: bool,
    /// Whether connections stay open for an apply.
    pub keeps_open: bool,
    /// A recorded look to plan from, instead of the hosts.
    pub recorded: Option<PathBuf>,
    /// The resources that the plan is limited to.
    pub aims: Aims,
    /// Which hooks are called.
    pub calls: Calls,
}

/// What a survey brought.
pub struct Survey {
    /// The plan.
    pub plan: Plan,
    /// The look that it rests on.
    pub seen: Observation,
    /// The way to the hosts; closed unless it was to stay open.
    pub ports: Ports,
    /// The values of the secrets that the inventory names.
    pub secrets: Secrets,
    /// What is known of hosts from before, with this look taken in.
    pub known: KnownHosts,
    /// The folder in which plans and journals of this inventory are kept.
    pub folder: PathBuf,
    /// Whether a host that muster knew is no longer declared; it was said.
    pub has_lost_hosts: bool,
}

/// Reads, desires, looks and plans.
///
/// # Errors
/// The exit code, after saying why.
pub async fn survey(
    context: &Context,
    global: &Global,
    console: &mut Console,
    options: &Options,
) -> Result<Survey, Exit> {
    let folder = store::folder(&context.inventory.file);
    let mut known =
        store::hosts::load(&folder).map_err(|error| fail(console, context, [error.diagnostic()]))?;
    let lost = known.lost(&context.inventory);
    let has_lost_hosts = !lost.is_empty();
    if has_lost_hosts {
        console.diagnostics(&collect(lost), &context.sources);
    }
    let mut diagnostics = Default::default();
    let resolved = context.resolve(&mut diagnostics);
    let secrets = secrets(context, &resolved, console, options).await?;
    let parallel = context.parallel(global);
    let ports = ports(context, global, secrets.clone(), parallel);
    around_plan(context, &ports, options, Moment::BeforePlan, None, console).await?;
    let limit = match &global.limit {
        Some(selector) => Some((selector.to_string(), context.limited(global, console)?)),
        None => None,
    };
    let looked = match &options.recorded {
        Some(path) => {
            let seen =
                store::recorded::load(path).map_err(|error| fail(console, context, [error.diagnostic()]))?;
            let facts = recorded_facts(&seen);
            let wished = desire(&context.inventory, &context.modules, &resolved, &facts);
            (
                wished,
                Seen {
                    observation: seen,
                    salts: BTreeMap::new(),
                },
            )
        }
        None => {
            look(
                context,
                &resolved,
                &ports,
                parallel,
                limit.as_ref().map(|(_, hosts)| hosts),
                options,
            )
            .await
        }
    };
    let (wished, seen) = looked;
    if wished.diagnostics.has_errors() || !wished.diagnostics.is_empty() {
        console.diagnostics(&wished.diagnostics, &context.sources_with(&wished.sources));
    }
    if wished.diagnostics.has_errors() {
        return Err(Exit::Error);
    }
    let prints = prints(&wished.desired, &seen, &secrets);
    let lineages = known.lineages(&context.inventory);
    let input = PlanInput {
        inventory: &context.inventory,
        desired: &wished.desired,
        seen: &seen.observation,
        prints: &prints,
        without_secrets: options.without_secrets || options.recorded.is_some(),
        limit,
        aims: &options.aims,
        inputs: context.inputs(),
        lineages: &lineages,
    };
    let plan = plan::plan(&input).map_err(|diagnostics| {
        console.diagnostics(&diagnostics, &context.sources);
        Exit::Error
    })?;
    around_plan(context, &ports, options, Moment::AfterPlan, Some(&plan), console).await?;
    known.merge(&targets(context), &seen.observation);
    known.rename(&context.inventory);
    Ok(Survey {
        plan,
        seen: seen.observation,
        ports,
        secrets,
        known,
        folder,
        has_lost_hosts,
    })
}

/// Gathers facts as long as templates want more, then looks.
async fn look(
    context: &Context,
    resolved: &Resolved<'_>,
    ports: &Ports,
    parallel: usize,
    limit: Option<&BTreeSet<HostId>>,
    options: &Options,
) -> (Wished, Seen) {
    let (wished, facts) = wish(context, resolved, ports, parallel).await;
    if wished.diagnostics.has_errors() {
        return (wished, Seen::default());
    }
    let hosts = match limit {
        None => context.inventory.hosts.keys().cloned().collect(),
        Some(limit) => with_needed(&wished.desired, limit),
    };
    let look = LookOptions {
        parallel,
        closes: !options.keeps_open,
    };
    let seen = observe::look(ports, &wished.desired, &hosts, &facts, look).await;
    (wished, seen)
}

/// Gathers facts as long as templates want more.
async fn wish(
    context: &Context,
    resolved: &Resolved<'_>,
    ports: &Ports,
    parallel: usize,
) -> (Wished, FactsSeen) {
    let mut facts = FactsSeen::default();
    loop {
        let wished = desire(&context.inventory, &context.modules, resolved, &facts);
        if wished.facts_wanted.is_empty() {
            return (wished, facts);
        }
        // Every wanted host is known or lost afterwards, so this ends.
        let more = observe::facts(ports, &wished.facts_wanted, parallel).await;
        facts.known.extend(more.known);
        facts.lost.extend(more.lost);
    }
}

/// What is declared, and the way to the hosts.
pub struct Declared {
    /// The hosts.
    pub transport: Arc<FleetTransport>,
    /// What every host must be.
    pub wished: Wished,
    /// Whether every host could be rendered: none is missing whose facts are read.
    pub is_whole: bool,
}

/// Says what every host must be, without a look at more than the facts that templates read, and returns the way to the hosts. What
/// hosts say over it comes without the values of the inventory's secrets.
///
/// # Errors
/// The exit code, after saying why.
pub async fn declared(
    context: &Context,
    global: &Global,
    console: &mut Console,
    options: &Options,
) -> Result<Declared, Exit> {
    let resolved = context.resolve(&mut Default::default());
    let secrets = secrets(context, &resolved, console, options).await?;
    let parallel = context.parallel(global);
    let transport = transport(targets(context), global, secrets.clone(), parallel);
    let ports = ports_over(Arc::clone(&transport), &context.inventory.file, secrets);
    let (wished, facts) = wish(context, &resolved, &ports, parallel).await;
    // That an image has no digest says something of plans, and nothing here.
    let mut found = crate::model::diagnostic::Diagnostics::default();
    let is_told = |diagnostic: &&Diagnostic| diagnostic.code != code::UNPINNED_IMAGE;
    found.extend(wished.diagnostics.iter().filter(is_told).cloned());
    console.diagnostics(&found, &context.sources);
    if found.has_errors() {
        return Err(Exit::Error);
    }
    Ok(Declared {
        transport,
        wished,
        is_whole: facts.lost.is_empty(),
    })
}

/// Returns how every host of the inventory is reached.
fn targets(context: &Context) -> BTreeMap<HostId, crate::model::target::Target> {
    let hosts = context.inventory.hosts.iter();
    hosts
        .map(|(id, host)| (id.clone(), host.target.clone()))
        .collect()
}

/// Returns hosts together with those on which something lies that they need.
fn with_needed(desired: &Desired, limit: &BTreeSet<HostId>) -> BTreeSet<HostId> {
    let entries = limit
        .iter()
        .filter_map(|host| desired.hosts.get(host))
        .flat_map(|host| host.entries.values());
    let needed = entries.flat_map(|entry| entry.needs.iter().map(|need| need.host.clone()));
    needed.chain(limit.iter().cloned()).collect()
}

/// Returns the facts that a recording holds.
pub fn recorded_facts(seen: &Observation) -> FactsSeen {
    let known = seen
        .hosts
        .iter()
        .filter_map(|(host, view)| Some((host.clone(), view.facts.clone()?)));
    FactsSeen {
        known: known.collect(),
        lost: BTreeMap::new(),
    }
}

/// Has the value of every secret that the inventory names, and of every sudo password.
async fn secrets(
    context: &Context,
    resolved: &Resolved<'_>,
    console: &mut Console,
    options: &Options,
) -> Result<Secrets, Exit> {
    if options.recorded.is_some() {
        return Ok(Secrets::default());
    }
    let mut sources = BTreeSet::new();
    if !options.without_secrets {
        let hooks = context
            .inventory
            .hooks
            .iter()
            .filter(|hook| options.calls.has(hook));
        sources.extend(hooks.flat_map(Hook::secrets).cloned());
        sources.extend(context.inventory.images.secrets().cloned());
    }
    for host in context.inventory.hosts.values() {
        if let Sudo::Password(source) = &host.target.sudo {
            sources.insert(source.clone());
        }
        if !options.without_secrets {
            let inputs = resolved
                .modules_of(&host.id)
                .flat_map(|(_, inputs)| inputs.values());
            inputs.for_each(|valued| collect_sources(&valued.value, &mut sources));
        }
    }
    let inventory = &context.inventory;
    let vault_options = vault::Options::for_inventory(&inventory.file, inventory.age_identity.clone());
    match vault::resolve(&sources, &vault_options).await {
        Ok(resolved) => {
            resolved
                .warnings
                .iter()
                .for_each(|warning| console.note(&format!("warning: {warning}")));
            Ok(resolved.secrets)
        }
        Err(errors) => Err(fail(
            console,
            context,
            errors.iter().map(vault::VaultError::diagnostic),
        )),
    }
}

fn collect_sources(value: &Value, sources: &mut BTreeSet<SecretSource>) {
    match value {
        Value::Secret(source) => drop(sources.insert(source.clone())),
        Value::List(values) => values.iter().for_each(|value| collect_sources(value, sources)),
        Value::Map(values) => values.values().for_each(|value| collect_sources(value, sources)),
        Value::None | Value::Text(_) | Value::Int(_) | Value::Bool(_) | Value::Host(_) => {}
    }
}

fn ports(context: &Context, global: &Global, secrets: Secrets, parallel: usize) -> Ports {
    transport_ports(
        targets(context),
        &context.inventory.file,
        global,
        secrets,
        parallel,
    )
}

/// Makes the ports to a set of targets.
pub fn transport_ports(
    targets: BTreeMap<HostId, crate::model::target::Target>,
    inventory_file: &str,
    global: &Global,
    secrets: Secrets,
    parallel: usize,
) -> Ports {
    let transport = transport(targets, global, secrets.clone(), parallel);
    ports_over(transport, inventory_file, secrets)
}

fn ports_over(transport: Arc<FleetTransport>, inventory_file: &str, secrets: Secrets) -> Ports {
    Ports {
        transport,
        clock: Arc::new(SystemClock),
        hooks: Arc::new(LocalHooks::for_inventory(inventory_file, secrets)),
    }
}

/// The way to some hosts of the inventory, for what people do without a plan.
pub struct ByHand {
    /// The hosts.
    pub transport: Arc<FleetTransport>,
    /// The world, with these hosts.
    pub ports: Ports,
}

/// Makes the way to some hosts of the inventory, with no secrets but the passwords for sudo.
///
/// # Errors
/// [`Exit::Error`], after saying why, where a password is not to be had.
pub async fn by_hand(
    context: &Context,
    global: &Global,
    console: &Console,
    hosts: &BTreeSet<HostId>,
) -> Result<ByHand, Exit> {
    let inventory = &context.inventory;
    let targets: BTreeMap<_, _> = inventory
        .hosts
        .iter()
        .filter(|(id, _)| hosts.contains(*id))
        .map(|(id, host)| (id.clone(), host.target.clone()))
        .collect();
    let sources = targets.values().filter_map(|target| match &target.sudo {
        Sudo::Password(source) => Some(source.clone()),
        Sudo::None | Sudo::Passwordless => None,
    });
    let options = vault::Options::for_inventory(&inventory.file, inventory.age_identity.clone());
    let resolved = vault::resolve(&sources.collect(), &options)
        .await
        .map_err(|errors| {
            errors.iter().for_each(|error| console.error(&error.to_string()));
            Exit::Error
        })?;
    let parallel = context.parallel(global);
    let transport = transport(targets, global, resolved.secrets.clone(), parallel);
    let ports = ports_over(Arc::clone(&transport), &inventory.file, resolved.secrets);
    Ok(ByHand { transport, ports })
}

fn transport(
    targets: BTreeMap<HostId, crate::model::target::Target>,
    global: &Global,
    secrets: Secrets,
    parallel: usize,
) -> Arc<FleetTransport> {
    let limits = Limits {
        logins_max: parallel,
        ..Limits::default()
    };
    let prompter = prompter::of(global);
    let connector = Arc::new(Connector::new(
        limits,
        Places::of_user(),
        secrets.clone(),
        prompter,
    ));
    Arc::new(FleetTransport::new(targets, connector, secrets, KEYED).with_engines(ENGINE))
}

/// Returns the fingerprints that the comparison needs, by host.
fn prints(
    desired: &Desired,
    seen: &Seen,
    secrets: &Secrets,
) -> BTreeMap<HostId, BTreeMap<Digest, Fingerprint>> {
    let outputs = plan::outputs(desired, &seen.observation);
    let value = |output: &_| outputs.get(output).map(String::as_str);
    let of = |(host, salt): (&HostId, &crate::ports::Salt)| {
        let entries = desired.hosts.get(host)?.entries.values();
        let bodies: Vec<_> = entries
            .flat_map(|entry| entry.spec.printed())
            .map(|body| body.with_outputs(value))
            .collect();
        Some((host.clone(), vault::prints(secrets, salt, &bodies)))
    };
    seen.salts.iter().filter_map(of).collect()
}

fn collect(
    diagnostics: impl IntoIterator<Item = crate::model::diagnostic::Diagnostic>,
) -> crate::model::diagnostic::Diagnostics {
    let mut all = crate::model::diagnostic::Diagnostics::default();
    all.extend(diagnostics);
    all
}

/// Shows diagnostics and returns the exit code of an error.
fn fail(
    console: &mut Console,
    context: &Context,
    diagnostics: impl IntoIterator<Item = crate::model::diagnostic::Diagnostic>,
) -> Exit {
    console.diagnostics(&collect(diagnostics), &context.sources);
    Exit::Error
}
