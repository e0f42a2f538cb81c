//! Values: a layer's table becomes given values by key, each with its place.

use std::collections::BTreeSet;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::model::code;
use crate::model::diagnostic::{Diagnostic, Place};
use crate::model::id::ModuleName;
use crate::model::inventory::{Given, GivenAt, ValueKey, Values};

use super::reader::Reader;

/// Reads a layer. A table named like a module holds values for that module alone.
pub(super) fn layer(
    reader: &mut Reader,
    file: &str,
    table: &Spanned<DeValue<'_>>,
    modules: &BTreeSet<ModuleName>,
) -> Values {
    let mut values = Values::new();
    let DeValue::Table(table) = table.get_ref() else {
        reader.error(
            code::WRONG_TYPE,
            "`values` is a table",
            (file, table.span()),
            "this is something else",
        );
        return values;
    };
    for (key, value) in table {
        match (key.get_ref().parse::<ModuleName>(), value.get_ref()) {
            (Ok(module), DeValue::Table(scoped)) if modules.contains(&module) => {
                entries(reader, file, scoped, Some(&module), &mut values);
            }
            _ => entry(reader, file, (key, value), None, &mut values),
        }
    }
    values
}

/// Adds the values of a layer that several files share. Returns nothing: a key that is set twice is reported.
pub(super) fn merge(reader: &mut Reader, into: &mut Values, more: Values) {
    for (key, given) in more {
        if let Some(first) = into.get(&key).and_then(|given| given.origin.place())
            && let Some(second) = given.origin.place()
        {
            twice(reader, &format!("value `{key}`"), first, second);
        } else {
            into.insert(key, given);
        }
    }
}

/// Reports that one thing is declared in two places.
pub(super) fn twice(reader: &mut Reader, what: &str, first: &Place, second: &Place) {
    let found = Diagnostic::error(code::DECLARED_TWICE, format!("{what} is declared twice"));
    reader.diagnostics.push(
        found
            .at(second.clone(), "the second time")
            .and(first.clone(), "the first time"),
    );
}

fn entries(
    reader: &mut Reader,
    file: &str,
    table: &DeTable<'_>,
    module: Option<&ModuleName>,
    values: &mut Values,
) {
    table
        .iter()
        .for_each(|pair| entry(reader, file, pair, module, values));
}

fn entry(
    reader: &mut Reader,
    file: &str,
    (key, value): (&Spanned<std::borrow::Cow<'_, str>>, &Spanned<DeValue<'_>>),
    module: Option<&ModuleName>,
    values: &mut Values,
) {
    let origin = reader.entry(file, key.span(), value);
    if let Some(plain) = plain(reader, file, value) {
        let key = ValueKey {
            module: module.cloned(),
            input: key.get_ref().to_string(),
        };
        values.insert(
            key,
            Given {
                value: plain,
                origin: GivenAt::File(origin),
            },
        );
    }
}

/// Turns a parsed value into a plain one. Numbers that are too large are reported.
pub(super) fn plain(reader: &mut Reader, file: &str, value: &Spanned<DeValue<'_>>) -> Option<toml::Value> {
    match toml::Value::deserialize(ValueDeserializer::from(value.clone())) {
        Ok(plain) => Some(plain),
        Err(error) => {
            let span = error.span().unwrap_or_else(|| value.span());
            reader.error(
                code::WRONG_TYPE,
                error.message(),
                (file, span),
                "this does not fit",
            );
            None
        }
    }
}
