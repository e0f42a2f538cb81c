//! A kernel parameter, now and at every boot.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::change::{Action, FieldChange, Shown, Undo};
use crate::model::manifest::Owned;
use crate::model::observation::{Answer, Observed};
use crate::model::op::{Op, Probe};

use super::{Claim, Context, Kind, Mistake, Step};

/// A kernel parameter, now and at every boot: its value, and a file of its own under `/etc/sysctl.d/`.
///
/// ```toml
/// [[sysctl]]
/// key   = "net.core.somaxconn"
/// value = "4096"
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sysctl {
    /// Its name, with dots.
    pub key: String,
    /// Its value; several numbers are separated by one blank.
    pub value: String,
}

/// A kernel parameter that the kernel has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActualSysctl {
    /// Its value now, blanks squeezed.
    pub value: String,
    /// What its file says; `None` where there is no file.
    pub file: Option<String>,
}

impl Sysctl {
    fn file(&self) -> String {
        format!("/etc/sysctl.d/60-muster-{}.conf", self.key)
    }

    /// Returns the value with blanks squeezed, as the kernel shows it.
    fn squeezed(&self) -> String {
        self.value.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn op(&self, value: String) -> Op {
        Op::Sysctl {
            key: self.key.clone(),
            value,
            file: self.file(),
        }
    }
}

impl Kind for Sysctl {
    const NAME: &'static str = "sysctl";
    const FIELDS: &'static [&'static str] = &["value", "file"];
    type Actual = ActualSysctl;

    fn name(&self) -> String {
        self.key.clone()
    }

    fn check(&self) -> Vec<Mistake> {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/:@".contains(&byte);
        let is_key = self.key.split('.').count() >= 2
            && self
                .key
                .split('.')
                .all(|part| !part.is_empty() && part.bytes().all(is_part))
            && !self.key.contains("..");
        let key = (!is_key).then(|| {
            Mistake::new(
                "key",
                format!("`{}` is not the name of a kernel parameter", self.key),
            )
            .hint("write it with dots, such as `net.core.somaxconn`")
        });
        let value = (self.squeezed().is_empty() || self.value.contains('\n'))
            .then(|| Mistake::new("value", "a value is one line and not empty"));
        key.into_iter().chain(value).collect()
    }

    fn claims(&self) -> Vec<Claim> {
        [format!("sysctl:{}", self.key), self.file()]
            .map(|what| Claim { what, keys: None })
            .into()
    }

    fn probes(&self) -> Vec<Probe> {
        vec![Probe::Sysctl {
            key: self.key.clone(),
            file: self.file(),
        }]
    }

    fn read(&self, answers: &[Answer]) -> Observed<ActualSysctl> {
        let Answer::Text { output, status } = &answers[0] else {
            return Observed::Unknown("no answer".to_owned());
        };
        let line = |key: &str| output.lines().find_map(|line| line.strip_prefix(key));
        match (*status, line("value=")) {
            (0, Some(value)) => {
                let file = line("file=").map(str::to_owned);
                Observed::Present(ActualSysctl {
                    value: value.to_owned(),
                    file,
                })
            }
            (0, None) if line("absent=").is_some() => {
                Observed::Unknown("this kernel has no such parameter".to_owned())
            }
            (0, None) => Observed::Unknown("the answer holds no value".to_owned()),
            (status, _) => Observed::Unknown(format!("status {status}: {}", output.trim())),
        }
    }

    fn compare(&self, actual: &ActualSysctl, _context: &Context<'_>) -> Vec<FieldChange> {
        let wanted = self.squeezed();
        let mut fields = Vec::new();
        if actual.value != wanted {
            fields.push(FieldChange::text("value", actual.value.as_str(), wanted.as_str()));
        }
        if actual.file.as_ref() != Some(&wanted) {
            let before = actual.file.clone().map_or(Shown::Nothing, Shown::Text);
            fields.push(FieldChange {
                field: "file".to_owned(),
                before,
                after: Shown::Text(wanted),
            });
        }
        fields
    }

    fn ops(&self, step: &Step<'_, ActualSysctl>) -> Vec<Op> {
        match step.action {
            Action::Create | Action::Update | Action::Replace => vec![self.op(self.squeezed())],
            // The value of the moment stays until the next boot: nobody knows what the kernel would have had.
            Action::Delete => vec![Op::RemoveFile { path: self.file() }],
            Action::Forget => Vec::new(),
        }
    }

    /// The parameter itself is always there, and so never made; the line that keeps it is.
    fn made_keys(&self, actual: Option<&ActualSysctl>, owned: Option<&Owned>) -> BTreeSet<String> {
        let is_there = actual.is_some_and(|actual| actual.file.is_some());
        let was_made = owned.is_some_and(|owned| owned.made_keys.contains(&self.key));
        (!is_there || was_made)
            .then(|| self.key.clone())
            .into_iter()
            .collect()
    }

    fn is_gone(&self, actual: &ActualSysctl, _made: &BTreeSet<String>) -> bool {
        actual.file.is_none()
    }

    fn undo(&self, step: &Step<'_, ActualSysctl>) -> Undo {
        match step.before.present() {
            Some(before) if step.action != Action::Delete => {
                Undo::Exact(vec![self.op(before.value.clone()), Op::restore(self.file())])
            }
            _ => Undo::Exact(vec![Op::restore(self.file())]),
        }
    }
}
