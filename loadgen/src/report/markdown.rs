//! A short summary in Markdown, for a pull request or the page of a CI job. It never writes a file.

use super::contents::Report;
use super::wording::{availability_name, explanation, instant, millis, objective, reasons, verdict, word};
use crate::number::{percent, separated};
use crate::verdict::Proportion;

/// Sentences of one kind that are listed; the others are counted.
const LISTED: usize = 10;

/// The summary of a report.
pub(super) fn summary(report: &Report) -> String {
    let (run, findings) = (&report.run, &report.findings);
    let mut parts = vec![format!("## {} · {}", verdict(report.verdict), escaped(&run.scenario.name))];
    parts.extend(Some(escaped(&explanation(report))).filter(|sentence| !sentence.is_empty()));
    let lists = [list(&findings.failures), list(&findings.why_invalid())];
    parts.extend(lists.into_iter().filter(|list| !list.is_empty()));
    parts.push(table(report));
    let lines: Vec<String> = reasons(findings).iter().map(|line| format!("- {}", escaped(line))).collect();
    parts.push(format!("<details><summary>Reasons</summary>\n\n{}\n\n</details>", lines.join("\n")));
    let digest: String = run.digest.chars().take(16).collect();
    parts.push(format!(
        "<sub>{} · plan {digest} · {} processors · started {}</sub>",
        escaped(&run.scenario.description),
        run.machine.cpus,
        instant(&run.started_at),
    ));
    parts.join("\n\n") + "\n"
}

fn table(report: &Report) -> String {
    let mut rows = vec![
        "| verdict | objective | | samples | missed | p50 | p95 | p99 |".to_owned(),
        "|---|---|---|---:|---:|---:|---:|---:|".to_owned(),
    ];
    for one in &report.findings.slos {
        let [p50, p95, p99] = [one.latency.p50_us, one.latency.p95_us, one.latency.p99_us].map(millis);
        let counts = [one.counts.samples, one.counts.exceedances].map(separated).join(" | ");
        rows.push(row(&one.slo.name, &objective(&one.slo), &one.test, &format!("{counts} | {p50} | {p95} | {p99}")));
    }
    for one in &report.findings.availability {
        let counts = [one.samples, one.failed].map(separated).join(" | ");
        let target = percent(one.objective);
        rows.push(row(&availability_name(one), &format!("{target} succeed"), &one.test, &format!("{counts} | | |")));
    }
    rows.join("\n")
}

fn row(name: &str, objective: &str, test: &Proportion, numbers: &str) -> String {
    format!("| {} | {} | {} | {numbers} |", word(test.verdict), escaped(name), escaped(objective))
}

fn list(sentences: &[String]) -> String {
    let more = sentences.len().saturating_sub(LISTED);
    let rest = (more > 0).then(|| format!("- and {more} more"));
    let listed = sentences.iter().take(LISTED).map(|sentence| format!("- {}", escaped(sentence)));
    listed.chain(rest).collect::<Vec<_>>().join("\n")
}

/// Text that Markdown shows as it is, on one line.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '\n' | '\r' => escaped.push(' '),
            '<' => escaped.push_str("&lt;"),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '#' => escaped.extend(['\\', c]),
            c => escaped.push(c),
        }
    }
    escaped
}
