//! Hosts: forms, key forms and the ways through jump hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use base64::Engine as _;
use toml::Spanned;
use toml::de::DeValue;

use crate::model::code;
use crate::model::diagnostic::{Diagnostic, Place, did_you_mean};
use crate::model::id::{HostId, ModuleName};
use crate::model::inventory::{Host, Values};
use crate::model::target::{HostKey, SshTarget, Sudo, Target, Transport};

use super::raw::inventory::{RawHost, RawTransport};
use super::reader::{PLACEHOLDER, Reader};
use super::table::decode;
use super::values;

/// A host as its file has it.
pub(super) struct HostDraft {
    pub(super) origin: Place,
    file: String,
    /// `None` where the table could not be read at all.
    form: Option<RawHost>,
    values: Values,
}

/// Reads a host's table.
pub(super) fn draft(
    reader: &mut Reader,
    file: &str,
    id: &HostId,
    (key, value): (Range<usize>, &Spanned<DeValue<'_>>),
    modules: &BTreeSet<ModuleName>,
) -> HostDraft {
    let origin = reader.sources.place(
        file,
        if value.span().is_empty() {
            key
        } else {
            value.span()
        },
    );
    let form = decode(reader, file, value, &format!("host `{id}`"));
    let given = value
        .get_ref()
        .get("values")
        .filter(|values| values.get_ref().is_table());
    let values = given
        .map(|given| values::layer(reader, file, given, modules))
        .unwrap_or_default();
    HostDraft {
        origin,
        file: file.to_owned(),
        form,
        values,
    }
}

/// Makes hosts of the drafts, and follows `via`.
pub(super) fn resolve(reader: &mut Reader, drafts: BTreeMap<HostId, HostDraft>) -> BTreeMap<HostId, Host> {
    let own: BTreeMap<&HostId, Own> = drafts
        .iter()
        .map(|(id, draft)| (id, draft.own(reader, id)))
        .collect();
    let mut ways = Ways {
        drafts: &drafts,
        own: &own,
        loops: BTreeSet::new(),
    };
    let targets: BTreeMap<HostId, Transport> = drafts
        .keys()
        .map(|id| (id.clone(), ways.transport(reader, id, &mut Vec::new())))
        .collect();
    let sudo: BTreeMap<HostId, Sudo> = own
        .iter()
        .map(|(id, own)| ((*id).clone(), own.sudo.clone()))
        .collect();
    drafts
        .into_iter()
        .zip(targets.into_values().zip(sudo.into_values()))
        .map(finish)
        .collect()
}

fn finish(((id, draft), (transport, sudo)): ((HostId, HostDraft), (Transport, Sudo))) -> (HostId, Host) {
    let (labels, renamed_from) = draft
        .form
        .map(|form| (form.labels, form.renamed_from))
        .unwrap_or_default();
    let target = Target { transport, sudo };
    let host = Host {
        id: id.clone(),
        target,
        labels,
        values: draft.values,
        renamed_from,
        origin: draft.origin,
    };
    (id, host)
}

/// What a host says of itself, without its way.
struct Own {
    transport: Transport,
    sudo: Sudo,
}

impl HostDraft {
    fn own(&self, reader: &mut Reader, id: &HostId) -> Own {
        let Some(form) = &self.form else {
            return Own {
                transport: Transport::Local,
                sudo: Sudo::Passwordless,
            };
        };
        let sudo = form.sudo.as_ref().and_then(|text| self.sudo(reader, id, text));
        let transport = match form.transport {
            RawTransport::Local => self.local(reader, id, form),
            RawTransport::Ssh => Transport::Ssh(self.ssh(reader, id, form)),
        };
        Own {
            transport,
            sudo: sudo.unwrap_or(Sudo::Passwordless),
        }
    }

    /// This machine; keys of a connection would be silently without effect, so they are refused.
    fn local(&self, reader: &mut Reader, id: &HostId, form: &RawHost) -> Transport {
        let spans = [
            ("address", form.address.as_ref().map(Spanned::span)),
            ("port", form.port.as_ref().map(Spanned::span)),
            ("user", form.user.as_ref().map(Spanned::span)),
            ("via", form.via.as_ref().map(Spanned::span)),
            ("identity_file", form.identity_file.as_ref().map(Spanned::span)),
            ("host_key", form.host_key.as_ref().map(Spanned::span)),
        ];
        for (key, span) in spans {
            if let Some(span) = span {
                let message = format!("host `{id}`: `{key}` has no meaning with `transport = \"local\"`");
                reader.error(code::WRONG_TYPE, message, (&self.file, span), "remove it");
            }
        }
        Transport::Local
    }

    fn ssh(&self, reader: &mut Reader, id: &HostId, form: &RawHost) -> SshTarget {
        if form.address.is_none() {
            let found = Diagnostic::error(
                code::MISSING_KEY,
                format!("host `{id}`: key `address` is missing"),
            );
            reader.diagnostics.push(
                found
                    .at(self.origin.clone(), "`address` belongs here")
                    .hint("give a name or an IP address, or say `transport = \"local\"`"),
            );
        }
        SshTarget {
            address: self
                .word(reader, id, ("address", &form.address))
                .unwrap_or_default(),
            port: form.port.as_ref().map(|port| port.get_ref().get()),
            user: self.word(reader, id, ("user", &form.user)),
            identity_file: form.identity_file.as_ref().map(|path| path.get_ref().clone()),
            host_key: form
                .host_key
                .as_ref()
                .and_then(|key| self.host_key(reader, id, key))
                .unwrap_or(HostKey::KnownHosts),
            via: None,
        }
    }

    /// Returns a text that is one word and no option: it goes into connections and messages.
    fn word(
        &self,
        reader: &mut Reader,
        id: &HostId,
        (key, text): (&str, &Option<Spanned<String>>),
    ) -> Option<String> {
        let text = text.as_ref()?;
        let word = text.get_ref();
        let is_word = word
            .chars()
            .all(|c| c.is_alphanumeric() || "._-:%[]\\$+@".contains(c))
            && !word.starts_with('-')
            && !word.is_empty();
        if !is_word && !word.contains(PLACEHOLDER) {
            let message = format!("host `{id}`: `{key}` is {word:?}, expected one word");
            reader.error(
                code::WRONG_TYPE,
                message,
                (&self.file, text.span()),
                "this does not fit",
            );
        }
        Some(word.clone())
    }

    fn host_key(&self, reader: &mut Reader, id: &HostId, text: &Spanned<String>) -> Option<HostKey> {
        match text.get_ref().as_str() {
            "known-hosts" => Some(HostKey::KnownHosts),
            "accept-new" => Some(HostKey::AcceptNew),
            key => pinned(key).map(HostKey::Pinned).or_else(|| {
                let message = format!("host `{id}`: `host_key` is not a public key in OpenSSH's form");
                let place = reader.sources.place(&self.file, text.span());
                let hint = did_you_mean(key, ["known-hosts", "accept-new"])
                    .unwrap_or_else(|| "write `ssh-ed25519 AAAA…`, `accept-new` or `known-hosts`".to_owned());
                reader.diagnostics.push(
                    Diagnostic::error(code::WRONG_TYPE, message)
                        .at(place, "this does not fit")
                        .hint(hint),
                );
                None
            }),
        }
    }

    fn sudo(&self, reader: &mut Reader, id: &HostId, text: &Spanned<String>) -> Option<Sudo> {
        match text.get_ref().as_str() {
            "none" => Some(Sudo::None),
            "passwordless" => Some(Sudo::Passwordless),
            source => source.parse().map(Sudo::Password).ok().or_else(|| {
                // The text is not repeated: it may be the password itself.
                let message =
                    format!("host `{id}`: `sudo` is neither `passwordless`, `none` nor a secret's source");
                let place = reader.sources.place(&self.file, text.span());
                reader.diagnostics.push(
                    Diagnostic::error(code::BAD_SECRET_SOURCE, message)
                        .at(place, "this does not fit")
                        .hint(
                            "keep the password elsewhere and write its source, such as `env:SUDO_PASSWORD`",
                        ),
                );
                None
            }),
        }
    }
}

/// Returns a public key's algorithm and body, if the one fits the other.
fn pinned(text: &str) -> Option<String> {
    let mut words = text.split_ascii_whitespace();
    let (algorithm, body) = (words.next()?, words.next()?);
    let bytes = base64::engine::general_purpose::STANDARD.decode(body).ok()?;
    // The body begins with the algorithm's name, after its length in four bytes.
    let length = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let is_known =
        algorithm.starts_with("ssh-") || algorithm.starts_with("ecdsa-") || algorithm.starts_with("sk-");
    let named = bytes.get(4..4usize.checked_add(length)?)?;
    (is_known && named == algorithm.as_bytes() && bytes.len() > 4 + length)
        .then(|| format!("{algorithm} {body}"))
}

/// Follows `via` from host to host.
struct Ways<'d> {
    drafts: &'d BTreeMap<HostId, HostDraft>,
    own: &'d BTreeMap<&'d HostId, Own>,
    /// Loops that were named, by their first host.
    loops: BTreeSet<HostId>,
}

impl Ways<'_> {
    fn transport(&mut self, reader: &mut Reader, id: &HostId, chain: &mut Vec<HostId>) -> Transport {
        let mut transport = self.own[id].transport.clone();
        if let Transport::Ssh(target) = &mut transport {
            target.via = self.via(reader, id, chain).map(Box::new);
        }
        transport
    }

    fn via(&mut self, reader: &mut Reader, id: &HostId, chain: &mut Vec<HostId>) -> Option<SshTarget> {
        let draft = &self.drafts[id];
        let via = draft.form.as_ref()?.via.as_ref()?;
        let place = reader.sources.place(&draft.file, via.span());
        let next = via.get_ref();
        if !self.drafts.contains_key(next) {
            let hint = did_you_mean(next.as_str(), self.drafts.keys().map(HostId::as_str));
            let found = Diagnostic::error(
                code::UNKNOWN_HOST,
                format!("host `{id}`: there is no host `{next}`"),
            );
            reader
                .diagnostics
                .push(found.at(place, "to go through").hint_opt(hint));
            return None;
        }
        chain.push(id.clone());
        if let Some(start) = chain.iter().position(|passed| passed == next) {
            self.name_loop(reader, &chain[start..], place);
            chain.pop();
            return None;
        }
        let found = self.transport(reader, next, chain);
        chain.pop();
        match found {
            Transport::Ssh(target) => Some(target),
            Transport::Local => {
                if self.drafts[next].form.is_some() {
                    let message =
                        format!("host `{id}`: `{next}` is this machine, and so no host to go through");
                    reader
                        .diagnostics
                        .push(Diagnostic::error(code::WRONG_TYPE, message).at(place, "to go through"));
                }
                None
            }
        }
    }

    fn name_loop(&mut self, reader: &mut Reader, circle: &[HostId], place: Place) {
        let first = circle.iter().min().expect("a loop has a host");
        if !self.loops.insert(first.clone()) {
            return;
        }
        let at = circle.iter().position(|host| host == first).expect("just found");
        let steps: Vec<String> = circle[at..]
            .iter()
            .chain(&circle[..=at])
            .map(ToString::to_string)
            .collect();
        let message = format!("host `{first}` is reached through itself: {}", steps.join(" → "));
        reader
            .diagnostics
            .push(Diagnostic::error(code::VIA_LOOP, message).at(place, "goes on here"));
    }
}
