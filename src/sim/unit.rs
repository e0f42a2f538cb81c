//! Units of a pretend host, as systemd keeps them.

use crate::model::op::UnitVerb;

use super::host::Host;

/// One unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    /// The file as systemd has read it; `None` where it never looked.
    pub loaded: Option<String>,
    /// Whether it starts with the host.
    pub enabled: bool,
    /// Whether it runs.
    pub active: bool,
    /// How often it was started; names its present start.
    pub starts: u64,
    /// When it was last started, in seconds of the host's clock.
    pub since: u64,
}

impl Unit {
    pub(super) fn control(&mut self, verb: UnitVerb, clock: u64) {
        let starts = match verb {
            UnitVerb::Start => !self.active,
            UnitVerb::Restart => true,
            UnitVerb::Stop | UnitVerb::Reload => false,
        };
        if starts {
            self.starts += 1;
            self.since = clock;
        }
        self.active = verb != UnitVerb::Stop;
    }
}

impl Host {
    /// systemd loads a unit that it never heard of from its file when it is first asked.
    pub(super) fn notice_unit(&mut self, path: &str) {
        if let Some(name) = path
            .strip_prefix("/etc/systemd/system/")
            .filter(|name| !name.contains('/'))
        {
            let text = self.unit_text(name).map(str::to_owned);
            self.units.entry(name.to_owned()).or_insert_with(|| Unit {
                loaded: text,
                ..Unit::default()
            });
        }
    }

    /// Lets a package bring a unit.
    pub fn bring_unit(&mut self, name: &str) {
        self.vendor_units.insert(name.to_owned());
        self.units.entry(name.to_owned()).or_default();
    }

    pub(super) fn reload_units(&mut self) {
        let names: Vec<String> = self.units.keys().cloned().collect();
        for name in names {
            let text = self.unit_text(&name).map(str::to_owned);
            if let Some(unit) = self.units.get_mut(&name) {
                unit.loaded = text;
            }
        }
    }

    pub(super) fn enable(&mut self, name: &str, enabled: bool) -> Result<(), String> {
        match (self.unit(name), enabled) {
            (Ok(unit), _) => unit.enabled = enabled,
            // What is not there is not enabled.
            (Err(_), false) => {}
            (Err(why), true) => return Err(why),
        }
        Ok(())
    }

    pub(super) fn unit(&mut self, name: &str) -> Result<&mut Unit, String> {
        let is_there = self.vendor_units.contains(name) || self.unit_text(name).is_some();
        match self.units.get_mut(name) {
            Some(unit) if is_there => Ok(unit),
            Some(_) | None => Err(format!("Unit {name} not found.")),
        }
    }

    fn unit_text(&self, name: &str) -> Option<&str> {
        self.text(&format!("/etc/systemd/system/{name}"))
    }

    /// Starts what is enabled and nothing else, as a boot does. Counts as a start of its own.
    pub(super) fn boot_units(&mut self) {
        self.reload_units();
        let clock = self.clock;
        for unit in self.units.values_mut() {
            unit.active = false;
            if unit.enabled {
                unit.control(UnitVerb::Start, clock);
            }
        }
    }

    /// Returns what `Probe::Unit` answers.
    pub(super) fn show_unit(&self, name: &str) -> String {
        let text = self.unit_text(name);
        let is_there = text.is_some() || self.vendor_units.contains(name);
        let Some(unit) = self.units.get(name).filter(|_| is_there) else {
            return format!(
                "Id={name}\nLoadState=not-found\nActiveState=inactive\nSubState=dead\nUnitFileState=\n\
                 NeedDaemonReload=no\n"
            );
        };
        let (active, sub) = if unit.active {
            ("active", "running")
        } else {
            ("inactive", "dead")
        };
        let is_static = text.is_some_and(|text| !text.contains("[Install]"));
        let state = match (is_static, unit.enabled) {
            // The links of an enabled unit stay when its file loses its [Install] section.
            (_, true) => "enabled",
            (true, false) => "static",
            (false, false) => "disabled",
        };
        // systemd forgets a unit that nothing wants, and reads its file when it is asked again.
        let is_loaded = unit.active || unit.enabled;
        let needs = if is_loaded && unit.loaded.as_deref() != text {
            "yes"
        } else {
            "no"
        };
        let start = if unit.starts > 0 {
            unit.starts.to_string()
        } else {
            String::new()
        };
        let since = if unit.starts > 0 {
            format!("@{}", unit.since)
        } else {
            String::new()
        };
        format!(
            "Id={name}\nLoadState=loaded\nActiveState={active}\nSubState={sub}\nUnitFileState={state}\n\
             NeedDaemonReload={needs}\nCanReload=yes\nInvocationID={start}\nActiveEnterTimestamp={since}\n"
        )
    }
}
