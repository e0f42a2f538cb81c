//! The map as `docs/architecture.md` draws it: a table of rooms, and a picture of who uses whom.

use std::collections::{BTreeMap, BTreeSet};

/// What the document says.
pub struct Map {
    /// The rows of the table, by room.
    pub rooms: BTreeMap<String, Room>,
    /// The arrows of the picture.
    pub arrows: BTreeSet<(String, String)>,
}

/// One room.
pub struct Room {
    /// What it may use.
    pub uses: Uses,
    /// The third cell: `pure` for a whole room; a path in it is a pure part of one that is not.
    nature: String,
}

/// What a room may use.
pub enum Uses {
    /// Every other room.
    All,
    /// These.
    These(BTreeSet<String>),
}

impl Uses {
    /// Says whether a room may be used.
    pub fn permits(&self, room: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(rooms) => rooms.contains(room),
        }
    }
}

impl Map {
    /// Reads the document; the error says what it lacks.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (_, text) = text
            .split_once("## Who may use whom")
            .ok_or("no heading `Who may use whom`")?;
        let section = text.split("\n## ").next().unwrap_or(text);
        let mut rooms = BTreeMap::new();
        for line in section.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [names, uses, nature] = cells[..] else {
                return Err(format!("a row has {} cells: {line}", cells.len()));
            };
            for name in ticked(names) {
                let (uses, nature) = (read_uses(uses), nature.to_owned());
                if rooms.insert(name.clone(), Room { uses, nature }).is_some() {
                    return Err(format!("`{name}` has two rows"));
                }
            }
        }
        Ok(Self {
            rooms,
            arrows: arrows(section).ok_or("no picture under the table")?,
        })
    }

    /// Returns the permissions of the rooms that may not use everything.
    pub fn edges(&self) -> BTreeSet<(String, String)> {
        self.rooms
            .iter()
            .flat_map(|(from, room)| match &room.uses {
                Uses::All => Vec::new(),
                Uses::These(rooms) => rooms.iter().map(|to| (from.clone(), to.clone())).collect(),
            })
            .collect()
    }

    /// Returns the rooms that are pure, and the pure parts of others as paths under `src/`.
    pub fn pure_paths(&self) -> Vec<String> {
        self.rooms
            .iter()
            .flat_map(|(name, room)| match room.nature.as_str() {
                "pure" => vec![name.clone()],
                nature => ticked(nature),
            })
            .collect()
    }
}

fn read_uses(cell: &str) -> Uses {
    match cell {
        "all" => Uses::All,
        cell => Uses::These(ticked(cell).into_iter().collect()),
    }
}

/// Returns what stands between back-ticks.
fn ticked(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn arrows(section: &str) -> Option<BTreeSet<(String, String)>> {
    let picture = section.split_once("```mermaid\n")?.1.split_once("```")?.0;
    let arrows = picture.lines().filter_map(|line| line.trim().split_once(" --> "));
    // `a --> b & c` draws two arrows.
    Some(
        arrows
            .flat_map(|(from, to)| to.split(" & ").map(move |to| (from.to_owned(), to.to_owned())))
            .collect(),
    )
}
