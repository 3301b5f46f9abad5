//! The verdict as JUnit test results, in the form that both public schemas accept: that of Ant's reports (JUnit.xsd) and
//! that of Jenkins (junit-10.xsd). Each objective is a test case; the account and the generator are one each. It never
//! writes a file.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::contents::Report;
use super::wording::{availability_name, conclusion, objective, verdict, word};
use crate::number::{counted, percent};
use crate::verdict::{Findings, Overall, Proportion, Validity, Verdict, interruption};

/// What a test case shows.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Passed,
    /// The store is at fault.
    Failed(&'static str, String),
    /// Not decided, which blocks a PASS.
    Undecided(&'static str, String),
    /// Not decided, which the scenario allows.
    Skipped(String),
}

struct Case {
    class: &'static str,
    name: String,
    outcome: Outcome,
}

/// The test suite of a report.
pub(super) fn suite(report: &Report) -> io::Result<String> {
    let cases = cases(report);
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let attributes = attributes(report, &cases);
    writer.create_element("testsuites").write_inner_content(|writer| {
        let suite = writer.create_element("testsuite").with_attributes(pairs(&attributes));
        suite.write_inner_content(|writer| contents(writer, report, &cases)).map(drop)
    })?;
    let text = String::from_utf8(writer.into_inner()).map_err(io::Error::other)?;
    Ok(text + "\n")
}

fn attributes(report: &Report, cases: &[Case]) -> Vec<(&'static str, String)> {
    let run = &report.run;
    let count = |is: fn(&Outcome) -> bool| cases.iter().filter(|case| is(&case.outcome)).count().to_string();
    vec![
        ("name", run.scenario.name.clone()),
        ("package", "sluice".to_owned()),
        ("id", "0".to_owned()),
        // The schema of Ant's reports allows no time zone; it is UTC.
        ("timestamp", run.started_at.format("%Y-%m-%dT%H:%M:%S").to_string()),
        ("hostname", "localhost".to_owned()),
        ("tests", cases.len().to_string()),
        ("failures", count(|outcome| matches!(outcome, Outcome::Failed(..)))),
        ("errors", count(|outcome| matches!(outcome, Outcome::Undecided(..)))),
        ("skipped", count(|outcome| matches!(outcome, Outcome::Skipped(..)))),
        ("time", format!("{:.3}", run.scenario.duration.as_secs_f64())),
    ]
}

fn contents(writer: &mut Writer<Vec<u8>>, report: &Report, cases: &[Case]) -> io::Result<()> {
    let run = &report.run;
    let properties = [
        ("verdict", verdict(report.verdict).to_owned()),
        ("plan", run.digest.clone()),
        ("seed", run.scenario.seed.to_string()),
        ("key_seed", run.scenario.key_seed.to_string()),
        ("machine", format!("{}, {} processors", run.machine.system, run.machine.cpus)),
    ];
    let stores = run.stores.iter().map(|(store, version)| (store.as_str(), version.clone()));
    writer.create_element("properties").write_inner_content(|writer| {
        for (name, value) in properties.into_iter().chain(stores) {
            let property = [("name", name.to_owned()), ("value", legal(&value))];
            writer.create_element("property").with_attributes(pairs(&property)).write_empty()?;
        }
        Ok(())
    })?;
    for case in cases {
        write_case(writer, &run.scenario.name, case)?;
    }
    writer.create_element("system-out").write_text_content(BytesText::new(&legal(&report.table())))?;
    writer.create_element("system-err").write_empty()?;
    Ok(())
}

fn write_case(writer: &mut Writer<Vec<u8>>, scenario: &str, case: &Case) -> io::Result<()> {
    let attributes = [
        ("name", legal(&case.name)),
        ("classname", format!("sluice.{scenario}.{}", case.class)),
        // All objectives are judged over one drive, whose time is that of the suite.
        ("time", "0".to_owned()),
    ];
    let element = writer.create_element("testcase").with_attributes(pairs(&attributes));
    let (name, kind, message) = match &case.outcome {
        Outcome::Passed => return element.write_empty().map(drop),
        Outcome::Failed(kind, message) => ("failure", Some(kind), legal(message)),
        Outcome::Undecided(kind, message) => ("error", Some(kind), legal(message)),
        Outcome::Skipped(message) => ("skipped", None, legal(message)),
    };
    let mut attributes = vec![("message", message.lines().next().unwrap_or_default().to_owned())];
    attributes.extend(kind.map(|kind| ("type", (*kind).to_owned())));
    element
        .write_inner_content(|writer| {
            let outcome = writer.create_element(name).with_attributes(pairs(&attributes));
            outcome.write_text_content(BytesText::new(&message)).map(drop)
        })
        .map(drop)
}

fn cases(report: &Report) -> Vec<Case> {
    let findings = &report.findings;
    let judged = |test: &Proportion, blocks| {
        // Nothing that an invalid run measured proves anything about a store.
        if !findings.is_valid() {
            return Outcome::Skipped("not judged, since the run is not valid".to_owned());
        }
        match (test.verdict, blocks) {
            (Verdict::Pass, _) => Outcome::Passed,
            (Verdict::Fail, _) => Outcome::Failed(word(test.verdict), test.reason.clone()),
            (Verdict::Inconclusive, true) => Outcome::Undecided(word(test.verdict), test.reason.clone()),
            (Verdict::Inconclusive, false) => Outcome::Skipped(test.reason.clone()),
        }
    };
    let slos = findings.slos.iter().map(|one| Case {
        class: "slo",
        name: format!("{}: {}", one.slo.name, objective(&one.slo)),
        outcome: judged(&one.test, true),
    });
    let availability = findings.availability.iter().map(|one| Case {
        class: "availability",
        name: format!("{}: {} succeed", availability_name(one), percent(one.objective)),
        outcome: judged(&one.test, one.blocks()),
    });
    let without = findings.slos.is_empty().then(|| Case {
        class: "slo",
        name: "the scenario has an SLO".to_owned(),
        outcome: Outcome::Undecided("INCONCLUSIVE", conclusion(report)),
    });
    let without = without.filter(|_| findings.overall() == Overall::Inconclusive);
    slos.chain(without).chain(availability).chain(of_the_run(report)).collect()
}

/// What is judged once a run: the account, the generator, the interruption.
fn of_the_run(report: &Report) -> [Case; 3] {
    let findings = &report.findings;
    let account = if report.account.is_some() { "every record is accounted for, " } else { "" };
    let failures = failures(findings);
    let account = Case {
        class: "run",
        name: format!("{account}every answer is right, no process died"),
        outcome: if failures.is_empty() { Outcome::Passed } else { Outcome::Failed("FAIL", failures.join("\n")) },
    };
    let generator = Case {
        class: "run",
        name: "the generator kept up".to_owned(),
        outcome: match &findings.validity {
            Validity::Valid => Outcome::Passed,
            Validity::Invalid(reasons) => Outcome::Undecided("INVALID", reasons.join("\n")),
        },
    };
    let whole = Case {
        class: "run",
        name: "the run was not interrupted".to_owned(),
        outcome: match &findings.interrupted {
            None => Outcome::Passed,
            Some(doing) => Outcome::Undecided("INVALID", interruption(doing)),
        },
    };
    [account, generator, whole]
}

/// What no latency outweighs, however the generator fared. Wrong answers to what an SLO judges are among its counts.
fn failures(findings: &Findings) -> Vec<String> {
    let wrong = findings.slos.iter().filter(|one| one.counts.wrong > 0);
    let wrong = wrong.map(|one| format!("{}: {}", one.slo.name, counted(one.counts.wrong, "wrong answer")));
    findings.failures.iter().cloned().chain(wrong).collect()
}

fn pairs<'a>(attributes: &'a [(&'a str, String)]) -> impl Iterator<Item = (&'a str, &'a str)> {
    attributes.iter().map(|(name, value)| (*name, value.as_str()))
}

/// The text without characters that XML does not allow.
fn legal(text: &str) -> String {
    let is_legal =
        |c: &char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    text.chars().filter(is_legal).collect()
}
