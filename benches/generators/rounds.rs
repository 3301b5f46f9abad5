//! All runs in turn, each round starting with another program, and the table of what they say. It ranks no program.

use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};

use crate::asked::{Asked, Testbed};
use crate::figures::Spread;
use crate::options::Options;
use crate::outcome::Outcome;
use crate::output::{print, progress};
use crate::{memtier, oha, pgbench, sluice};

/// The other program that asks a store.
fn other(asked: Asked) -> &'static str {
    match asked {
        Asked::Postgres => "pgbench",
        Asked::Redis => "memtier_benchmark",
        Asked::Elasticsearch => "oha",
    }
}

/// Measures all programs on all stores.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let testbed = Testbed::up(options).await?;
    for asked in Asked::ALL {
        let other = other(asked);
        let is_present = is_on_path(other);
        if !is_present {
            print(&format!("{}: {other} is not on the PATH, so Sluice is measured alone", asked.store()));
        }
        let mut outcomes: [Vec<Outcome>; 2] = [Vec::new(), Vec::new()];
        for round in 0..options.rounds {
            for turn in [round % 2, (round + 1) % 2] {
                if turn == 1 && !is_present {
                    continue;
                }
                let name = [OURS, other][turn];
                progress(&format!("{}: {name}, round {} of {}", asked.store(), round + 1, options.rounds));
                // The bench has nothing else to do meanwhile.
                outcomes[turn].push(if turn == 0 {
                    sluice::run(&testbed, options, asked)?
                } else {
                    run_other(&testbed, options, asked)?
                });
            }
        }
        print(&table(asked, other, &outcomes, options));
    }
    Ok(())
}

/// Name in the table.
const OURS: &str = "sluice";

fn run_other(testbed: &Testbed, options: &Options, asked: Asked) -> anyhow::Result<Outcome> {
    match asked {
        Asked::Postgres => pgbench::run(testbed, options),
        Asked::Redis => memtier::run(testbed, options),
        Asked::Elasticsearch => oha::run(testbed, options),
    }
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| Path::new(&folder).join(program).is_file())
}

fn table(asked: Asked, other: &str, outcomes: &[Vec<Outcome>; 2], options: &Options) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(["program", "answered/s", "p50 in ms", "p95 in ms", "CPU in us each"]);
    for (name, outcomes) in [OURS, other].into_iter().zip(outcomes).filter(|(_, outcomes)| !outcomes.is_empty()) {
        let spread = |of: fn(&Outcome) -> f64, digits: usize| {
            Spread::of(outcomes.iter().map(of)).map_or_else(String::new, |Spread { min, median, max }| {
                format!("{median:.digits$} ({min:.digits$} to {max:.digits$})")
            })
        };
        let seconds = options.length().as_secs_f64();
        let rates = Spread::of(outcomes.iter().map(|one| one.answered as f64 / seconds));
        let rate = rates.map_or_else(String::new, |rate| format!("{:.0}", rate.median));
        let latencies = [spread(|one| one.p50, 3), spread(|one| one.p95, 3)];
        let [p50, p95] = latencies;
        table.add_row([name.to_owned(), rate, p50, p95, spread(Outcome::cpu_each, 1)]);
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    format!("{} at {}/s:\n{table}", asked.store(), asked.rate())
}
