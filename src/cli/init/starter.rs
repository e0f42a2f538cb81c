//! The starter inventory: what it says for each way to be reached, and what is left open in it.

use crate::model::id::FleetName;

/// Where the certificate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Certificates {
    /// Issued and renewed on the node
    Auto,
    /// Put there by you
    Manual,
}

/// Who serves the domain's DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Provider {
    /// Cloudflare
    Cloudflare,
    /// Amazon Route 53
    Route53,
    /// Google Cloud DNS
    Gcloud,
    /// Azure DNS
    Azure,
    /// `DigitalOcean`
    #[value(name = "digitalocean")]
    DigitalOcean,
    /// Hetzner
    Hetzner,
}

/// How the node is reached, after all questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// In the clear, by choice or for want of a domain.
    Http {
        /// Whether HTTPS was wanted and there is no domain.
        wanted_https: bool,
    },
    /// With a certificate that somebody puts there.
    Manual {
        /// The node's name.
        domain: String,
    },
    /// With a certificate that is issued and renewed on the node.
    Auto {
        /// The node's name.
        domain: String,
        /// Who serves its DNS.
        provider: Provider,
    },
}

/// What stands where only the reader knows the value.
const BLANK: &str = "<FILLIN>";

impl Provider {
    fn name(self) -> &'static str {
        match self {
            Self::Cloudflare => "cloudflare",
            Self::Route53 => "route53",
            Self::Gcloud => "gcloud",
            Self::Azure => "azure",
            Self::DigitalOcean => "digitalocean",
            Self::Hetzner => "hetzner",
        }
    }

    /// The provider's rows: input, value, comment. Secrets are named by the variable that the quickstart gives them.
    fn rows(self) -> Vec<Row> {
        let secret = |name: &'static str, note| Row::new(name, &format!("env:{}", name.to_uppercase()), note);
        match self {
            Self::Cloudflare => vec![secret(
                "cf_dns_api_token",
                "a token with Zone:Read and DNS:Edit on the zone",
            )],
            Self::Route53 => vec![
                secret(
                    "aws_access_key_id",
                    "of a user that may change the zone's records",
                ),
                secret("aws_secret_access_key", ""),
                Row::new("aws_region", "us-east-1", ""),
            ],
            Self::Gcloud => vec![
                Row::new("gce_project", BLANK, ""),
                secret(
                    "gce_service_account_json_b64",
                    "the key of an account with roles/dns.admin, as Base64 on one line",
                ),
            ],
            Self::Azure => vec![
                Row::new(
                    "azure_client_id",
                    BLANK,
                    "of a principal with DNS Zone Contributor on the zone",
                ),
                secret("azure_client_secret", ""),
                Row::new("azure_subscription_id", BLANK, ""),
                Row::new("azure_tenant_id", BLANK, ""),
            ],
            Self::DigitalOcean => vec![secret("do_auth_token", "with write scope")],
            Self::Hetzner => vec![secret("hetzner_api_key", "of the DNS console")],
        }
    }
}

/// A key with its value and a comment.
struct Row {
    key: &'static str,
    value: String,
    note: &'static str,
}

impl Row {
    fn new(key: &'static str, value: &str, note: &'static str) -> Self {
        Self {
            key,
            value: value.to_owned(),
            note,
        }
    }

    /// Values are constants or have passed a pattern, so that nothing in them needs an escape.
    fn line(&self) -> String {
        let row = format!("{:<16} = \"{}\"", self.key, self.value);
        if self.note.is_empty() {
            format!("{row}\n")
        } else {
            format!("{row:<60} # {}\n", self.note)
        }
    }
}

fn rows(way: &Way) -> Vec<Row> {
    match way {
        Way::Http { .. } => vec![Row::new(
            "protocol",
            "http",
            "on port 8000; in production https, with `domain` and `certificates`",
        )],
        Way::Manual { domain } => vec![
            Row::new("protocol", "https", "on port 8443"),
            Row::new("domain", domain, "its DNS points to the host"),
            Row::new("certificates", "manual", "you renew it, too"),
            Row::new(
                "tls_certificate",
                "file:certs/fullchain.pem",
                "the full chain, beside this file",
            ),
            Row::new(
                "tls_private_key",
                "file:certs/private.key",
                "keep it out of version control",
            ),
        ],
        Way::Auto { domain, provider } => {
            let mut rows = vec![
                Row::new("protocol", "https", "on port 8443"),
                Row::new("domain", domain, "its DNS points to the host"),
                Row::new("certificates", "auto", "issued and renewed on the node"),
                Row::new("dns_provider", provider.name(), ""),
                Row::new(
                    "acme_account_email",
                    BLANK,
                    "whom the certificate authority writes to",
                ),
                Row::new(
                    "cert_issuer_jwt_secret",
                    "env:CERT_ISSUER_JWT_SECRET",
                    "such as `openssl rand -hex 32` prints",
                ),
            ];
            rows.extend(provider.rows());
            rows
        }
    }
}

/// Returns the inventory's text.
pub fn text(name: &FleetName, way: &Way) -> String {
    let rows: String = rows(way).iter().map(Row::line).collect();
    format!(
        r#"# A Gonka network node and an ML node on one machine. Written by `muster init`.
#
# Replace every {BLANK}; until then nothing is planned. Then:
#   muster validate      finds every mistake, without a network
#   muster plan          looks at the host and says what differs
#   muster apply         does what the plan says

[fleet]
name = "{name}"

[hosts.gonka-1]
address = "{BLANK}"                                         # a name or an address that SSH reaches
# user  = "ubuntu"                                           # else from ~/.ssh/config, else your own name

[[use]]
module = "host-baseline"
on     = "all"

[[use]]
module = "gonka-network-node"
on     = "gonka-1"

[[use]]
module = "gonka-ml-node"                                     # take it out if the GPUs are in another machine
on     = "gonka-1"

[values.gonka-network-node]
key_name         = "gonka-1"                                 # the warm key's name; another one for each network node
keyring_password = "env:KEYRING_PASSWORD"                    # at least eight characters
account_pubkey   = "{BLANK}"                                # 44 characters, as `inferenced keys add` prints them
# public_address = "203.0.113.10"                            # where it is not the address above
{rows}
[values.gonka-ml-node]
model   = "{BLANK}"                                         # modules/gonka-ml-node/data/models.toml lists them
layout  = "{BLANK}"                                         # how it is laid out on GPUs, such as 4xH100
hf_home = "/mnt/shared"                                      # the Hugging Face cache, in which the weights lie

[policy]
on_failure = "stop"

[[policy.gate]]
name = "ssh still answers"
tcp  = "127.0.0.1:22"
"#
    )
}

/// Returns the lines on which a value is still to be filled in, each with its key.
pub fn blanks(text: &str) -> Vec<(usize, String)> {
    values(text)
        .filter(|(_, _, value)| value.contains(BLANK))
        .map(|(line, key, _)| (line, key))
        .collect()
}

/// Returns the sources of secrets that the text names.
pub fn secrets(text: &str) -> Vec<String> {
    let is_secret = |value: &String| value.starts_with("env:") || value.starts_with("file:");
    values(text)
        .map(|(_, _, value)| value)
        .filter(is_secret)
        .collect()
}

fn values(text: &str) -> impl Iterator<Item = (usize, String, String)> {
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.starts_with('#'));
    lines.filter_map(|(index, line)| {
        let (key, rest) = line.split_once('=')?;
        let value = rest.split('"').nth(1)?;
        Some((index + 1, key.trim().to_owned(), value.to_owned()))
    })
}

/// Reads a full domain name.
pub fn domain(text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(is_plain)
    };
    let name = text.trim().trim_end_matches('.').to_lowercase();
    let ends_in_letter = name
        .rsplit('.')
        .next()
        .is_some_and(|top| top.starts_with(|char: char| char.is_ascii_lowercase()));
    let is_name = name.contains('.') && name.len() <= 253 && ends_in_letter && name.split('.').all(is_label);
    is_name
        .then_some(name)
        .ok_or_else(|| format!("`{}` is not a full domain name", text.escape_debug()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::ValueEnum as _;

    use super::*;
    use crate::load;
    use crate::model::code;

    fn ways() -> Vec<Way> {
        let domain = || "node.example.com".to_owned();
        let auto = |provider: &Provider| Way::Auto {
            domain: domain(),
            provider: *provider,
        };
        let mut ways: Vec<Way> = Provider::value_variants().iter().map(auto).collect();
        ways.extend([
            Way::Http { wanted_https: false },
            Way::Manual { domain: domain() },
        ]);
        ways
    }

    fn load(text: &str) -> load::Loaded<crate::model::inventory::Inventory> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gonka.toml");
        std::fs::write(&path, text).unwrap();
        let modules = ["host-baseline", "gonka-network-node", "gonka-ml-node"];
        let modules: BTreeSet<_> = modules.map(|name| name.parse().unwrap()).into();
        load::inventory(&path, &modules, &load::Overrides::default())
    }

    #[test]
    fn every_starter_loads_and_lacks_only_what_it_says_is_to_be_filled_in() {
        for way in ways() {
            let text = text(&"gonka".parse().unwrap(), &way);
            let left: Vec<usize> = load(&text)
                .diagnostics
                .iter()
                .map(|found| {
                    assert_eq!(found.code, code::PLACEHOLDER_LEFT, "{way:?}: {found:?}");
                    found.place.as_ref().unwrap().place.line
                })
                .collect();
            let said: Vec<usize> = blanks(&text).into_iter().map(|(line, _)| line).collect();
            assert_eq!(left, said, "{way:?}");
            assert!(load(&text.replace(BLANK, "x")).diagnostics.is_empty(), "{way:?}");
        }
    }

    /// The modules themselves say which values they take, so that a renamed input breaks here and not at the user's.
    #[test]
    fn the_modules_take_every_value_of_a_filled_starter() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("modules");
        let kinds = crate::resource::tables();
        let modules = load::modules(&folder, &kinds).value.unwrap();
        for way in ways() {
            let text = text(&"gonka".parse().unwrap(), &way)
                .replace(
                    "account_pubkey   = \"<FILLIN>\"",
                    "account_pubkey = \"Au5ZQav3E36PZpGta2xUa8r9xEEo9Biph3fG5i3qaeSG\"",
                )
                .replace(
                    "acme_account_email = \"<FILLIN>\"",
                    "acme_account_email = \"me@example.com\"",
                )
                .replace(BLANK, "x");
            let inventory = load(&text).value.unwrap();
            let mut diagnostics = crate::model::diagnostic::Diagnostics::default();
            let resolved = crate::plan::values::resolve(&inventory, &modules, &mut diagnostics);
            assert!(diagnostics.is_empty(), "{way:?}: {:?}", diagnostics.sorted());
            drop(resolved);
        }
    }

    #[test]
    fn secrets_are_named_and_not_held() {
        let way = Way::Auto {
            domain: "n.example.com".to_owned(),
            provider: Provider::Route53,
        };
        let secrets = secrets(&text(&"gonka".parse().unwrap(), &way));
        let wanted = [
            "env:KEYRING_PASSWORD",
            "env:CERT_ISSUER_JWT_SECRET",
            "env:AWS_ACCESS_KEY_ID",
            "env:AWS_SECRET_ACCESS_KEY",
        ];
        assert_eq!(secrets, wanted);
    }

    #[test]
    fn domains_are_full_names() {
        assert_eq!(domain(" Node-1.Example.COM. ").unwrap(), "node-1.example.com");
        for text in [
            "",
            "localhost",
            "a..b",
            "-a.b",
            "a.1",
            "a b.c",
            "a.b\"",
            "http://a.b",
        ] {
            assert!(domain(text).is_err(), "{text}");
        }
    }
}
