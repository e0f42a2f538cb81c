//! Files with mistakes, and what is said of them.

use muster::compose;
use muster::report::diagnostic::{Look, text};

use super::case;

#[test]
fn every_mistake_is_named_at_its_line() {
    let mut wrong = Vec::new();
    for mut case in case::all("mistakes") {
        let request = case.request("was");
        let found = compose::read(&request).expect_err(&case.name());
        let rendered = request.rendered.iter().map(|(path, body)| compose::SourceFile {
            path: path.clone(),
            body: body.clone(),
        });
        let files: Vec<compose::SourceFile> = request
            .files
            .iter()
            .chain(&request.env_files)
            .cloned()
            .chain(rendered)
            .collect();
        let told = text(&found, &compose::sources(&files), Look::default());
        if case::updates() {
            case.set("said", told);
            case.write();
        } else if case.section("said") != Some(&told) {
            wrong.push(format!("{}:\n{told}", case.name()));
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}
