//! The tables for the terminal. This module only formats and never prints.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, TableComponent, presets};

use super::contents::{Header, QuestionReport, Report, question_report};
use super::fit::{fit, fit_text, printable};
use super::generator::Generator;
use super::rates::Rate;
use super::series::WriteReport;
use super::wording::{
    UNKNOWN, availability_name, conclusion, effective, ledger_sums, millis, objective, reasons, sampled, word,
};
use crate::number::{percent, rate, separated};
use crate::{
    account::{Account, Ledger, Origin},
    measure::Measurements,
    scenario::{Scenario, brief_duration, exact_duration},
    verdict::{Availability, Judged, Overall, Proportion, Subject},
};

impl Report {
    /// Tables and texts, at most 80 columns wide and without colors; the verdict is the last sentence.
    pub fn table(&self) -> String {
        printable(&render(self))
    }
}

/// The tables of a drive without a verdict, at most 80 columns wide: questions, writes and rates, without colors.
pub fn drive_tables(scenario: &Scenario, measured: &Measurements, rates: &[Rate]) -> String {
    let questions = measured.questions.iter().map(|recorder| question_report(scenario, recorder)).collect::<Vec<_>>();
    let writes: Vec<WriteReport> = measured.writes.iter().map(WriteReport::from).collect();
    measurements(scenario, &questions, &writes, rates)
}

fn render(report: &Report) -> String {
    let (run, findings) = (&report.run, &report.findings);
    let mut parts = vec![
        format!("{}\n{}", run.scenario.title(), identity(run)),
        format!("SLOs\n{}", fit(&slos(&findings.slos), 1)),
        format!("Latencies and stalls\n{}", fit(&slo_latencies(&findings.slos), 1)),
        format!("Availability\n{}", fit(&availability(&findings.availability), 1)),
        measurements(&run.scenario, &report.questions, &report.writes, &report.rates),
    ];
    parts.extend(report.account.as_ref().map(|account| {
        let lines = std::iter::once(fit(&ledgers(account), 3)).chain(sampled(account));
        format!("Account\n{}", lines.collect::<Vec<_>>().join("\n"))
    }));
    parts.push(generator(&report.generator));
    let proves_nothing = report.verdict == Overall::Invalid;
    let note = if proves_nothing { "The run is INVALID, so what follows says nothing about the stores.\n" } else { "" };
    parts.push(format!("{note}{}", reasons(findings).join("\n")));
    parts.push(ending(report));
    fit_text(&parts.join("\n\n"))
}

/// What the latencies of users are not.
const SERVICE_TIME: &str = "\nlatencies of users are service times: a slow store is asked less often, which nothing corrects (coordinated omission)";

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

fn measurements(scenario: &Scenario, asked: &[QuestionReport], written: &[WriteReport], produced: &[Rate]) -> String {
    let by_users = asked.iter().any(|one| one.users.is_some());
    let note = if by_users { SERVICE_TIME } else { "" };
    let mut parts = vec![
        format!("Questions\n{}", fit(&questions(asked), 1)),
        format!("Latencies of questions\n{}{note}", fit(&question_latencies(asked), 1)),
    ];
    if !written.is_empty() {
        parts.push(format!("Writes\n{}", fit(&writes(written, scenario.duration), 1)));
    }
    if !produced.is_empty() {
        parts.push(format!("Rates\n{}", fit(&rates(produced), 1)));
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

fn slos(judged: &[Judged]) -> Table {
    let mut table = table(&["SLO", "objective", "samples", "effective", "exceed", "verdict"], 1);
    for one in judged {
        let samples = [one.counts.samples, one.counts.exceedances];
        let texts = [one.slo.name.clone(), objective(&one.slo)].into_iter();
        table.add_row(texts.chain(counts(samples, &one.test)).chain([word(one.test.verdict).to_owned()]));
    }
    table
}

/// The samples, the effective ones and the bad ones.
fn counts([samples, bad]: [u64; 2], test: &Proportion) -> [String; 3] {
    [separated(samples), effective(test), separated(bad)]
}

/// What a verdict excludes.
fn excluded(test: &Proportion) -> String {
    test.excluded.map_or_else(|| UNKNOWN.to_owned(), |excluded| brief_duration(excluded.stall))
}

/// The latencies of each SLO, and the stalls that it excludes.
fn slo_latencies(judged: &[Judged]) -> Table {
    let mut table = table(&["SLO", "p50", "p95", "p99", "max", "excludes stalls"], 0);
    for one in judged {
        let latencies = one.latency.columns().map(millis);
        table.add_row(std::iter::once(one.slo.name.clone()).chain(latencies).chain([excluded(&one.test)]));
    }
    table
}

/// What succeeded in each store, and the outages that its verdict excludes.
fn availability(judged: &[Availability]) -> Table {
    let header = ["store", "objective", "samples", "effective", "failed", "excludes", "verdict"];
    let mut table = table(&header, 1);
    for one in judged {
        let name = match one.subject {
            Subject::Operations => one.store.to_string(),
            Subject::FirstAttempts => availability_name(one),
        };
        let texts = [name, percent(one.objective)].into_iter();
        let judged = [excluded(&one.test), word(one.test.verdict).to_owned()];
        table.add_row(texts.chain(counts([one.samples, one.failed], &one.test)).chain(judged));
    }
    table
}

/// What the generator added itself, at the 99th percentile, and its processors.
fn generator(generator: &Generator) -> String {
    let share =
        |share: Option<f64>| share.map_or_else(|| UNKNOWN.to_owned(), |share| format!("{:.1} %", share * 100.0));
    let priority = if generator.priority_is_raised { "with a raised priority " } else { "" };
    let commits = generator.commit_delay_p99_us.map(|us| format!(", those that commit by {}", millis(Some(us))));
    format!(
        "generator: probes sent {} late, writes {}, tasks delayed by {}{} (p99);\n\
         {priority}it used {} of the processors, and the hypervisor took {}",
        millis(generator.probe_lag_p99_us),
        millis(generator.write_lag_p99_us),
        millis(generator.task_delay_p99_us),
        commits.unwrap_or_default(),
        share(generator.processor_share),
        share(generator.steal_share),
    )
}

fn questions(questions: &[QuestionReport]) -> Table {
    let mut table = table(&["question", "per s", "samples", "exceed", "errors", "time-outs", "wrong"], 0);
    for asked in questions {
        let counts = asked.counts;
        let per_second = if asked.users.is_none() { rate(asked.rate) } else { UNKNOWN.to_owned() };
        let numbers =
            [counts.samples, counts.exceedances, counts.errors, counts.timed_out, counts.wrong].map(separated);
        table.add_row([asked.name(), per_second].into_iter().chain(numbers));
    }
    table
}

fn question_latencies(questions: &[QuestionReport]) -> Table {
    let mut table = table(&["question", "store", "p50", "p95", "p99", "max"], 0);
    align_left(&mut table, 1);
    for asked in questions {
        let texts = [asked.name(), asked.store.as_str().to_owned()].into_iter();
        table.add_row(texts.chain(asked.latency.columns().map(millis)));
    }
    table
}

/// Aligns a column of text. It is the column that is aligned, since the cells are written anew when the table is [fitted](fit).
pub(crate) fn align_left(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Left);
    }
}

/// Latencies are those of acknowledged writes, from their intended starts.
fn writes(writes: &[WriteReport], drive: Duration) -> Table {
    let mut table = table(&["writes", "per s", "samples", "errors", "p50", "p95", "p99", "max"], 0);
    for one in writes {
        let [due, failed] = one.totals();
        let texts =
            [format!("{} to {}", one.unit(), one.store.as_str()), rate(due as f64 / drive.as_secs_f64())].into_iter();
        table.add_row(texts.chain([due, failed].map(separated)).chain(one.latency.columns().map(millis)));
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
    align_left(&mut table, 1);
    align_left(&mut table, 2);
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

fn row(store: &str, kind: &str, tenant: &str, ledgers: &[&Ledger]) -> Vec<String> {
    let balance = if ledgers.iter().all(|ledger| ledger.balances()) { "exact" } else { "OFF" };
    let texts = [store, kind, tenant].map(str::to_owned).into_iter();
    texts.chain(ledger_sums(ledgers)).chain([balance.to_owned()]).collect()
}

/// What failed or was invalid, and the verdict as the last sentence.
fn ending(report: &Report) -> String {
    let invalid = report.findings.why_invalid();
    let mut lines: Vec<String> = invalid.iter().map(|reason| format!("invalid: {reason}")).collect();
    lines.extend(report.findings.failures.iter().map(|failure| format!("failed: {failure}")));
    lines.push(conclusion(report));
    lines.join("\n")
}
