//! Journals: `<run>.journal.jsonl`, a header line, then one line an event. Appended, synced, never rewritten.
//!
//! A line is on disk before [`Journal::append`] returns, so what is about to begin is known even after a crash. Journals live for
//! years: every format ever written stays readable.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::model::event::Event;
use crate::model::id::{PlanId, RunId};

/// The number of the form in which journals are written.
pub const JOURNAL_FORMAT: u32 = 1;

/// The first line: whose journal it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The form of the lines.
    pub format: u32,
    /// The plan that is walked.
    pub plan: PlanId,
    /// The run.
    pub run: RunId,
    /// The version of muster that began it.
    pub by_version: String,
    /// When it was begun.
    pub at: jiff::Timestamp,
}

/// One further line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When it was written.
    pub at: jiff::Timestamp,
    /// What happened.
    pub event: Event,
}

/// A journal as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The header.
    pub header: Header,
    /// The lines in order.
    pub lines: Vec<Line>,
}

impl Recorded {
    /// Returns the events in order.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.lines.iter().map(|line| &line.event)
    }

    /// Says whether something is left for `resume`: the run began, and did not end with nothing left to do.
    ///
    /// Runs that were refused (5, 6, 7) or undone (9) are over: what they left is for another plan.
    pub fn is_unfinished(&self) -> bool {
        match self
            .events()
            .filter(|event| matches!(event, Event::Ended { .. } | Event::Started { .. }))
            .last()
        {
            Some(Event::Ended { outcome }) => match outcome.exit {
                8 | 130 => true,
                3 | 4 => !outcome.not_done.is_empty() || !outcome.failed.is_empty(),
                _ => false,
            },
            Some(_) => true,
            None => false,
        }
    }
}

/// A journal's file, and what it says, or why that cannot be read.
pub type Found = (PathBuf, Result<Recorded, StoreError>);

/// A journal that is being written. There is one writer at a time, held by a lock on the file.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    next: u64,
}

/// Returns the file of a run's journal in an inventory's folder.
pub fn path(folder: &Path, run: &RunId) -> PathBuf {
    folder.join(format!("{run}.journal.jsonl"))
}

/// Reads a journal. The last line may be torn by a crash: it was not on disk when the run went on, so it counts for nothing.
///
/// # Errors
/// [`StoreError::Damaged`] names any other line that cannot be read; [`StoreError::Format`]; [`StoreError::Read`].
pub fn read(path: &Path) -> Result<Recorded, StoreError> {
    let mut bytes = Vec::new();
    let read = super::open(path).and_then(|mut file| file.read_to_end(&mut bytes));
    read.map_err(|source| StoreError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(path, &bytes).map(|(recorded, _)| recorded)
}

/// Returns the journals of an inventory's folder, the latest run last. One that a crash left without a whole header is no
/// journal of anything: nothing is done before the header is on disk.
///
/// # Errors
/// As [`read`], for the first that cannot be read.
pub fn all(folder: &Path) -> Result<Vec<Recorded>, StoreError> {
    each(folder)?.into_iter().map(|(_, read)| read).collect()
}

/// Returns every journal of an inventory's folder with its file: those that cannot be read first, then the latest run last.
///
/// # Errors
/// [`StoreError::Read`], for the folder itself.
pub fn each(folder: &Path) -> Result<Vec<Found>, StoreError> {
    let unreadable = |source| StoreError::Read {
        path: folder.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(unreadable)?,
    };
    let mut journals = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        if path.to_string_lossy().ends_with(".journal.jsonl") {
            let read = read(&path);
            // A journal without a header is of a run that a crash kept from beginning.
            if read.is_ok() || !is_unborn(&path) {
                journals.push((path, read));
            }
        }
    }
    journals.sort_by_cached_key(|(path, read)| {
        let begun = read
            .as_ref()
            .ok()
            .map(|read| (read.header.at, read.header.run.clone()));
        (begun, path.clone())
    });
    Ok(journals)
}

/// Says whether a file has no whole line.
fn is_unborn(path: &Path) -> bool {
    let mut bytes = Vec::new();
    let read = super::open(path).and_then(|mut file| file.read_to_end(&mut bytes));
    read.is_ok() && !bytes.contains(&b'\n')
}

/// Says whether a process writes a journal at this moment.
pub fn is_being_written(path: &Path) -> bool {
    let locked = super::open(path).map(|file| file.try_lock());
    matches!(locked, Ok(Err(TryLockError::WouldBlock)))
}

impl Journal {
    /// Begins the journal of a new run.
    ///
    /// # Errors
    /// [`StoreError::Write`], also if the file is there already; [`StoreError::Busy`].
    pub fn create(folder: &Path, header: &Header) -> Result<Self, StoreError> {
        let path = path(folder, &header.run);
        let open = || {
            std::fs::create_dir_all(folder)?;
            OpenOptions::new().append(true).create_new(true).open(&path)
        };
        let file = open().map_err(|source| StoreError::Write {
            path: path.clone(),
            source,
        })?;
        lock(&file, &path)?;
        let mut journal = Self { file, path, next: 1 };
        journal.write(header)?;
        // The name itself is only on disk once the folder is.
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|source| StoreError::Write {
            path: journal.path.clone(),
            source,
        })?;
        Ok(journal)
    }

    /// Goes on with a journal. A torn last line is cut off, so that the next line begins on its own.
    ///
    /// # Errors
    /// As [`read`]; [`StoreError::Busy`] if another process writes it; [`StoreError::Write`].
    pub fn open(path: &Path) -> Result<(Self, Recorded), StoreError> {
        let unreadable = |source| StoreError::Read {
            path: path.to_owned(),
            source,
        };
        super::open(path).map_err(unreadable)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(unreadable)?;
        lock(&file, path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(unreadable)?;
        let (recorded, whole) = parse(path, &bytes)?;
        let mut cut = || {
            file.set_len(whole as u64)?;
            file.seek(SeekFrom::End(0))?;
            file.sync_all()
        };
        cut().map_err(|source| StoreError::Write {
            path: path.to_owned(),
            source,
        })?;
        let next = recorded.lines.len() as u64 + 1;
        Ok((
            Self {
                file,
                path: path.to_owned(),
                next,
            },
            recorded,
        ))
    }

    /// Writes an event. It is on disk when this returns.
    ///
    /// # Errors
    /// [`StoreError::Write`]; a part of the line may then stand at the end, which a reader passes over.
    pub fn append(&mut self, at: jiff::Timestamp, event: &Event) -> Result<(), StoreError> {
        let line = Line {
            seq: self.next,
            at,
            event: event.clone(),
        };
        self.write(&line)?;
        self.next += 1;
        Ok(())
    }

    fn write(&mut self, line: &impl Serialize) -> Result<(), StoreError> {
        let mut text =
            serde_json::to_string(line).expect("journal lines serialise to JSON: no maps with odd keys");
        text.push('\n');
        let written = self
            .file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_data());
        written.map_err(|source| StoreError::Write {
            path: self.path.clone(),
            source,
        })
    }
}

/// How often a journal's lock is tried, and the time between.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

fn lock(file: &File, path: &Path) -> Result<(), StoreError> {
    // A program that is just being started holds a copy of every open file for a moment, and the lock with it.
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(source)) => {
                return Err(StoreError::Write {
                    path: path.to_owned(),
                    source,
                });
            }
            Ok(()) => return Ok(()),
        }
    }
    Err(StoreError::Busy {
        path: path.to_owned(),
    })
}

/// Reads lines, and says how many bytes of them are whole.
fn parse(path: &Path, bytes: &[u8]) -> Result<(Recorded, usize), StoreError> {
    let damaged = |line: usize, why: String| StoreError::Damaged {
        path: path.to_owned(),
        why: format!("line {line}: {why}"),
    };
    let whole = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    let text = std::str::from_utf8(&bytes[..whole]).map_err(|error| damaged(1, error.to_string()))?;
    let mut lines = text.lines().enumerate();
    let (_, first) = lines
        .next()
        .ok_or_else(|| damaged(1, "it has no header".to_owned()))?;
    let header = header(path, first)?;
    let mut read = Vec::new();
    for (n, text) in lines {
        let line: Line = serde_json::from_str(text).map_err(|error| damaged(n + 1, error.to_string()))?;
        if line.seq != n as u64 {
            return Err(damaged(
                n + 1,
                format!("it has number {} where {n} belongs", line.seq),
            ));
        }
        read.push(line);
    }
    Ok((Recorded { header, lines: read }, whole))
}

fn header(path: &Path, text: &str) -> Result<Header, StoreError> {
    let damaged = |error: serde_json::Error| StoreError::Damaged {
        path: path.to_owned(),
        why: format!("line 1: {error}"),
    };
    let value: serde_json::Value = serde_json::from_str(text).map_err(damaged)?;
    let format = value["format"].as_u64().unwrap_or(0);
    if format != u64::from(JOURNAL_FORMAT) {
        let by = value["by_version"].as_str().unwrap_or("?").to_owned();
        return Err(StoreError::Format {
            path: path.to_owned(),
            found: format,
            wanted: JOURNAL_FORMAT,
            by,
        });
    }
    serde_json::from_value(value).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::RunOutcome;

    fn header() -> Header {
        Header {
            format: JOURNAL_FORMAT,
            plan: "0123456789ab".parse().unwrap(),
            run: "0123456789ab-1".parse().unwrap(),
            by_version: "0.1.0".to_owned(),
            at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn began(name: &str) -> Event {
        Event::Began {
            changes: vec![format!("file[/{name}]@h").parse().unwrap()],
        }
    }

    fn ended(exit: u8) -> Event {
        let outcome = RunOutcome {
            exit,
            applied: 0,
            failed: Default::default(),
            undone: 0,
            not_done: Default::default(),
            unreachable: Default::default(),
        };
        Event::Ended { outcome }
    }

    fn written(events: &[Event]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(folder.path(), &header()).unwrap();
        events
            .iter()
            .for_each(|event| journal.append(jiff::Timestamp::UNIX_EPOCH, event).unwrap());
        let path = path(folder.path(), &header().run);
        (folder, path)
    }

    #[test]
    fn what_was_appended_is_read_and_gone_on_with() {
        let (_folder, path) = written(&[began("a"), began("b")]);
        let (mut journal, recorded) = Journal::open(&path).unwrap();
        assert_eq!(
            recorded.events().cloned().collect::<Vec<_>>(),
            [began("a"), began("b")]
        );
        journal.append(jiff::Timestamp::UNIX_EPOCH, &began("c")).unwrap();
        let recorded = read(&path).unwrap();
        assert_eq!((recorded.lines.len(), recorded.lines[2].seq), (3, 3));
    }

    #[test]
    fn a_torn_last_line_is_passed_over_and_cut_off() {
        let (_folder, path) = written(&[began("a"), began("b")]);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 7]).unwrap();
        assert_eq!(read(&path).unwrap().lines.len(), 1);
        let (mut journal, _) = Journal::open(&path).unwrap();
        journal.append(jiff::Timestamp::UNIX_EPOCH, &began("c")).unwrap();
        let events: Vec<Event> = read(&path).unwrap().events().cloned().collect();
        assert_eq!(events, [began("a"), began("c")]);
    }

    #[test]
    fn cut_anywhere_in_its_last_line_it_is_as_if_that_line_never_was() {
        let events = [began("a"), began("b"), ended(130)];
        let (folder, path) = written(&events);
        let whole = std::fs::read(&path).unwrap();
        let lines: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] == b'\n').collect();
        let last = lines[lines.len() - 2] + 1;
        for cut in last..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(read(&path).unwrap().lines.len(), 2, "cut at byte {cut}");
            let (mut journal, _) = Journal::open(&path).unwrap();
            journal.append(jiff::Timestamp::UNIX_EPOCH, &ended(130)).unwrap();
            drop(journal);
            assert_eq!(std::fs::read(&path).unwrap(), whole, "cut at byte {cut}");
        }
        // Without a whole header no run has begun, and none stands in the way of others.
        for cut in 0..=lines[0] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(all(folder.path()).unwrap(), [], "cut at byte {cut}");
            assert!(matches!(read(&path), Err(StoreError::Damaged { .. })));
        }
        std::fs::write(&path, b"bogus\n").unwrap();
        assert!(
            all(folder.path()).is_err(),
            "a whole line that is no header is damage"
        );
    }

    #[test]
    fn any_other_damage_names_its_line() {
        let (_folder, path) = written(&[began("a"), began("b")]);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen("began", "bogus", 1)).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("line 2:"));
        let without: Vec<&str> = text
            .lines()
            .enumerate()
            .filter(|(n, _)| *n != 1)
            .map(|(_, line)| line)
            .collect();
        std::fs::write(&path, without.join("\n") + "\n").unwrap();
        assert!(
            read(&path)
                .unwrap_err()
                .to_string()
                .contains("it has number 2 where 1 belongs")
        );
        std::fs::write(&path, "{\"format\":9,\"by_version\":\"9.0.0\"}\n").unwrap();
        assert!(matches!(read(&path), Err(StoreError::Format { found: 9, .. })));
    }

    #[test]
    fn there_is_one_writer() {
        let (folder, path) = written(&[]);
        let (_journal, _) = Journal::open(&path).unwrap();
        assert!(matches!(Journal::open(&path), Err(StoreError::Busy { .. })));
        assert!(
            Journal::create(folder.path(), &header()).is_err(),
            "a run has one journal"
        );
    }

    #[test]
    fn a_run_is_unfinished_until_nothing_is_left_of_it() {
        let start = Event::Started {
            who: "a@b".into(),
            resumed: false,
            left_out: Default::default(),
        };
        let check = |events: &[Event], wanted: bool| {
            let (_folder, path) = written(events);
            assert_eq!(read(&path).unwrap().is_unfinished(), wanted, "{events:?}");
        };
        check(&[], false);
        check(std::slice::from_ref(&start), true);
        check(&[start.clone(), ended(0)], false);
        check(&[start.clone(), ended(8)], true);
        check(&[start.clone(), ended(6)], false);
        check(&[start.clone(), ended(4)], false);
        check(&[start.clone(), ended(130), start.clone()], true);
        check(&[start.clone(), ended(130), start, ended(0)], false);
    }
}
