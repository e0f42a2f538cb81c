//! Pretend hosts for the laws: one secret that is found wherever it leaks, and one salt.

use std::collections::BTreeMap;

use muster::model::body::Body;
use muster::model::digest::{Digest, Fingerprint};
use muster::model::secret::Secret;
use muster::ports::Secrets;
use muster::resource::Spec;
use muster::sim::fill;

pub use muster::sim::{Host, Kind};

/// The value of every secret. Long enough to be found wherever it leaks.
pub const SECRET: &str = "hunter2-hunter2";
/// The salt of hosts that have one.
pub const SALT: &[u8] = b"salt";

/// Returns the values of the secrets that generated specs name.
pub fn secrets() -> Secrets {
    let source = "env:PASS".parse().expect("a source");
    Secrets::new(BTreeMap::from([(source, Secret::new(SECRET))]))
}

/// Returns the prints of everything in a spec that is compared by its print.
pub fn prints(spec: &Spec) -> BTreeMap<Digest, Fingerprint> {
    let secrets = secrets();
    let text = |body: &Body| fill(body, &secrets).expect("no outputs are left open");
    let print = |body: &&Body| (body.digest(), Fingerprint::of(SALT, text(body).as_bytes()));
    spec.printed().iter().map(print).collect()
}
