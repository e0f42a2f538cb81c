//! A pull on its way. Told while it goes, kept nowhere.

use std::fmt;

use serde::Serialize;

use super::id::HostId;

/// How far a host has come with an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pulling {
    /// The host.
    pub host: HostId,
    /// The image.
    pub image: String,
    /// How far its layers have come.
    #[serde(flatten)]
    pub layers: LayersDone,
}

/// How far the layers of an image have come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LayersDone {
    /// How many layers are there and unpacked.
    pub layers_done: usize,
    /// How many it has, as far as the engine has told.
    pub layers: usize,
    /// How much has come of those that are fetched.
    pub bytes_done: u64,
    /// How much they have. It grows while the engine begins with more of them.
    pub bytes: u64,
}

impl LayersDone {
    /// Returns how much of it is done, in tenths. A layer that came and is not unpacked is not done.
    pub fn tenths(&self) -> u64 {
        let part = |done: u64, all: u64| done.saturating_mul(10).checked_div(all).unwrap_or(0);
        let layers = part(self.layers_done as u64, self.layers as u64);
        match self.bytes {
            // All of them are unpacked, or were there before.
            0 => layers,
            bytes => part(self.bytes_done, bytes).min(10).max(layers),
        }
    }
}

impl fmt::Display for LayersDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} layers", self.layers_done, self.layers)?;
        match self.bytes {
            0 => Ok(()),
            bytes => write!(f, ", {} of {} MiB", mebibytes(self.bytes_done), mebibytes(bytes)),
        }
    }
}

/// With one digit after the point.
fn mebibytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) >> 20;
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_by_layers_and_bytes_and_never_more_than_all() {
        let layers = LayersDone {
            layers_done: 2,
            layers: 5,
            bytes_done: 31_562_137,
            bytes: 104_857_600,
        };
        assert_eq!(layers.to_string(), "2 of 5 layers, 30.0 of 100.0 MiB");
        assert_eq!(layers.tenths(), 4);
        let unknown = LayersDone {
            layers: 5,
            ..LayersDone::default()
        };
        assert_eq!(
            (unknown.to_string().as_str(), unknown.tenths()),
            ("0 of 5 layers", 0)
        );
        let odd = LayersDone {
            layers_done: 5,
            layers: 5,
            bytes_done: u64::MAX,
            bytes: 1,
        };
        assert_eq!(odd.tenths(), 10);
        assert_eq!(LayersDone::default().tenths(), 0);
    }
}
