//! The accepted part of the Compose specification: every mapping with the keys that it may have, and those that it may
//! not, each with the reason. The reference page is made from these tables, and the case files are held to them.

use super::{keys_parts, keys_service};

/// A mapping of a Compose file.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// Its name in the reference.
    pub title: &'static str,
    /// The keys that lead to it: `*` is any name, `[]` any item of a list.
    pub path: &'static [&'static str],
    /// What may stand there: key, form, meaning.
    pub accepted: &'static [(&'static str, &'static str, &'static str)],
    /// What the specification has there and muster refuses: key, and what to do instead.
    pub refused: &'static [(&'static str, &'static str)],
}

impl Section {
    /// Says whether a key may stand there.
    pub fn accepts(&self, key: &str) -> bool {
        self.accepted.iter().any(|(name, ..)| *name == key)
    }

    /// Returns what to do instead of a key that is refused.
    pub fn refuses(&self, key: &str) -> Option<&'static str> {
        self.refused
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, reason)| *reason)
    }
}

/// Every section, in the order of the reference.
pub const SECTIONS: [&Section; 25] = [
    &PROJECT,
    &keys_service::SERVICE,
    &keys_parts::MUSTER,
    &keys_parts::DEPENDENCY,
    &keys_parts::HEALTHCHECK,
    &keys_parts::LOGGING,
    &keys_parts::PORT,
    &keys_parts::MOUNT,
    &keys_parts::BIND,
    &keys_parts::VOLUME_OPTIONS,
    &keys_parts::TMPFS,
    &keys_parts::ULIMIT,
    &keys_parts::ATTACHMENT,
    &keys_parts::SECRET_GRANT,
    &keys_parts::CONFIG_GRANT,
    &keys_parts::DEPLOY,
    &keys_parts::RESOURCES,
    &keys_parts::LIMITS,
    &keys_parts::RESERVATIONS,
    &keys_parts::DEVICES,
    &NETWORK,
    &IPAM,
    &IPAM_CONFIG,
    &VOLUME,
    &CONTENT,
];

pub(super) const PROJECT: Section = Section {
    title: "The file",
    path: &[],
    accepted: &[
        (
            "name",
            "text",
            "The project's name. The resource's own name for the project wins over it.",
        ),
        ("version", "text", "Without meaning, as in Compose today."),
        ("services", "mapping", "What runs."),
        (
            "networks",
            "mapping",
            "What services are attached to. `default` is there unless every service says otherwise.",
        ),
        ("volumes", "mapping", "Volumes with names."),
        ("configs", "mapping", "Files that services are granted."),
        ("secrets", "mapping", "The same, for what few may read."),
    ],
    refused: &[
        (
            "include",
            "list the file among the resource's `files` instead: they are merged in that order",
        ),
        ("models", "muster runs containers, not models of a provider"),
    ],
};

pub(super) const NETWORK: Section = Section {
    title: "A network",
    path: &["networks", "*"],
    accepted: &[
        (
            "name",
            "text",
            "Its name on the engine; `PROJECT_KEY` without it.",
        ),
        (
            "external",
            "true or false",
            "It is there already, and muster does not make it.",
        ),
        ("driver", "text", "The driver; `bridge` without it."),
        ("driver_opts", "mapping", "The driver's options."),
        ("internal", "true or false", "Without a way out of the host."),
        (
            "attachable",
            "true or false",
            "Whether others may be attached; without meaning for a bridge.",
        ),
        ("enable_ipv6", "true or false", "Whether it has IPv6 addresses."),
        ("ipam", "mapping", "Its addresses."),
        ("labels", "mapping or list", "Its labels."),
    ],
    refused: &[("enable_ipv4", "engines before API 1.48 do not know it")],
};

pub(super) const IPAM: Section = Section {
    title: "Addresses of a network",
    path: &["networks", "*", "ipam"],
    accepted: &[
        ("driver", "text", "The driver; `default` without it."),
        ("config", "list", "Its subnets."),
        ("options", "mapping", "The driver's options."),
    ],
    refused: &[],
};

pub(super) const IPAM_CONFIG: Section = Section {
    title: "A subnet",
    path: &["networks", "*", "ipam", "config", "[]"],
    accepted: &[
        ("subnet", "network", "Its addresses, such as `172.30.0.0/24`."),
        ("gateway", "address", "The host's own address there."),
        (
            "ip_range",
            "network",
            "The part from which containers get theirs.",
        ),
        ("aux_addresses", "mapping", "Addresses that no container gets."),
    ],
    refused: &[],
};

pub(super) const VOLUME: Section = Section {
    title: "A volume",
    path: &["volumes", "*"],
    accepted: &[
        (
            "name",
            "text",
            "Its name on the engine; `PROJECT_KEY` without it.",
        ),
        (
            "external",
            "true or false",
            "It is there already, and muster does not make it.",
        ),
        ("driver", "text", "The driver; `local` without it."),
        ("driver_opts", "mapping", "The driver's options."),
        ("labels", "mapping or list", "Its labels."),
    ],
    refused: &[],
};

/// `configs` and `secrets` are alike; the path names both.
pub(super) const CONTENT: Section = Section {
    title: "A config or a secret",
    path: &["configs", "*"],
    accepted: &[
        (
            "file",
            "path",
            "A file of the host, relative to the project's folder.",
        ),
        (
            "content",
            "text",
            "Its content. Secrets may stand in it. Newer than docker-compose 1.29.",
        ),
        (
            "environment",
            "name of a variable",
            "A variable whose value is the content. Newer than docker-compose 1.29.",
        ),
        ("name", "text", "For people."),
    ],
    refused: &[
        ("external", "it concerns a swarm: name a file"),
        ("labels", "it concerns a swarm"),
        ("driver", "it concerns a swarm"),
        ("driver_opts", "it concerns a swarm"),
        ("template_driver", "muster's own templates render the file"),
    ],
};
