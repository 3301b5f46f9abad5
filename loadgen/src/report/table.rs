//! The tables for the terminal. This module only formats and never prints.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Table, TableComponent, presets};

use super::contents::{Header, QuestionReport, Report, question_report};
use super::fit::fit;
use super::generator::Generator;
use super::rates::Rate;
use super::series::WriteReport;
use super::wording::{UNKNOWN, availability_name, conclusion, ledger_sums, millis, objective, reasons, word};
use crate::number::{percent, rate, separated};
use crate::{
    account::{Account, Ledger, Origin},
    measure::Measurements,
    scenario::{Scenario, brief_duration, exact_duration},
    verdict::{Availability, Judged, Proportion, Validity},
};

impl Report {
    /// The tables for a terminal of `width` columns, if they are to fit one, without colors; the verdict is the last line.
    pub fn table(&self, width: Option<u16>) -> String {
        render(self, width)
    }
}

/// The tables of a drive without a verdict, for a terminal of `width` columns: questions, writes and rates, without colors.
pub fn drive_tables(scenario: &Scenario, measured: &Measurements, rates: &[Rate], width: Option<u16>) -> String {
    let questions = measured.questions.iter().map(|recorder| question_report(scenario, recorder)).collect::<Vec<_>>();
    let writes: Vec<WriteReport> = measured.writes.iter().map(WriteReport::from).collect();
    measurements(scenario, (&questions, &writes, rates), width)
}

fn render(report: &Report, width: Option<u16>) -> String {
    let run = &report.run;
    let mut parts = vec![
        format!("{}: {}\n{}", run.scenario.name, run.scenario.description, identity(run)),
        format!("SLOs\n{}", fit(slos(&report.findings.slos, &report.findings.availability), width)),
        measurements(&run.scenario, (&report.questions, &report.writes, &report.rates), width),
    ];
    parts.extend(report.account.as_ref().map(|account| format!("Account\n{}", fit(ledgers(account), width))));
    parts.push(generator(&report.generator));
    parts.push(reasons(&report.findings).join("\n"));
    parts.push(ending(report));
    trim(&parts.join("\n\n"))
}

/// What the latencies of users are not.
const SERVICE_TIME: &str = "\nlatencies of users are service times: a slow store is asked less often, which nothing corrects (coordinated omission)";

/// The text without blanks at the ends of its lines.
pub(crate) fn trim(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

fn identity(run: &Header) -> String {
    let digest: String = run.digest.chars().take(16).collect();
    let Scenario { seed, key_seed, span, duration, .. } = &run.scenario;
    let [span, duration] = [span, duration].map(|&length| exact_duration(length));
    if !run.scenario.describes_population {
        return format!("key seed {key_seed}, plan {digest}\nan existing deployment, asked for {duration}");
    }
    format!(
        "seed {seed}, key seed {key_seed}, plan {digest}\n\
         {span} in {duration}, {:.0} times real time; caches, merges and refresh intervals are not compressed",
        run.scenario.compression()
    ) + &part(run)
}

/// Which part of the plan was driven, unless all of it was by one generator.
fn part(run: &Header) -> String {
    let shard = run
        .shard
        .map(|shard| format!("\nshard {shard}: judged by its own answers alone; `sluice report merge` merges all"));
    let merged = run.merged_shards.map(|shards| format!("\nmerged from {shards} shards"));
    shard.or(merged).unwrap_or_default()
}

fn measurements(
    scenario: &Scenario,
    (asked, written, produced): (&[QuestionReport], &[WriteReport], &[Rate]),
    width: Option<u16>,
) -> String {
    let by_users = asked.iter().any(|one| one.users.is_some());
    let note = if by_users { SERVICE_TIME } else { "" };
    let mut parts = vec![format!("Questions\n{}{note}", fit(questions(asked), width))];
    if !written.is_empty() {
        parts.push(format!("Writes\n{}", fit(writes(written, scenario.duration), width)));
    }
    if !produced.is_empty() {
        parts.push(format!("Rates\n{}", fit(rates(produced), width)));
    }
    parts.join("\n\n")
}

/// A table with text in the first column and the last `texts` columns, and numbers in the others.
pub(crate) fn table(header: &[&str], texts: usize) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_header(header);
    for line in [TableComponent::HorizontalLines, TableComponent::MiddleIntersections] {
        table.remove_style(line);
    }
    for column in 1..header.len() - texts {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn slos(judged: &[Judged], availability: &[Availability]) -> Table {
    let header = [
        "SLO",
        "objective",
        "samples",
        "effective",
        "exceed",
        "p50",
        "p95",
        "p99",
        "max",
        "excludes stalls",
        "verdict",
    ];
    let mut table = table(&header, 1);
    for one in judged {
        let counts = [one.counts.samples, one.test.effective.samples as u64, one.counts.exceedances];
        let latencies = one.latency.columns().map(millis);
        let objective = objective(&one.slo);
        table.add_row(slo(&one.slo.name, objective, counts, latencies, &one.test));
    }
    for one in availability {
        let counts = [one.samples, one.test.effective.samples as u64, one.failed];
        let objective = format!("{} succeed", percent(one.objective));
        table.add_row(slo(&availability_name(one), objective, counts, Default::default(), &one.test));
    }
    table
}

fn slo(name: &str, objective: String, counts: [u64; 3], latencies: [String; 4], test: &Proportion) -> Vec<String> {
    let stall = test.excluded.map_or_else(|| UNKNOWN.to_owned(), |excluded| brief_duration(excluded.stall));
    let texts = [name.to_owned(), objective].into_iter();
    texts.chain(counts.map(separated)).chain(latencies).chain([stall, word(test.verdict).to_owned()]).collect()
}

/// What the generator added itself, at the 99th percentile, and its processors.
fn generator(generator: &Generator) -> String {
    let share =
        |share: Option<f64>| share.map_or_else(|| UNKNOWN.to_owned(), |share| format!("{:.1} %", share * 100.0));
    let priority = if generator.priority_is_raised { "with a raised priority " } else { "" };
    format!(
        "generator: probes sent {} late, writes {}, tasks delayed by {} (p99); {priority}it used {} of the processors, \
         and the hypervisor took {}",
        millis(generator.probe_lag_p99_us),
        millis(generator.write_lag_p99_us),
        millis(generator.task_delay_p99_us),
        share(generator.processor_share),
        share(generator.steal_share),
    )
}

fn questions(questions: &[QuestionReport]) -> Table {
    let mut table = table(
        &[
            "question",
            "store",
            "per s",
            "samples",
            "exceed",
            "errors",
            "time-outs",
            "wrong",
            "p50",
            "p95",
            "p99",
            "max",
        ],
        0,
    );
    for asked in questions {
        let counts = asked.counts;
        let mut row = vec![
            Cell::new(asked.name()),
            Cell::new(asked.store.as_str()).set_alignment(CellAlignment::Left),
            Cell::new(if asked.users.is_none() { rate(asked.rate) } else { UNKNOWN.to_owned() }),
        ];
        let numbers =
            [counts.samples, counts.exceedances, counts.errors, counts.timed_out, counts.wrong].map(separated);
        row.extend(numbers.into_iter().chain(asked.latency.columns().map(millis)).map(Cell::new));
        table.add_row(row);
    }
    table
}

/// Latencies are those of acknowledged writes, from their intended starts.
fn writes(writes: &[WriteReport], drive: Duration) -> Table {
    let mut table = table(&["writes", "store", "per s", "samples", "errors", "p50", "p95", "p99", "max"], 0);
    for one in writes {
        let [due, failed] = one.totals();
        let mut row = vec![
            Cell::new(one.unit()),
            Cell::new(one.store.as_str()).set_alignment(CellAlignment::Left),
            Cell::new(rate(due as f64 / drive.as_secs_f64())),
        ];
        let latencies = one.latency.columns().map(millis);
        row.extend([due, failed].map(separated).into_iter().chain(latencies).map(Cell::new));
        table.add_row(row);
    }
    table
}

fn rates(rates: &[Rate]) -> Table {
    let mut table =
        table(&["records", "planned", "produced", "duration", "per s", "landed after", "per s to the store"], 0);
    for rate in rates {
        let per_second = |seconds: f64| {
            if seconds > 0.0 { separated((rate.produced as f64 / seconds) as u64) } else { UNKNOWN.to_owned() }
        };
        let unknown = || (UNKNOWN.to_owned(), UNKNOWN.to_owned());
        let landed = rate.landed_in.map_or_else(unknown, |seconds| (format!("{seconds:.1} s"), per_second(seconds)));
        table.add_row(vec![
            rate.kind.clone(),
            separated(rate.planned),
            separated(rate.produced),
            format!("{:.1} s", rate.produced_in),
            per_second(rate.produced_in),
            landed.0,
            landed.1,
        ]);
    }
    table
}

/// Driven records by tenant; loaded records, which rarely differ, are summed over all tenants.
fn ledgers(account: &Account) -> Table {
    let header = [
        "store",
        "records",
        "tenant",
        "produced",
        "landed",
        "dead-lettered",
        "missing",
        "duplicate",
        "wrong",
        "unexpected",
        "balance",
    ];
    let mut table = table(&header, 1);
    let mut loaded: BTreeMap<(&str, &str), Vec<&Ledger>> = BTreeMap::new();
    for ledger in &account.ledgers {
        match ledger.origin {
            Origin::Driven => {
                let tenant: String = ledger.tenant.chars().take(8).collect();
                table.add_row(row(&ledger.store, &ledger.kind, &tenant, &[ledger]));
            }
            Origin::Loaded => loaded.entry((&ledger.store, &ledger.kind)).or_default().push(ledger),
        }
    }
    for ((store, kind), ledgers) in loaded {
        table.add_row(row(store, kind, "loaded", &ledgers));
    }
    table
}

fn row(store: &str, kind: &str, tenant: &str, ledgers: &[&Ledger]) -> Vec<Cell> {
    let numbers = ledger_sums(ledgers);
    let balance = if ledgers.iter().all(|ledger| ledger.balances()) { "exact" } else { "OFF" };
    let texts = [store, kind, tenant].map(|text| Cell::new(text).set_alignment(CellAlignment::Left));
    texts.into_iter().chain(numbers.map(Cell::new)).chain([Cell::new(balance)]).collect()
}

/// What failed or was invalid, and the verdict as the last line.
fn ending(report: &Report) -> String {
    let mut lines = Vec::new();
    if let Validity::Invalid(reasons) = &report.findings.validity {
        lines.extend(reasons.iter().map(|reason| format!("invalid: {reason}")));
    }
    lines.extend(report.findings.failures.iter().map(|failure| format!("failed: {failure}")));
    lines.push(conclusion(report));
    lines.join("\n")
}
