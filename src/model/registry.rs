//! Images by name: which registry really gives them, who asks there, and which digest a tag means. Source: decision 0033.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::body::{Body, Piece};
use super::engine::Login;
use super::secret::{Encoding, SecretRef, SecretSource};

/// The registry of names that say none.
pub const HUB: &str = "docker.io";
/// The form of the lock file that is written.
pub const LOCK_FORMAT: u32 = 1;

/// What an inventory says of images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Images {
    /// Registries by name, as names of images begin.
    pub registries: BTreeMap<String, Registry>,
    /// The lock file: names as modules write them, and the digests that they mean.
    pub pins: BTreeMap<String, String>,
}

/// A registry as declared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registry {
    /// What stands in the place of its name: another registry, and a path there if need be.
    pub rewrite: Option<String>,
    /// The account that asks it, and where the password is to be had.
    pub login: Option<(String, SecretSource)>,
}

/// The lock file as it is stored, in TOML.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// The number of its form.
    pub format: u32,
    /// Names as modules write them, and their digests.
    #[serde(default)]
    pub images: BTreeMap<String, String>,
}

/// An image as a host is asked for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// Its name, where it really comes from, with its digest if that is known.
    pub name: String,
    /// Who asks for it.
    pub login: Option<Login>,
}

impl Images {
    /// Says how a host is asked for an image that a module names.
    pub fn place(&self, name: &str) -> Placed {
        let pinned = match self.pins.get(name) {
            Some(digest) if !is_pinned(name) => format!("{name}@{digest}"),
            Some(_) | None => name.to_owned(),
        };
        let rewritten = self.rewritten(&pinned);
        let login = self.login(registry_of(&rewritten));
        Placed {
            name: rewritten,
            login,
        }
    }

    /// Returns the sources of the passwords of all registries.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretSource> {
        let logins = self
            .registries
            .values()
            .filter_map(|registry| registry.login.as_ref());
        logins.map(|(_, source)| source)
    }

    fn rewritten(&self, name: &str) -> String {
        let registry = registry_of(name);
        let rewrite = self
            .registries
            .get(registry)
            .and_then(|registry| registry.rewrite.as_ref());
        match rewrite {
            Some(other) => format!("{other}/{}", path_of(name)),
            None => name.to_owned(),
        }
    }

    fn login(&self, registry: &str) -> Option<Login> {
        let (user, source) = self.registries.get(registry)?.login.clone()?;
        let password = SecretRef {
            source,
            encoding: Encoding::Plain,
        };
        Some(Login {
            user: Body::text(user),
            password: Body::from_pieces([Piece::Secret(password)]),
        })
    }
}

/// Says whether a name has a digest, so that it means one image for ever.
pub fn is_pinned(name: &str) -> bool {
    name.contains('@')
}

/// Says whether a text is a digest of an image.
pub fn is_digest(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:");
    hex.is_some_and(|hex| {
        hex.len() == 64
            && hex
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

/// Returns the registry that a name begins with: its first part, if that has a dot or a port or is `localhost`.
pub fn registry_of(name: &str) -> &str {
    match name.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        Some(_) | None => HUB,
    }
}

/// Returns a name without its registry, in full: images of the hub that have one part lie in `library`.
fn path_of(name: &str) -> String {
    let registry = registry_of(name);
    let path = name
        .strip_prefix(registry)
        .and_then(|rest| rest.strip_prefix('/'))
        .unwrap_or(name);
    match registry == HUB && !path.contains('/') {
        true => format!("library/{path}"),
        false => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(registries: &[(&str, &str)], pins: &[(&str, &str)]) -> Images {
        let registry = |(name, rewrite): &(&str, &str)| {
            let registry = Registry {
                rewrite: Some((*rewrite).to_owned()),
                login: None,
            };
            ((*name).to_owned(), registry)
        };
        let pin = |(name, digest): &(&str, &str)| ((*name).to_owned(), (*digest).to_owned());
        Images {
            registries: registries.iter().map(registry).collect(),
            pins: pins.iter().map(pin).collect(),
        }
    }

    #[test]
    fn names_say_their_registry_or_mean_the_hub() {
        for (name, registry) in [
            ("nginx", HUB),
            ("nginx:1.27", HUB),
            ("team/app:1", HUB),
            ("docker.io/team/app", HUB),
            ("ghcr.io/team/app@sha256:0f", "ghcr.io"),
            ("localhost/app", "localhost"),
            ("registry:5000/app:1", "registry:5000"),
        ] {
            assert_eq!(registry_of(name), registry, "{name}");
        }
    }

    #[test]
    fn images_come_from_where_their_registry_is_rewritten_to() {
        let images = images(
            &[("ghcr.io", "local:5000/ghcr"), ("docker.io", "local:5000")],
            &[],
        );
        for (name, placed) in [
            ("ghcr.io/team/app:1", "local:5000/ghcr/team/app:1"),
            ("nginx:1.27", "local:5000/library/nginx:1.27"),
            ("docker.io/nginx", "local:5000/library/nginx"),
            ("team/app@sha256:0f", "local:5000/team/app@sha256:0f"),
            ("quay.io/team/app:1", "quay.io/team/app:1"),
        ] {
            assert_eq!(images.place(name).name, placed, "{name}");
        }
    }

    #[test]
    fn a_pin_gives_a_name_its_digest_and_overrules_none() {
        let digest = format!("sha256:{}", "0f".repeat(32));
        let pins = [
            ("nginx:1.27", digest.as_str()),
            ("app@sha256:aa", digest.as_str()),
        ];
        let images = images(&[("docker.io", "local:5000")], &pins);
        assert_eq!(
            images.place("nginx:1.27").name,
            format!("local:5000/library/nginx:1.27@{digest}")
        );
        assert_eq!(
            images.place("app@sha256:aa").name,
            "local:5000/library/app@sha256:aa"
        );
        assert_eq!(images.place("nginx:1.28").name, "local:5000/library/nginx:1.28");
    }

    #[test]
    fn the_registry_that_is_asked_decides_who_asks() {
        let mut images = images(&[("ghcr.io", "local:5000")], &[]);
        let source: SecretSource = "env:PASS".parse().expect("a source");
        let registry = Registry {
            rewrite: None,
            login: Some(("ops".to_owned(), source)),
        };
        images.registries.insert("local:5000".to_owned(), registry);
        let login = images.place("ghcr.io/app:1").login.expect("it has a login");
        assert_eq!(login.user.plain(), Some("ops"));
        assert!(login.password.is_sensitive());
        assert!(images.place("quay.io/app:1").login.is_none());
    }

    #[test]
    fn digests_are_known_by_their_form() {
        assert!(is_digest(&format!("sha256:{}", "0f".repeat(32))));
        for text in [
            "sha256:0f",
            "sha512:00",
            "latest",
            &format!("sha256:{}", "0F".repeat(32)),
        ] {
            assert!(!is_digest(text), "{text}");
        }
    }
}
