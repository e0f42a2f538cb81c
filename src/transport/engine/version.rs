//! The version of the interface that is spoken with an engine: the newest that both sides know.

use std::fmt;

use serde::Deserialize;

use super::EngineError;

/// A version of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    major: u32,
    minor: u32,
}

/// The oldest that is spoken: Docker 20.10.
pub(super) const OLDEST: Version = Version { major: 1, minor: 41 };
/// The newest that is known: that of bollard's models.
pub(super) const NEWEST: Version = Version { major: 1, minor: 53 };

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Version {
    fn read(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        })
    }
}

/// What `GET /version` says, as far as it matters here. It is the one path that every engine answers without a version.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Said {
    #[serde(default)]
    version: String,
    api_version: String,
    /// Older engines leave it out, and speak everything that was before them.
    #[serde(rename = "MinAPIVersion", default)]
    min_api_version: String,
}

/// Chooses the version in which an engine is spoken with that says this of itself.
///
/// # Errors
/// [`EngineError::TooOld`], [`EngineError::TooNew`], [`EngineError::Odd`].
pub(super) fn agree(said: &[u8]) -> Result<Version, EngineError> {
    let odd = |why: &str| {
        EngineError::Odd(format!(
            "the Docker engine does not say which version it is: {why}"
        ))
    };
    let said: Said = serde_json::from_slice(said).map_err(|error| odd(&error.to_string()))?;
    let newest = Version::read(&said.api_version).ok_or_else(|| odd(&said.api_version))?;
    let oldest = Version::read(&said.min_api_version);
    if newest < OLDEST {
        return Err(EngineError::TooOld {
            engine: said.version,
            speaks: newest.to_string(),
        });
    }
    match oldest {
        Some(oldest) if oldest > NEWEST => Err(EngineError::TooNew {
            engine: said.version,
            speaks: oldest.to_string(),
        }),
        Some(_) | None => Ok(newest.min(NEWEST)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(engine: &str, newest: &str, oldest: &str) -> Result<String, String> {
        let said = serde_json::json!({ "Version": engine, "ApiVersion": newest, "MinAPIVersion": oldest, "Os": "linux" });
        agree(said.to_string().as_bytes())
            .map(|version| version.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_newest_that_both_know_is_spoken() {
        assert_eq!(agreed("20.10.24", "1.41", "1.12"), Ok("1.41".to_owned()));
        assert_eq!(agreed("26.1.5", "1.45", "1.24"), Ok("1.45".to_owned()));
        assert_eq!(agreed("29.0.0", "1.52", "1.44"), Ok("1.52".to_owned()));
        assert_eq!(
            agreed("40.0.0", "1.99", "1.44"),
            Ok("1.53".to_owned()),
            "what nobody here knows is not asked for"
        );
        assert_eq!(agreed("20.10.24", "1.41", ""), Ok("1.41".to_owned()));
    }

    #[test]
    fn an_engine_with_which_no_version_is_shared_is_named_with_what_is_needed() {
        let old = agreed("19.03.15", "1.40", "1.12").unwrap_err();
        assert!(
            old.contains("Docker 19.03.15")
                && old.contains("1.40")
                && old.contains("1.41")
                && old.contains("20.10"),
            "{old}"
        );
        // Numbers, not letters.
        assert!(agreed("1.13", "1.9", "1.5").is_err() && agreed("99", "2.0", "1.54").is_err());
        let new = agreed("50.0.1", "1.99", "1.60").unwrap_err();
        assert!(
            new.contains("Docker 50.0.1") && new.contains("1.60") && new.contains("1.53"),
            "{new}"
        );
        let odd = agree(b"{}").unwrap_err().to_string();
        assert!(odd.contains("does not say which version"), "{odd}");
        assert!(agreed("x", "one", "").is_err());
    }
}
