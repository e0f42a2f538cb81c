//! Secrets: references that may be saved, and values that may not.

use std::fmt;
use std::str::FromStr;

use super::id::{IdError, serde_as_text};

/// Where a secret's value is to be had. Says nothing of the value, so it may stand in plans and journals.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretSource {
    /// An environment variable of the controller: `env:NAME`.
    Env(String),
    /// A file of the controller, relative to the inventory's folder: `file:PATH`. One trailing line break is dropped.
    File(String),
    /// The standard output of a command on the controller: `cmd:COMMAND`. One trailing line break is dropped.
    Command(String),
    /// A key of an age-encrypted TOML file beside the inventory: `age:FILE#KEY`.
    Age {
        /// The encrypted file, relative to the inventory's folder.
        file: String,
        /// The key within it.
        key: String,
    },
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
            Self::Command(command) => write!(f, "cmd:{command}"),
            Self::Age { file, key } => write!(f, "age:{file}#{key}"),
        }
    }
}

impl FromStr for SecretSource {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        // The text is not repeated in the error: somebody may have written the secret itself where its reference belongs.
        let error = || IdError {
            text: "(not shown)".to_owned(),
            wanted: "a secret's source (env:NAME, file:PATH, cmd:COMMAND or age:FILE#KEY)",
        };
        let (scheme, rest) = text
            .split_once(':')
            .filter(|(_, rest)| !rest.is_empty())
            .ok_or_else(error)?;
        match scheme {
            "env" => Ok(Self::Env(rest.to_owned())),
            "file" => Ok(Self::File(rest.to_owned())),
            "cmd" => Ok(Self::Command(rest.to_owned())),
            "age" => {
                let (file, key) = rest.rsplit_once('#').ok_or_else(error)?;
                Ok(Self::Age {
                    file: file.to_owned(),
                    key: key.to_owned(),
                })
            }
            _ => Err(error()),
        }
    }
}
serde_as_text!(SecretSource);

/// How a secret's value is written where it stands. Part of the reference, since no filter may see the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encoding {
    /// As it is.
    Plain,
    /// Standard Base64 with padding, on one line.
    Base64,
    /// The inside of a JSON string, without the quotes.
    Json,
    /// One word of POSIX shell, in single quotes.
    Shell,
    /// The inside of a double-quoted string of a Compose file: as JSON, and `$` doubled, since Compose reads `$` as a variable.
    Compose,
}

impl Encoding {
    const NAMES: [(Self, &'static str); 5] = [
        (Self::Plain, "plain"),
        (Self::Base64, "base64"),
        (Self::Json, "json"),
        (Self::Shell, "shell"),
        (Self::Compose, "compose"),
    ];

    /// Returns the encoding's name, which is also that of its template filter.
    pub fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(encoding, _)| *encoding == self)
            .expect("every encoding is listed")
            .1
    }

    /// Writes a value in this encoding.
    pub fn encode(self, value: &str) -> String {
        use base64::Engine as _;
        match self {
            Self::Plain => value.to_owned(),
            Self::Base64 => base64::engine::general_purpose::STANDARD.encode(value),
            Self::Json => {
                let quoted = serde_json::Value::from(value).to_string();
                quoted[1..quoted.len() - 1].to_owned()
            }
            Self::Compose => Self::Json.encode(value).replace('$', "$$"),
            Self::Shell => format!("'{}'", value.replace('\'', r"'\''")),
        }
    }
}

/// A secret as it stands in a plan: its source and its encoding, never its value. Text form `base64|env:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretRef {
    /// Where the value is to be had.
    pub source: SecretSource,
    /// How it is written where it stands.
    pub encoding: Encoding,
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}|{}", self.encoding.name(), self.source)
    }
}

impl FromStr for SecretRef {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = || IdError {
            text: "(not shown)".to_owned(),
            wanted: "a secret reference (encoding|source)",
        };
        let (encoding, source) = text.split_once('|').ok_or_else(error)?;
        let (encoding, _) = Encoding::NAMES
            .into_iter()
            .find(|(_, name)| *name == encoding)
            .ok_or_else(error)?;
        Ok(Self {
            encoding,
            source: source.parse()?,
        })
    }
}
serde_as_text!(SecretRef);

/// A secret's value. It cannot be serialised or printed, and its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct Secret(secrecy::SecretString);

impl Secret {
    /// Takes a value in.
    pub fn new(value: impl Into<String>) -> Self {
        Self(secrecy::SecretString::from(value.into()))
    }

    /// Hands the value out, for the one moment in which it is written where it belongs.
    pub fn reveal(&self) -> &str {
        secrecy::ExposeSecret::expose_secret(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_round_trip() {
        for text in [
            "plain|env:PASS",
            "base64|file:keys/a.json",
            "json|cmd:pass show a|b",
            "shell|age:s.age#k",
            "compose|env:P",
        ] {
            assert_eq!(text.parse::<SecretRef>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_secret_written_in_place_of_its_reference_is_not_repeated() {
        let error = "hunter2:very".parse::<SecretSource>().unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn encodings_write_what_their_place_needs() {
        assert_eq!(Encoding::Shell.encode("a'b"), r"'a'\''b'");
        assert_eq!(Encoding::Json.encode("a\"b\n"), r#"a\"b\n"#);
        assert_eq!(Encoding::Base64.encode("hi"), "aGk=");
        assert_eq!(Encoding::Compose.encode(r#"a"$b"#), r#"a\"$$b"#);
    }
}
