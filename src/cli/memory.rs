//! A bound for the memory that muster takes.
//!
//! A template of a few lines can double a text until the machine has no memory left, and takes the operator's other
//! programs with it. The engine counts instructions and not bytes, so the process watches itself.

use std::time::Duration;

use super::exit::Exit;

/// The most memory that muster takes. A fleet of a thousand hosts needs a thirtieth of it.
const MAX_KIB: u64 = 2 << 20;
/// How often it looks. Memory is filled at a few GiB a second, so little is taken above the bound.
const EVERY: Duration = Duration::from_millis(50);

/// Ends the process, with a sentence, once it takes too much memory. Where the system does not say how much, nothing is watched.
pub(super) fn watch() {
    let watching = move || {
        while let Some(kib) = resident_kib() {
            if kib > MAX_KIB {
                end();
            }
            std::thread::sleep(EVERY);
        }
    };
    // Without a thread for it nothing is watched; everything else then has worse troubles.
    drop(
        std::thread::Builder::new()
            .name("memory".to_owned())
            .spawn(watching),
    );
}

/// A run that is cut off here goes on like one whose controller was killed.
fn end() -> ! {
    eprintln!(
        "error: muster has taken more than {} GiB of memory and ends here\n\
         hint: look for a template that makes a text longer and longer; `muster resume` goes on with a run",
        MAX_KIB >> 20
    );
    std::process::exit(Exit::Error as i32)
}

fn resident_kib() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_this_process_is_known() {
        assert!(resident_kib().is_some_and(|kib| (1 << 10..MAX_KIB).contains(&kib)));
    }
}
