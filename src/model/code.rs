//! The codes of diagnostics: stable numbers with an explanation, for `muster explain`.

use std::fmt;

use serde::{Serialize, Serializer};

/// A stable code, shown as `M0101`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "M{:04}", self.0)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a code means, at the length at which somebody who met it wants to read it.
#[derive(Debug, Clone, Copy)]
pub struct Explanation {
    /// The code.
    pub code: Code,
    /// What is wrong, as a title.
    pub title: &'static str,
    /// Why it is an error and how to mend it.
    pub text: &'static str,
}

/// Makes a constant for each code and the list of all explanations.
macro_rules! codes {
    ($($name:ident = $number:literal, $title:literal, $text:literal;)*) => {
        $(
            #[doc = $title]
            pub const $name: Code = Code($number);
        )*
        /// Every code with its explanation, in ascending order.
        pub const ALL: &[Explanation] = &[
            $(Explanation { code: Code($number), title: $title, text: $text },)*
        ];
    };
}

// Ranges: 01xx inventory · 02xx modules · 03xx values, templates, desired · 04xx plan and lint · 05xx transport ·
// 06xx apply · 07xx secrets · 08xx stored files · 09xx command line · 10xx Compose files. A code is never given a second meaning.
codes! {
    SYNTAX = 101, "The file is not valid TOML.",
        "The caret shows where the parser stopped. All syntax errors of a file are listed in one run.";
    UNKNOWN_KEY = 102, "The key is not known here.",
        "Unknown keys are errors, never ignored: a misspelt key would otherwise silently leave a default in force.";
    WRONG_TYPE = 103, "The value has the wrong type or form.",
        "The message says what was expected. `muster schema` prints the full schema for editors.";
    MISSING_KEY = 104, "A key that must be there is missing.",
        "The caret points to the table that lacks it.";
    UNREADABLE = 105, "The file cannot be read.",
        "muster reads UTF-8 files only. Check the path, which is relative to the file that names it, and its permissions.";
    UNKNOWN_HOST = 106, "No host has this name.",
        "Hosts are declared as `[hosts.NAME]` in the inventory or in a file that it includes.";
    UNKNOWN_GROUP = 107, "No group has this name.",
        "Groups are declared as `[groups.NAME]`; `@all` is every host.";
    UNKNOWN_MODULE = 108, "No module has this name.",
        "A module is a folder under `modules/` with a `module.toml` in it.";
    DECLARED_TWICE = 109, "The same thing is declared twice.",
        "Included files share one name space with the inventory that includes them.";
    GROUP_CONFLICT = 110, "Two groups set the same value differently.",
        "Within one layer there is no order, so nobody could say which wins. Set the value on the host, or on one group only.";
    BAD_SELECTOR = 111, "The selector cannot be read.",
        "A selector is `all`, a host name or pattern such as `val-*`, `@group`, or `label=value`; join with `,` and take away with ` - `.";
    INCLUDE_LOOP = 112, "A file includes itself.",
        "The message lists the chain of includes.";
    VIA_LOOP = 113, "A host is reached through itself.",
        "Follow the `via` keys: they must end at a host that is reached directly.";
    NO_HOSTS = 114, "A selector picks no host.",
        "Nothing would be done there. If that is meant, remove the entry.";
    RESERVED_CHARACTER = 115, "The file holds a character that muster keeps for itself.",
        "The characters U+100000 and U+100001 mark secrets within rendered text and may not stand in files.";
    PLACEHOLDER_LEFT = 116, "A value still has to be filled in.",
        "`muster init` marks what only you can know with `<FILLIN>`. Nothing is planned until each is replaced.";
    HOST_LOST = 117, "A host that muster knew is no longer declared.",
        "`hosts.json` beside the plans lists every host that carries a manifest of muster. Move a host that leaves to `[[retired]]`, or say `renamed_from`.";
    GROUP_LOOP = 118, "Groups select each other in a circle.",
        "The message lists the circle. A group's `select` may name other groups, but not, through them, itself.";

    BAD_HOOK = 121, "The hook is not well declared.",
        "A hook has a name, a moment (`on`), and one thing to do: `command` or `webhook`. Only what comes before something can be `required`.";

    BAD_INPUT = 201, "The input is not well declared.",
        "An input has a type, and its default, bounds and pattern must agree with that type.";
    UNKNOWN_KIND = 202, "No resource kind has this name.",
        "The table name is the kind: `[[file]]`, `[[package]]`, … The reference lists them.";
    BAD_EXPRESSION = 203, "The expression cannot be read.",
        "`when`, `for_each` and gates are expressions of the template language, without braces.";
    BAD_REFERENCE = 204, "The reference to a resource cannot be read.",
        "Write `kind:name` for this host, `@group:kind:name` or `host:kind:name` for others.";
    MODULE_LOOP = 205, "Modules need each other in a circle.",
        "The message lists the circle.";
    NO_TEMPLATE = 206, "The template does not exist.",
        "Templates lie in the module's `templates/` folder, files to copy in its `files/` folder.";
    NAME_MISMATCH = 207, "The module's name is not that of its folder.",
        "One name per thing: rename the one or the other.";

    NO_VALUE = 301, "An input has no value.",
        "It has no default, so the inventory must set it for this host, for a group of it, or for the fleet.";
    BAD_VALUE = 302, "A value does not fit its input.",
        "The message says what the module declares. `muster why HOST KEY` shows every layer that sets the value.";
    UNUSED_VALUE = 303, "No module takes this value.",
        "The key is misspelt, or the module that takes it is not used on any host that this value reaches.";
    TEMPLATE = 304, "A template cannot be rendered.",
        "Templates are strict: a name without a value is an error at its line. The second place is the inventory's line to mend.";
    SECRET_MANGLED = 305, "A secret went through a filter.",
        "A template never sees a secret's value, so a filter cannot change it. Allowed are `base64`, `json`, `shell` and `compose`, which are carried out when the value joins.";
    SECRET_MISPLACED = 306, "A secret or an output stands where it may not.",
        "Names, paths, `when` and `for_each` decide what exists, so they must be known when planning. Only contents may hold secrets and outputs.";
    BAD_RESOURCE = 307, "The resource is not well declared.",
        "The message names the field and what it should be.";
    TWO_OWNERS = 308, "Two declarations own the same thing differently.",
        "Equal declarations of two modules merge; unequal ones would undo each other at every apply.";
    NO_SUCH_RESOURCE = 309, "No such resource is declared.",
        "`after`, `restart_on` and `loses_on` name resources that are declared for the same host, or for the hosts that they name.";
    CYCLE = 310, "Resources need each other in a circle.",
        "The message lists the circle. `after`, `restart_on` and what a kind implies (a file needs its folder) all count.";
    MODULE_RULE = 311, "A rule of the module is broken.",
        "The module's author wrote this rule; the message says why.";
    LISTENER_CLASH = 312, "Two services listen on the same port of one host.",
        "Both origins are named. Change the port of one, or bind them to different addresses.";
    NO_SUCH_OUTPUT = 313, "No resource has this output.",
        "Outputs are declared on `command` resources: `outputs = { address = \"pattern\" }`.";
    MODULE_NEEDED = 314, "A module is used without one that it needs.",
        "`needs` lists modules that must be used on the same host.";
    FACT_NOT_RECORDED = 315, "A template reads a fact, and nobody looks.",
        "`muster render` looks at no host. Keep a look with `muster plan --record FILE` and render with `--recorded FILE`.";
    UNPINNED_IMAGE = 316, "The image has no digest.",
        "What a tag means may change from one pull to the next, and then two hosts run two programs. `muster pin` asks the registry and keeps the digest beside the inventory.";

    BAD_POLICY = 401, "The rollout policy cannot be kept.",
        "The message says which rule and why.";

    SAME_MACHINE = 402, "Two hosts of the inventory are one machine.",
        "Their machine-id or their manifest's lineage is the same. A cloned disk image has one machine-id: make a new one (`systemd-machine-id-setup` after removing /etc/machine-id), or remove one of the two hosts.";

    NO_SUCH_TARGET = 411, "The target names no resource.",
        "`--target` and `--exclude` take `kind[name]`, `kind[name]@host`, `@host` or `module:name`, with `*` for any characters. Each must mean something that is declared or that a host's manifest has, on the hosts that `--limit` leaves; otherwise a misspelt name would look like a fleet in order.";

    PLAN_STALE = 601, "The plan rests on what is no longer so.",
        "Between plan and apply somebody or something changed what the plan is about, so nothing was done. Plan again and read what differs now, or leave the stale hosts out with `--skip-stale`.";
    PLAN_OLD = 602, "The plan is too old to be applied.",
        "`plan_max_age` in the inventory's policy says how long a plan may be applied after it was made. Plan again.";
    NOTHING_TO_RESUME = 603, "There is no run to go on with.",
        "`muster resume` goes on with the latest run that did not come to its end, or with the run that it is given. What is left is found by planning again.";
    RUN_BROKEN_OFF = 604, "The run broke off.",
        "The journal says how far it came. `muster resume` goes on: it looks at what began without an end, and assumes nothing.";
    HOST_TAKEN = 605, "Somebody else has a host.",
        "A run reserves every host that it will change before it changes the first, all or none; nothing was done. `muster lock status` says who has what. A run that died gives its locks up after the policy's `lease` and its reservations after ten minutes; `muster resume` goes on with it at once. A person's hold stays until `muster lock release`, or `muster lock break --reason WHY`.";

    NO_SUCH_RUN = 606, "There is no such run.",
        "Each run has a journal beside the plans of its inventory. `muster history` lists them.";
    RUN_IN_PROGRESS = 607, "The run is still in progress.",
        "Another process carries it out at this moment. Wait for its end, or interrupt it there: once with Ctrl-C, so that it stops cleanly.";

    SECRET_UNAVAILABLE = 701, "A secret cannot be had.",
        "The message names its source, never its value.";
    BAD_SECRET_SOURCE = 702, "The secret's source cannot be read.",
        "Write `env:NAME`, `file:PATH`, `cmd:COMMAND` or `age:FILE#KEY`. The secret itself never stands in an inventory.";

    STORED_FORMAT = 801, "A stored file has another format.",
        "Plans are read only by the version that made them: plan again. Journals and manifests of every version stay readable.";
    STORED_DAMAGED = 802, "A stored file is damaged.",
        "Its digest does not match its content. It was cut, edited or mixed with another.";

    BAD_FAULT = 901, "The fault of a rehearsal cannot be read.",
        "`muster simulate` takes `--fault WHAT[@HOST][:N][+SECONDS]`, and files of `[[fault]]` tables with `what`, `host`, `at` and `secs`. On a host, at its N-th operation: `unreachable`, `lost-request`, `lost-answer`, `reboot`, `full-disk`, `slow`, `fails`, `lies`; at its N-th answer: `garbage`; at the N-th question of a gate: `gate-shut`; N seconds after the start: `by-hand`, `other-run`. On the controller, at the N-th line of its journal: `interrupt`, `interrupt-twice`, `kill`, `pause`.";

    COMPOSE_SYNTAX = 1001, "The Compose file is not valid YAML.",
        "The caret shows where the parser stopped. An alias within what it names, and a few lines whose aliases ask for all memory, are refused too.";
    COMPOSE_KEY = 1002, "The key is not known here.",
        "Unknown keys are errors, never ignored: a misspelt key would leave a default in force. Keys that begin with `x-` are left to others.";
    COMPOSE_REFUSED = 1003, "The key belongs to Compose, and muster does not accept it.",
        "The hint says what to do instead. The reference of Compose files lists what is accepted and what is not.";
    COMPOSE_VALUE = 1004, "A value of the Compose file does not fit.",
        "The message says what was found and what was expected.";
    COMPOSE_VARIABLE = 1005, "A variable of the Compose file has no value.",
        "Compose takes nothing for it and warns, and containers have come up with blank values so. Set it, or write `${NAME:-}` where it may be empty. The shell's environment is never read.";
    COMPOSE_INTERPOLATION = 1006, "A dollar sign begins nothing that can be read.",
        "Write `$$` for a dollar sign, `$NAME` or `${NAME}` for a variable, with `:-`, `-`, `:?`, `?`, `:+` or `+` and words.";
    COMPOSE_SECRET = 1007, "A secret stands in a Compose file where it may not, or as it may not.",
        "Secrets may stand in values of `environment`, in `.env` values that end there, and in the `content` of `configs` and `secrets`. Everywhere else `docker inspect` shows them. Write `\"{{ value | compose }}\"` within double quotes.";
    COMPOSE_REFERENCE = 1008, "A Compose file names what it does not declare.",
        "Services, networks, volumes, configs and secrets must be declared in one of the project's files, and services must be in an active profile.";
    COMPOSE_CYCLE = 1009, "Services need each other in a circle.",
        "The message lists the circle. `depends_on`, `network_mode: service:x`, `ipc: service:x` and `pid: service:x` all count.";
    COMPOSE_CONFLICT = 1010, "Two settings of a Compose file exclude each other.",
        "The message names both. Keep one.";
    COMPOSE_AMBIGUOUS = 1011, "A value is read differently by different readers of YAML.",
        "`yes`, `0644`, `1.0`, `22:22` are texts to one reader and truth values or numbers to another. Put them in quotes.";
    ENV_FILE = 1012, "A line of an `.env` file cannot be read.",
        "A line is `KEY=value`, with `export` before it or not. A value may stand in single quotes, as it is, or in double quotes, with escapes and variables.";
}

/// Returns the explanation of a code written as `M0101`, `m0101` or `101`.
pub fn explain(text: &str) -> Option<&'static Explanation> {
    let number: u16 = text.trim_start_matches(['M', 'm']).parse().ok()?;
    ALL.iter().find(|explanation| explanation.code.0 == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_ascending() {
        assert!(ALL.windows(2).all(|pair| pair[0].code < pair[1].code));
    }

    #[test]
    fn codes_are_found_however_they_are_written() {
        assert!(explain("M0101").is_some() && explain("m0101").is_some() && explain("101").is_some());
        assert!(explain("M9999").is_none() && explain("x").is_none());
    }
}
