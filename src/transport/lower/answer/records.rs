//! Records that the look's programs wrote: tables of accounts and groups, and fields that end with NUL bytes.

use std::collections::{BTreeMap, BTreeSet};

use super::super::look::{self, Classes};
use super::super::op::sysctl_path;
use super::super::reply::{NOT_AS_ASKED, Reply, Said};

/// Returns the state and value of each kernel parameter by its path. Those of a call that does not answer for each once, in
/// order, are left out.
pub(super) fn parameters(classes: &Classes<'_>, reply: &Reply) -> BTreeMap<Vec<u8>, (String, String)> {
    let paths: BTreeSet<String> = classes.sysctls.iter().map(|key| sysctl_path(key)).collect();
    let chunks = look::chunks(&paths.iter().map(String::as_str).collect());
    let mut parameters = BTreeMap::new();
    for (chunk, said) in chunks.iter().zip(reply.all("sysctl")) {
        let fields = fields(&said.output);
        let names = fields.iter().step_by(3).map(|name| lossy(name));
        if fields.len() == 3 * chunk.len() && names.eq(chunk.iter().copied()) {
            let read = |f: &[&[u8]]| (f[0].to_vec(), (lossy(f[1]), lossy(f[2])));
            parameters.extend(fields.chunks_exact(3).map(read));
        }
    }
    parameters
}

/// Returns what runs kept, by run and path. A call that does not answer for each once, in order, is left out.
pub(super) fn kept(classes: &Classes<'_>, reply: &Reply) -> BTreeMap<(Vec<u8>, Vec<u8>), String> {
    let mut kept = BTreeMap::new();
    for (chunk, said) in look::kept_chunks(classes).iter().zip(reply.all("kept")) {
        let fields = fields(&said.output);
        let names = fields.chunks(4).map(|f| (Some(f[0]), f.get(1).copied()));
        let asked = chunk
            .iter()
            .map(|(run, path)| (Some(run.as_bytes()), Some(path.as_bytes())));
        if fields.len() == 4 * chunk.len() && names.eq(asked) {
            let state = |f: &[&[u8]]| format!("store={}\nleft={}\n", lossy(f[2]), lossy(f[3]));
            let read = |f: &[&[u8]]| ((f[0].to_vec(), f[1].to_vec()), state(f));
            kept.extend(fields.chunks_exact(4).map(read));
        }
    }
    kept
}

/// Reads a table of accounts or groups: its lines are numbered, and an empty line and `end` follow them. What NIS adds, and
/// what is empty or a comment, names nobody.
pub(super) fn table(said: Option<&Said>, columns: usize) -> Result<Vec<Vec<String>>, String> {
    let said = said.ok_or(NOT_AS_ASKED)?;
    if said.status != 0 {
        return Err(said.why());
    }
    let text = said.text();
    let numbered = |(index, line): (usize, &str)| {
        let (number, rest) = line.trim_start_matches(' ').split_once('\t')?;
        (number.parse() == Ok(index + 1)).then(|| rest.to_owned())
    };
    // Not `lines`, which would take a carriage return off.
    let lines = text.strip_suffix('\n').unwrap_or(&text).split('\n').enumerate();
    let mut lines: Vec<String> = lines.map(numbered).collect::<Option<_>>().ok_or(NOT_AS_ASKED)?;
    if lines.pop().as_deref() != Some("end") {
        return Err(NOT_AS_ASKED.to_owned());
    }
    lines
        .iter()
        .filter(|line| !line.is_empty() && !line.starts_with(['+', '-', '#']))
        .map(|line| {
            let line: Vec<String> = line.split(':').map(str::to_owned).collect();
            let is_whole = line.len() == columns;
            is_whole
                .then_some(line)
                .ok_or_else(|| "a line of the host's accounts or groups cannot be read".to_owned())
        })
        .collect()
}

/// Splits what ends with NUL bytes.
pub(super) fn fields(bytes: &[u8]) -> Vec<&[u8]> {
    bytes
        .strip_suffix(b"\0")
        .map(|bytes| bytes.split(|&byte| byte == 0).collect())
        .unwrap_or_default()
}

pub(super) fn pairs(output: &[u8]) -> Vec<(Vec<u8>, String)> {
    fields(output)
        .chunks_exact(2)
        .map(|pair| (pair[0].to_vec(), lossy(pair[1])))
        .collect()
}

pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(super) fn parsed<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}
