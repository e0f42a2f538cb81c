//! The manifest's form on the host, line by line, so that the guard's shell functions can change one entry without a
//! parser:
//!
//! ```text
//! muster-manifest 1
//! fleet main
//! host val-1
//! lineage 5c7b…
//! generation 4
//! last_run 1f0c…-1
//! file[/etc/app.toml]<TAB>{"origin":"made",…}
//! sha256 <the digest of all lines above>
//! ```
//!
//! Entries are sorted by the bytes of their lines. `-` stands for no run. Every form ever written stays readable.

use std::fmt::Write as _;

use super::digest::{Digest, canonical_json};
use super::id::ResourceKey;
use super::manifest::{Manifest, Owned};

/// The number of the form that is written.
pub const MANIFEST_FORMAT: u32 = 1;

/// Says why a manifest cannot be read. The host is then held, never taken for one without a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It was cut or changed by something that is not muster.
    #[error("its checksum is wrong")]
    Checksum,
    /// A newer muster wrote it.
    #[error("it is of form `{0}`, which this version does not know")]
    Form(String),
    /// A line is not what it should be.
    #[error("line {line} is not {wanted}")]
    Line {
        /// The line's number, from 1.
        line: usize,
        /// What it should be.
        wanted: &'static str,
    },
}

/// Reads the form on disk.
///
/// # Errors
/// [`ManifestError`]; nothing is read from a manifest that is not whole.
pub fn read(text: &str) -> Result<Manifest, ManifestError> {
    let form = text.lines().next().unwrap_or_default();
    if form != "muster-manifest 1" {
        return Err(ManifestError::Form(form.chars().take(40).collect()));
    }
    let lines: Vec<&str> = checked(text)?.lines().collect();
    let entries = lines.get(6..).unwrap_or_default();
    Ok(Manifest {
        format: MANIFEST_FORMAT,
        fleet: parsed(&lines, 2, "fleet", "`fleet` and a name")?,
        host: parsed(&lines, 3, "host", "`host` and a name")?,
        lineage: header(&lines, 4, "lineage", "`lineage` and a name")?.to_owned(),
        generation: parsed(&lines, 5, "generation", "`generation` and a number")?,
        last_run: match header(&lines, 6, "last_run", "`last_run` and a run")? {
            "-" => None,
            _ => Some(parsed(&lines, 6, "last_run", "`last_run` and a run")?),
        },
        owned: entries
            .iter()
            .enumerate()
            .map(|(index, line)| {
                read_entry(line).ok_or(ManifestError::Line {
                    line: index + 7,
                    wanted: "an entry",
                })
            })
            .collect::<Result<_, _>>()?,
    })
}

/// Writes the form on disk.
pub fn write(manifest: &Manifest) -> String {
    let Manifest {
        format,
        fleet,
        host,
        lineage,
        generation,
        last_run,
        owned,
    } = manifest;
    let last_run = last_run.as_ref().map_or("-", |run| run.as_str());
    let mut text = format!(
        "muster-manifest {format}\nfleet {fleet}\nhost {host}\nlineage {lineage}\ngeneration {generation}\nlast_run {last_run}\n"
    );
    let mut entries: Vec<String> = owned.iter().map(|(key, owned)| write_entry(key, owned)).collect();
    entries.sort();
    entries.iter().for_each(|entry| text.extend([entry, "\n"]));
    let sum = Digest::of(&text);
    writeln!(text, "sha256 {sum}").expect("writing to a String does not fail");
    text
}

/// Writes one entry as its line, without the line break.
pub fn write_entry(key: &ResourceKey, owned: &Owned) -> String {
    format!("{}\t{}", write_key(key), canonical_json(owned))
}

/// Writes a resource's name as it begins its line: control characters and backslashes are escaped as in JSON.
pub fn write_key(key: &ResourceKey) -> String {
    key.to_string().chars().fold(String::new(), |mut text, c| {
        if c == '\\' || c.is_control() {
            write!(text, "\\u{:04x}", u32::from(c)).expect("writing to a String does not fail");
        } else {
            text.push(c);
        }
        text
    })
}

fn read_entry(line: &str) -> Option<(ResourceKey, Owned)> {
    let (key, owned) = line.split_once('\t')?;
    Some((read_key(key)?, serde_json::from_str(owned).ok()?))
}

fn read_key(text: &str) -> Option<ResourceKey> {
    let mut parts = text.split("\\u");
    let mut key = parts.next()?.to_owned();
    for part in parts {
        let code = u32::from_str_radix(part.get(..4)?, 16).ok()?;
        key.push(char::from_u32(code)?);
        key.push_str(&part[4..]);
    }
    key.parse().ok()
}

/// Returns the part that the last line's checksum covers.
fn checked(text: &str) -> Result<&str, ManifestError> {
    let whole = text.strip_suffix('\n').ok_or(ManifestError::Checksum)?;
    let above = whole.rfind('\n').map_or(0, |at| at + 1);
    let (above, last) = whole.split_at(above);
    let sum = last.strip_prefix("sha256 ").ok_or(ManifestError::Checksum)?;
    if Digest::of(above).0 == sum {
        Ok(above)
    } else {
        Err(ManifestError::Checksum)
    }
}

fn header<'a>(
    lines: &[&'a str],
    line: usize,
    name: &str,
    wanted: &'static str,
) -> Result<&'a str, ManifestError> {
    lines
        .get(line - 1)
        .and_then(|text| text.strip_prefix(name)?.strip_prefix(' '))
        .ok_or(ManifestError::Line { line, wanted })
}

fn parsed<T: std::str::FromStr>(
    lines: &[&str],
    line: usize,
    name: &str,
    wanted: &'static str,
) -> Result<T, ManifestError> {
    header(lines, line, name, wanted)?
        .parse()
        .map_err(|_| ManifestError::Line { line, wanted })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::manifest::{Origin, OwnedState};

    fn sample() -> Manifest {
        let owned = Owned {
            origin: Origin::Made,
            state: OwnedState::Done,
            spec: json!({"path": "/etc/a\tb", "content": "x\n"}),
            needs: Default::default(),
            protect: false,
            delete: false,
            after: Some(Digest::of("x")),
            changed_at_secs: Some(7),
            started_with: None,
            outputs: Default::default(),
            made_keys: Default::default(),
        };
        // `a-b[` comes before `a[` by bytes and after it by kind.
        let names = ["file[/etc/a\tb\\c\n]", "file-x[a]", "file[/z]", "package[curl]"];
        Manifest {
            format: MANIFEST_FORMAT,
            fleet: "main".parse().unwrap(),
            host: "val-1".parse().unwrap(),
            lineage: "5c7b".to_owned(),
            generation: 4,
            last_run: Some("1f0c-1".parse().unwrap()),
            owned: names
                .iter()
                .map(|name| (name.parse().unwrap(), owned.clone()))
                .collect(),
        }
    }

    #[test]
    fn a_manifest_round_trips_with_odd_names() {
        let manifest = sample();
        let text = write(&manifest);
        assert_eq!(text.lines().count(), 6 + 4 + 1);
        assert_eq!(read(&text).unwrap(), manifest);
        let first = Manifest {
            last_run: None,
            owned: Default::default(),
            ..manifest
        };
        assert_eq!(read(&write(&first)).unwrap(), first);
    }

    #[test]
    fn entries_are_sorted_by_bytes_and_each_is_one_line_with_one_tab() {
        let text = write(&sample());
        let entries: Vec<&str> = text.lines().skip(6).take(4).collect();
        assert!(entries.is_sorted());
        assert!(entries.iter().all(|entry| entry.matches('\t').count() == 1));
    }

    #[test]
    fn a_manifest_that_is_not_whole_is_not_read() {
        let text = write(&sample());
        for cut in [text.len() - 1, text.len() - 70, text.len() / 2, 20] {
            assert_eq!(read(&text[..cut]), Err(ManifestError::Checksum), "cut at {cut}");
        }
        assert_eq!(
            read(&text.replace("generation 4", "generation 5")),
            Err(ManifestError::Checksum)
        );
        assert_eq!(read(""), Err(ManifestError::Form(String::new())));
        assert!(matches!(read("muster-manifest 2\n"), Err(ManifestError::Form(_))));
    }
}
