//! Drift: the same plan, read as what is not as it should be. For people, for pipelines and for code reviews.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::contents::Extent;
use super::line::{Line, Page, Tone};
use super::names::count;
use super::plan::{JSON_FORMAT, aimed, held, limited, lines, notes};
use super::{block, escape};
use crate::model::change::{Action, Change};
use crate::model::diagnostic::Place;
use crate::model::id::HostId;
use crate::model::plan::{Held, HeldWhat, HeldWhy, Plan};

/// The forms of a drift report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum DriftFormat {
    /// For a terminal.
    #[default]
    Text,
    /// One object a line.
    Json,
    /// JUnit's XML: a suite for each host.
    Junit,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// For a comment on a pull request.
    Markdown,
    /// Annotations of a GitHub workflow.
    Github,
}

/// What is wrong with one resource or host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Differs,
    Missing,
    LeftOver,
    Unknown,
}

impl What {
    const ALL: [Self; 4] = [Self::Differs, Self::Missing, Self::LeftOver, Self::Unknown];

    fn name(self) -> &'static str {
        match self {
            Self::Differs => "differs",
            Self::Missing => "missing",
            Self::LeftOver => "left_over",
            Self::Unknown => "unknown",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Differs => "The resource is not as declared.",
            Self::Missing => "The resource is declared and not there.",
            Self::LeftOver => "The resource is no longer declared and still there.",
            Self::Unknown => "It could not be looked at, or is not muster's to judge.",
        }
    }
}

/// One finding.
struct Finding<'a> {
    what: What,
    host: &'a HostId,
    resource: Option<String>,
    why: String,
    fields: Vec<&'a str>,
    place: Option<&'a Place>,
}

impl Finding<'_> {
    fn subject(&self) -> String {
        self.resource
            .as_ref()
            .map_or_else(|| self.host.to_string(), |key| format!("{key} on {}", self.host))
    }

    fn sentence(&self) -> String {
        let fields = if self.fields.is_empty() {
            String::new()
        } else {
            format!(" ({})", self.fields.join(", "))
        };
        escape::line(&format!("{}: {}{fields}", self.subject(), self.why))
    }
}

/// Returns the report in a form; text has colours, which the stream takes out where they are not wanted.
pub fn render(plan: &Plan, format: DriftFormat, extent: Extent) -> String {
    match format {
        DriftFormat::Text => page(plan, extent).ansi(),
        DriftFormat::Json => json_lines(plan),
        DriftFormat::Junit => junit(plan),
        DriftFormat::Sarif => sarif(plan),
        DriftFormat::Markdown => page(plan, extent).markdown(),
        DriftFormat::Github => github(plan),
    }
}

/// Returns the report as a page. The last line is the sum.
pub fn page(plan: &Plan, extent: Extent) -> Page {
    let mut lines = Vec::new();
    if !plan.changes.is_empty() {
        lines.push(Line::new(Tone::Muted, 0, "what is there → what is declared"));
    }
    for block in block::fold(plan) {
        lines.extend(block.drifted(extent));
        lines.push(Line::blank());
    }
    lines.extend(aimed(plan));
    lines.extend(held(plan));
    lines.extend(notes(plan));
    let title = Line::new(Tone::Head, 0, format!("Drift of fleet {}", plan.fleet));
    Page {
        title,
        lines,
        sum: Line::new(Tone::Head, 0, sum(plan)),
    }
}

/// Returns the last line: how much is not as declared, and how much is not known.
pub fn sum(plan: &Plan) -> String {
    let findings = findings(plan);
    let number = |what| findings.iter().filter(|finding| finding.what == what).count();
    let known: Vec<&Finding<'_>> = findings
        .iter()
        .filter(|finding| finding.what != What::Unknown)
        .collect();
    let hosts: BTreeSet<&HostId> = known.iter().map(|finding| finding.host).collect();
    let mut text = if known.is_empty() {
        "No drift.".to_owned()
    } else {
        let (differs, missing, left) = (
            number(What::Differs),
            number(What::Missing),
            number(What::LeftOver),
        );
        let hosts = count(hosts.len(), "host");
        format!("Drift: {differs} different, {missing} missing, {left} left over on {hosts}.")
    };
    let unknown = number(What::Unknown);
    if unknown > 0 {
        text.push_str(&format!(" {unknown} not known, so this is not all."));
    }
    text + &limited(plan)
}

fn findings(plan: &Plan) -> Vec<Finding<'_>> {
    plan.changes
        .values()
        .map(changed)
        .chain(plan.held.iter().map(unknown))
        .collect()
}

fn changed(change: &Change) -> Finding<'_> {
    let what = match change.action {
        Action::Create => What::Missing,
        Action::Update | Action::Replace => What::Differs,
        Action::Delete | Action::Forget => What::LeftOver,
    };
    let reasons: Vec<String> = change.reasons.iter().map(ToString::to_string).collect();
    Finding {
        what,
        host: &change.target.host,
        resource: Some(change.target.key.to_string()),
        why: reasons.join("; "),
        fields: change.fields.iter().map(|field| field.field.as_str()).collect(),
        place: change.origins.first(),
    }
}

/// What somebody changed by hand is a leftover that was seen, and what was left out was seen to differ; everything else held is
/// not known.
fn unknown(held: &Held) -> Finding<'_> {
    let (host, resource) = match &held.what {
        HeldWhat::Host(host) => (host, None),
        HeldWhat::Resource(id) => (&id.host, Some(id.key.to_string())),
    };
    let what = match held.why {
        HeldWhy::ChangedByHand => What::LeftOver,
        HeldWhy::LeftOut(_) => What::Differs,
        _ => What::Unknown,
    };
    Finding {
        what,
        host,
        resource,
        why: held.why.to_string(),
        fields: Vec::new(),
        place: None,
    }
}

fn json_lines(plan: &Plan) -> String {
    let mut objects = vec![
        json!({ "type": "format", "format": JSON_FORMAT, "report": "drift", "version": env!("CARGO_PKG_VERSION") }),
    ];
    let mut sums: BTreeMap<&str, usize> = What::ALL.map(|what| (what.name(), 0)).into();
    for finding in findings(plan) {
        *sums.entry(finding.what.name()).or_default() += 1;
        objects.push(json!({
            "type": "finding", "what": finding.what.name(), "host": finding.host, "resource": finding.resource,
            "why": finding.why, "fields": finding.fields, "place": finding.place,
        }));
    }
    objects.push(json!({ "type": "sums", "sums": sums, "text": sum(plan) }));
    lines(&objects)
}

fn junit(plan: &Plan) -> String {
    let findings = findings(plan);
    let mut hosts: BTreeMap<&HostId, Vec<&Finding<'_>>> =
        plan.hosts.keys().map(|host| (host, Vec::new())).collect();
    for finding in &findings {
        hosts.entry(finding.host).or_default().push(finding);
    }
    let suites: String = hosts
        .iter()
        .map(|(host, findings)| suite(host, findings))
        .collect();
    let (errors, failures) = split(&findings.iter().collect::<Vec<_>>());
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuites name=\"muster drift\" failures=\"{failures}\" errors=\"{errors}\">\n{suites}</testsuites>\n"
    )
}

fn split(findings: &[&Finding<'_>]) -> (usize, usize) {
    let errors = findings
        .iter()
        .filter(|finding| finding.what == What::Unknown)
        .count();
    (errors, findings.len() - errors)
}

/// A host without findings is one case that passed.
fn suite(host: &HostId, findings: &[&Finding<'_>]) -> String {
    let name = escape::html(host.as_str());
    let cases: String = if findings.is_empty() {
        format!("    <testcase classname=\"{name}\" name=\"as declared\"/>\n")
    } else {
        findings.iter().map(|finding| case(&name, finding)).collect()
    };
    let (errors, failures) = split(findings);
    let tests = findings.len().max(1);
    format!(
        "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\">\n{cases}  </testsuite>\n"
    )
}

fn case(host: &str, finding: &Finding<'_>) -> String {
    let name = finding
        .resource
        .clone()
        .unwrap_or_else(|| "the whole host".to_owned());
    let name = escape::html(&escape::controls(&name));
    let text = escape::html(&finding.sentence());
    let (tag, kind) = (
        if finding.what == What::Unknown {
            "error"
        } else {
            "failure"
        },
        finding.what.name(),
    );
    format!(
        "    <testcase classname=\"{host}\" name=\"{name}\"><{tag} type=\"{kind}\" message=\"{text}\"/></testcase>\n"
    )
}

fn sarif(plan: &Plan) -> String {
    let rules =
        What::ALL.map(|what| json!({ "id": rule(what), "shortDescription": { "text": what.title() } }));
    let results: Vec<Value> = findings(plan)
        .iter()
        .map(|finding| result(plan, finding))
        .collect();
    let driver = json!({ "name": "muster", "version": env!("CARGO_PKG_VERSION"), "rules": rules });
    let sarif = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{ "tool": { "driver": driver }, "results": results }],
    });
    escape::json(&format!("{sarif:#}\n"))
}

fn rule(what: What) -> String {
    format!("drift/{}", what.name().replace('_', "-"))
}

fn result(plan: &Plan, finding: &Finding<'_>) -> Value {
    let (file, line) = location(plan, finding);
    json!({
        "ruleId": rule(finding.what),
        "level": if finding.what == What::Unknown { "warning" } else { "error" },
        "message": { "text": finding.sentence() },
        "locations": [{
            "physicalLocation": { "artifactLocation": { "uri": file }, "region": { "startLine": line } },
            "logicalLocations": [{ "fullyQualifiedName": finding.subject(), "kind": "resource" }],
        }],
        // The same drift found again tomorrow is the same alert.
        "partialFingerprints": { "subject/v1": format!("{} {}", rule(finding.what), finding.subject()) },
    })
}

/// Where it is declared; what nobody declares is the inventory's matter.
fn location<'a>(plan: &'a Plan, finding: &Finding<'a>) -> (&'a str, usize) {
    finding.place.map_or((&plan.inventory_file, 1), |place| {
        (&place.file, place.line.max(1))
    })
}

fn github(plan: &Plan) -> String {
    let annotations: String = findings(plan)
        .iter()
        .map(|finding| {
            let level = if finding.what == What::Unknown {
                "warning"
            } else {
                "error"
            };
            let (file, line) = location(plan, finding);
            let (file, title) = (property(file), property(finding.what.title()));
            format!(
                "::{level} file={file},line={line},title={title}::{}\n",
                message(&finding.sentence())
            )
        })
        .collect();
    format!("{annotations}{}\n", sum(plan))
}

/// Source: the escapes of GitHub's workflow commands.
fn message(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    message(&escape::line(text))
        .replace(':', "%3A")
        .replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn drift() -> Plan {
        let mut plan = sample::full();
        let place = Place {
            file: "modules/app/module.toml".to_owned(),
            line: 14,
            column: 1,
            span: None,
        };
        for change in plan
            .changes
            .values_mut()
            .filter(|change| change.target.key.name == "/etc/app.toml")
        {
            change.origins = vec![place.clone()];
        }
        plan.changes.retain(|id, _| id.host.as_str() != "ml-3");
        plan
    }

    fn odd() -> Plan {
        let target = sample::id("account", "<a&\"'\u{1b}\n,:%>", "nn-1");
        sample::plan(vec![sample::change(
            target,
            Action::Create,
            Vec::new(),
            Value::Null,
        )])
    }

    #[test]
    fn drift_says_what_differs_and_what_is_not_known() {
        insta::assert_snapshot!(page(&drift(), Extent::default()).plain());
    }

    #[test]
    fn no_drift_is_one_line_unless_something_is_not_known() {
        let mut plan = sample::plan(Vec::new());
        assert_eq!(page(&plan, Extent::default()).plain(), "No drift.\n");
        plan.held = sample::held();
        assert!(
            sum(&plan).ends_with("3 not known, so this is not all."),
            "{}",
            sum(&plan)
        );
    }

    #[test]
    fn json_has_a_line_for_each_finding() {
        let text = json_lines(&drift());
        let objects: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(objects.len(), 2 + drift().changes.len() + drift().held.len());
        let file = objects
            .iter()
            .find(|object| object["resource"] == "file[/etc/app.toml]")
            .unwrap();
        assert_eq!(
            (&file["fields"], &file["place"]["line"]),
            (&json!(["content", "mode"]), &json!(14))
        );
        assert_eq!(objects.last().unwrap()["sums"]["left_over"], 3);
    }

    #[test]
    fn annotations_point_to_the_declaration_and_cannot_be_broken_out_of() {
        let text = github(&drift());
        let expected = "::error file=modules/app/module.toml,line=14,title=The resource is not as declared.::\
                        file[/etc/app.toml] on ml-1: somebody changed it since muster did (content, mode)\n";
        assert!(text.contains(expected), "{text}");
        let odd = github(&odd());
        assert_eq!(odd.lines().count(), 2, "{odd}");
        assert!(odd.contains("\\u{1b}\\n,:%25>"), "{odd}");
    }

    #[test]
    fn junit_counts_and_escapes() {
        let xml = junit(&odd());
        assert!(
            xml.contains("name=\"account[&lt;a&amp;&quot;&#39;\\u{1b}\\n,:%&gt;]\""),
            "{xml}"
        );
        let xml = junit(&drift());
        assert!(
            xml.contains("<testsuite name=\"ml-7\" tests=\"1\" failures=\"0\" errors=\"1\">"),
            "{xml}"
        );
        assert_eq!(
            xml.matches("<failure ").count() + xml.matches("<error ").count(),
            findings(&drift()).len()
        );
    }

    #[test]
    fn sarif_names_rule_place_and_subject() {
        let sarif: Value = serde_json::from_str(&sarif(&drift())).unwrap();
        let results = sarif["runs"][0]["results"].as_array().unwrap();
        let uri =
            |result: &Value| result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].clone();
        assert!(
            results
                .iter()
                .any(|result| uri(result) == "modules/app/module.toml")
        );
        assert!(results.iter().all(|result| uri(result).is_string()));
        let known: BTreeSet<String> = What::ALL.map(rule).into();
        assert!(
            results
                .iter()
                .all(|result| known.contains(result["ruleId"].as_str().unwrap()))
        );
    }
}
