//! What a comparison has found so far, and the shapes in which fields are compared.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::change::{FieldChange, Shown};
use crate::model::inspected::ContainerChange;

use super::{fields, show};

/// What was found so far.
#[derive(Default)]
pub(super) struct Found {
    pub(super) changes: Vec<ContainerChange>,
    pub(super) uncompared: Vec<String>,
}

impl Found {
    pub(super) fn add(&mut self, field: &str, before: Shown, after: Shown) {
        let field = FieldChange {
            field: field.to_owned(),
            before,
            after,
        };
        debug_assert!(fields::is_listed(&field.field), "`{}` is listed", field.field);
        let effect = fields::effect(&field);
        self.changes.push(ContainerChange { field, effect });
    }

    pub(super) fn text(&mut self, field: &str, before: impl ToString, after: impl ToString) {
        self.add(
            field,
            Shown::Text(before.to_string()),
            Shown::Text(after.to_string()),
        );
    }

    /// Compares what may be absent.
    pub(super) fn option<T: PartialEq + ?Sized>(
        &mut self,
        field: &str,
        is: Option<&T>,
        wanted: Option<&T>,
        show: impl Fn(&T) -> String,
    ) {
        if is != wanted {
            let shown = |value: Option<&T>| value.map_or(Shown::Nothing, |value| Shown::Text(show(value)));
            self.add(field, shown(is), shown(wanted));
        }
    }

    pub(super) fn word(&mut self, field: &str, is: Option<&String>, wanted: Option<&String>) {
        self.option(field, is, wanted, String::clone);
    }

    pub(super) fn flag(&mut self, field: &str, is: bool, wanted: bool) {
        if is != wanted {
            self.text(field, is, wanted);
        }
    }

    pub(super) fn set<T: ToString + Ord>(&mut self, field: &str, is: &BTreeSet<T>, wanted: &BTreeSet<T>) {
        if is != wanted {
            self.add(field, show::set(is), show::set(wanted));
        }
    }

    pub(super) fn list(&mut self, field: &str, is: &[String], wanted: &[String]) {
        if is != wanted {
            let shown = |list: &[String]| {
                if list.is_empty() {
                    Shown::Nothing
                } else {
                    Shown::Text(list.join(", "))
                }
            };
            self.add(field, shown(is), shown(wanted));
        }
    }

    /// Compares key by key: `field.KEY`.
    pub(super) fn map<T: PartialEq>(
        &mut self,
        field: &str,
        is: &BTreeMap<String, T>,
        wanted: &BTreeMap<String, T>,
        show: impl Fn(&T) -> String,
    ) {
        let keys: BTreeSet<&String> = is.keys().chain(wanted.keys()).collect();
        for key in keys {
            self.option(&format!("{field}.{key}"), is.get(key), wanted.get(key), &show);
        }
    }
}
