//! Logging in: keys of the agent and of files, certificates first, until one is accepted.

use std::sync::Arc;
use std::time::Duration;

use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::key::PrivateKeyWithHashAlg;
use russh::keys::{HashAlg, PrivateKey, PublicKey};
use russh::{AgentAuthError, MethodKind, Signer};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::connector::Connector;
use super::greeter::Greeter;
use super::keyring::Keyring;
use super::ssh_config::Settings;
use super::wallet::{By, Offer, Wallet};

/// Why nobody was let in.
pub(super) struct Refusal {
    /// A clause.
    pub why: String,
    /// Whether a person was asked for a passphrase. The host may have lost its patience meanwhile.
    pub was_person_asked: bool,
}

/// Logs in.
///
/// # Errors
/// [`Refusal`] if no key was accepted. The connection is of no further use then.
pub(super) async fn log_in(
    handle: &mut Handle<Greeter>,
    settings: &Settings,
    connector: &Connector,
) -> Result<(), Refusal> {
    let mut wallet = Wallet::gather(settings, &connector.keyring, connector.limits.login).await;
    let mut login = Login {
        handle,
        user: &settings.user,
        keyring: &connector.keyring,
        limit: connector.limits.login,
        rsa_hash: None,
        was_person_asked: false,
    };
    let mut tried = Vec::new();
    for offer in std::mem::take(&mut wallet.offers) {
        match login.offer(&offer, wallet.agent.as_mut()).await {
            Said::Yes => return Ok(()),
            Said::No => tried.push(offer.name),
            Said::Useless(why) => wallet.notes.push(why),
            Said::Never(why) => {
                tried.push(offer.name);
                wallet.notes.push(why);
                break;
            }
        }
    }
    Err(Refusal {
        why: explain(&tried, &wallet.notes),
        was_person_asked: login.was_person_asked,
    })
}

fn explain(tried: &[String], notes: &[String]) -> String {
    let tried = match tried {
        [] => "there is no key to log in with".to_owned(),
        tried => format!("none of the keys offered was accepted ({})", tried.join(", ")),
    };
    let notes: String = notes.iter().map(|note| format!("; {note}")).collect();
    format!(
        "{tried}{notes}; put a key into the account's authorized_keys, or name another in `identity_file`"
    )
}

/// What the host said to one offer.
enum Said {
    Yes,
    No,
    /// The offer could not be made.
    Useless(String),
    /// The host will hear no further offer.
    Never(String),
}

struct Login<'a> {
    handle: &'a mut Handle<Greeter>,
    user: &'a str,
    keyring: &'a Keyring,
    limit: Duration,
    rsa_hash: Option<Option<HashAlg>>,
    was_person_asked: bool,
}

impl Login<'_> {
    async fn offer(&mut self, offer: &Offer, agent: Option<&mut AgentClient<UnixStream>>) -> Said {
        let hash = self.hash_for(&offer.public).await;
        match (&offer.by, agent) {
            (By::Agent(identity), Some(agent)) => self.offer_by_agent(offer, identity, agent, hash).await,
            (By::Agent(_), None) => Said::Useless(format!("{} has lost its agent", offer.name)),
            (By::Open(key), _) => self.offer_key(offer, key.clone(), hash).await,
            (By::Locked(path), _) => match self.would_be_taken(offer, hash).await {
                Said::Yes => {
                    self.was_person_asked = true;
                    match self.keyring.open(path).await {
                        Ok(key) => self.offer_key(offer, key, hash).await,
                        Err(why) => Said::Useless(why),
                    }
                }
                said => said,
            },
        }
    }

    /// Returns the hash for signatures by RSA keys: the best that the host knows, and never SHA-1 unasked.
    async fn hash_for(&mut self, key: &PublicKey) -> Option<HashAlg> {
        if !key.algorithm().is_rsa() {
            return None;
        }
        if self.rsa_hash.is_none() {
            let best = timeout(self.limit, self.handle.best_supported_rsa_hash()).await;
            self.rsa_hash = match best {
                Ok(Ok(Some(hash))) => Some(hash),
                Ok(Ok(None) | Err(_)) | Err(_) => Some(Some(HashAlg::Sha256)),
            };
        }
        self.rsa_hash.flatten()
    }

    async fn offer_key(&mut self, offer: &Offer, key: Arc<PrivateKey>, hash: Option<HashAlg>) -> Said {
        let limit = self.limit;
        let result = match &offer.certificate {
            Some(certificate) => {
                let call = self
                    .handle
                    .authenticate_openssh_cert(self.user, key, certificate.clone());
                timeout(limit, call).await
            }
            None => {
                let key = PrivateKeyWithHashAlg::new(key, hash);
                timeout(limit, self.handle.authenticate_publickey(self.user, key)).await
            }
        };
        self.said(result)
    }

    async fn offer_by_agent(
        &mut self,
        offer: &Offer,
        identity: &AgentIdentity,
        agent: &mut AgentClient<UnixStream>,
        hash: Option<HashAlg>,
    ) -> Said {
        let mut signer = AgentSigner { agent, identity };
        let result = self.sign_with(offer, hash, &mut signer).await;
        match result {
            Ok(Err(AgentAuthError::Key(error))) => {
                Said::Useless(format!("the agent did not sign with {}: {error}", offer.name))
            }
            result => self.said(result),
        }
    }

    /// Asks whether a key would be taken, without its private half.
    async fn would_be_taken(&mut self, offer: &Offer, hash: Option<HashAlg>) -> Said {
        match self.sign_with(offer, hash, &mut Probe).await {
            Ok(Err(ProbeError::Wanted)) => Said::Yes,
            result => self.said(result),
        }
    }

    async fn sign_with<S: Signer>(
        &mut self,
        offer: &Offer,
        hash: Option<HashAlg>,
        signer: &mut S,
    ) -> Result<Result<AuthResult, S::Error>, tokio::time::error::Elapsed> {
        let limit = self.limit;
        match &offer.certificate {
            Some(certificate) => {
                let certificate = certificate.clone();
                timeout(
                    limit,
                    self.handle
                        .authenticate_certificate_with(self.user, certificate, hash, signer),
                )
                .await
            }
            None => {
                let key = offer.public.clone();
                timeout(
                    limit,
                    self.handle
                        .authenticate_publickey_with(self.user, key, hash, signer),
                )
                .await
            }
        }
    }

    fn said<E>(&self, result: Result<Result<AuthResult, E>, tokio::time::error::Elapsed>) -> Said {
        match result {
            Ok(Ok(AuthResult::Success)) => Said::Yes,
            Ok(Ok(AuthResult::Failure {
                partial_success: true,
                ..
            })) => {
                Said::Never("the host took it and wants a second factor, which muster cannot give".to_owned())
            }
            Ok(_) if self.handle.is_closed() => Said::Never("the host hung up".to_owned()),
            Ok(Ok(AuthResult::Failure {
                remaining_methods, ..
            })) => {
                if remaining_methods.contains(&MethodKind::PublicKey) {
                    Said::No
                } else {
                    Said::Never("the host takes no keys".to_owned())
                }
            }
            Ok(Err(_)) => Said::No,
            Err(_) => Said::Never(format!(
                "the host did not answer within {} s",
                self.limit.as_secs()
            )),
        }
    }
}

/// Signs with the very identity that the agent listed, whatever form the key is offered in.
struct AgentSigner<'a> {
    agent: &'a mut AgentClient<UnixStream>,
    identity: &'a AgentIdentity,
}

impl Signer for AgentSigner<'_> {
    type Error = AgentAuthError;

    async fn auth_sign(
        &mut self,
        _key: &AgentIdentity,
        hash: Option<HashAlg>,
        to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, AgentAuthError> {
        Ok(self.agent.sign_request(self.identity, hash, to_sign).await?)
    }
}

/// Signs nothing: being asked for a signature is all that is to be learnt.
struct Probe;

enum ProbeError {
    Wanted,
    Gone,
}

impl From<russh::SendError> for ProbeError {
    fn from(_: russh::SendError) -> Self {
        Self::Gone
    }
}

impl Signer for Probe {
    type Error = ProbeError;

    async fn auth_sign(
        &mut self,
        _key: &AgentIdentity,
        _hash: Option<HashAlg>,
        _to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, ProbeError> {
        Err(ProbeError::Wanted)
    }
}
