//! A page of Markdown as the tests read it: its fenced blocks, and the links of the rest.

use std::path::{Component, Path, PathBuf};

use super::block::{self, Block};

/// One page.
pub struct Page {
    /// Its path from the root of the repository.
    pub name: String,
    /// Its whole path.
    pub path: PathBuf,
    /// Its fenced blocks, in order.
    pub blocks: Vec<Block>,
    /// What stands between back-ticks within sentences.
    pub code_spans: Vec<String>,
    prose: String,
}

impl Page {
    /// Reads a page.
    pub fn read(root: &Path, path: &Path) -> Self {
        let text =
            std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path
            .strip_prefix(root)
            .expect("it lies below")
            .display()
            .to_string();
        Self::parse(&name, path.to_owned(), &text)
    }

    /// Reads the text of a page.
    pub fn parse(name: &str, path: PathBuf, text: &str) -> Self {
        let mut page = Self {
            name: name.to_owned(),
            path,
            blocks: Vec::new(),
            code_spans: Vec::new(),
            prose: String::new(),
        };
        let (blocks, prose) = block::split(text).unwrap_or_else(|| panic!("{name}: a block is not closed"));
        for line in &prose {
            let spans = line.split('`').skip(1).step_by(2);
            page.code_spans.extend(spans.map(str::to_owned));
            page.prose.push_str(&without_code(line));
            page.prose.push('\n');
        }
        page.blocks = blocks;
        page
    }

    /// Returns the targets of its links.
    pub fn links(&self) -> impl Iterator<Item = &str> {
        self.prose
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
    }

    /// Returns the files that it links to.
    pub fn targets(&self) -> Vec<PathBuf> {
        self.links()
            .filter(|link| !is_foreign(link) && !link.starts_with('#'))
            .map(|link| self.resolve(link.split('#').next().unwrap_or(link)))
            .collect()
    }

    /// Returns the links to files and headings that do not exist.
    pub fn broken_links(&self) -> Vec<String> {
        self.links()
            .filter(|link| !is_foreign(link))
            .filter(|link| !self.leads_somewhere(link))
            .map(str::to_owned)
            .collect()
    }

    fn leads_somewhere(&self, link: &str) -> bool {
        let (file, heading) = link.split_once('#').unwrap_or((link, ""));
        if file.is_empty() {
            return has_heading(&self.prose, heading);
        }
        let path = self.resolve(file);
        if heading.is_empty() {
            return path.exists();
        }
        std::fs::read_to_string(path).is_ok_and(|text| has_heading(&text, heading))
    }

    fn resolve(&self, link: &str) -> PathBuf {
        let folder = self.path.parent().expect("a page lies in a folder");
        let mut resolved = PathBuf::new();
        for part in folder.join(link).components() {
            match part {
                Component::ParentDir => {
                    resolved.pop();
                }
                Component::CurDir => {}
                part @ (Component::Normal(_) | Component::RootDir | Component::Prefix(_)) => {
                    resolved.push(part)
                }
            }
        }
        resolved
    }
}

fn is_foreign(link: &str) -> bool {
    link.contains("://")
}

/// Says whether a text has a heading with this anchor, as code forges make them.
fn has_heading(text: &str, anchor: &str) -> bool {
    text.lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(|heading| {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>()
        })
        .any(|made| made == anchor)
}

/// Takes out what stands between back-ticks.
fn without_code(line: &str) -> String {
    // Headings keep theirs, since anchors are made of them.
    if line.starts_with('#') {
        return line.to_owned();
    }
    line.split('`').step_by(2).collect::<Vec<_>>().join("``")
}
