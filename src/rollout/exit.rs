//! The exit code of a run that acts, from what went wrong.

/// What went wrong in a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Somebody asked it to stop.
    pub is_interrupted: bool,
    /// A host was locked by another run.
    pub is_locked: bool,
    /// A hook before the run refused it.
    pub is_refused: bool,
    /// Something of the plan was stale.
    pub is_stale: bool,
    /// Something on a host was changed, and stayed or not.
    pub has_changed: bool,
    /// Something was undone, and nothing that this run changed is left.
    pub is_undone: bool,
    /// A gate, a failure or an undo halted it.
    pub is_halted: bool,
    /// Something failed, or was not done for another reason than a host that did not answer.
    pub has_failed: bool,
    /// A host did not answer, when planning or since.
    pub is_unreachable: bool,
}

/// Returns the exit code: the first that applies.
///
/// A plan that is stale in part of the fleet is 6 only if nothing was changed, else some hosts were not done, which is 3.
///
/// Source: the table of exit codes in the reference.
pub fn exit_code(trouble: Trouble) -> u8 {
    let rows = [
        (trouble.is_interrupted, 130),
        (trouble.is_locked, 5),
        (trouble.is_refused, 7),
        (trouble.is_stale && !trouble.has_changed, 6),
        (trouble.is_undone, 9),
        (trouble.is_halted, 8),
        (trouble.has_failed || trouble.is_stale, 3),
        (trouble.is_unreachable, 4),
    ];
    rows.into_iter()
        .find(|(applies, _)| *applies)
        .map_or(0, |(_, code)| code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_code_that_applies_wins() {
        let none = Trouble::default();
        let changed = Trouble {
            has_changed: true,
            ..none
        };
        let unreachable = Trouble {
            is_unreachable: true,
            ..changed
        };
        let failed = Trouble {
            has_failed: true,
            ..unreachable
        };
        let halted = Trouble {
            is_halted: true,
            ..failed
        };
        let undone = Trouble {
            is_undone: true,
            ..halted
        };
        let stale = Trouble {
            is_stale: true,
            has_changed: false,
            ..undone
        };
        let locked = Trouble {
            is_locked: true,
            ..stale
        };
        let interrupted = Trouble {
            is_interrupted: true,
            ..locked
        };
        let rows = [
            (none, 0),
            (changed, 0),
            (unreachable, 4),
            (failed, 3),
            (halted, 8),
            (undone, 9),
            (stale, 6),
            (
                Trouble {
                    is_stale: true,
                    ..changed
                },
                3,
            ),
            (
                Trouble {
                    is_refused: true,
                    ..stale
                },
                7,
            ),
            (locked, 5),
            (interrupted, 130),
        ];
        for (trouble, code) in rows {
            assert_eq!(exit_code(trouble), code, "{trouble:?}");
        }
    }
}
