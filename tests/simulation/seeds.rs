//! Many seeds, and those that once failed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::run::{Came, run};
use crate::scenario::scenario;

/// How many seeds every whole run of the tests takes.
const RUNS: u64 = 1000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories/seeds")
}

/// A seed that once failed: its number, and which of its faults it takes.
fn kept() -> Vec<(u64, Option<Vec<usize>>)> {
    let Ok(entries) = std::fs::read_dir(folder()) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.expect("the folder is readable").path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|ext| ext == "seed"))
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| read(&std::fs::read_to_string(path).expect("a kept seed is readable")))
        .collect()
}

/// Reads `SEED FAULT FAULT…` from the first line; the lines below say what it broke.
fn read(text: &str) -> (u64, Option<Vec<usize>>) {
    let mut words = text.lines().next().unwrap_or_default().split_whitespace();
    let seed = words
        .next()
        .and_then(|word| word.parse().ok())
        .expect("a seed's number");
    let faults: Vec<usize> = words
        .map(|word| word.parse().expect("a fault's number"))
        .collect();
    (seed, Some(faults))
}

/// Runs a seed, also where it panics.
fn tried(seed: u64, keep: Option<&[usize]>) -> Result<Came, String> {
    std::panic::catch_unwind(|| run(seed, keep)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(format!(
            "panic: {}",
            text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_default()
        ))
    })
}

/// Takes away faults one by one as long as the seed still fails, and returns those that are needed.
fn shrunk(seed: u64) -> Vec<usize> {
    let mut faults: Vec<usize> = (0..scenario(seed, None).faults.len()).collect();
    let mut at = 0;
    while at < faults.len() {
        let mut fewer = faults.clone();
        fewer.remove(at);
        match tried(seed, Some(&fewer)) {
            Err(_) => faults = fewer,
            Ok(_) => at += 1,
        }
    }
    faults
}

/// Keeps a seed that failed, and says how it is run again.
fn keep(seed: u64, why: &str) -> String {
    let faults = shrunk(seed);
    let why = tried(seed, Some(&faults)).err().unwrap_or_else(|| why.to_owned());
    let scene = scenario(seed, Some(&faults));
    let words: Vec<String> = faults.iter().map(usize::to_string).collect();
    let named: Vec<String> = scene.faults.iter().map(ToString::to_string).collect();
    let text = format!("{seed} {}\nfaults: {}\n{why}\n", words.join(" "), named.join(" "));
    let path = folder().join(format!("{seed}.seed"));
    let written = std::fs::create_dir_all(folder()).and_then(|()| std::fs::write(&path, &text));
    let kept = match written {
        Ok(()) => format!("kept in {}", path.display()),
        Err(error) => format!("could not be kept: {error}"),
    };
    format!("seed {text}{kept}; again: MUSTER_SIM_SEED={seed} cargo test --test simulation seeds\n")
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Law by law, whatever goes wrong: order, gates, budgets, one effect each, no secret, nothing foreign, nothing stale, and an end at
/// which everything is as declared.
#[test]
fn seeds_keep_every_law() {
    if let Some(seed) = number("MUSTER_SIM_SEED") {
        let scene = scenario(seed, None);
        eprintln!(
            "faults: {:?}",
            scene.faults.iter().map(ToString::to_string).collect::<Vec<_>>()
        );
        let ran = run(seed, None);
        return assert!(ran.is_ok(), "{}", ran.unwrap_err());
    }
    std::panic::set_hook(Box::new(|_| {}));
    let kept = kept().into_iter();
    let drawn = (0..number("MUSTER_SIM_RUNS").unwrap_or(RUNS)).map(|seed| (seed, None));
    let all: Vec<(u64, Option<Vec<usize>>)> = kept.chain(drawn).collect();
    let failed = std::sync::Mutex::new(Vec::new());
    let came = std::sync::Mutex::new(Vec::new());
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((seed, faults)) =
                    all.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    match tried(*seed, faults.as_deref()) {
                        Ok(ended) => came.lock().expect("no panic under it").push(ended),
                        Err(why) => failed.lock().expect("no panic under it").push((*seed, why)),
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().expect("no panic under it");
    failed.sort();
    let said: Vec<String> = failed
        .iter()
        .take(5)
        .map(|(seed, why)| keep(*seed, why))
        .collect();
    let _ = std::panic::take_hook();
    assert!(
        failed.is_empty(),
        "{} of {} seeds failed\n{}",
        failed.len(),
        all.len(),
        said.join("\n")
    );
    shows(&came.into_inner().expect("no panic under it"));
}

/// What the laws would not see if no seed showed it.
fn shows(came: &[Came]) {
    let mut exits: BTreeMap<Option<u8>, usize> = BTreeMap::new();
    let mut ends: BTreeMap<Option<u8>, usize> = BTreeMap::new();
    for came in came {
        came.exits
            .iter()
            .for_each(|exit| *exits.entry(*exit).or_default() += 1);
        *ends.entry(came.exits.last().copied().flatten()).or_default() += 1;
    }
    let ops: u64 = came.iter().map(|came| came.ops).sum();
    let struck: usize = came.iter().map(|came| came.struck).sum();
    let count = |is_one: fn(&Came) -> bool| came.iter().filter(|came| is_one(came)).count();
    let shown = [
        ("resumed", count(|came| came.exits.len() > 1)),
        ("undone", count(|came| came.undone > 0)),
        ("with a gate that stays shut", count(|came| came.shut > 0)),
        ("with a switch that is armed", count(|came| came.armed > 0)),
        (
            "with a switch that is confirmed",
            count(|came| came.confirmed > 0),
        ),
    ];
    // It takes a fault within the seconds of a switch.
    let put_back = count(|came| came.restored > 0);
    eprintln!(
        "{} runs: {ops} ops, {struck} faults struck, {shown:?}, {put_back} with a switch that puts back, sessions end {exits:?}, runs end {ends:?}",
        came.len()
    );
    if came.len() >= 500 {
        assert!(ops as usize > came.len() * 4, "{ops} ops");
        assert!(struck > came.len() / 4, "{struck} faults struck");
        for (what, count) in shown {
            assert!(count > came.len() / 50, "{count} runs are {what}");
        }
        assert!(put_back > came.len() / 200, "{put_back} runs put back");
        for exit in [0, 3, 4, 8, 9] {
            let count = exits.get(&Some(exit)).copied().unwrap_or_default();
            assert!(
                count >= came.len() / 200,
                "{count} sessions exit {exit}: {exits:?}"
            );
        }
    }
}
