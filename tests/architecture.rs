//! Holds the code to the map: the table and the picture of `docs/architecture.md` against the paths that the rooms name.
//!
//! The map is the authority. A room that uses another without permission fails, and so do a permission that nobody
//! uses, a room that the map leaves out, a row without a room, and an arrow that the table does not have.

#[path = "architecture/map.rs"]
mod map;
#[path = "architecture/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use map::{Map, Uses};
use source::Source;

/// What a pure room may not name, as beginnings of paths, each with what it would let in.
const BANNED: &[(&str, &str)] = &[
    ("std::fs", "files"),
    ("std::env", "the environment"),
    ("std::process", "processes"),
    ("std::thread", "threads"),
    ("std::io::stdin", "standard input"),
    ("std::io::stdout", "printing"),
    ("std::io::stderr", "printing"),
    ("std::os", "the operating system"),
    ("std::time::SystemTime", "a clock"),
    ("std::time::Instant", "a clock"),
    ("jiff::Timestamp::now", "a clock"),
    ("jiff::Zoned::now", "a clock"),
    ("rand", "randomness"),
    ("tokio", "a runtime"),
    ("russh", "the network"),
    ("hyper", "the network"),
    ("tempfile", "files"),
];

/// Names that a pure room may not use under any path, since an import may have shortened it.
const BANNED_NAMES: &[(&str, &str)] = &[
    ("HashMap", "an unordered collection"),
    ("HashSet", "an unordered collection"),
    ("SystemTime", "a clock"),
    ("Instant", "a clock"),
];

const BANNED_MACROS: &[&str] = &["print", "println", "eprint", "eprintln", "dbg"];

/// What `std::net` has that is a value and no network.
const NET_VALUES: &[&str] = &["IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr", "AddrParseError"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn map() -> Map {
    let text = std::fs::read_to_string(root().join("docs/architecture.md")).expect("the map is there");
    Map::parse(&text).expect("the map has its table and its picture")
}

/// Returns the rooms: what lies under `src/`, less the two roots.
fn rooms() -> BTreeMap<String, PathBuf> {
    let entries = std::fs::read_dir(root().join("src")).expect("src is there");
    let rooms: BTreeMap<String, PathBuf> = entries
        .map(|entry| entry.expect("src can be listed").path())
        .filter(|path| !path.ends_with("lib.rs") && !path.ends_with("main.rs"))
        .map(|path| {
            let stem = path.file_stem().expect("it has a name");
            (stem.to_string_lossy().into_owned(), path)
        })
        .collect();
    assert!(rooms.contains_key("model"), "src holds the rooms");
    rooms
}

/// Returns the Rust files at a path or below it.
fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = std::fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut below: Vec<PathBuf> = entries
        .flat_map(|entry| files(&entry.expect("it can be listed").path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    below.sort();
    below
}

fn sources(path: &Path) -> impl Iterator<Item = (String, Source)> {
    files(path).into_iter().map(|file| {
        let text = std::fs::read_to_string(&file).expect("sources are UTF-8");
        let name = file
            .strip_prefix(root())
            .expect("it lies below")
            .display()
            .to_string();
        (name, Source::read(&text))
    })
}

/// Returns how many `super` lead from a file to the crate: 1 for `src/a.rs` and `src/a/mod.rs`, 2 for `src/a/b.rs`.
fn depth(file: &str) -> usize {
    let parts = file.split('/').count();
    parts - if file.ends_with("/mod.rs") { 2 } else { 1 }
}

/// Returns every use of another room, with the place where it stands first.
fn edges() -> BTreeMap<(String, String), String> {
    let rooms = rooms();
    let mut edges = BTreeMap::new();
    for (room, path) in &rooms {
        for (file, source) in sources(path) {
            for (line, other) in source.rooms_named(depth(&file), |name| rooms.contains_key(name)) {
                if other != *room {
                    edges
                        .entry((room.clone(), other))
                        .or_insert_with(|| format!("{file}:{line}"));
                }
            }
        }
    }
    assert!(
        edges.keys().any(|(from, to)| from == "resource" && to == "model"),
        "the reader sees uses"
    );
    edges
}

fn report(what: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{what}:\n  {}", findings.join("\n  "));
}

#[test]
fn every_room_is_on_the_map_and_every_row_names_a_room() {
    let (on_disk, on_map) = (rooms(), map());
    let on_disk: BTreeSet<&String> = on_disk.keys().collect();
    let on_map: BTreeSet<&String> = on_map.rooms.keys().collect();
    let missing: Vec<String> = on_disk
        .difference(&on_map)
        .map(|room| format!("`{room}`"))
        .collect();
    let gone: Vec<String> = on_map
        .difference(&on_disk)
        .map(|room| format!("`{room}`"))
        .collect();
    report("rooms of src/ that the table leaves out", &missing);
    report("rows of the table that name no room of src/", &gone);
}

#[test]
fn no_room_uses_another_without_permission() {
    let map = map();
    let findings: Vec<String> = edges()
        .into_iter()
        .filter(|((from, to), _)| map.rooms.get(from).is_some_and(|room| !room.uses.permits(to)))
        .map(|((from, to), place)| format!("`{from}` may not use `{to}`, and does at {place}"))
        .collect();
    report("uses that the table does not permit", &findings);
}

#[test]
fn no_permission_is_left_unused() {
    let edges = edges();
    let findings: Vec<String> = map()
        .edges()
        .into_iter()
        .filter(|edge| !edges.contains_key(edge))
        .map(|(from, to)| format!("`{from}` may use `{to}`, and does not"))
        .collect();
    report("permissions that no code needs", &findings);
}

#[test]
fn the_picture_shows_what_the_table_says() {
    let map = map();
    // What everybody does would hide the rest: the picture leaves out the arrows to `model` and those of `cli`.
    let expected: BTreeSet<(String, String)> =
        map.edges().into_iter().filter(|(_, to)| to != "model").collect();
    let missing: Vec<String> = expected
        .difference(&map.arrows)
        .map(|edge| format!("{edge:?}"))
        .collect();
    let extra: Vec<String> = map
        .arrows
        .difference(&expected)
        .map(|edge| format!("{edge:?}"))
        .collect();
    report("edges of the table that the picture lacks", &missing);
    report("arrows of the picture that the table lacks", &extra);
}

#[test]
fn pure_rooms_know_no_world() {
    let map = map();
    let pure = map.pure_paths();
    assert!(pure.contains(&"model".to_owned()), "the table says what is pure");
    let mut findings = Vec::new();
    for place in pure {
        let path = match rooms().get(&place) {
            Some(path) => path.clone(),
            None => root().join("src").join(&place),
        };
        assert!(
            path.exists(),
            "the table calls `{place}` pure, and it does not exist"
        );
        for (file, source) in sources(&path) {
            let source = source.without_tests();
            findings.extend(impurities(&source).map(|(line, what)| format!("{file}:{line}: {what}")));
        }
    }
    report("pure rooms that reach for the world", &findings);
}

fn impurities(source: &Source) -> impl Iterator<Item = (usize, String)> {
    let paths = source.paths.iter().filter_map(|(line, path)| {
        let why = banned(path)?;
        Some((*line, format!("`{}` lets {why} in", path.join("::"))))
    });
    let macros = source
        .macros
        .iter()
        .filter(|(_, name)| BANNED_MACROS.contains(&name.as_str()))
        .map(|(line, name)| (*line, format!("`{name}!` prints")));
    paths.chain(macros)
}

fn banned(path: &[String]) -> Option<&'static str> {
    if let [std, net, rest @ ..] = path
        && (std.as_str(), net.as_str()) == ("std", "net")
    {
        let is_value = rest
            .first()
            .is_some_and(|name| NET_VALUES.contains(&name.as_str()));
        return (!is_value).then_some("the network");
    }
    let begins = |ban: &str| {
        let ban: Vec<&str> = ban.split("::").collect();
        path.len() >= ban.len() && ban.iter().zip(path).all(|(ban, part)| ban == part)
    };
    BANNED
        .iter()
        .find(|(ban, _)| begins(ban))
        .or_else(|| {
            BANNED_NAMES
                .iter()
                .find(|(name, _)| path.iter().any(|part| part == name))
        })
        .map(|(_, why)| *why)
}

#[test]
fn the_reader_sees_through_groups_comments_and_strings() {
    let source = Source::read(
        r##"
        // use crate::cli;
        /* use crate::cli; /* nested */ use crate::cli; */
        use crate::{transport::id::HostId, ports::{self, Clock}};
        use std::{collections::{BTreeMap, HashMap}, fs};
        fn f<'a>(x: &'a str) { let c = '"'; let s = "crate::cli \" crate::cli"; let r = r#"crate::cli "#; crate::store::x(); println!(); }
        #[cfg(test)]
        mod tests { use super::model; use super::super::apply; fn g() { std::process::exit(1) } }
        "##,
    );
    let is_room = |name: &str| ["model", "transport", "ports", "cli", "store", "apply"].contains(&name);
    let rooms: BTreeSet<String> = source.rooms_named(1, is_room).map(|(_, room)| room).collect();
    let rooms: Vec<&str> = rooms.iter().map(String::as_str).collect();
    // `super::model` in the tests of a room's root is a module of that room.
    assert_eq!(rooms, ["apply", "ports", "store", "transport"]);
    let whats = |source: &Source| impurities(source).map(|(line, _)| line).collect::<Vec<_>>();
    assert_eq!(whats(&source), [5, 5, 8, 6]);
    assert_eq!(whats(&source.without_tests()), [5, 5, 6]);
}

#[test]
fn addresses_are_values_and_sockets_are_not() {
    let path = |text: &str| text.split("::").map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(banned(&path("std::net::IpAddr")), None);
    assert_eq!(banned(&path("std::net::TcpStream::connect")), Some("the network"));
    assert_eq!(banned(&path("std::time::Duration")), None);
    assert_eq!(banned(&path("std::time::Instant::now")), Some("a clock"));
}

#[test]
fn a_permission_is_read_as_the_table_writes_it() {
    let map = Map::parse(
        "## Who may use whom\n\n| room | may use | nature |\n| --- | --- | --- |\n| `a`, `b` | `c` | pure |\n\
         | `c` | nothing of ours | world, but `c/d.rs` is pure |\n| `cli` | all | edge |\n\n\
         ```mermaid\nflowchart BT\n  a --> c\n  b --> c\n```\n",
    )
    .expect("it is a map");
    assert_eq!(map.pure_paths(), ["a", "b", "c/d.rs"]);
    assert!(map.rooms["a"].uses.permits("c") && !map.rooms["a"].uses.permits("b"));
    assert!(matches!(map.rooms["cli"].uses, Uses::All));
    assert_eq!(map.edges(), map.arrows);
}
