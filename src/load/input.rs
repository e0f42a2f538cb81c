//! Inputs: a type and its bounds become a shape, which the default must fit.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::DeValue;

use crate::model::code::{self, Code};
use crate::model::diagnostic::{Diagnostic, Place};
use crate::model::module::{Input, Shape};
use crate::model::value::Misfit;

use super::raw::module::{RawInput, RawItem, RawShape, RawType};
use super::reader::Reader;
use super::table::decode;

/// Names that mean something else in templates.
const RESERVED: [&str; 12] = [
    "host", "fleet", "facts", "data", "module", "item", "key", "loop", "hosts_in", "output", "true", "false",
];

/// Reads an input's table.
pub(super) fn read(
    reader: &mut Reader,
    file: &str,
    key: &Spanned<Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
) -> Option<Input> {
    let name = key.get_ref().to_string();
    check_name(reader, file, key);
    let subject = format!("input `{name}`");
    let origin = reader.entry(file, key.span(), value);
    let raw: RawInput = decode(reader, file, value, &subject)?;
    let place = |key: &str| {
        value
            .get_ref()
            .get(key)
            .map_or_else(|| origin.clone(), |at| reader.sources.place(file, at.span()))
    };
    let default_place = place("default");
    let shape_of = RawShape {
        r#type: raw.r#type,
        pattern: raw.pattern,
        min: raw.min,
        max: raw.max,
        values: raw.values,
        item: raw.item,
    };
    let shape = match shape(&shape_of) {
        Ok(shape) => shape,
        Err((key, why)) => {
            let place = place(key);
            report(reader, code::BAD_INPUT, format!("{subject}: {why}"), place);
            return None;
        }
    };
    if raw.optional && raw.default.is_some() {
        let message =
            format!("{subject}: an input with a default is never missing, so `optional` has no meaning");
        report(reader, code::BAD_INPUT, message, default_place.clone());
    }
    let default = raw.default.filter(|default| match shape.read(default) {
        Ok(_) => true,
        Err(misfit) => {
            let code = if misfit == Misfit::Secret {
                code::BAD_SECRET_SOURCE
            } else {
                code::BAD_INPUT
            };
            report(
                reader,
                code,
                format!("{subject}: default: {misfit}"),
                default_place.clone(),
            );
            false
        }
    });
    Some(Input {
        name,
        shape,
        default,
        is_optional: raw.optional,
        doc: raw.doc,
        origin,
    })
}

/// Refuses names that templates could not use.
pub(super) fn check_name(reader: &mut Reader, file: &str, key: &Spanned<Cow<'_, str>>) {
    let name = key.get_ref().as_ref();
    let is_word = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_word {
        let place = reader.sources.place(file, key.span());
        let found = Diagnostic::error(
            code::BAD_INPUT,
            format!("`{name}` is not a name that templates can use"),
        );
        let hint = format!(
            "write letters, digits and `_`: `{}`",
            name.replace(['-', '.', ' '], "_")
        );
        reader.diagnostics.push(found.at(place, "not a name").hint(hint));
    } else if RESERVED.contains(&name) {
        let message = format!("`{name}` means something else in templates");
        reader.error(code::BAD_INPUT, message, (file, key.span()), "another name");
    }
}

fn report(reader: &mut Reader, code: Code, message: String, place: Place) {
    reader
        .diagnostics
        .push(Diagnostic::error(code, message).at(place, "this does not fit"));
}

/// Makes a shape, or says which key is wrong and why.
fn shape(raw: &RawShape) -> Result<Shape, (&'static str, String)> {
    no_strangers(raw)?;
    Ok(match raw.r#type {
        RawType::String => {
            let pattern = raw.pattern.as_deref().map(str::parse).transpose();
            Shape::String {
                pattern: pattern.map_err(|error| ("pattern", humane(&error)))?,
            }
        }
        RawType::Int => match (raw.min, raw.max) {
            (Some(min), Some(max)) if min > max => {
                return Err(("max", format!("{max} is below `min`, {min}")));
            }
            (min, max) => Shape::Int { min, max },
        },
        RawType::Enum => match raw.values.as_deref() {
            Some(words) if !words.is_empty() => Shape::Enum(words.to_vec()),
            _ => return Err(("type", "an `enum` needs `values`, a list of words".to_owned())),
        },
        RawType::List => Shape::List(Box::new(item(raw)?)),
        RawType::Map => Shape::Map(Box::new(item(raw)?)),
        RawType::Bool => Shape::Bool,
        RawType::Port => Shape::Port,
        RawType::Size => Shape::Size,
        RawType::Duration => Shape::Duration,
        RawType::Path => Shape::Path,
        RawType::Url => Shape::Url,
        RawType::Ip => Shape::Ip,
        RawType::Cidr => Shape::Cidr,
        RawType::Host => Shape::Host,
        RawType::Secret => Shape::Secret,
    })
}

fn item(raw: &RawShape) -> Result<Shape, (&'static str, String)> {
    let Some(RawItem(item)) = &raw.item else {
        return Err((
            "type",
            "a list or a map needs `item`, what each of its values may be".to_owned(),
        ));
    };
    shape(item).map_err(|(_, why)| ("item", format!("item: {why}")))
}

/// Refuses keys that would be without effect.
fn no_strangers(raw: &RawShape) -> Result<(), (&'static str, String)> {
    let is = |types: &[RawType]| types.contains(&raw.r#type);
    let strangers = [
        (
            "pattern",
            raw.pattern.is_some() && !is(&[RawType::String]),
            "string",
        ),
        ("min", raw.min.is_some() && !is(&[RawType::Int]), "int"),
        ("max", raw.max.is_some() && !is(&[RawType::Int]), "int"),
        ("values", raw.values.is_some() && !is(&[RawType::Enum]), "enum"),
        (
            "item",
            raw.item.is_some() && !is(&[RawType::List, RawType::Map]),
            "list` and `map",
        ),
    ];
    match strangers.into_iter().find(|(_, is_strange, _)| *is_strange) {
        Some((key, _, of)) => Err((key, format!("`{key}` has a meaning only for the type `{of}`"))),
        None => Ok(()),
    }
}

/// Takes the last line of a regular expression's error, which is the one that says what is wrong.
fn humane(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    format!(
        "the pattern cannot be read: {}",
        last.trim_start_matches("error: ")
    )
}
