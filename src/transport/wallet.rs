//! What there is to log in with: keys of the agent and of files, and their certificates.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Certificate, PrivateKey, PublicKey, load_openssh_certificate};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::keyring::{Key, Keyring, beside};
use super::ssh_config::Settings;

/// One key to offer, in one form.
pub(super) struct Offer {
    /// As messages name it.
    pub name: String,
    /// The key.
    pub public: PublicKey,
    /// The certificate to show with it.
    pub certificate: Option<Certificate>,
    /// Who signs.
    pub by: By,
}

/// Who signs.
#[derive(Clone)]
pub(super) enum By {
    /// The agent, with this identity.
    Agent(Box<AgentIdentity>),
    /// A key that is at hand.
    Open(Arc<PrivateKey>),
    /// A key file that a person would have to unlock.
    Locked(PathBuf),
}

/// Everything there is to offer, in the order of OpenSSH: configured keys that the agent holds, other keys of the
/// agent, then configured keys of files.
pub(super) struct Wallet {
    /// The agent, if there is one.
    pub agent: Option<AgentClient<UnixStream>>,
    /// The offers, in order.
    pub offers: Vec<Offer>,
    /// What could not be used, and why.
    pub notes: Vec<String>,
}

impl Wallet {
    /// Gathers them, without asking anybody unless a key hides even its public half.
    pub async fn gather(settings: &Settings, keyring: &Keyring, limit: Duration) -> Self {
        let mut wallet = Self {
            agent: None,
            offers: Vec::new(),
            notes: Vec::new(),
        };
        let held = wallet.ask_agent(settings.agent.as_deref(), limit).await;
        let loose: Vec<Certificate> = settings
            .certificate_files
            .iter()
            .filter_map(|path| wallet.certificate(path, true))
            .collect();
        let mut named: Vec<PublicKey> = Vec::new();
        let mut from_files = Vec::new();
        for path in &settings.identity_files {
            let Some((public, by)) = wallet.read(keyring, path).await else {
                continue;
            };
            let certificates = wallet.certificates_for(&public, path, &loose);
            let by_agent: Vec<Offer> = held
                .iter()
                .filter(|identity| is_of(identity, &public))
                .flat_map(|identity| agent_offers(identity, &certificates))
                .collect();
            match by {
                Some(by) if by_agent.is_empty() => {
                    from_files.extend(file_offers(path, &public, certificates, &by));
                }
                Some(_) | None => wallet.offers.extend(by_agent),
            }
            named.push(public);
        }
        if !settings.identities_only {
            let is_other = |identity: &&AgentIdentity| !named.iter().any(|public| is_of(identity, public));
            let others = held.iter().filter(is_other);
            wallet
                .offers
                .extend(others.flat_map(|identity| agent_offers(identity, &loose)));
        }
        wallet.offers.extend(from_files);
        wallet
    }

    /// Reads a key file: its public half, and who could sign unless only the agent can.
    async fn read(&mut self, keyring: &Keyring, path: &Path) -> Option<(PublicKey, Option<By>)> {
        match keyring.get(path).await {
            Key::Absent => None,
            Key::Useless(why) => {
                self.notes.push(why);
                None
            }
            Key::Open(key) => Some((key.public_key().clone(), Some(By::Open(key)))),
            Key::Locked(public) => Some((public, Some(By::Locked(path.to_owned())))),
            Key::Public(public) => Some((public, None)),
        }
    }

    /// Returns a key's certificates: those configured, and the one beside its file.
    fn certificates_for(
        &mut self,
        public: &PublicKey,
        path: &Path,
        loose: &[Certificate],
    ) -> Vec<Certificate> {
        let beside = self.certificate(&beside(path, "-cert.pub"), false);
        let all = loose.iter().cloned().chain(beside);
        all.filter(|certificate| certificate.public_key() == public.key_data())
            .collect()
    }

    async fn ask_agent(&mut self, socket: Option<&Path>, limit: Duration) -> Vec<AgentIdentity> {
        let Some(socket) = socket else { return Vec::new() };
        let ask = async {
            let mut agent = AgentClient::connect_uds(socket).await?;
            let held = agent.request_identities().await?;
            Ok::<_, russh::keys::Error>((agent, held))
        };
        match timeout(limit, ask).await {
            Ok(Ok((agent, held))) => {
                self.agent = Some(agent);
                held
            }
            Ok(Err(error)) => self.note_agent(socket, &error.to_string()),
            Err(_) => self.note_agent(socket, "no answer"),
        }
    }

    fn note_agent(&mut self, socket: &Path, why: &str) -> Vec<AgentIdentity> {
        self.notes
            .push(format!("the agent at {} is of no use: {why}", socket.display()));
        Vec::new()
    }

    fn certificate(&mut self, path: &Path, is_named: bool) -> Option<Certificate> {
        if !is_named && !path.exists() {
            return None;
        }
        let certificate = load_openssh_certificate(path);
        certificate
            .map_err(|error| {
                self.notes.push(format!(
                    "the certificate {} cannot be read: {error}",
                    path.display()
                ))
            })
            .ok()
    }
}

fn public_of(identity: &AgentIdentity) -> PublicKey {
    match identity {
        AgentIdentity::PublicKey { key, .. } => key.clone(),
        AgentIdentity::Certificate { certificate, .. } => certificate.public_key().clone().into(),
    }
}

fn is_of(identity: &AgentIdentity, public: &PublicKey) -> bool {
    public_of(identity).key_data() == public.key_data()
}

/// Offers what the agent holds: its own certificate, or its key with the certificates of files and then alone.
fn agent_offers(identity: &AgentIdentity, certificates: &[Certificate]) -> Vec<Offer> {
    let public = public_of(identity);
    let (comment, mut forms) = match identity {
        AgentIdentity::Certificate { certificate, comment } => (comment, vec![Some(certificate.clone())]),
        AgentIdentity::PublicKey { comment, .. } => {
            let fitting = certificates
                .iter()
                .filter(|certificate| certificate.public_key() == public.key_data());
            (comment, fitting.cloned().map(Some).chain([None]).collect())
        }
    };
    forms.sort_by_key(Option::is_none);
    let offer = |certificate: Option<Certificate>| Offer {
        name: name(&format!("the agent's `{comment}`"), certificate.is_some()),
        public: public.clone(),
        certificate,
        by: By::Agent(Box::new(identity.clone())),
    };
    forms.into_iter().map(offer).collect()
}

fn file_offers(path: &Path, public: &PublicKey, certificates: Vec<Certificate>, by: &By) -> Vec<Offer> {
    let offer = |certificate: Option<Certificate>| Offer {
        name: name(&path.display().to_string(), certificate.is_some()),
        public: public.clone(),
        certificate,
        by: by.clone(),
    };
    certificates
        .into_iter()
        .map(Some)
        .chain([None])
        .map(offer)
        .collect()
}

fn name(key: &str, has_certificate: bool) -> String {
    if has_certificate {
        format!("{key} with its certificate")
    } else {
        key.to_owned()
    }
}
