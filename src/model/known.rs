//! What is known of one host when desired and actual are compared: outputs and fingerprints.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::body::Body;
use super::digest::{Digest, Fingerprint};
use super::id::OutputRef;

/// What bodies with holes compare by, on one host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Outputs that were produced, of all hosts; one map for all of them.
    pub outputs: Arc<BTreeMap<OutputRef, String>>,
    /// Prints of bodies that hold secrets, under this host's salt, by [`Body::digest`] after outputs were filled.
    pub prints: BTreeMap<Digest, Fingerprint>,
    /// Whether secrets were left unresolved on purpose (`--no-secrets`), so that the manifest stands in for them.
    pub is_without_secrets: bool,
}

/// A body as it can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparable {
    /// Plain text.
    Text(String),
    /// A text with secrets, by its print on this host.
    Print(Fingerprint),
    /// An output in it is not known yet.
    Pending(OutputRef),
    /// A secret in it was not resolved.
    Unresolved,
}

impl Known {
    /// Fills the outputs of a body that are known.
    pub fn with_outputs(&self, body: &Body) -> Body {
        body.with_outputs(|output| self.outputs.get(output).map(String::as_str))
    }

    /// Says by what a body can be compared with what is on the host.
    pub fn comparable(&self, body: &Body) -> Comparable {
        let filled = self.with_outputs(body);
        if let Some(output) = filled.outputs().next() {
            return Comparable::Pending(output.clone());
        }
        match (filled.plain(), self.prints.get(&filled.digest())) {
            (Some(text), _) => Comparable::Text(text.to_owned()),
            (None, Some(print)) => Comparable::Print(print.clone()),
            (None, None) => Comparable::Unresolved,
        }
    }
}
