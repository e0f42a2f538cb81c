//! Identities: one type for each thing that has a name, ordered, and round-tripping through text.

use std::fmt;
use std::str::FromStr;

/// Says why a text is not an identity of the wanted type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {wanted}")]
pub struct IdError {
    /// The text that was read.
    pub text: String,
    /// What it should have been, as a noun phrase with the permitted form.
    pub wanted: &'static str,
}

/// Serialises a type through its `Display` and reads it back through its `FromStr`.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string" })
            }
        }
    };
}
pub(crate) use serde_as_text;

macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident, $wanted:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $type {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                if is_name(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(IdError { text: text.to_owned(), wanted: $wanted })
                }
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        serde_as_text!($type);
    };
}

/// A name is 1 to 63 ASCII letters, digits, `-`, `_` or `.`, and begins with a letter or digit.
fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && text.len() <= 63
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

name_type!(
    /// The name of a host within its fleet, such as `val-1`.
    HostId,
    "a host name (letters, digits, `-`, `_`, `.`; at most 63)"
);
name_type!(
    /// The name of a fleet, such as `main`.
    FleetName,
    "a fleet name (letters, digits, `-`, `_`, `.`; at most 63)"
);
name_type!(
    /// The name of a group of hosts, written `@name` in selectors.
    GroupName,
    "a group name (letters, digits, `-`, `_`, `.`; at most 63)"
);
name_type!(
    /// The name of a module: that of its folder.
    ModuleName,
    "a module name (letters, digits, `-`, `_`, `.`; at most 63)"
);
name_type!(
    /// The name of a resource kind: that of its table in a module file, such as `file`.
    KindName,
    "a kind name (letters, digits, `-`, `_`, `.`; at most 63)"
);
name_type!(
    /// The name of a plan: the first twelve hex digits of its digest.
    PlanId,
    "a plan id"
);

impl PlanId {
    /// Returns the name of the plan with this digest: its first twelve digits.
    pub fn of(digest: &super::digest::Digest) -> Self {
        digest.short().parse().expect("hex digits make a name")
    }
}
name_type!(
    /// The name of a run: `<plan-id>-<n>`, the n-th time that this plan is applied.
    RunId,
    "a run id (<plan-id>-<n>)"
);

/// A resource within its host: `file[/etc/app.toml]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceKey {
    /// The kind, such as `file`.
    pub kind: KindName,
    /// The name, unique for its kind on its host; for files the path.
    pub name: String,
}

impl ResourceKey {
    /// Makes a key from a kind's constant name, which is known to be well formed.
    pub fn new(kind: &str, name: impl Into<String>) -> Self {
        Self {
            kind: KindName(kind.to_owned()),
            name: name.into(),
        }
    }

    /// Places this resource on a host.
    pub fn on(&self, host: &HostId) -> ResourceId {
        ResourceId {
            host: host.clone(),
            key: self.clone(),
        }
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.kind, self.name)
    }
}

impl FromStr for ResourceKey {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let wanted = "a resource (kind[name])";
        let error = || IdError {
            text: text.to_owned(),
            wanted,
        };
        let (kind, rest) = text.split_once('[').ok_or_else(error)?;
        let name = rest
            .strip_suffix(']')
            .filter(|name| !name.is_empty())
            .ok_or_else(error)?;
        Ok(Self {
            kind: kind.parse().map_err(|_| error())?,
            name: name.to_owned(),
        })
    }
}
serde_as_text!(ResourceKey);

/// A resource of the fleet: `file[/etc/app.toml]@val-1`. A plan has at most one change for each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId {
    /// The host that the resource is on.
    pub host: HostId,
    /// The resource within its host.
    pub key: ResourceKey,
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.key, self.host)
    }
}

impl FromStr for ResourceId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = || IdError {
            text: text.to_owned(),
            wanted: "a resource of the fleet (kind[name]@host)",
        };
        let (key, host) = text.rsplit_once('@').ok_or_else(error)?;
        Ok(Self {
            key: key.parse().map_err(|_| error())?,
            host: host.parse().map_err(|_| error())?,
        })
    }
}
serde_as_text!(ResourceId);

/// A value that is known only after a change was applied: `command[warm-key]@nn-1#address`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutputRef {
    /// The resource that produces the value.
    pub resource: ResourceId,
    /// The name of the output, as its resource declares it.
    pub output: String,
}

impl fmt::Display for OutputRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.resource, self.output)
    }
}

impl FromStr for OutputRef {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = || IdError {
            text: text.to_owned(),
            wanted: "an output (kind[name]@host#output)",
        };
        let (resource, output) = text.rsplit_once('#').ok_or_else(error)?;
        Ok(Self {
            resource: resource.parse().map_err(|_| error())?,
            output: output.to_owned(),
        })
    }
}
serde_as_text!(OutputRef);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_ids_round_trip_with_brackets_and_at_signs_in_names() {
        for text in [
            "file[/etc/app.toml]@val-1",
            "file[/a[1]@b]@val-1",
            "package[curl]@h.1",
        ] {
            assert_eq!(text.parse::<ResourceId>().unwrap().to_string(), text);
        }
        let output = "command[key#1]@nn-1#address";
        assert_eq!(output.parse::<OutputRef>().unwrap().to_string(), output);
    }

    #[test]
    fn ill_formed_names_are_refused_with_what_was_wanted() {
        assert!("".parse::<HostId>().is_err());
        assert!("-a".parse::<HostId>().is_err());
        assert!(
            "a/b"
                .parse::<HostId>()
                .unwrap_err()
                .to_string()
                .contains("a host name")
        );
        assert!("file[]@h".parse::<ResourceId>().is_err());
        assert!("file[x]".parse::<ResourceId>().is_err());
    }
}
