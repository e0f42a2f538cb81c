//! Hooks: their form, and what is wrong with it.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeValue;

use crate::model::code;
use crate::model::diagnostic::Diagnostic;
use crate::model::hook::{Call, Hook, Said};
use crate::model::quantity::parse_duration;

use super::inventory::tables;
use super::raw::inventory::{RawHook, RawWebhook};
use super::reader::Reader;
use super::table::decode;
use super::values::twice;

/// The longest that one try may take.
const TIMEOUT_SECS_MAX: u64 = 3600;

/// Reads the hooks of a file, after those of others. Each mistake has its own line.
pub(super) fn read(
    reader: &mut Reader,
    file: &str,
    list: &Spanned<DeValue<'_>>,
    hooks: &mut Vec<(Hook, crate::model::diagnostic::Place)>,
) {
    for table in tables(reader, file, "hook", list) {
        let Some(form) = decode::<RawHook>(reader, file, table, "hook") else {
            continue;
        };
        let place = reader.sources.place(file, table.span());
        if let Some((first, there)) = hooks.iter().find(|(hook, _)| hook.name == form.name) {
            let (what, there) = (format!("hook `{}`", first.name), there.clone());
            twice(reader, &what, &there, &place);
            continue;
        }
        match hook(&form) {
            Ok(hook) => hooks.push((hook, place)),
            Err(wrong) => {
                let at = table
                    .get_ref()
                    .get(wrong.key)
                    .map_or_else(|| table.span(), Spanned::span);
                let found = Diagnostic::error(code::BAD_HOOK, format!("hook `{}`: {}", form.name, wrong.why));
                let place = reader.sources.place(file, at);
                // What should have been a source may be the secret itself, so its line is named and not shown.
                let found = match wrong.may_show {
                    true => found.at(place, "here"),
                    false => found.because(format!("set at {place}")),
                };
                reader
                    .diagnostics
                    .push(found.hint_opt(wrong.hint.map(str::to_owned)));
            }
        }
    }
}

struct Wrong {
    key: &'static str,
    why: String,
    hint: Option<&'static str>,
    may_show: bool,
}

impl Wrong {
    fn hidden(self) -> Self {
        Self {
            may_show: false,
            ..self
        }
    }
}

fn wrong(key: &'static str, why: impl Into<String>, hint: &'static str) -> Wrong {
    Wrong {
        key,
        why: why.into(),
        hint: Some(hint).filter(|hint| !hint.is_empty()),
        may_show: true,
    }
}

fn hook(form: &RawHook) -> Result<Hook, Wrong> {
    let required = form.required.unwrap_or(false);
    if required && !form.on.is_before() {
        let why = format!(
            "`{}` comes after, so there is nothing that its failure could stop",
            form.on
        );
        return Err(wrong(
            "required",
            why,
            "leave `required` out: its failure is a warning",
        ));
    }
    let call = match (&form.command, &form.webhook) {
        (Some(words), None) if words.first().is_some_and(|program| !program.is_empty()) => {
            Call::Command(words.clone())
        }
        (Some(_), None) => {
            return Err(wrong(
                "command",
                "it names no program",
                "write `command = [\"./tell.sh\", \"up\"]`",
            ));
        }
        (None, Some(webhook)) => web(webhook)?,
        (_, _) => {
            return Err(wrong(
                "name",
                "it does one thing: either `command` or `webhook`",
                "",
            ));
        }
    };
    let secs = |key, text: Option<&String>, otherwise, least| match text
        .map(|text| parse_duration(text))
        .transpose()
    {
        Err(error) => Err(wrong(key, error, "")),
        Ok(secs) => match secs.unwrap_or(otherwise) {
            secs if secs < least || secs > TIMEOUT_SECS_MAX => Err(wrong(
                key,
                format!("{secs} s is not from {least} s to {TIMEOUT_SECS_MAX} s"),
                "",
            )),
            secs => Ok(secs),
        },
    };
    let retry = form.retry.as_ref();
    Ok(Hook {
        name: form.name.clone(),
        on: form.on,
        call,
        timeout_secs: secs("timeout", form.timeout.as_ref(), 30, 1)?,
        retry_within_secs: secs("retry", retry.map(|retry| &retry.within), 0, 0)?,
        retry_every_secs: secs("retry", retry.and_then(|retry| retry.every.as_ref()), 2, 1)?,
        required,
    })
}

fn web(form: &RawWebhook) -> Result<Call, Wrong> {
    let url = match url::Url::parse(&form.url) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            let has_secrets = !form.secret_headers.is_empty();
            if url.scheme() == "http" && has_secrets && !is_here(&url) {
                let why = "a secret would travel in the clear";
                return Err(wrong("webhook", why, "write an `https://` address"));
            }
            Said::Text(form.url.clone())
        }
        _ => form.url.parse().map(Said::Secret).map_err(|_| {
            let why = "`url` is neither an `https://` URL with a host nor a secret's source";
            wrong(
                "webhook",
                why,
                "an address that is itself a secret is kept elsewhere: `url = \"env:NAME\"`",
            )
            .hidden()
        })?,
    };
    let mut headers = BTreeMap::new();
    for (name, text) in &form.headers {
        headers.insert(header(name)?, Said::Text(text.clone()));
    }
    for (name, source) in &form.secret_headers {
        let source = source.parse().map_err(|_| {
            let why = format!("the value of `{name}` is no secret's source");
            wrong(
                "webhook",
                why,
                "write `env:NAME`, `file:PATH`, `cmd:COMMAND` or `age:FILE#KEY`",
            )
            .hidden()
        })?;
        if headers.insert(header(name)?, Said::Secret(source)).is_some() {
            return Err(wrong(
                "webhook",
                format!("the header `{name}` is given twice"),
                "",
            ));
        }
    }
    Ok(Call::Webhook { url, headers })
}

/// Says whether an address is this machine's own.
fn is_here(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn header(name: &str) -> Result<String, Wrong> {
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    match is_name {
        true => Ok(name.to_ascii_lowercase()),
        false => Err(wrong("webhook", format!("`{name}` is no name of a header"), "")),
    }
}
