//! Holds the documents to the code: examples parse, links lead somewhere, and the generated reference is current.
//!
//! `MUSTER_UPDATE=1 cargo test --test docs` writes the generated pages anew.

#[path = "docs/block.rs"]
mod block;
#[path = "docs/commands.rs"]
mod commands;
#[path = "docs/example.rs"]
mod example;
#[path = "docs/page.rs"]
mod page;
#[path = "docs/reference.rs"]
mod reference;

use std::path::{Path, PathBuf};

use muster::store::journal::{Header, JOURNAL_FORMAT, Line};

use page::Page;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns every page that people read: below `docs/`, and those beside what they speak of.
fn pages() -> Vec<Page> {
    let mut files = vec![root().join("README.md")];
    for folder in ["docs", "plans", "modules", "tests/fleet"] {
        collect(&root().join(folder), &mut files);
    }
    assert!(files.len() > 20, "the documents are found");
    files.into_iter().map(|file| Page::read(root(), &file)).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            files.push(path);
        }
    }
}

fn report(what: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{what}:\n  {}", findings.join("\n  "));
}

#[test]
fn every_relative_link_leads_somewhere() {
    let pages = pages();
    let links: usize = pages.iter().map(|page| page.links().count()).sum();
    assert!(links > 50, "links are found");
    let findings: Vec<String> = pages
        .iter()
        .flat_map(|page| {
            page.broken_links()
                .into_iter()
                .map(|link| format!("{}: {link}", page.name))
        })
        .collect();
    report("links to nothing", &findings);
}

#[test]
fn every_toml_example_parses() {
    let pages = pages();
    let mut count = 0;
    let mut findings = Vec::new();
    for page in &pages {
        for block in page.blocks.iter().filter(|block| block.language() == "toml") {
            count += 1;
            if let Err(error) = block.text.parse::<toml::Table>() {
                findings.push(format!("{}:{}: {}", page.name, block.line, error.message()));
            }
        }
    }
    assert!(count >= 4, "examples are found");
    report("examples that are no TOML", &findings);
}

#[test]
fn every_journal_among_the_examples_reads() {
    let name = "docs/reference/formats.md";
    let page = Page::read(root(), &root().join(name));
    let block = page
        .blocks
        .iter()
        .find(|block| block.language() == "json")
        .expect("it shows a journal");
    let (header, lines) = block.text.split_once('\n').expect("a header and lines");
    let header: Header = serde_json::from_str(header).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(header.format, JOURNAL_FORMAT);
    for (number, line) in (1..).zip(lines.lines()) {
        let line: Line = serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(line.seq, number);
    }
}

#[test]
fn every_whole_inventory_loads() {
    check_examples("[fleet]", example::inventory);
}

#[test]
fn every_whole_module_loads() {
    check_examples("[module]", example::module);
}

/// Checks every example that has a table of this name, and so is a whole file.
fn check_examples(header: &str, check: impl Fn(&str) -> Vec<String>) {
    let pages = pages();
    let mut count = 0;
    let mut findings = Vec::new();
    for page in &pages {
        let blocks = page.blocks.iter().filter(|block| block.language() == "toml");
        for block in blocks.filter(|block| block.text.lines().any(|line| line.trim() == header)) {
            count += 1;
            findings.extend(
                check(&block.text)
                    .into_iter()
                    .map(|said| format!("{}:{}: {said}", page.name, block.line)),
            );
        }
    }
    assert!(count > 0, "examples with {header} are found");
    report("examples that muster refuses", &findings);
}

#[test]
fn the_pages_lead_to_every_other_page() {
    let pages = pages();
    let linked: Vec<PathBuf> = pages.iter().flat_map(Page::targets).collect();
    let findings: Vec<String> = pages
        .iter()
        .filter(|page| page.name.starts_with("docs/") && !linked.contains(&page.path))
        .filter(|page| page.name != "docs/README.md")
        .map(|page| page.name.clone())
        .collect();
    report("pages that no other page links to", &findings);
}

/// Compares a generated page with the one in the repository, or writes it anew.
fn assert_current(file: &str, generated: &str) {
    let path = root().join(file);
    if std::env::var_os("MUSTER_UPDATE").is_some() {
        std::fs::write(&path, generated).expect("the page can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = written
        .lines()
        .zip(generated.lines())
        .position(|(written, generated)| written != generated);
    assert!(
        written == generated,
        "{file} is not current (first in line {}): run `MUSTER_UPDATE=1 cargo test --test docs`",
        differs.map_or(written.lines().count(), |line| line) + 1
    );
}

#[test]
fn reference_of_kinds_is_current() {
    assert_current("docs/reference/kinds.md", &reference::kinds());
}

#[test]
fn reference_of_compose_files_is_current() {
    assert_current("docs/reference/compose.md", &reference::compose());
}

#[test]
fn reference_of_commands_is_current() {
    assert_current(
        "docs/reference/commands.md",
        &commands::page(muster::cli::command()),
    );
}

#[test]
fn every_command_line_in_the_pages_is_understood() {
    let pages = pages();
    let root = muster::cli::command();
    let count: usize = pages.iter().map(commands::count).sum();
    assert!(count > 10, "command lines are found");
    let findings: Vec<String> = pages
        .iter()
        .flat_map(|page| {
            commands::refused(page, &root)
                .into_iter()
                .map(|said| format!("{}: {said}", page.name))
        })
        .collect();
    report("command lines that muster would refuse", &findings);
}

#[test]
fn reference_of_codes_is_current() {
    assert_current("docs/reference/codes.md", &reference::codes());
}

#[test]
fn a_page_gives_up_its_blocks_and_links() {
    let text =
        "[a](b.md) `[x](y.md)`\n\n```toml\nk = \"[c](d.md)\"\n```\n[e](https://e.org) [f](#here)\n\n# Here\n";
    let page = Page::parse("p.md", PathBuf::from("/nowhere/p.md"), text);
    assert_eq!(
        page.links().collect::<Vec<_>>(),
        ["b.md", "https://e.org", "#here"]
    );
    assert_eq!(page.broken_links(), ["b.md"]);
    assert_eq!(
        (page.blocks[0].line, page.blocks[0].text.as_str()),
        (4, "k = \"[c](d.md)\"\n")
    );
}
