//! A package of the system's package manager.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::change::{Action, Disruption, FieldChange, Undo};
use crate::model::digest::Digest;
use crate::model::observation::{Answer, Observed};
use crate::model::op::{Op, Probe};

use super::{Claim, Context, Kind, Mistake, Step};

/// A package. All packages of a host that change together go to apt in one call.
///
/// ```toml
/// [[package]]
/// name    = "nginx"
/// version = "1.22.1-9+deb12u1"   # else whatever is installed, or the candidate
/// hold    = true                 # kept at its version by apt
/// # state = "absent"             # must not be installed
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// The exact version; any where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether apt keeps it at its version; left as it is where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<bool>,
    /// Whether it must be there.
    #[serde(default)]
    pub state: PackageState,
}

/// Whether a package must be there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PackageState {
    /// It is installed.
    #[default]
    Present,
    /// It is not installed.
    Absent,
}

/// A package that dpkg knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActualPackage {
    /// What dpkg says of it: `installed`, `config-files`, `half-configured` …
    pub status: String,
    /// Its version; empty where only its configuration is left.
    pub version: String,
    /// Whether it is held.
    pub held: bool,
}

impl ActualPackage {
    fn is_installed(&self) -> bool {
        self.status == "installed"
    }
}

impl Package {
    fn wanted(&self) -> &'static str {
        match self.state {
            PackageState::Present => "installed",
            PackageState::Absent => "absent",
        }
    }

    /// Returns one call that installs, removes, holds or releases this package.
    fn call(&self, install: Option<Option<String>>, remove: bool, hold: Option<bool>) -> Op {
        let only = |is: bool| {
            if is {
                BTreeSet::from([self.name.clone()])
            } else {
                BTreeSet::new()
            }
        };
        Op::Packages {
            install: install
                .map(|version| (self.name.clone(), version))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
            remove: only(remove),
            hold: only(hold == Some(true)),
            unhold: only(hold == Some(false)),
        }
    }
}

impl Kind for Package {
    const NAME: &'static str = "package";
    const FIELDS: &'static [&'static str] = &["state", "version", "hold"];
    const KEPT_UNLESS_DELETE: bool = true;
    type Actual = ActualPackage;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn check(&self) -> Vec<Mistake> {
        let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
        let is_name = self.name.len() >= 2
            && self
                .name
                .bytes()
                .next()
                .is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            && self.name.bytes().all(is_part);
        let name = (!is_name).then(|| {
            Mistake::new("name", format!("`{}` is not the name of a package", self.name)).hint(
                "a version goes into `version`; lower-case letters, digits, `+`, `-` and `.` make a name",
            )
        });
        let is_version = |version: &str| {
            version.bytes().next().is_some_and(|byte| byte.is_ascii_digit())
                && version
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b".+-:~".contains(&byte))
        };
        let version = self.version.as_deref().filter(|version| !is_version(version));
        let version = version
            .map(|version| Mistake::new("version", format!("`{version}` is not the version of a package")));
        let absent = (self.state == PackageState::Absent
            && (self.version.is_some() || self.hold == Some(true)))
        .then(|| {
            Mistake::new(
                "state",
                "a package that must be absent has no version and is not held",
            )
        });
        name.into_iter().chain(version).chain(absent).collect()
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim {
            what: format!("package:{}", self.name),
            keys: None,
        }]
    }

    fn tools(&self) -> &'static [&'static str] {
        &["apt-get", "apt-mark", "dpkg-query"]
    }

    fn probes(&self) -> Vec<Probe> {
        vec![Probe::Package(self.name.clone())]
    }

    fn read(&self, answers: &[Answer]) -> Observed<ActualPackage> {
        let Answer::Text { output, status } = &answers[0] else {
            return Observed::Unknown("no answer".to_owned());
        };
        if *status != 0 {
            return Observed::Unknown(format!("status {status}: {}", output.trim()));
        }
        let fields: Vec<&str> = output.trim_end_matches('\n').split('\t').collect();
        match fields.as_slice() {
            [""] => self.missing(),
            [_, status, _] if *status == "not-installed" => self.missing(),
            [want, status, version] => {
                let actual = ActualPackage {
                    status: (*status).to_owned(),
                    version: (*version).to_owned(),
                    held: *want == "hold",
                };
                match (self.state, actual.status.as_str()) {
                    (PackageState::Present, "config-files") => Observed::Absent,
                    _ => Observed::Present(actual),
                }
            }
            _ => Observed::Unknown("what dpkg-query said cannot be read".to_owned()),
        }
    }

    fn compare(&self, actual: &ActualPackage, _context: &Context<'_>) -> Vec<FieldChange> {
        let mut fields = Vec::new();
        let is_so = match self.state {
            PackageState::Present => actual.is_installed(),
            PackageState::Absent => ["absent", "config-files"].contains(&actual.status.as_str()),
        };
        if !is_so {
            fields.push(FieldChange::text("state", actual.status.as_str(), self.wanted()));
        }
        if self.state == PackageState::Absent {
            // A hold goes with what is held.
            if !is_so && actual.held {
                fields.push(FieldChange::text("hold", "held", "not held"));
            }
            return fields;
        }
        if let Some(version) = self
            .version
            .as_ref()
            .filter(|version| **version != actual.version)
        {
            fields.push(FieldChange::text(
                "version",
                actual.version.as_str(),
                version.as_str(),
            ));
        }
        if let Some(hold) = self.hold.filter(|hold| *hold != actual.held) {
            let word = |held: bool| if held { "held" } else { "not held" };
            fields.push(FieldChange::text("hold", word(actual.held), word(hold)));
        }
        fields
    }

    fn ops(&self, step: &Step<'_, ActualPackage>) -> Vec<Op> {
        let is_there = step.before.present().is_some_and(ActualPackage::is_installed);
        match (step.action, self.state) {
            (Action::Create | Action::Replace, PackageState::Present) => {
                vec![self.call(Some(self.version.clone()), false, self.hold)]
            }
            (Action::Update, PackageState::Present) => {
                let installs = step.has("version") || step.has("state") || !is_there;
                // Apt refuses to change what is held, so a new version releases it first and holds it again after.
                let hold = if step.has("hold") || installs {
                    self.hold
                } else {
                    None
                };
                vec![self.call(installs.then(|| self.version.clone()), false, hold)]
            }
            (Action::Create | Action::Replace | Action::Update, PackageState::Absent) => {
                vec![self.call(None, true, None)]
            }
            (Action::Delete, PackageState::Present) => vec![self.call(None, true, None)],
            (Action::Delete, PackageState::Absent) | (Action::Forget, _) => Vec::new(),
        }
    }

    /// One that was to be absent is no longer wanted so, which changes nothing.
    fn is_gone(&self, _actual: &ActualPackage, _made: &BTreeSet<String>) -> bool {
        self.state == PackageState::Absent
    }

    /// That it is not there is one and the same, whether it should be or not.
    fn digest(&self, actual: &ActualPackage) -> Digest {
        match actual.status.as_str() {
            "absent" | "config-files" => Digest::of("absent"),
            _ => Digest::of_value(actual),
        }
    }

    fn undo(&self, step: &Step<'_, ActualPackage>) -> Undo {
        let before = step.before.present().filter(|before| before.is_installed());
        match before {
            Some(before)
                if step.fields.iter().all(|change| change.field == "hold")
                    && step.action == Action::Update =>
            {
                Undo::Exact(vec![self.call(None, false, Some(before.held))])
            }
            Some(before) => Undo::Inverse {
                ops: vec![self.call(Some(Some(before.version.clone())), false, Some(before.held))],
                loses: "what its maintainer scripts did; the old version must still be in the repository"
                    .to_owned(),
            },
            None => Undo::Inverse {
                ops: vec![self.call(None, true, None)],
                loses: "a host without the packages that came along with it".to_owned(),
            },
        }
    }

    fn disruption(&self, step: &Step<'_, ActualPackage>) -> Disruption {
        // A package that was there may run something, and its upgrade or removal restarts or stops that.
        let is_there = step.before.present().is_some_and(ActualPackage::is_installed);
        let only_hold = !step.fields.is_empty() && step.fields.iter().all(|change| change.field == "hold");
        if is_there && !only_hold {
            Disruption::Service(self.name.clone())
        } else {
            Disruption::None
        }
    }
}

impl Package {
    /// Says what it means that dpkg does not know the package.
    fn missing(&self) -> Observed<ActualPackage> {
        match self.state {
            PackageState::Present => Observed::Absent,
            PackageState::Absent => Observed::Present(ActualPackage {
                status: "absent".to_owned(),
                version: String::new(),
                held: false,
            }),
        }
    }
}
