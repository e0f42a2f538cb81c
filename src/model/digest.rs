//! Digests: identities of contents.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest as 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub String);

impl Digest {
    /// Returns the digest of some bytes.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(hex(&Sha256::digest(bytes.as_ref())))
    }

    /// Returns the digest of a value's canonical JSON: keys sorted at every level, no white space.
    ///
    /// Two values that are equal as JSON have one digest, whatever the order of their fields.
    pub fn of_value(value: &impl Serialize) -> Self {
        Self::of(canonical_json(value))
    }

    /// Begins the digest of a text that comes in parts.
    pub fn in_parts() -> Parts {
        Parts(Sha256::new())
    }

    /// Returns the first twelve digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

/// A digest that is being made.
pub struct Parts(Sha256);

impl Parts {
    /// Takes the next part in.
    pub fn add(&mut self, part: &str) {
        self.0.update(part.as_bytes());
    }

    /// Returns the digest of all parts.
    pub fn finish(self) -> Digest {
        Digest(hex(&self.0.finalize()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Renders a value as JSON with the keys of every object sorted.
pub fn canonical_json(value: &impl Serialize) -> String {
    let mut json = serde_json::to_value(value).expect("model types serialise to JSON: no maps with odd keys");
    json.sort_all_objects();
    json.to_string()
}

/// A digest of something secret, salted with a value that never leaves its host, as 64 hex digits.
///
/// `sha256(salt ‖ content ‖ salt)`. Equal prints on one host mean equal contents; prints of two hosts never compare.
/// Source: decision 0018 (prints under a salt).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub String);

impl Fingerprint {
    /// Returns the print of a content under a host's salt.
    pub fn of(salt: &[u8], content: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(salt);
        hash.update(content);
        hash.update(salt);
        Self(hex(&hash.finalize()))
    }

    /// Returns the four hex digits that people see.
    pub fn short(&self) -> &str {
        self.0.get(..4).unwrap_or(&self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({}…)", self.short())
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a String does not fail");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_does_not_depend_on_the_order_of_keys() {
        let left: serde_json::Value = serde_json::from_str(r#"{"a":{"x":1,"y":2},"b":3}"#).unwrap();
        let right: serde_json::Value = serde_json::from_str(r#"{"b":3,"a":{"y":2,"x":1}}"#).unwrap();
        assert_eq!(Digest::of_value(&left), Digest::of_value(&right));
    }

    #[test]
    fn digest_agrees_with_sha256sum() {
        assert_eq!(
            Digest::of("").0,
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
