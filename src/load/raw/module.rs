//! The form of `module.toml`.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, IntoDeserializer, MapAccess, Visitor};
use toml::Spanned;

use crate::model::id::ModuleName;

use super::{Scalar, Strings};

/// A module: what it takes and what it declares. Tables named like a resource kind come beside these keys.
#[derive(Debug, JsonSchema)]
pub struct RawModule {
    /// What the module is.
    pub module: RawHead,
    /// What it takes, by name.
    #[serde(default)]
    pub inputs: BTreeMap<String, RawInput>,
    /// Values that it derives: expressions, in order; each may use inputs and those before it.
    #[serde(default)]
    pub derived: BTreeMap<String, String>,
    /// Rules on its inputs, judged offline.
    #[serde(default)]
    pub rule: Vec<RawRule>,
    /// Sockets that its services listen on, for the clash lint.
    #[serde(default)]
    pub listener: Vec<RawListener>,
    /// Gates, asked after a resource has changed.
    #[serde(default)]
    pub gate: Vec<RawGate>,
    /// Resources that got another name.
    #[serde(default)]
    pub moved: Vec<RawMoved>,
}

/// The keys of a module beside the kinds, as [`RawModule`] has them.
pub const KEYS: [&str; 7] = ["module", "inputs", "derived", "rule", "listener", "gate", "moved"];

/// What the module is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawHead {
    /// The module's name: that of its folder.
    #[schemars(with = "ModuleName")]
    pub name: Spanned<ModuleName>,
    /// What it is, in a sentence.
    #[serde(default)]
    pub description: String,
    /// Modules that must be used on the same host.
    #[serde(default)]
    #[schemars(with = "Vec<ModuleName>")]
    pub needs: Vec<Spanned<ModuleName>>,
}

/// The type of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawType {
    /// Text.
    String,
    /// A whole number.
    Int,
    /// True or false.
    Bool,
    /// A port, 1 to 65535.
    Port,
    /// A size such as `512MiB`.
    Size,
    /// A duration such as `5m`.
    Duration,
    /// An absolute path.
    Path,
    /// A URL with a scheme.
    Url,
    /// An IP address.
    Ip,
    /// A network such as `10.0.0.0/8`.
    Cidr,
    /// One of `values`.
    Enum,
    /// Several, each an `item`.
    List,
    /// Named ones, each an `item`.
    Map,
    /// The name of a host.
    Host,
    /// A secret, given by its source.
    Secret,
}

/// What a value may be.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawShape {
    /// The type.
    pub r#type: RawType,
    /// For `string`: a regular expression that must fit the whole.
    pub pattern: Option<String>,
    /// For `int`: the lowest.
    pub min: Option<i64>,
    /// For `int`: the highest.
    pub max: Option<i64>,
    /// For `enum`: the words.
    pub values: Option<Vec<String>>,
    /// For `list` and `map`: what each item may be.
    pub item: Option<RawItem>,
}

/// Something that a module takes.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawInput {
    /// The type.
    pub r#type: RawType,
    /// For `string`: a regular expression that must fit the whole.
    pub pattern: Option<String>,
    /// For `int`: the lowest.
    pub min: Option<i64>,
    /// For `int`: the highest.
    pub max: Option<i64>,
    /// For `enum`: the words.
    pub values: Option<Vec<String>>,
    /// For `list` and `map`: what each item may be.
    pub item: Option<RawItem>,
    /// Its value when nobody gives one.
    #[schemars(with = "Option<serde_json::Value>")]
    pub default: Option<toml::Value>,
    /// Whether it may be left out; `none` in templates.
    #[serde(default)]
    pub optional: bool,
    /// What it is, for people.
    #[serde(default)]
    pub doc: String,
}

/// The shape of an item: a table with a `type`, or only the type's name.
#[derive(Debug, Clone, PartialEq)]
pub struct RawItem(pub Box<RawShape>);

impl<'de> Deserialize<'de> for RawItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = RawItem;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a type's name or a table with a `type`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<RawItem, E> {
                let r#type = RawType::deserialize(text.into_deserializer())?;
                let (pattern, min, max, values, item) = (None, None, None, None, None);
                Ok(RawItem(Box::new(RawShape {
                    r#type,
                    pattern,
                    min,
                    max,
                    values,
                    item,
                })))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawItem, A::Error> {
                RawShape::deserialize(MapAccessDeserializer::new(map))
                    .map(Box::new)
                    .map(RawItem)
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl JsonSchema for RawItem {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RawItem".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let name = generator.subschema_for::<RawType>();
        let shape = generator.subschema_for::<RawShape>();
        schemars::json_schema!({ "anyOf": [name, shape] })
    }
}

/// A rule on the inputs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRule {
    /// An expression: the rule applies where it holds.
    pub when: Option<String>,
    /// The expression that must hold.
    pub must: String,
    /// What is wrong where it does not hold.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// The input that it speaks of, to whose line the caret goes.
    #[schemars(with = "Option<String>")]
    pub input: Option<Spanned<String>>,
    /// Whether it is an error (the default) or a warning.
    #[serde(default)]
    pub level: RawLevel,
}

/// How much a broken rule matters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawLevel {
    /// Nothing goes on.
    #[default]
    Error,
    /// It goes on, and says so.
    Warning,
}

/// A resource that got another name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawMoved {
    /// `kind:name` as the manifest knows it.
    #[schemars(with = "String")]
    pub from: Spanned<String>,
    /// `kind:name` as it is now declared.
    #[schemars(with = "String")]
    pub to: Spanned<String>,
}

/// The keys that all resources share.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawShared {
    /// An expression: declared only where it holds.
    pub when: Option<String>,
    /// An expression that gives a list or a map: declared once for each.
    pub for_each: Option<String>,
    /// References to what must be there before: `kind:name`, `@group:kind:name`, `host:kind:name`.
    #[serde(default)]
    pub after: Strings,
    /// References to what it consumes at its start.
    #[serde(default)]
    pub restart_on: Strings,
    /// References to what wipes it when it changes.
    #[serde(default)]
    pub loses_on: Strings,
    /// Refuses deletion and replacement.
    #[serde(default)]
    pub protect: bool,
    /// Fields that are left to others.
    #[serde(default)]
    pub ignore: Strings,
    /// Permits deletion of what is otherwise kept.
    #[serde(default)]
    pub delete: bool,
}

/// The keys of [`RawShared`].
pub const SHARED: [&str; 8] = [
    "when",
    "for_each",
    "after",
    "restart_on",
    "loses_on",
    "protect",
    "ignore",
    "delete",
];

/// A socket that a service listens on. Keys that resources share work here too.
#[derive(Debug, JsonSchema)]
pub struct RawListener {
    /// The address; a template.
    pub address: Scalar,
    /// The port; a template.
    pub port: Scalar,
    /// `tcp` or `udp`; a template.
    pub protocol: Option<String>,
    /// What listens, for people; a template.
    pub what: String,
}

/// The keys of [`RawListener`].
pub const LISTENER: [&str; 4] = ["address", "port", "protocol", "what"];

/// A gate, asked after a resource has changed and before what needs it. Keys that resources share work here too.
#[derive(Debug, JsonSchema)]
pub struct RawGate {
    /// The resource; a reference.
    pub after: Strings,
    /// What people call it.
    pub name: String,
    /// A shell command on the host; good when it exits 0.
    pub command: Option<String>,
    /// An `http://` URL, fetched from the host's own point of view.
    pub http: Option<String>,
    /// `address:port`, connected to from the host's own point of view.
    pub tcp: Option<String>,
    /// The HTTP status that is good.
    pub status: Option<Scalar>,
    /// A text that the HTTP body must hold.
    pub contains: Option<String>,
    /// How long to go on asking.
    pub within: Option<String>,
    /// How long the answer must stay good without a break.
    pub stable_for: Option<String>,
    /// The pause between two questions.
    pub every: Option<String>,
    /// What happens when the time is up: `halt`, `fail` or `go_on`.
    pub on_deadline: Option<String>,
}

/// The keys of [`RawGate`] that are not shared.
pub const GATE: [&str; 10] = [
    "name",
    "command",
    "http",
    "tcp",
    "status",
    "contains",
    "within",
    "stable_for",
    "every",
    "on_deadline",
];
