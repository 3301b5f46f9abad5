//! The tables for the terminal. This module only formats and never prints.

use std::collections::BTreeMap;

use comfy_table::{Cell, CellAlignment, Table, TableComponent, presets};

use super::contents::{Header, QuestionReport, Report, question_report};
use super::rates::Rate;
use crate::{
    account::{Account, Ledger, Origin},
    measure::Recorder,
    scenario::Scenario,
    verdict::{Availability, Findings, Judged, Latency, Overall, Validity, Verdict},
};

/// Shown if nothing was measured, which is not zero.
const UNKNOWN: &str = "-";

impl Report {
    /// The tables for the terminal, without colors, and the verdict as the last line.
    pub fn table(&self) -> String {
        render(self)
    }
}

/// The tables of a drive without a verdict: questions and rates, without colors.
pub fn drive_tables(scenario: &Scenario, recorders: &[Recorder], rates: &[Rate]) -> String {
    let questions: Vec<QuestionReport> = recorders.iter().map(|recorder| question_report(scenario, recorder)).collect();
    questions_and_rates(&questions, rates)
}

fn render(report: &Report) -> String {
    let run = &report.run;
    let mut parts = vec![
        format!("{}: {}\n{}", run.scenario.name, run.scenario.description, identity(run)),
        format!("SLOs\n{}", slos(&report.findings.slos, &report.findings.availability)),
        questions_and_rates(&report.questions, &report.rates),
    ];
    parts.extend(report.account.as_ref().map(|account| format!("Account\n{}", ledgers(account))));
    parts.push(reasons(&report.findings));
    parts.push(conclusion(report));
    let text = parts.join("\n\n");
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

fn identity(run: &Header) -> String {
    let digest: String = run.digest.chars().take(16).collect();
    let Scenario { seed, key_seed, span, duration, .. } = &run.scenario;
    let [span, duration] = [span, duration].map(|&length| humantime_serde::re::humantime::format_duration(length));
    format!(
        "seed {seed}, key seed {key_seed}, plan {digest}\n\
         {span} in {duration}, {:.0} times real time; caches, merges and refresh intervals are not compressed",
        run.scenario.compression()
    )
}

fn questions_and_rates(asked: &[QuestionReport], measured: &[Rate]) -> String {
    format!("Questions\n{}\n\nRates\n{}", questions(asked), rates(measured))
}

/// A table with text in the first column and the last `texts` columns, and numbers in the others.
fn table(header: &[&str], texts: usize) -> Table {
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

fn slos(judged: &[Judged], availability: &Availability) -> Table {
    let mut table =
        table(&["SLO", "objective", "samples", "effective", "exceed", "p50", "p95", "p99", "max", "verdict"], 1);
    for one in judged {
        let Latency { p50_us, p95_us, p99_us, max_us } = one.latency;
        let within = humantime_serde::re::humantime::format_duration(one.slo.within);
        let mut row = vec![
            one.slo.name.clone(),
            format!("{} within {within}", percent(one.slo.objective)),
            with_separators(one.counts.samples),
            with_separators(one.effective.samples as u64),
            with_separators(one.counts.exceedances),
        ];
        row.extend([p50_us, p95_us, p99_us, max_us].map(millis));
        row.push(word(one.verdict).to_owned());
        table.add_row(row);
    }
    let Availability { objective, samples, failed, verdict, .. } = availability;
    let mut row =
        vec!["availability".to_owned(), format!("{} answered", percent(*objective)), with_separators(*samples)];
    row.extend([String::new(), with_separators(*failed)]);
    row.extend(std::iter::repeat_n(String::new(), 4));
    row.push(word(*verdict).to_owned());
    table.add_row(row);
    table
}

fn reasons(findings: &Findings) -> String {
    let slos = findings.slos.iter().map(|one| (one.slo.name.as_str(), one.verdict, one.reason.as_str()));
    let availability = ("availability", findings.availability.verdict, findings.availability.reason.as_str());
    let line = |(name, verdict, reason)| format!("{} {name}: {reason}", word(verdict));
    slos.chain([availability]).map(line).collect::<Vec<_>>().join("\n")
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
        let Latency { p50_us, p95_us, p99_us, max_us } = asked.latency;
        let mut row = vec![
            Cell::new(asked.question),
            Cell::new(asked.store.as_str()).set_alignment(CellAlignment::Left),
            Cell::new(asked.rate),
        ];
        let numbers =
            [counts.samples, counts.exceedances, counts.errors, counts.timed_out, counts.wrong].map(with_separators);
        row.extend(numbers.into_iter().chain([p50_us, p95_us, p99_us, max_us].map(millis)).map(Cell::new));
        table.add_row(row);
    }
    table
}

fn rates(rates: &[Rate]) -> Table {
    let mut table = table(&["records", "planned", "produced", "in", "per s", "landed after", "per s to the store"], 0);
    for rate in rates {
        let per_second = |seconds: f64| {
            if seconds > 0.0 { with_separators((rate.produced as f64 / seconds) as u64) } else { UNKNOWN.to_owned() }
        };
        let unknown = || (UNKNOWN.to_owned(), UNKNOWN.to_owned());
        let landed = rate.landed_in.map_or_else(unknown, |seconds| (format!("{seconds:.1} s"), per_second(seconds)));
        table.add_row(vec![
            rate.kind.clone(),
            with_separators(rate.planned),
            with_separators(rate.produced),
            format!("{:.1} s", rate.produced_in),
            per_second(rate.produced_in),
            landed.0,
            landed.1,
        ]);
    }
    table
}

/// Driven records by tenant; loaded records, which rarely differ, summed over all tenants.
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
    let sum = |count: fn(&Ledger) -> u64| with_separators(ledgers.iter().map(|ledger| count(ledger)).sum());
    let numbers = [
        sum(|ledger| ledger.produced),
        sum(|ledger| ledger.landed),
        sum(|ledger| ledger.dead_lettered),
        sum(|ledger| ledger.differences.missing),
        sum(|ledger| ledger.differences.duplicate),
        sum(|ledger| ledger.differences.wrong),
        sum(|ledger| ledger.differences.unexpected),
    ];
    let balance = if ledgers.iter().all(|ledger| ledger.balances()) { "exact" } else { "OFF" };
    let texts = [store, kind, tenant].map(|text| Cell::new(text).set_alignment(CellAlignment::Left));
    texts.into_iter().chain(numbers.map(Cell::new)).chain([Cell::new(balance)]).collect()
}

fn conclusion(report: &Report) -> String {
    let mut lines = Vec::new();
    if let Validity::Invalid(reasons) = &report.findings.validity {
        lines.extend(reasons.iter().map(|reason| format!("invalid: {reason}")));
    }
    lines.extend(report.findings.failures.iter().map(|failure| format!("failed: {failure}")));
    let conclusion = match report.verdict {
        Overall::Pass if report.account.is_some() => "PASS: every objective is met and the account is exact",
        Overall::Pass => "PASS: every objective is met",
        Overall::Fail => "FAIL",
        Overall::Inconclusive => "INCONCLUSIVE: nothing failed, but the samples don't decide every objective",
        Overall::Invalid => "INVALID: the generator was at fault, so the run proves nothing about the stores",
    };
    lines.push(conclusion.to_owned());
    lines.join("\n")
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "PASS",
        Verdict::Fail => "FAIL",
        Verdict::Inconclusive => "INCONCLUSIVE",
    }
}

/// A share as a percentage, without trailing zeros.
fn percent(share: f64) -> String {
    let text = format!("{:.4}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Microseconds as milliseconds, with more decimals for small values.
fn millis(micros: Option<u64>) -> String {
    let Some(micros) = micros else { return UNKNOWN.to_owned() };
    let millis = micros as f64 / 1_000.0;
    if millis < 100.0 { format!("{millis:.1} ms") } else { format!("{millis:.0} ms") }
}

/// A number with thousands separators.
fn with_separators(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
