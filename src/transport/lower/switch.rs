//! Scripts of the dead-man switch, and the one that stays on the host to put everything back.

use base64::Engine as _;

use super::op::{path_id, sysctl_path};
use super::{GUARD, Guard, UNDO, sorted};
use crate::model::id::RunId;
use crate::model::manifest_text;
use crate::ports::Arming;
use crate::transport::quote;

const DEADMAN: &str = include_str!("deadman.sh");
const RULES: &str = include_str!("rules.sh");

impl Guard<'_> {
    /// Spells the arming of a switch.
    pub fn arm(&self, request: &Arming) -> String {
        let restores = &request.restores;
        let base64 = |path: &str| base64::engine::general_purpose::STANDARD.encode(path);
        let paths = restores
            .paths
            .iter()
            .map(|path| format!("{} {}\n", path_id(path), base64(path)));
        let lines = |names: &std::collections::BTreeSet<String>| -> String {
            names.iter().map(|name| format!("{name}\n")).collect()
        };
        let parameters: String = restores
            .parameters
            .iter()
            .map(|key| format!("{}\n", sysctl_path(key)))
            .collect();
        let touched = request.entries.iter().map(manifest_text::write_key);
        let parts = [
            ("paths", paths.collect()),
            ("units", lines(&restores.units)),
            ("readers", lines(&restores.readers)),
            ("parameters", parameters),
            (
                "touched",
                sorted(touched).iter().map(|line| format!("{line}\n")).collect(),
            ),
            ("script", self.restoring(&request.fence.run)),
        ];
        let parts: String = parts
            .iter()
            .map(|(name, text)| format!("switch_part {name} {}\n", quote::document(text)))
            .collect();
        format!(
            "{}{GUARD}{UNDO}{DEADMAN}{RULES}\n{}begin_switch\n{parts}arm_switch {}\nextend\necho end\n",
            self.fenced_head(&request.fence),
            self.entrance(),
            request.within_secs,
        )
    }

    /// Spells what the host itself runs when no new login came.
    pub fn restoring(&self, run: &RunId) -> String {
        format!(
            "{}{GUARD}{DEADMAN}{RULES}\nrestore_switch\n",
            self.head(run.as_str(), 0)
        )
    }

    /// Spells the confirmation, which is to come over a new connection.
    pub fn confirm(&self, run: &RunId) -> String {
        let wait = self.wait_secs;
        format!(
            "{}{GUARD}{DEADMAN}\nconfirm_switch {wait}\n",
            self.head(run.as_str(), 0)
        )
    }

    /// Spells the question how a switch stands.
    pub fn switch(&self, run: &RunId) -> String {
        format!("{}{GUARD}{DEADMAN}\nsay_switch\n", self.head(run.as_str(), 0))
    }

    /// Spells the order to put everything back now.
    pub fn put_back(&self, run: &RunId) -> String {
        format!("{}{GUARD}{DEADMAN}\nrelease_switch\n", self.head(run.as_str(), 0))
    }
}
