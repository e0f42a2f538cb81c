//! Resource kinds: what can be declared, one file each. Pure.
//!
//! A kind says how it is looked at, what the answers mean, what differs and which ops mend it. It never sees a
//! template, a host or a connection. The list at the end of this file gathers the kinds into [`Spec`] and [`Actual`];
//! every law in `tests/laws.rs` runs over that list.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::body::Body;
use crate::model::change::{Action, Disruption, FieldChange, Undo};
use crate::model::digest::Digest;
use crate::model::id::ResourceKey;
use crate::model::known::Known;
use crate::model::manifest::Owned;
use crate::model::observation::{Answer, Observed};
use crate::model::op::{Op, Probe};

/// A kind of resource.
pub trait Kind: Clone + PartialEq + Serialize + DeserializeOwned + JsonSchema {
    /// The name of its TOML table.
    const NAME: &'static str;
    /// The fields that `compare` may name, in order. The laws alter each of them.
    const FIELDS: &'static [&'static str];
    /// Whether muster deletes what it made of this kind only where the resource said `delete = true`.
    const KEPT_UNLESS_DELETE: bool = false;
    /// Whether it starts something and so may say `restart_on`.
    const STARTS: bool = false;
    /// Whether a module has a table of it. Others come out of something that is declared as a whole.
    const HAS_TABLE: bool = true;

    /// What is there, interpreted.
    type Actual: Clone + PartialEq + Serialize + DeserializeOwned;

    /// Returns the name, unique for the kind on its host.
    fn name(&self) -> String;

    /// Returns rules that the types cannot say and this declaration breaks.
    fn check(&self) -> Vec<Mistake> {
        Vec::new()
    }

    /// Returns what it claims, so that two owners of one thing are found.
    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }

    /// Returns the one declaration that says what both do; `None` where they contradict each other. Equal ones always go
    /// together, others only where a kind lets several own parts of one thing.
    fn joined(&self, other: &Self) -> Option<Self> {
        (self == other).then(|| self.clone())
    }

    /// Returns the tools that its ops need on the host beside POSIX sh, coreutils and util-linux.
    fn tools(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns resources that it needs if they are declared for the same host, such as a file's folder.
    fn implied(&self) -> Vec<ResourceKey> {
        Vec::new()
    }

    /// Returns the questions that tell what is there.
    fn probes(&self) -> Vec<Probe>;

    /// Returns the answers without what no plan and no recorded look may hold; `None` where they hold nothing of the
    /// kind. `owned` is the manifest's entry, `seen` tells the digest of what the answers say as they are.
    fn veil(
        &self,
        _owned: Option<&Owned>,
        _answers: &[Answer],
        _salt: Option<&[u8]>,
        _seen: &dyn Fn() -> Digest,
    ) -> Option<Vec<Answer>> {
        None
    }

    /// Says what the answers mean; one for each probe.
    fn read(&self, answers: &[Answer]) -> Observed<Self::Actual>;

    /// Returns what differs; empty means that it is already so.
    ///
    /// `owned` is the manifest's entry, for what only the manifest knows: what a unit was started with, which keys
    /// muster made. The order is that of [`Self::FIELDS`].
    fn compare(&self, actual: &Self::Actual, context: &Context<'_>) -> Vec<FieldChange>;

    /// Returns the ops of a step, in order. The fields of the step are those that `compare` named, less those ignored.
    fn ops(&self, step: &Step<'_, Self::Actual>) -> Vec<Op>;

    /// Returns the ops that replace what cannot change in place; `step` has the whole action.
    fn replace(&self, step: &Step<'_, Self::Actual>) -> Vec<Op> {
        let delete = Step {
            action: Action::Delete,
            fields: &[],
            ..*step
        };
        let create = Step {
            action: Action::Create,
            before: &Observed::Absent,
            fields: &[],
            ..*step
        };
        let mut ops = self.ops(&delete);
        ops.extend(self.ops(&create));
        ops
    }

    /// Returns how the step is undone.
    fn undo(&self, step: &Step<'_, Self::Actual>) -> Undo;

    /// Says what the step does to those who use the host.
    fn disruption(&self, _step: &Step<'_, Self::Actual>) -> Disruption {
        Disruption::None
    }

    /// Returns the fields among these that cannot change in place, so that the resource must be replaced.
    fn immutable<'a>(&self, _fields: &'a [FieldChange]) -> Option<&'a FieldChange> {
        None
    }

    /// Returns why this may never be deleted, if so: identity directories, the login account …
    fn never_deleted(&self) -> Option<String> {
        None
    }

    /// Returns why this may never be replaced, if so: what it holds would go with it.
    fn never_replaced(&self) -> Option<String> {
        None
    }

    /// Returns how many things lie in it that go before it does, whoever made them. Only a directory holds some.
    fn holds(&self, _actual: &Self::Actual) -> u64 {
        0
    }

    /// Returns what else on the host keeps it from being deleted unless it goes too, and how. Only a group is used so.
    fn users(&self, _actual: &Self::Actual) -> Vec<(ResourceKey, String)> {
        Vec::new()
    }

    /// Returns the digest of what a consumer reads of it: for a file its content, not its mode.
    ///
    /// Holes stay holes. A salt that the host does not have yet, or an output that is not known yet, must not make the
    /// digest another one in the next plan; a secret or an output that changes shows as a change of this resource.
    fn consumed(&self) -> Digest {
        Digest::of_value(self)
    }

    /// Returns the digest by which a later look is compared with this one: for staleness, and to tell whether the
    /// resource still is as muster left it. Leaves out what changes by itself: start times, what others put into a folder.
    fn digest(&self, actual: &Self::Actual) -> Digest {
        Digest::of_value(actual)
    }

    /// Returns the bodies that are compared by their print on the host, since a secret stands in them or may.
    fn printed(&self) -> Vec<&Body> {
        Vec::new()
    }

    /// Says whether what is seen of it holds prints, so that a look before the host had a salt cannot be held against a later one.
    fn is_salted(&self) -> bool {
        !self.printed().is_empty()
    }

    /// Returns every body in which secrets and outputs may stand.
    fn bodies(&self) -> Vec<&Body> {
        Vec::new()
    }

    /// Returns the values that it produces, read from what is there.
    fn outputs(&self, _actual: &Self::Actual) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Returns the names of the values that it produces, each with the pattern that it must fit as a whole.
    fn declared_outputs(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Returns the keys of a shared file that muster will have made, once what is declared is so: those that are not there
    /// now, and those that it made before. Only kinds that share a file have some.
    fn made_keys(&self, _actual: Option<&Self::Actual>, _owned: Option<&Owned>) -> BTreeSet<String> {
        BTreeSet::new()
    }

    /// Says whether what is still there is all that a deletion leaves: a kernel parameter without its file, a settings file
    /// without the keys that muster made (`made`), whatever a command once did.
    fn is_gone(&self, _actual: &Self::Actual, _made: &BTreeSet<String>) -> bool {
        false
    }

    /// Says what a pretend host answers once the script of this was run, for kinds that run one.
    fn pretended(&self) -> Option<Pretended> {
        None
    }

    /// Returns how long a look may go on not to find what its ops have brought about; `None` where it is there at their end.
    fn patience(&self) -> Option<Patience> {
        None
    }

    /// Returns what names the present start of what runs (a unit's InvocationID), for kinds that start something.
    fn invocation(&self, _actual: &Self::Actual) -> Option<String> {
        None
    }
}

/// How long something may take to come about after its ops have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long it is looked for, in seconds.
    pub within_secs: u64,
    /// The pause before the second look, in seconds, at least 1.
    pub every_secs: u64,
}

/// What a comparison may use beside the two sides.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Outputs and fingerprints.
    pub known: &'a Known,
    /// The manifest's entry for this resource.
    pub owned: Option<&'a Owned>,
    /// For kinds that start something: the digest of what it consumes now, and when that was last changed on the host.
    pub consumed: Option<&'a Consumed>,
}

impl Context<'_> {
    /// Returns what the manifest says was wanted last, in the kind's own form.
    ///
    /// What was secret then may still be there now, and must not be shown though the new declaration is public.
    pub fn former<K: Kind>(&self) -> Option<K> {
        K::deserialize(&self.owned?.spec).ok()
    }
}

/// What a resource consumes at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumed {
    /// The digest of all that is listed in `restart_on`, as it will be after this plan.
    pub digest: Digest,
    /// When the latest of these that are on the same host was changed, in seconds of that host's clock, if the manifest
    /// knows. Two hosts' clocks are never compared.
    pub changed_at_secs: Option<u64>,
    /// Whether an earlier run began to change one of these and nobody saw the end: it may have been after the start.
    pub is_unfinished: bool,
    /// Those that this plan changes.
    pub changing: Vec<crate::model::id::ResourceId>,
}

/// What running a script leads to on a pretend host, which has no programs.
#[derive(Debug, Clone, PartialEq)]
pub struct Pretended {
    /// The script that is run, or what stands for it.
    pub script: Body,
    /// The probe that says afterwards that nothing is to be done.
    pub probe: String,
    /// What that probe then prints.
    pub prints: String,
}

/// One step on one resource.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a, A> {
    /// What is done: for `Replace` the kind is asked for `Delete` and then for `Create`.
    pub action: Action,
    /// What is there.
    pub before: &'a Observed<A>,
    /// What differs, less what is ignored. Empty for `Create` and `Delete`.
    pub fields: &'a [FieldChange],
    /// What the comparison used.
    pub context: Context<'a>,
}

impl<A> Step<'_, A> {
    /// Says whether a field differs.
    pub fn has(&self, field: &str) -> bool {
        self.fields.iter().any(|change| change.field == field)
    }
}

/// Something that a resource claims for itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// The thing: a normalised path, an account, a kernel parameter.
    pub what: String,
    /// Only these keys of it; `None` is the whole. Disjoint keys of one file do not clash.
    pub keys: Option<BTreeSet<String>>,
}

/// A rule that a declaration breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The field.
    pub field: &'static str,
    /// What is wrong, one clause.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Mistake {
    /// Makes one without a hint.
    pub fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self {
            field,
            message: message.into(),
            hint: None,
        }
    }

    /// Adds a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Makes [`Spec`], [`Actual`] and their forwarding from the list of kinds.
macro_rules! kinds {
    ($($module:ident :: $kind:ident),* $(,)?) => {
        /// What is declared, of any kind.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub enum Spec {
            $(#[doc = concat!("A [`", stringify!($module), "::", stringify!($kind), "`].")] $kind($module::$kind),)*
        }

        /// What is there, of any kind.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub enum Actual {
            $(#[doc = concat!("Of [`", stringify!($module), "::", stringify!($kind), "`].")]
              $kind(<$module::$kind as Kind>::Actual),)*
        }

        /// Every kind, in the order of the list.
        pub const KINDS: &[KindInfo] = &[
            $(KindInfo {
                name: <$module::$kind as Kind>::NAME,
                fields: <$module::$kind as Kind>::FIELDS,
                kept_unless_delete: <$module::$kind as Kind>::KEPT_UNLESS_DELETE,
                starts: <$module::$kind as Kind>::STARTS,
                has_table: <$module::$kind as Kind>::HAS_TABLE,
                schema: |generator| generator.subschema_for::<$module::$kind>(),
            },)*
        ];

        impl Spec {
            /// Reads a spec of a kind from its own form.
            ///
            /// # Errors
            /// A clause that says what does not fit, or that there is no such kind.
            pub fn decode(kind: &str, value: &Value) -> Result<Self, String> {
                $(if kind == <$module::$kind as Kind>::NAME {
                    return $module::$kind::deserialize(value).map(Self::$kind).map_err(|error| error.to_string());
                })*
                Err(format!("there is no kind `{kind}`"))
            }

            /// Writes the spec in its kind's own form.
            pub fn encode(&self) -> Value {
                match self {
                    $(Self::$kind(spec) => serde_json::to_value(spec),)*
                }
                .expect("specs serialise to JSON: no maps with odd keys")
            }

            /// Returns the facts of its kind.
            pub fn info(&self) -> &'static KindInfo {
                let name = match self { $(Self::$kind(_) => <$module::$kind as Kind>::NAME,)* };
                KINDS.iter().find(|info| info.name == name).expect("every kind is listed")
            }

            /// Returns its key on its host.
            pub fn key(&self) -> ResourceKey {
                match self { $(Self::$kind(spec) => ResourceKey::new(<$module::$kind as Kind>::NAME, spec.name()),)* }
            }

            /// As [`Kind::check`].
            pub fn check(&self) -> Vec<Mistake> {
                match self { $(Self::$kind(spec) => spec.check(),)* }
            }

            /// As [`Kind::claims`].
            pub fn claims(&self) -> Vec<Claim> {
                match self { $(Self::$kind(spec) => spec.claims(),)* }
            }

            /// As [`Kind::joined`].
            pub fn joined(&self, other: &Self) -> Option<Self> {
                match (self, other) {
                    $((Self::$kind(spec), Self::$kind(other)) => spec.joined(other).map(Self::$kind),)*
                    #[allow(unreachable_patterns)]
                    _ => None,
                }
            }

            /// As [`Kind::tools`].
            pub fn tools(&self) -> &'static [&'static str] {
                match self { $(Self::$kind(spec) => spec.tools(),)* }
            }

            /// As [`Kind::implied`].
            pub fn implied(&self) -> Vec<ResourceKey> {
                match self { $(Self::$kind(spec) => spec.implied(),)* }
            }

            /// As [`Kind::probes`].
            pub fn probes(&self) -> Vec<Probe> {
                match self { $(Self::$kind(spec) => spec.probes(),)* }
            }

            /// As [`Kind::read`]; answers that are missing or [`Answer::NoAnswer`] make it unknown.
            pub fn read(&self, answers: &[Answer]) -> Observed<Actual> {
                if answers.len() != self.probes().len() {
                    return Observed::Unknown("the host did not answer every question".to_owned());
                }
                if let Some(why) = answers.iter().find_map(Answer::missing) {
                    return Observed::Unknown(why.to_owned());
                }
                match self { $(Self::$kind(spec) => spec.read(answers).map(Actual::$kind),)* }
            }

            /// As [`Kind::veil`].
            pub fn veil(
                &self,
                owned: Option<&Owned>,
                answers: &[Answer],
                salt: Option<&[u8]>,
            ) -> Option<Vec<Answer>> {
                let seen = || self.seen(&self.read(answers));
                match self { $(Self::$kind(spec) => spec.veil(owned, answers, salt, &seen),)* }
            }

            /// As [`Kind::compare`]. What is of another kind differs in nothing that could be named, and is a bug.
            pub fn compare(&self, actual: &Actual, context: &Context<'_>) -> Vec<FieldChange> {
                match (self, actual) {
                    $((Self::$kind(spec), Actual::$kind(actual)) => spec.compare(actual, context),)*
                    #[allow(unreachable_patterns)]
                    _ => unreachable!("a spec is compared with what it read itself"),
                }
            }

            /// As [`Kind::ops`].
            pub fn ops(&self, step: &Step<'_, Actual>) -> Vec<Op> {
                match self { $(Self::$kind(spec) => {
                    let before = step.before.clone().map(|actual| match actual {
                        Actual::$kind(actual) => actual,
                        #[allow(unreachable_patterns)]
                        _ => unreachable!("a spec takes steps from what it read itself"),
                    });
                    spec.ops(&Step { action: step.action, before: &before, fields: step.fields, context: step.context })
                })* }
            }

            /// As [`Kind::replace`].
            pub fn replace(&self, step: &Step<'_, Actual>) -> Vec<Op> {
                match self { $(Self::$kind(spec) => {
                    let before = step.before.clone().map(|actual| match actual {
                        Actual::$kind(actual) => actual,
                        #[allow(unreachable_patterns)]
                        _ => unreachable!("a spec takes steps from what it read itself"),
                    });
                    spec.replace(&Step { action: step.action, before: &before, fields: step.fields, context: step.context })
                })* }
            }

            /// As [`Kind::undo`].
            pub fn undo(&self, step: &Step<'_, Actual>) -> Undo {
                match self { $(Self::$kind(spec) => {
                    let before = step.before.clone().map(|actual| match actual {
                        Actual::$kind(actual) => actual,
                        #[allow(unreachable_patterns)]
                        _ => unreachable!("a spec takes steps from what it read itself"),
                    });
                    spec.undo(&Step { action: step.action, before: &before, fields: step.fields, context: step.context })
                })* }
            }

            /// As [`Kind::disruption`].
            pub fn disruption(&self, step: &Step<'_, Actual>) -> Disruption {
                match self { $(Self::$kind(spec) => {
                    let before = step.before.clone().map(|actual| match actual {
                        Actual::$kind(actual) => actual,
                        #[allow(unreachable_patterns)]
                        _ => unreachable!("a spec takes steps from what it read itself"),
                    });
                    spec.disruption(&Step { action: step.action, before: &before, fields: step.fields, context: step.context })
                })* }
            }

            /// As [`Kind::immutable`].
            pub fn immutable<'a>(&self, fields: &'a [FieldChange]) -> Option<&'a FieldChange> {
                match self { $(Self::$kind(spec) => spec.immutable(fields),)* }
            }

            /// As [`Kind::never_deleted`].
            pub fn never_deleted(&self) -> Option<String> {
                match self { $(Self::$kind(spec) => spec.never_deleted(),)* }
            }

            /// As [`Kind::never_replaced`].
            pub fn never_replaced(&self) -> Option<String> {
                match self { $(Self::$kind(spec) => spec.never_replaced(),)* }
            }

            /// As [`Kind::patience`].
            pub fn patience(&self) -> Option<Patience> {
                match self { $(Self::$kind(spec) => spec.patience(),)* }
            }

            /// As [`Kind::holds`].
            pub fn holds(&self, actual: &Actual) -> u64 {
                match (self, actual) {
                    $((Self::$kind(spec), Actual::$kind(actual)) => spec.holds(actual),)*
                    #[allow(unreachable_patterns)]
                    _ => unreachable!("a spec is asked about what it read itself"),
                }
            }

            /// As [`Kind::users`].
            pub fn users(&self, actual: &Actual) -> Vec<(ResourceKey, String)> {
                match (self, actual) {
                    $((Self::$kind(spec), Actual::$kind(actual)) => spec.users(actual),)*
                    #[allow(unreachable_patterns)]
                    _ => unreachable!("a spec is asked about what it read itself"),
                }
            }

            /// As [`Kind::consumed`].
            pub fn consumed(&self) -> Digest {
                match self { $(Self::$kind(spec) => spec.consumed(),)* }
            }

            /// Returns the digest of a whole look, by [`Kind::digest`]; what is absent or unknown has digests of its own.
            pub fn seen(&self, observed: &Observed<Actual>) -> Digest {
                match (self, observed) {
                    $((Self::$kind(spec), Observed::Present(Actual::$kind(actual))) => spec.digest(actual),)*
                    (_, Observed::Absent) => Digest::of("absent"),
                    (_, Observed::Unknown(_)) => Digest::of("unknown"),
                    #[allow(unreachable_patterns)]
                    _ => unreachable!("a spec is asked about what it read itself"),
                }
            }

            /// As [`Kind::printed`].
            pub fn printed(&self) -> Vec<&Body> {
                match self { $(Self::$kind(spec) => spec.printed(),)* }
            }

            /// As [`Kind::is_salted`].
            pub fn is_salted(&self) -> bool {
                match self { $(Self::$kind(spec) => spec.is_salted(),)* }
            }

            /// As [`Kind::bodies`].
            pub fn bodies(&self) -> Vec<&Body> {
                match self { $(Self::$kind(spec) => spec.bodies(),)* }
            }

            /// As [`Kind::declared_outputs`].
            pub fn declared_outputs(&self) -> Vec<(String, String)> {
                match self { $(Self::$kind(spec) => spec.declared_outputs(),)* }
            }

            /// As [`Kind::outputs`].
            pub fn outputs(&self, actual: &Actual) -> Vec<(String, String)> {
                match (self, actual) {
                    $((Self::$kind(spec), Actual::$kind(actual)) => spec.outputs(actual),)*
                    #[allow(unreachable_patterns)]
                    _ => unreachable!("a spec is asked about what it read itself"),
                }
            }

            /// As [`Kind::made_keys`].
            pub fn made_keys(&self, actual: Option<&Actual>, owned: Option<&Owned>) -> BTreeSet<String> {
                match self { $(Self::$kind(spec) => {
                    let actual = actual.map(|actual| match actual {
                        Actual::$kind(actual) => actual,
                        #[allow(unreachable_patterns)]
                        _ => unreachable!("a spec is asked about what it read itself"),
                    });
                    spec.made_keys(actual, owned)
                })* }
            }

            /// As [`Kind::pretended`].
            pub fn pretended(&self) -> Option<Pretended> {
                match self { $(Self::$kind(spec) => spec.pretended(),)* }
            }

            /// As [`Kind::is_gone`].
            pub fn is_gone(&self, actual: &Actual, made: &BTreeSet<String>) -> bool {
                match (self, actual) {
                    $((Self::$kind(spec), Actual::$kind(actual)) => spec.is_gone(actual, made),)*
                    #[allow(unreachable_patterns)]
                    _ => unreachable!("a spec is asked about what it read itself"),
                }
            }

            /// As [`Kind::invocation`].
            pub fn invocation(&self, actual: &Actual) -> Option<String> {
                match (self, actual) {
                    $((Self::$kind(spec), Actual::$kind(actual)) => spec.invocation(actual),)*
                    #[allow(unreachable_patterns)]
                    _ => unreachable!("a spec is asked about what it read itself"),
                }
            }
        }
    };
}

/// The facts of a kind.
#[derive(Debug, Clone, Copy)]
pub struct KindInfo {
    /// As [`Kind::NAME`].
    pub name: &'static str,
    /// As [`Kind::FIELDS`].
    pub fields: &'static [&'static str],
    /// As [`Kind::KEPT_UNLESS_DELETE`].
    pub kept_unless_delete: bool,
    /// As [`Kind::STARTS`].
    pub starts: bool,
    /// As [`Kind::HAS_TABLE`].
    pub has_table: bool,
    /// Makes the JSON schema of its table.
    pub schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
}

mod account;
mod authorized_keys;
mod command;
pub mod container;
mod container_run;
pub mod desired;
mod directory;
mod engine;
mod file;
mod group;
mod image;
mod network;
pub mod others;
mod package;
pub mod part;
mod path;
mod probe;
pub mod project;
mod run_table;
mod sample;
mod settings;
pub mod since;
mod symlink;
mod sysctl;
mod unit;
mod veil;
mod volume;

kinds! {
    file::File,
    directory::Directory,
    symlink::Symlink,
    group::Group,
    account::Account,
    package::Package,
    sysctl::Sysctl,
    unit::Unit,
    settings::Settings,
    command::Command,
    authorized_keys::AuthorizedKeys,
    image::Image,
    network::Network,
    volume::Volume,
    container::Container,
    container_run::ContainerRun,
}

/// The names of the tables that a module may have.
pub fn tables() -> Vec<&'static str> {
    let kinds = KINDS.iter().filter(|info| info.has_table).map(|info| info.name);
    kinds.chain([project::NAME]).collect()
}

/// The names that a reference may begin with: those of the kinds, and of what stands for several resources.
pub fn referable() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|info| info.name).chain([project::NAME])
}
