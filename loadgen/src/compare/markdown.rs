//! A comparison in Markdown, for a pull request or the page of a CI job. It never writes a file.

use super::comparison::{Comparison, Outcome};
use super::table::{DIFFERENCES, HEADER, cells};
use crate::report::escaped;

impl Comparison {
    /// The verdict, a table of the changes and what differs.
    pub fn markdown(&self) -> String {
        let word = match self.outcome {
            Outcome::NoWorse => "NO WORSE",
            Outcome::Worse => "WORSE",
            Outcome::Undecided => "UNDECIDED",
        };
        let mut parts = vec![format!("## {word} · {}", escaped(&self.scenario)), escaped(&self.conclusion())];
        let sentences = self.failures.iter().chain(&self.notes);
        parts.push(sentences.map(|sentence| format!("- {}", escaped(sentence))).collect::<Vec<_>>().join("\n"));
        parts.push(rows(&HEADER, self.compared.iter().map(cells)));
        if !self.differences.is_empty() {
            let all = self.differences.iter().map(|one| vec![one.what.clone(), one.a.clone(), one.b.clone()]);
            parts
                .push(format!("<details><summary>What differs</summary>\n\n{}\n\n</details>", rows(&DIFFERENCES, all)));
        }
        let title = self.title().lines().map(escaped).collect::<Vec<_>>().join("<br>");
        parts.push(format!("<sub>{title}</sub>"));
        parts.retain(|part| !part.is_empty());
        parts.join("\n\n") + "\n"
    }
}

fn rows(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line =
        |cells: Vec<String>| format!("| {} |", cells.iter().map(|cell| escaped(cell)).collect::<Vec<_>>().join(" | "));
    let rule = format!("|{}", "---|".repeat(header.len()));
    let header = line(header.iter().map(|&cell| cell.to_owned()).collect());
    [header, rule].into_iter().chain(rows.map(line)).collect::<Vec<_>>().join("\n")
}
