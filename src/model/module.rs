//! Modules: what a folder under `modules/` says, read and checked, before anything is rendered.

use std::collections::BTreeMap;

use super::diagnostic::Place;
use super::id::{KindName, ModuleName};
use super::inventory::Moved;
use super::value::Pattern;

/// A module as declared.
#[derive(Debug, Clone)]
pub struct Module {
    /// Its name, that of its folder.
    pub name: ModuleName,
    /// What it is, in a sentence.
    pub description: String,
    /// Modules that must be used on the same host.
    pub needs: Vec<ModuleName>,
    /// What it takes, in the order of the file.
    pub inputs: Vec<Input>,
    /// Values that it derives from its inputs, in order; each an expression that may use the ones before.
    pub derived: Vec<Derived>,
    /// The resources that it declares, in the order of the file.
    pub declared: Vec<Declared>,
    /// Rules on its inputs, judged offline.
    pub rules: Vec<Rule>,
    /// Sockets that its services listen on, for the clash lint.
    pub listeners: Vec<Declared>,
    /// Gates that follow its resources.
    pub gates: Vec<Declared>,
    /// Resources that got another name.
    pub moved: Vec<Moved>,
    /// Templates by path below `templates/`.
    pub templates: BTreeMap<String, Text>,
    /// Files by path below `files/`.
    pub files: BTreeMap<String, Text>,
    /// Data by file stem: `data/*.toml`.
    pub data: BTreeMap<String, toml::Value>,
    /// The path of `module.toml` as people know it.
    pub file: String,
}

impl Module {
    /// Says whether the module takes an input of this name.
    pub fn has_input(&self, name: &str) -> bool {
        self.inputs.iter().any(|input| input.name == name)
    }
}

/// A text file of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The path as people know it.
    pub file: String,
    /// The content.
    pub text: String,
}

/// Something that a module takes.
#[derive(Debug, Clone)]
pub struct Input {
    /// Its name in templates and values.
    pub name: String,
    /// What it may be.
    pub shape: Shape,
    /// Its value when nobody gives one; `None` means that somebody must, unless it is optional.
    pub default: Option<toml::Value>,
    /// Whether it may be left out; it is then `none` in templates.
    pub is_optional: bool,
    /// What it is, for people.
    pub doc: String,
    /// Where it is declared.
    pub origin: Place,
}

/// What a value may be.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Text, perhaps of a pattern that must fit the whole.
    String {
        /// The pattern, anchored at both ends.
        pattern: Option<Pattern>,
    },
    /// A whole number within bounds, both included.
    Int {
        /// The lowest.
        min: Option<i64>,
        /// The highest.
        max: Option<i64>,
    },
    /// True or false.
    Bool,
    /// A port, 1 to 65535.
    Port,
    /// A size such as `512MiB`, `4GB` or a number of bytes. In templates the number of bytes.
    Size,
    /// A duration such as `30s`, `5m`, `24h`, `7d`. In templates the number of seconds.
    Duration,
    /// An absolute path.
    Path,
    /// A URL with a scheme.
    Url,
    /// An IP address.
    Ip,
    /// A network such as `10.0.0.0/8`.
    Cidr,
    /// One of some words.
    Enum(Vec<String>),
    /// Several of one shape.
    List(Box<Shape>),
    /// Named values of one shape.
    Map(Box<Shape>),
    /// The name of a host of the fleet. In templates the host, as `hosts_in` gives it.
    Host,
    /// A secret, given by its source.
    Secret,
}

/// A value that a module derives.
#[derive(Debug, Clone)]
pub struct Derived {
    /// Its name in templates.
    pub name: String,
    /// The expression.
    pub expression: String,
    /// Where it stands.
    pub origin: Place,
}

/// A rule on a module's inputs.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The expression that must hold.
    pub must: String,
    /// When the rule applies; `None` is always.
    pub when: Option<String>,
    /// What is wrong where it does not hold; a template string.
    pub message: String,
    /// What to do; a template string.
    pub hint: Option<String>,
    /// Whether it only warns.
    pub is_warning: bool,
    /// The input that it speaks of, to whose line the caret goes.
    pub input: Option<String>,
    /// Where it stands.
    pub origin: Place,
}

/// A table of a module before rendering: its strings are templates.
#[derive(Debug, Clone)]
pub struct Declared {
    /// The kind: the table's name.
    pub kind: KindName,
    /// The table, without the keys that all kinds share.
    pub body: toml::Table,
    /// The keys that all kinds share.
    pub shared: Shared,
    /// Where the table begins.
    pub origin: Place,
    /// Where each of its keys stands.
    pub keys: BTreeMap<String, Place>,
}

/// The keys that all kinds share.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shared {
    /// An expression: declared only where it holds.
    pub when: Option<String>,
    /// An expression that gives a list or a map: declared once for each, as `item` (and `key` for a map).
    pub for_each: Option<String>,
    /// References to what must be there before; templates.
    pub after: Vec<String>,
    /// References to what is consumed at start; templates. Only kinds that start something have it.
    pub restart_on: Vec<String>,
    /// References to what wipes this when it changes; templates.
    pub loses_on: Vec<String>,
    /// Refuses deletion and replacement.
    pub protect: bool,
    /// Fields that are left to others.
    pub ignore: Vec<String>,
    /// Permits deletion of what is otherwise never deleted.
    pub delete: bool,
}
