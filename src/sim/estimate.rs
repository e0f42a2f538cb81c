//! How long ops take, roughly: what a small virtual machine on an ordinary line needs.

use crate::model::engine::EngineOp;
use crate::model::op::{Op, UnitVerb};

/// Returns the time that an op takes, in milliseconds.
pub(super) fn op_ms(op: &Op) -> u64 {
    match op {
        Op::WriteFile { .. }
        | Op::SetAttributes { .. }
        | Op::MakeDirectory { .. }
        | Op::Link { .. }
        | Op::RemoveFile { .. }
        | Op::RemoveDirectory { .. }
        | Op::Restore { .. }
        | Op::Settings { .. } => 30,
        Op::Sysctl { .. } => 40,
        Op::Group { .. } | Op::RemoveGroup { .. } | Op::Account { .. } | Op::RemoveAccount { .. } => 150,
        Op::ReloadUnits => 400,
        Op::EnableUnit { .. } => 400,
        Op::ControlUnit { verb, .. } => match verb {
            UnitVerb::Start | UnitVerb::Stop => 1_500,
            UnitVerb::Restart => 3_000,
            UnitVerb::Reload => 500,
        },
        Op::Packages {
            install,
            remove,
            hold,
            unhold,
        } => {
            let packages = (install.len() + remove.len()) as u64;
            let marks = u64::from(!hold.is_empty()) + u64::from(!unhold.is_empty());
            marks * 300 + packages * 6_000 + if packages > 0 { 9_000 } else { 0 }
        }
        Op::Engine(EngineOp::Pull { .. }) => 40_000,
        Op::Engine(EngineOp::Once { within_secs, .. }) => (within_secs * 1000 / 20).clamp(1_000, 60_000),
        Op::Engine(EngineOp::Container { .. } | EngineOp::RemoveContainer(_)) => 8_000,
        Op::Engine(_) => 300,
        // Nobody knows what a script does; its limit is far above what it usually takes.
        Op::Run { timeout_secs, .. } => (timeout_secs * 1000 / 20).clamp(1_000, 60_000),
    }
}

/// Says whether an op writes to the disk, and so fails on a full one.
pub(super) fn writes(op: &Op) -> bool {
    match op {
        Op::ControlUnit { .. } | Op::ReloadUnits | Op::Run { .. } => false,
        Op::Engine(op) => !matches!(
            op,
            EngineOp::RemoveContainer(_) | EngineOp::RemoveNetwork(_) | EngineOp::RemoveVolume(_)
        ),
        Op::WriteFile { .. }
        | Op::SetAttributes { .. }
        | Op::MakeDirectory { .. }
        | Op::Link { .. }
        | Op::RemoveFile { .. }
        | Op::RemoveDirectory { .. }
        | Op::Restore { .. }
        | Op::Group { .. }
        | Op::RemoveGroup { .. }
        | Op::Account { .. }
        | Op::RemoveAccount { .. }
        | Op::Packages { .. }
        | Op::EnableUnit { .. }
        | Op::Sysctl { .. }
        | Op::Settings { .. } => true,
    }
}
