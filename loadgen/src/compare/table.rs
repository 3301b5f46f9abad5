//! A comparison as text for the terminal. It only formats and never prints.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, TableComponent, presets};

use super::comparison::{Compared, Comparison, Outcome};
use super::judged::Change;
use super::observed::Quantity;
use crate::report::fit::{fit, fit_text, printable};

/// Quantities that the verdict names; the others are counted.
const LISTED: usize = 5;
/// Header of the table of changes.
pub(super) const HEADER: [&str; 7] = ["question or SLO", "quantity", "A", "B", "change", "90 % interval", "verdict"];
/// Header of the table of differences.
pub(super) const DIFFERENCES: [&str; 3] = ["what differs", "A", "B"];

impl Comparison {
    /// Tables and texts of at most 80 columns; the verdict is the last sentence.
    pub fn table(&self) -> String {
        let mut parts = vec![self.title(), text(&HEADER, &[2, 3, 4, 5], self.compared.iter().map(cells), 2)];
        if !self.differences.is_empty() {
            let rows = self.differences.iter().map(|one| vec![one.what.clone(), one.a.clone(), one.b.clone()]);
            parts.push(text(&DIFFERENCES, &[], rows, 1));
        }
        parts.extend(Some(self.notes.iter().map(|note| format!("note: {note}")).collect::<Vec<_>>().join("\n")));
        parts.extend(Some(self.failures.iter().map(|why| format!("failed: {why}")).collect::<Vec<_>>().join("\n")));
        parts.push(self.conclusion());
        parts.retain(|part| !part.is_empty());
        printable(&fit_text(&parts.join("\n\n")))
    }

    /// The scenario and the runs.
    pub(super) fn title(&self) -> String {
        let side = |name: char, runs: &[super::comparison::Run]| {
            let times =
                runs.iter().map(|run| run.started_at.format("%F %T").to_string()).collect::<Vec<_>>().join(", ");
            let noun = if runs.len() == 1 { "run" } else { "runs" };
            format!("{name}: {} {noun} of {times} UTC", runs.len())
        };
        format!("{}\n{}\n{}", self.scenario, side('A', &self.a), side('B', &self.b))
    }

    /// The verdict in one sentence.
    pub fn conclusion(&self) -> String {
        let of = |change| {
            let names = self.compared.iter().filter(move |one| one.change == Some(change));
            let names = names.map(|one| format!("{} {} {}", one.subject, one.quantity.as_str(), one.estimate()));
            listed(names.collect())
        };
        let margin = format!("{:.0} %", self.margin * 100.0);
        match self.outcome {
            Outcome::NoWorse => format!("NO WORSE: no judged quantity is higher by {margin} or more"),
            Outcome::Worse => {
                let failed =
                    (!self.failures.is_empty()).then(|| "something failed that did not fail before".to_owned());
                let worse = Some(of(Change::Worse)).filter(|worse| !worse.is_empty());
                format!("WORSE: {}", failed.into_iter().chain(worse).collect::<Vec<_>>().join("; "))
            }
            Outcome::Undecided => {
                let undecided = of(Change::Undecided);
                let listed = if undecided.is_empty() { "the runs".to_owned() } else { undecided };
                format!(
                    "UNDECIDED: neither a change nor its absence (less than {margin}) is shown for {listed}; repeat the runs"
                )
            }
        }
    }
}

impl Compared {
    /// The estimated change in words.
    fn estimate(&self) -> String {
        self.change_of(self.effect.estimate)
    }

    fn change_of(&self, effect: f64) -> String {
        format!("{} {}", self.points(effect), self.unit())
    }

    /// A change without its unit.
    fn points(&self, effect: f64) -> String {
        match self.quantity {
            Quantity::Exceeding => format!("{:+.2}", effect * 100.0),
            _ => format!("{:+.1}", effect.exp_m1() * 100.0),
        }
    }

    fn unit(&self) -> &'static str {
        if self.quantity == Quantity::Exceeding { "points" } else { "%" }
    }

    fn value(&self, value: f64) -> String {
        match self.quantity {
            Quantity::Exceeding => format!("{:.2} %", value * 100.0),
            _ => format!("{:.2} ms", value / 1_000.0),
        }
    }
}

/// Names as one text; of many, the first few.
fn listed(mut names: Vec<String>) -> String {
    let more = names.len().saturating_sub(LISTED);
    names.truncate(LISTED);
    names.extend((more > 0).then(|| format!("and {more} more")));
    names.join("; ")
}

/// One row of the table of changes.
pub(super) fn cells(one: &Compared) -> Vec<String> {
    let interval = format!("{} to {}", one.points(one.effect.low), one.change_of(one.effect.high));
    let verdict = one.change.map_or("-", word);
    let [a, b] = [one.a, one.b].map(|value| one.value(value));
    vec![one.subject.clone(), one.quantity.as_str().to_owned(), a, b, one.estimate(), interval, verdict.to_owned()]
}

fn word(change: Change) -> &'static str {
    match change {
        Change::Worse => "WORSE",
        Change::NoWorse => "no worse",
        Change::Better => "better",
        Change::Undecided => "undecided",
    }
}

/// A table without borders; the columns in `numbers` are right-aligned, and the first `keys` name a row.
fn text(header: &[&str], numbers: &[usize], rows: impl Iterator<Item = Vec<String>>, keys: usize) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_style(TableComponent::VerticalLines, ' ')
        .set_header(header.iter().copied());
    for column in numbers {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.add_rows(rows);
    let mut text = String::new();
    for line in fit(&table, keys).lines() {
        writeln!(text, "{}", line.trim_end()).expect("a String takes every line");
    }
    text.trim_end().to_owned()
}
