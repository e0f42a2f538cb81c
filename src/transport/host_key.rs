//! Whether a host is the one that it claims to be.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::SystemTime;

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::known_hosts::Marker;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, EcdsaCurve, HashAlg, PublicKey, PublicKeyOrCertificate};

use super::known_hosts::{self, KnownHosts, Line, written_key, written_name};
use super::pattern;
use super::peer::Peer;
use super::ssh_config::Settings;
use crate::model::target::HostKey;
use crate::ports::ReachError;

/// What is known of a host's key before the host is asked for it.
#[derive(Debug)]
pub(super) struct HostKeyCheck {
    peer: Peer,
    /// The name that certificates are made out to.
    principal: String,
    /// The name in the files.
    name: String,
    files: Vec<PathBuf>,
    is_hashed: bool,
    rule: Rule,
    lines: Vec<Line>,
    /// Lines for the name without its port, which OpenSSH looks at where the full name has none.
    bare: Vec<Line>,
}

#[derive(Debug)]
enum Rule {
    Known,
    AcceptNew,
    Pinned(PublicKey),
}

impl HostKeyCheck {
    /// Gathers what the inventory and the known_hosts files say.
    ///
    /// # Errors
    /// [`ReachError::HostKey`] if a file or the pinned key cannot be read.
    pub fn gather(peer: &Peer, settings: &Settings, book: &KnownHosts) -> Result<Self, ReachError> {
        let error = |why: String| ReachError::HostKey(format!("the host key of {peer} {why}"));
        let rule = match &settings.host_key {
            HostKey::KnownHosts => Rule::Known,
            HostKey::AcceptNew => Rule::AcceptNew,
            HostKey::Pinned(text) => Rule::Pinned(text.parse().map_err(|_| {
                error(format!(
                    "is given as `{text}` in the inventory, which is not a key; write it as `ssh-ed25519 AAAA…`"
                ))
            })?),
        };
        // An alias is the whole name: OpenSSH adds no port to it.
        let (principal, name) = match &settings.host_key_alias {
            Some(alias) => (alias.to_lowercase(), alias.to_lowercase()),
            None => (
                settings.host_name.to_lowercase(),
                written_name(&settings.host_name, settings.port),
            ),
        };
        let lines = book.lines_for(&settings.known_hosts, &name).map_err(error)?;
        let bare = if name == principal {
            Vec::new()
        } else {
            book.lines_for(&settings.known_hosts, &principal).map_err(error)?
        };
        let (files, is_hashed) = (settings.known_hosts.clone(), settings.hash_known_hosts);
        Ok(Self {
            peer: peer.clone(),
            principal,
            name,
            files,
            is_hashed,
            rule,
            lines,
            bare,
        })
    }

    /// Returns the key types to ask for, those that are known first: a host with several keys shows the known one.
    pub fn key_types(&self) -> Cow<'static, [Algorithm]> {
        let known: Vec<Algorithm> = match &self.rule {
            Rule::Pinned(key) => vec![key.algorithm()],
            Rule::Known | Rule::AcceptNew => self
                .plain()
                .chain(self.bare.iter())
                .map(|line| line.key.algorithm())
                .collect(),
        };
        let mut types = KEY_TYPES.to_vec();
        let is_known = |wanted: &Algorithm| {
            known
                .iter()
                .any(|known| known == wanted || is_rsa(known) && is_rsa(wanted))
        };
        // A stable sort keeps the preference within both halves.
        types.sort_by_key(|wanted| !is_known(wanted));
        types.into()
    }

    /// Returns the certificate types to ask for: none, unless an authority is known for this host.
    pub fn certificate_types(&self) -> Cow<'static, [Algorithm]> {
        match (&self.rule, self.authorities().next()) {
            (Rule::Known | Rule::AcceptNew, Some(_)) => KEY_TYPES.to_vec().into(),
            (Rule::Known | Rule::AcceptNew | Rule::Pinned(_), _) => Cow::Borrowed(&[]),
        }
    }

    /// Judges what the host presented.
    ///
    /// # Errors
    /// [`ReachError::HostKey`] with the command or the line that would mend it.
    pub fn judge(&self, presented: &PublicKeyOrCertificate) -> Result<(), ReachError> {
        let key = presented.public_key();
        self.refuse_revoked(key.key_data())?;
        let Some(certificate) = presented.certificate() else {
            return self.judge_key(&key, "");
        };
        self.refuse_revoked(certificate.signature_key())?;
        match self.certificate_flaw(certificate) {
            None => Ok(()),
            // As in OpenSSH the bare key may still be known.
            Some(flaw) => self.judge_key(&key, &format!(" (its certificate does not count: {flaw})")),
        }
    }

    fn refuse_revoked(&self, key: &KeyData) -> Result<(), ReachError> {
        let revoked = self
            .lines
            .iter()
            .chain(&self.bare)
            .find(|line| matches!(line.marker, Some(Marker::Revoked)) && line.key.key_data() == key);
        match revoked {
            Some(line) => Err(self.error(format!(
                "is revoked by {}; nobody may trust this key again: give the host a new one",
                line.place()
            ))),
            None => Ok(()),
        }
    }

    fn certificate_flaw(&self, certificate: &Certificate) -> Option<String> {
        let authorities: Vec<_> = self
            .authorities()
            .map(|line| line.key.fingerprint(HashAlg::Sha256))
            .collect();
        let signer = certificate.signature_key().fingerprint(HashAlg::Sha256);
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |age| age.as_secs());
        let is_for = |principal: &String| pattern::matches(principal, &self.principal);
        if certificate.cert_type() != CertType::Host {
            Some("it is not a host's".to_owned())
        } else if !authorities.contains(&signer) {
            Some(format!("the authority {signer} is not known"))
        } else if !certificate.valid_principals().iter().any(is_for) {
            Some(format!(
                "it is made out to `{}`",
                certificate.valid_principals().join(", ")
            ))
        } else if certificate.critical_options().iter().next().is_some() {
            Some("it has a critical option".to_owned())
        } else if certificate.validate_at(now, &authorities).is_err() {
            Some("it is out of date or badly signed".to_owned())
        } else {
            None
        }
    }

    fn judge_key(&self, key: &PublicKey, remark: &str) -> Result<(), ReachError> {
        let is_it = |line: &&Line| line.key.key_data() == key.key_data();
        match &self.rule {
            Rule::Pinned(pinned) if pinned.key_data() == key.key_data() => Ok(()),
            Rule::Pinned(pinned) => Err(self.error(pinned_other(key, pinned))),
            Rule::Known | Rule::AcceptNew if self.plain().any(|line| is_it(&line)) => Ok(()),
            Rule::Known | Rule::AcceptNew => match self.plain().next() {
                Some(line) => Err(self.error(self.changed(key, line))),
                None if self.bare_keys().any(|line| is_it(&line)) => Ok(()),
                None => self.judge_new(key, remark),
            },
        }
    }

    fn judge_new(&self, key: &PublicKey, remark: &str) -> Result<(), ReachError> {
        match &self.rule {
            Rule::AcceptNew => {
                let file = self.files.first().ok_or_else(|| {
                    self.error("is new, and ssh_config names no known_hosts file to write it to".to_owned())
                })?;
                known_hosts::learn(file, &self.name, key, self.is_hashed).map_err(|why| self.error(why))
            }
            Rule::Known | Rule::Pinned(_) => Err(self.error(self.unknown(key, remark))),
        }
    }

    fn plain(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.marker.is_none())
    }

    fn bare_keys(&self) -> impl Iterator<Item = &Line> {
        self.bare.iter().filter(|line| line.marker.is_none())
    }

    fn authorities(&self) -> impl Iterator<Item = &Line> {
        self.lines
            .iter()
            .filter(|line| matches!(line.marker, Some(Marker::CertAuthority)))
    }

    fn unknown(&self, key: &PublicKey, remark: &str) -> String {
        let (name, written) = (&self.name, written_key(key));
        let file = self
            .files
            .first()
            .map_or("~/.ssh/known_hosts".to_owned(), |file| file.display().to_string());
        format!(
            "is not known{remark}: it is {}; compare that with `ssh-keygen -lf /etc/ssh/{}` on the host, then run \
             `echo '{name} {written}' >> {file}` or set `host_key = \"{written}\"` in the inventory",
            shown(key),
            key_file(key),
        )
    }

    fn changed(&self, key: &PublicKey, line: &Line) -> String {
        let written = written_key(key);
        format!(
            "has changed: it is {}, and {} says {}; either somebody is in between or the host was set up anew. If it \
             was, compare the key on the host, run `ssh-keygen -R '{}' -f {}`, and then \
             `echo '{} {written}' >> {}`",
            shown(key),
            line.place(),
            shown(&line.key),
            self.name,
            line.file.display(),
            self.name,
            line.file.display(),
        )
    }

    fn error(&self, why: String) -> ReachError {
        ReachError::HostKey(format!("the host key of {} {why}", self.peer))
    }
}

/// The host key types that are spoken, best first. SHA-1 signatures are not among them.
const KEY_TYPES: [Algorithm; 6] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha512),
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha256),
    },
];

fn is_rsa(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::Rsa { .. })
}

fn pinned_other(key: &PublicKey, pinned: &PublicKey) -> String {
    format!(
        "is {}, and the inventory pins {}; either somebody is in between or the host was set up anew. If it was, \
         compare the key on the host and set `host_key = \"{}\"`",
        shown(key),
        shown(pinned),
        written_key(key)
    )
}

/// Returns a key as people compare it.
fn shown(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

fn key_file(key: &PublicKey) -> &'static str {
    match key.algorithm() {
        Algorithm::Ed25519 => "ssh_host_ed25519_key.pub",
        Algorithm::Ecdsa { .. } => "ssh_host_ecdsa_key.pub",
        Algorithm::Rsa { .. } => "ssh_host_rsa_key.pub",
        _ => "ssh_host_*_key.pub",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use russh::keys::load_openssh_certificate;

    use super::super::ssh_config::tests::settings_of;
    use super::*;

    fn keygen(arguments: &[&str], folder: &Path) {
        let status = Command::new("ssh-keygen")
            .arg("-q")
            .args(arguments)
            .current_dir(folder)
            .status();
        assert!(status.expect("ssh-keygen runs").success());
    }

    /// Judges a certificate made out to `a.example.org` by a known authority, signed with these further arguments.
    fn judge(arguments: &[&str]) -> Result<(), ReachError> {
        let folder = tempfile::tempdir().expect("a folder");
        for key in ["ca", "host"] {
            keygen(&["-t", "ed25519", "-N", "", "-f", key], folder.path());
        }
        keygen(
            &[&["-s", "ca", "-I", "x"], arguments, &["host.pub"]].concat(),
            folder.path(),
        );
        let authority = std::fs::read_to_string(folder.path().join("ca.pub")).expect("a key");
        let known_hosts = folder.path().join("known_hosts");
        std::fs::write(&known_hosts, format!("@cert-authority *.example.org {authority}"))
            .expect("known_hosts");
        let mut settings = settings_of("a.example.org");
        settings.known_hosts = vec![known_hosts];
        let certificate =
            load_openssh_certificate(folder.path().join("host-cert.pub")).expect("a certificate");
        HostKeyCheck::gather(&Peer::new("a", &settings), &settings, &KnownHosts::default())?
            .judge(&PublicKeyOrCertificate::Certificate(certificate))
    }

    #[test]
    fn only_a_hosts_certificate_made_out_to_the_host_counts() {
        judge(&["-h", "-n", "a.example.org"]).expect("a host's certificate");
        for (arguments, flaw) in [
            (&["-n", "a.example.org"][..], "it is not a host's"),
            (&["-h", "-n", "b.example.org"], "made out to `b.example.org`"),
            (&["-h"], "made out to ``"),
            (&["-h", "-n", "a.example.org", "-V", "+1h:+2h"], "out of date"),
        ] {
            let error = judge(arguments).expect_err(flaw).to_string();
            assert!(error.contains(flaw), "{error}");
        }
    }
}
