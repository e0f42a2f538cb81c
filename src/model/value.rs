//! Values of inputs: what TOML said, read by the shape that the module declares.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use super::id::HostId;
use super::module::Shape;
use super::quantity::{parse_duration, parse_size};
use super::secret::SecretSource;

/// A value that fits its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// An optional input that nobody set.
    None,
    /// Text: strings, paths, URLs, addresses, networks, words of an enum.
    Text(String),
    /// A number: integers, ports, sizes in bytes, durations in seconds.
    Int(i64),
    /// True or false.
    Bool(bool),
    /// Several.
    List(Vec<Value>),
    /// Named ones.
    Map(BTreeMap<String, Value>),
    /// A host. That it exists is for the caller to check: a shape knows no inventory.
    Host(HostId),
    /// A secret, by its source.
    Secret(SecretSource),
}

/// Says why a value does not fit its input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// It is something else. The path leads to the place within a list or a map; empty is the value itself.
    #[error("{}{found} is not {wanted}", path_text(path))]
    Other {
        /// Indices and keys, outermost first.
        path: Vec<String>,
        /// What was found, in a few words.
        found: String,
        /// What is wanted.
        wanted: String,
    },
    /// It should be a secret's source and is not. Says nothing of the value, which may be the secret itself.
    #[error("the value is not a secret's source (env:NAME, file:PATH, cmd:COMMAND or age:FILE#KEY)")]
    Secret,
}

fn path_text(path: &[String]) -> String {
    if path.is_empty() {
        String::new()
    } else {
        format!("at `{}`: ", path.join("."))
    }
}

/// A regular expression that must fit the whole of a text.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    regex: regex::Regex,
}

impl Pattern {
    /// Says whether the whole text fits.
    pub fn fits(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// Returns the pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Pattern {
    type Err = regex::Error;
    fn from_str(text: &str) -> Result<Self, regex::Error> {
        // Checked alone first: `a)(b` is no pattern, though the anchored text around it would be one.
        regex::Regex::new(text)?;
        Ok(Self {
            text: text.to_owned(),
            regex: regex::Regex::new(&format!(r"\A(?:{text})\z"))?,
        })
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Shape {
    /// Reads a value.
    ///
    /// # Errors
    /// [`Misfit`] says what was found and what is wanted.
    pub fn read(&self, value: &toml::Value) -> Result<Value, Misfit> {
        use toml::Value as Toml;
        let misfit = || match self.is_secret() {
            true => Misfit::Secret,
            false => Misfit::Other {
                path: Vec::new(),
                found: found(value),
                wanted: self.wanted(),
            },
        };
        match (self, value) {
            (Self::Bool, Toml::Boolean(held)) => Ok(Value::Bool(*held)),
            (Self::Int { .. } | Self::Port | Self::Size, Toml::Integer(number)) => self
                .holds(*number)
                .then_some(Value::Int(*number))
                .ok_or_else(misfit),
            (Self::List(shape), Toml::Array(items)) => read_list(shape, items),
            (Self::Map(shape), Toml::Table(table)) => read_map(shape, table),
            (Self::Secret, Toml::String(text)) => text.parse().map(Value::Secret).map_err(|_| Misfit::Secret),
            (Self::Secret, _) => Err(Misfit::Secret),
            (_, Toml::String(text)) => self.read_text(text).ok_or_else(misfit),
            _ => Err(misfit()),
        }
    }

    /// Says whether this is a secret, or holds some.
    pub fn is_secret(&self) -> bool {
        match self {
            Self::Secret => true,
            Self::List(shape) | Self::Map(shape) => shape.is_secret(),
            Self::String { .. }
            | Self::Int { .. }
            | Self::Bool
            | Self::Port
            | Self::Size
            | Self::Duration
            | Self::Path
            | Self::Url
            | Self::Ip
            | Self::Cidr
            | Self::Enum(_)
            | Self::Host => false,
        }
    }

    fn holds(&self, number: i64) -> bool {
        match self {
            Self::Int { min, max } => {
                min.is_none_or(|min| min <= number) && max.is_none_or(|max| number <= max)
            }
            Self::Port => (1..=65_535).contains(&number),
            _ => number >= 0,
        }
    }

    fn read_text(&self, text: &str) -> Option<Value> {
        let kept = |good: bool| good.then(|| Value::Text(text.to_owned()));
        let number = |read: u64| i64::try_from(read).ok().map(Value::Int);
        match self {
            Self::String { pattern } => kept(pattern.as_ref().is_none_or(|pattern| pattern.fits(text))),
            Self::Size => number(parse_size(text).ok()?),
            Self::Duration => number(parse_duration(text).ok()?),
            Self::Path => kept(text.starts_with('/') && !text.contains(['\0', '\n'])),
            Self::Url => kept(url::Url::parse(text).is_ok_and(|url| !url.cannot_be_a_base())),
            Self::Ip => kept(text.parse::<IpAddr>().is_ok()),
            Self::Cidr => kept(text.parse::<ipnet::IpNet>().is_ok()),
            Self::Enum(words) => kept(words.iter().any(|word| word == text)),
            Self::Host => text.parse().ok().map(Value::Host),
            Self::Secret | Self::Int { .. } | Self::Bool | Self::Port | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// Returns what a value must be, as a noun phrase.
    pub fn wanted(&self) -> String {
        match self {
            Self::String { pattern: None } => "a string".to_owned(),
            Self::String {
                pattern: Some(pattern),
            } => format!("a string that fits `{}`", pattern.as_str()),
            Self::Int { min, max } => wanted_int(*min, *max),
            Self::Bool => "`true` or `false`".to_owned(),
            Self::Port => "a port (1 to 65535)".to_owned(),
            Self::Size => "a size such as `512MiB`, `4GB` or a number of bytes".to_owned(),
            Self::Duration => "a duration such as `30s`, `5m`, `24h`, `7d`".to_owned(),
            Self::Path => "an absolute path".to_owned(),
            Self::Url => "a URL with a scheme".to_owned(),
            Self::Ip => "an IP address".to_owned(),
            Self::Cidr => "a network such as `10.0.0.0/8`".to_owned(),
            Self::Enum(words) => {
                format!(
                    "one of {}",
                    words
                        .iter()
                        .map(|word| format!("`{word}`"))
                        .collect::<Vec<_>>()
                        .join(", ")
                )
            }
            Self::List(shape) => format!("a list, each item {}", shape.wanted()),
            Self::Map(shape) => format!("a table, each value {}", shape.wanted()),
            Self::Host => "the name of a host".to_owned(),
            Self::Secret => "a secret's source".to_owned(),
        }
    }
}

fn wanted_int(min: Option<i64>, max: Option<i64>) -> String {
    match (min, max) {
        (None, None) => "a whole number".to_owned(),
        (Some(min), None) => format!("a whole number of at least {min}"),
        (None, Some(max)) => format!("a whole number of at most {max}"),
        (Some(min), Some(max)) => format!("a whole number from {min} to {max}"),
    }
}

fn read_list(shape: &Shape, items: &[toml::Value]) -> Result<Value, Misfit> {
    let read = |(index, item)| {
        shape
            .read(item)
            .map_err(|misfit| misfit.within(&format!("{index}")))
    };
    items
        .iter()
        .enumerate()
        .map(read)
        .collect::<Result<_, _>>()
        .map(Value::List)
}

fn read_map(shape: &Shape, table: &toml::Table) -> Result<Value, Misfit> {
    let read = |(key, item): (&String, &toml::Value)| {
        let value = shape.read(item).map_err(|misfit| misfit.within(key))?;
        Ok((key.clone(), value))
    };
    table.iter().map(read).collect::<Result<_, _>>().map(Value::Map)
}

impl Misfit {
    fn within(mut self, step: &str) -> Self {
        if let Self::Other { path, .. } = &mut self {
            path.insert(0, step.to_owned());
        }
        self
    }
}

/// Says what a value is, short enough for a message.
fn found(value: &toml::Value) -> String {
    use toml::Value as Toml;
    match value {
        Toml::String(text) if text.chars().count() > 60 => {
            format!("`\"{}…\"`", text.chars().take(60).collect::<String>())
        }
        Toml::String(text) => format!("`{text:?}`"),
        Toml::Integer(_) | Toml::Float(_) | Toml::Boolean(_) | Toml::Datetime(_) => format!("`{value}`"),
        Toml::Array(_) => "a list".to_owned(),
        Toml::Table(_) => "a table".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(shape: &Shape, text: &str) -> Result<Value, String> {
        let table: toml::Table = format!("v = {text}").parse().unwrap();
        shape.read(&table["v"]).map_err(|misfit| misfit.to_string())
    }

    #[test]
    fn each_shape_takes_what_it_names_and_nothing_else() {
        let word = Shape::Enum(vec!["a".into(), "b".into()]);
        let cases: &[(Shape, &[&str], &[&str])] = &[
            (
                Shape::String { pattern: None },
                &["''", "'x'"],
                &["1", "true", "[]", "{}"],
            ),
            (
                Shape::String {
                    pattern: Some("a|bb".parse().unwrap()),
                },
                &["'a'", "'bb'"],
                &["'ab'", "'a\\n'", "'xa'"],
            ),
            (
                Shape::Int {
                    min: Some(1),
                    max: Some(3),
                },
                &["1", "3"],
                &["0", "4", "'2'", "2.0"],
            ),
            (Shape::Bool, &["true"], &["'true'", "1"]),
            (Shape::Port, &["1", "65535"], &["0", "65536", "'80'"]),
            (Shape::Size, &["0", "'4GB'"], &["-1", "'4G'"]),
            (Shape::Duration, &["'5m'"], &["5", "'5'"]),
            (Shape::Path, &["'/a'"], &["'a'", "''", "'~/a'"]),
            (Shape::Url, &["'https://a.b/c'"], &["'a.b'", "'mailto:a@b'"]),
            (Shape::Ip, &["'10.0.0.1'", "'::1'"], &["'10.0.0'", "'10.0.0.1/8'"]),
            (Shape::Cidr, &["'10.0.0.0/8'"], &["'10.0.0.1'", "'10.0.0.0/33'"]),
            (word, &["'a'"], &["'c'", "''"]),
            (Shape::Host, &["'val-1'"], &["'a b'", "1"]),
            (Shape::Secret, &["'env:A'"], &["'hunter2'", "1"]),
            (
                Shape::List(Box::new(Shape::Port)),
                &["[]", "[1, 2]"],
                &["1", "[1, 'x']"],
            ),
            (
                Shape::Map(Box::new(Shape::Bool)),
                &["{}", "{ a = true }"],
                &["[]", "{ a = 1 }"],
            ),
        ];
        for (shape, good, bad) in cases {
            good.iter()
                .for_each(|text| assert!(read(shape, text).is_ok(), "{shape:?} refuses {text}"));
            bad.iter()
                .for_each(|text| assert!(read(shape, text).is_err(), "{shape:?} takes {text}"));
        }
    }

    #[test]
    fn sizes_become_bytes_and_durations_seconds() {
        assert_eq!(read(&Shape::Size, "'1KiB'"), Ok(Value::Int(1024)));
        assert_eq!(read(&Shape::Duration, "'2m'"), Ok(Value::Int(120)));
    }

    #[test]
    fn a_misfit_within_a_list_or_a_map_names_its_path() {
        let shape = Shape::Map(Box::new(Shape::List(Box::new(Shape::Port))));
        assert_eq!(
            read(&shape, "{ a = [1, 'x'] }").unwrap_err(),
            "at `a.1`: `\"x\"` is not a port (1 to 65535)"
        );
    }

    #[test]
    fn a_secret_in_place_of_its_source_is_not_repeated() {
        for shape in [
            Shape::Secret,
            Shape::List(Box::new(Shape::Secret)),
            Shape::Map(Box::new(Shape::Secret)),
        ] {
            for text in ["'hunter2'", "'hunter2:x'", "{ a = 'hunter2' }", "['hunter2']"] {
                assert!(!read(&shape, text).unwrap_err().contains("hunter2"), "{shape:?}");
            }
        }
    }

    #[test]
    fn patterns_cannot_escape_their_anchors() {
        assert!("a)|(?:b".parse::<Pattern>().is_err());
        assert!("[".parse::<Pattern>().is_err());
    }
}
