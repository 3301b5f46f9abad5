//! The results of a speed run: medians and spread as a table, as JSON and as a chart. It runs no program.

use std::path::Path;

use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::figures::{Spread, thousands, write};
use crate::machine::Machine;
use crate::plot::{self, Bar};
use crate::trial::Measured;

/// All results.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) events: u64,
    /// Minimum size of an event, in bytes.
    pub(crate) bytes: usize,
    /// Definition of the table.
    pub(crate) table: String,
    pub(crate) entries: Vec<Entry>,
    /// Programs that could not run, with the reason.
    pub(crate) skipped: Vec<String>,
}

/// All runs of one program at one batch size.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) batch: Option<u64>,
    pub(crate) runs: Vec<Measured>,
}

impl Entry {
    fn spread(&self, value: impl Fn(&Measured) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.runs.iter().filter_map(value))
    }

    fn label(&self) -> String {
        self.batch.map_or_else(|| self.name.clone(), |batch| format!("{}, {}", self.name, thousands(batch as f64)))
    }

    fn row(&self, events: u64) -> Vec<String> {
        let million = events as f64 / 1e6;
        let rate = |spread: Option<Spread>| {
            spread.map_or_else(dash, |s| format!("{} ({}-{})", thousands(s.median), kilo(s.min), kilo(s.max)))
        };
        let cost = |spread: Option<Spread>| spread.map_or_else(dash, |s| format!("{:.2}", s.median / million));
        let memory = self.spread(|run| run.worker_peak.map(|peak| peak as f64 / f64::from(1 << 20)));
        let wrong = self.runs.iter().filter_map(|run| run.wrong.clone()).collect::<Vec<_>>();
        vec![
            self.name.clone(),
            self.batch.map_or_else(dash, |batch| thousands(batch as f64)),
            rate(self.spread(|run| Some(run.net(events)))),
            rate(self.spread(|run| run.join.map(|_| run.gross(events)))),
            cost(self.spread(|run| run.worker_cpu)),
            cost(self.spread(|run| Some(run.clickhouse_cpu))),
            cost(self.spread(|run| Some(run.kafka_cpu))),
            memory.map_or_else(dash, |s| format!("{:.0} MiB", s.max)),
            if wrong.is_empty() { "right".to_owned() } else { format!("WRONG: {}", wrong.join("; ")) },
        ]
    }
}

impl Results {
    /// Table for a terminal.
    pub(crate) fn text(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_header([
            "PROGRAM",
            "BATCH",
            "EVENTS/S (SPREAD IN K)",
            "WITH JOIN",
            "CPU S/M",
            "CLICKHOUSE",
            "KAFKA",
            "PEAK",
            "ROWS",
        ]);
        for entry in &self.entries {
            table.add_row(entry.row(self.events));
        }
        for column in 1..8 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let lines = table.lines().map(|line| line.trim_end().to_owned());
        let rounds = self.entries.iter().map(|entry| entry.runs.len()).max().unwrap_or(0);
        let head = format!(
            "{}\n{} events of {} bytes and more, {} table, {rounds} rounds\n",
            self.machine.text(),
            thousands(self.events as f64),
            self.bytes,
            self.table
        );
        let skipped = self.skipped.iter().map(|line| format!("not run: {line}"));
        std::iter::once(head).chain(lines).chain(skipped).collect::<Vec<_>>().join("\n")
    }

    /// Writes `speed.txt`, `speed.json` and `speed.svg` into a folder.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let json = serde_json::to_string_pretty(self).context("write the results")?;
        let bar = |entry: &Entry| {
            let spread = entry.spread(|run| Some(run.net(self.events)))?;
            Some(Bar { label: entry.label(), spread, is_highlighted: entry.name == "sluice" })
        };
        let bars: Vec<Bar> = self.entries.iter().filter_map(bar).collect();
        write(folder, "speed.txt", &self.text())?;
        write(folder, "speed.json", &json)?;
        write(folder, "speed.svg", &plot::bars("Events per second, median and spread", &bars))
    }
}

fn dash() -> String {
    "-".to_owned()
}

fn kilo(value: f64) -> String {
    format!("{:.0}", value / 1e3)
}
