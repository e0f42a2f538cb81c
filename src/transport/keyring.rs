//! The keys to log in with: read once, unlocked once, asked for once in a run.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex as SyncMutex};

use russh::keys::{self, PrivateKey, PublicKey};
use tokio::sync::Mutex;

use super::connector::Prompter;
use crate::model::secret::Secret;

/// How often a passphrase is asked for before the key is given up.
const TRIES: u32 = 3;

/// The keys of one run.
pub(super) struct Keyring {
    prompter: Option<Arc<dyn Prompter>>,
    /// Held while a person is asked, so that two questions never meet.
    asking: Mutex<()>,
    keys: SyncMutex<BTreeMap<PathBuf, Arc<Mutex<Option<Key>>>>>,
}

/// A key file, as far as it is known.
#[derive(Clone)]
pub(super) enum Key {
    /// There is no such file.
    Absent,
    /// Ready for use.
    Open(Arc<PrivateKey>),
    /// Encrypted; whether a host would take it can be asked with the public half.
    Locked(PublicKey),
    /// Only a public key: its other half may be in the agent.
    Public(PublicKey),
    /// Of no use, and why.
    Useless(String),
}

impl Keyring {
    /// Makes an empty ring.
    pub fn new(prompter: Option<Arc<dyn Prompter>>) -> Self {
        Self {
            prompter,
            asking: Mutex::new(()),
            keys: SyncMutex::default(),
        }
    }

    /// Returns a key as it is, without asking anybody.
    pub async fn get(&self, path: &Path) -> Key {
        let slot = self.slot(path);
        let mut slot = slot.lock().await;
        if let Some(key) = &*slot {
            return key.clone();
        }
        let file = path.to_owned();
        let key = match off_thread(move || load(&file)).await {
            // Without its public half a host cannot be asked whether it would take the key.
            Loaded::Sealed => self.unlock(path).await.map_or_else(Key::Useless, Key::Open),
            Loaded::Key(key) => key,
        };
        slot.insert(key).clone()
    }

    /// Returns a locked key unlocked, asking for its passphrase the first time.
    ///
    /// # Errors
    /// A clause that says why it stays locked. It is not asked for again.
    pub async fn open(&self, path: &Path) -> Result<Arc<PrivateKey>, String> {
        let slot = self.slot(path);
        let mut slot = slot.lock().await;
        match &*slot {
            Some(Key::Open(key)) => return Ok(key.clone()),
            Some(Key::Useless(why)) => return Err(why.clone()),
            Some(Key::Absent | Key::Locked(_) | Key::Public(_)) | None => {}
        }
        let opened = self.unlock(path).await;
        *slot = Some(opened.clone().map_or_else(Key::Useless, Key::Open));
        opened
    }

    fn slot(&self, path: &Path) -> Arc<Mutex<Option<Key>>> {
        let mut keys = self
            .keys
            .lock()
            .expect("nobody panics while holding the list of keys");
        keys.entry(path.to_owned()).or_default().clone()
    }

    async fn unlock(&self, path: &Path) -> Result<Arc<PrivateKey>, String> {
        let shown = path.display();
        let Some(prompter) = self.prompter.clone() else {
            return Err(format!(
                "`{shown}` is encrypted, and nobody can be asked; add it to the agent with `ssh-add {shown}`"
            ));
        };
        let _one_at_a_time = self.asking.lock().await;
        for _ in 0..TRIES {
            let question = format!("Passphrase for {shown}: ");
            let (prompter, file) = (prompter.clone(), path.to_owned());
            match off_thread(move || decrypt(&file, prompter.ask(&question))).await {
                Attempt::Opened(key) => return Ok(key),
                Attempt::Wrong => {}
                Attempt::Unanswered => {
                    return Err(format!("`{shown}` is encrypted, and no passphrase was given"));
                }
            }
        }
        Err(format!(
            "`{shown}` is encrypted, and none of {TRIES} passphrases fitted"
        ))
    }
}

/// Runs what computes or waits for a person outside the async threads.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work)
        .await
        .expect("the work neither panics nor is cancelled")
}

enum Loaded {
    Key(Key),
    Sealed,
}

fn load(path: &Path) -> Loaded {
    let useless =
        |why: &dyn std::fmt::Display| Key::Useless(format!("`{}` cannot be read: {why}", path.display()));
    Loaded::Key(match keys::load_secret_key(path, None) {
        Ok(key) => Key::Open(Arc::new(key)),
        Err(keys::Error::IO(error)) if error.kind() == io::ErrorKind::NotFound => Key::Absent,
        Err(keys::Error::IO(error)) => useless(&error),
        Err(keys::Error::KeyIsEncrypted) => match public_half(path) {
            Some(key) => Key::Locked(key),
            None => return Loaded::Sealed,
        },
        Err(error) => match keys::load_public_key(path) {
            Ok(key) => Key::Public(key),
            Err(_) => useless(&error),
        },
    })
}

/// Returns the public half of an encrypted key: OpenSSH's own format holds it in clear, others have a file beside.
fn public_half(path: &Path) -> Option<PublicKey> {
    let inside = PrivateKey::read_openssh_file(path)
        .ok()
        .map(|key| key.public_key().clone());
    inside.or_else(|| keys::load_public_key(beside(path, ".pub")).ok())
}

/// Returns the path of a file that OpenSSH keeps beside a key.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

enum Attempt {
    Opened(Arc<PrivateKey>),
    Wrong,
    Unanswered,
}

fn decrypt(path: &Path, passphrase: Option<Secret>) -> Attempt {
    let Some(passphrase) = passphrase else {
        return Attempt::Unanswered;
    };
    match keys::load_secret_key(path, Some(passphrase.reveal())) {
        Ok(key) => Attempt::Opened(Arc::new(key)),
        Err(_) => Attempt::Wrong,
    }
}
