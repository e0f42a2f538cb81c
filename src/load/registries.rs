//! Registries, and the digests that are kept beside an inventory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeValue;

use crate::model::code;
use crate::model::diagnostic::{Diagnostic, Place};
use crate::model::registry::{HUB, LOCK_FORMAT, Lock, Registry, is_digest};

use super::inventory::table;
use super::raw::inventory::RawRegistry;
use super::reader::Reader;
use super::table::decode;
use super::values::twice;

/// Returns where the digests of an inventory's images are kept.
pub fn lock_file(inventory: &Path) -> PathBuf {
    inventory.with_extension("images.lock")
}

/// Reads the registries of a file, after those of others.
pub(super) fn read(
    reader: &mut Reader,
    file: &str,
    value: &Spanned<DeValue<'_>>,
    registries: &mut BTreeMap<String, (Registry, Place)>,
) {
    for (key, value) in table(reader, file, "registries", value) {
        let name = key.get_ref().to_string();
        let place = reader.sources.place(file, key.span());
        if let Some((_, first)) = registries.get(&name) {
            twice(reader, &format!("registry `{name}`"), &first.clone(), &place);
            continue;
        }
        let Some(form) = decode::<RawRegistry>(reader, file, value, "registry") else {
            continue;
        };
        match registry(&name, form) {
            Ok(registry) => drop(registries.insert(name, (registry, place))),
            Err(wrong) => {
                // What should have been a source may be the secret itself, so its line is named and not shown.
                let found = Diagnostic::error(code::WRONG_TYPE, format!("registry `{name}`: {}", wrong.why));
                let found = match wrong.may_show {
                    true => found.at(place, "here"),
                    false => found.because(format!("set at {place}")),
                };
                reader.diagnostics.push(found.hint(wrong.hint));
            }
        }
    }
}

struct Wrong {
    why: &'static str,
    hint: &'static str,
    may_show: bool,
}

fn wrong(why: &'static str, hint: &'static str) -> Wrong {
    Wrong {
        why,
        hint,
        may_show: true,
    }
}

fn registry(name: &str, form: RawRegistry) -> Result<Registry, Wrong> {
    if !is_registry(name) {
        return Err(wrong(
            "this is not how names of images begin",
            "write the first part of the names, such as \"ghcr.io\" or \"registry.example.com:5000\"; \"docker.io\" is the hub",
        ));
    }
    let is_place = |place: &String| {
        let mut parts = place.split('/');
        let is_part = |part: &str| {
            let is_plain =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
            !part.is_empty() && part.bytes().all(is_plain)
        };
        parts.next().is_some_and(is_registry) && parts.all(is_part)
    };
    if form.rewrite.as_ref().is_some_and(|place| !is_place(place)) {
        return Err(wrong(
            "`rewrite` is not a registry, or a registry and a path there",
            "write it without `https://` and without a `/` at its end: \"registry.example.com:5000/ghcr\"",
        ));
    }
    let login = match (form.user, form.password) {
        (Some(user), Some(password)) => {
            let source = password.parse().map_err(|_| Wrong {
                may_show: false,
                ..wrong(
                    "`password` is no secret's source",
                    "write `env:NAME`, `file:PATH`, `cmd:COMMAND` or `age:FILE#KEY`",
                )
            })?;
            Some((user, source))
        }
        (None, None) => None,
        (_, _) => {
            return Err(wrong(
                "a login has a `user` and a `password`",
                "give both, or none",
            ));
        }
    };
    Ok(Registry {
        rewrite: form.rewrite,
        login,
    })
}

fn is_registry(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    let is_known = name == HUB || name == "localhost" || name.contains(['.', ':']);
    is_known && name.bytes().all(is_plain) && !name.starts_with(['.', '-', ':'])
}

/// Reads the digests that are kept beside an inventory, if there are any.
pub(super) fn pins(reader: &mut Reader, inventory: &Path) -> BTreeMap<String, String> {
    let path = lock_file(inventory);
    if !path.exists() {
        return BTreeMap::new();
    }
    let Some((name, text)) = reader.text(&path, None) else {
        return BTreeMap::new();
    };
    let root = reader.parse(&name, &text);
    let span = root.span();
    let value = Spanned::new(span.clone(), DeValue::Table(root.into_inner()));
    let Some(lock) = decode::<Lock>(reader, &name, &value, "lock") else {
        return BTreeMap::new();
    };
    if lock.format != LOCK_FORMAT {
        let found = format!(
            "`{name}` is of format {}, and this version knows {LOCK_FORMAT}",
            lock.format
        );
        let place = reader.sources.place(&name, 0..0);
        reader.diagnostics.push(
            Diagnostic::error(code::STORED_FORMAT, found)
                .at(place, "this file")
                .hint("`muster pin --update` writes it anew"),
        );
        return BTreeMap::new();
    }
    for (image, digest) in lock.images.iter().filter(|(_, digest)| !is_digest(digest)) {
        let at = text.find(digest.as_str()).unwrap_or_default();
        let place = reader.sources.place(&name, at..at + digest.len());
        reader.diagnostics.push(
            Diagnostic::error(
                code::STORED_DAMAGED,
                format!("`{image}` has no digest that could be one"),
            )
            .at(place, "`sha256:` and 64 digits belong here")
            .hint("digests are never made up: `muster pin --update` asks the registry"),
        );
    }
    lock.images
}
