//! The section on latency: for each question over time and by percentile. It draws the limits and never judges by them.

use std::time::Duration;

use maud::{Markup, html};

use super::axis::Axis;
use super::chart::{Chart, Limit, Line};
use crate::number::{rate, separated};
use crate::report::contents::{QuestionReport, Report};
use crate::report::series::SeriesReport;
use crate::report::wording::millis;
use crate::scenario::{Scenario, exact_duration};

/// Points of a curve by percentile.
const POINTS: u32 = 160;

/// The section.
pub(super) fn section(report: &Report) -> Markup {
    html! {
        section #latency {
            h2 { "Latency" }
            p.note {
                "From the intended start of a question to its last byte, time-outs included, on a logarithmic scale. The \
                 curves on the right show which share of all answers is faster; the dashed line is the tightest limit."
            }
            @for one in &report.questions { (question(&report.run.scenario, one)) }
        }
    }
}

fn question(scenario: &Scenario, one: &QuestionReport) -> Markup {
    let latency = one.latency;
    let numbers = [
        ("p50", millis(latency.p50_us)),
        ("p95", millis(latency.p95_us)),
        ("p99", millis(latency.p99_us)),
        ("max", millis(latency.max_us)),
        ("waited", millis(one.waited_p95_us)),
        ("samples", separated(one.counts.samples)),
        ("missed", separated(one.counts.exceedances)),
        ("errors", separated(one.counts.errors)),
        ("time-outs", separated(one.counts.timed_out)),
        ("wrong", separated(one.counts.wrong)),
    ];
    html! {
        article.question {
            h3 { (one.name()) " " small { (sluice_schemas::Store::from(one.store)) ", " (asked(one)) } }
            dl.numbers { @for (name, value) in numbers { div { dt { (name) } dd { (value) } } } }
            div.pair { (over_time(scenario, one).markup()) (by_percentile(scenario, one).markup()) }
        }
    }
}

/// How often it is asked.
fn asked(one: &QuestionReport) -> String {
    if one.users.is_some() { "service time".to_owned() } else { format!("{}/s", rate(one.rate)) }
}

fn over_time(scenario: &Scenario, one: &QuestionReport) -> Chart {
    let series = &one.series;
    let line = |class, values: &[Option<u64>]| Line { class, label: class.to_owned(), points: points(series, values) };
    let is_failed = |(index, failed): (usize, &u64)| (*failed > 0).then(|| middle(series, index));
    Chart {
        title: format!("Over time, in steps of {}", exact_duration(Duration::from_secs_f64(series.interval_s))),
        x: Axis::time(scenario.duration),
        y: axis(scenario, one),
        lines: vec![line("max", &series.max_us), line("p95", &series.p95_us), line("p50", &series.p50_us)],
        limit: limit(scenario, one),
        failures: series.failed.iter().enumerate().filter_map(is_failed).collect(),
    }
}

fn by_percentile(scenario: &Scenario, one: &QuestionReport) -> Chart {
    let count = one.histogram.len();
    let end = (count.max(1) as f64).log10();
    let point = |place: f64| {
        let latency = one.histogram.quantile(1.0 - 10_f64.powf(-place));
        (place, latency.map(|latency| latency.as_micros() as f64))
    };
    let points = (0..=POINTS).map(|n| point(end * f64::from(n) / f64::from(POINTS))).collect();
    Chart {
        title: "By percentile".to_owned(),
        x: Axis::percentiles(count),
        y: axis(scenario, one),
        lines: vec![Line { class: "p50", label: "all answers".to_owned(), points }],
        limit: limit(scenario, one),
        failures: Vec::new(),
    }
}

/// Both charts of a question have the same scale.
fn axis(scenario: &Scenario, one: &QuestionReport) -> Axis {
    let fastest = one.histogram.quantile(0.0).map(|shortest| shortest.as_micros() as u64);
    let limit = scenario.limit_of(one.question, one.users.as_deref()).map(|limit| limit.as_micros() as u64);
    Axis::latency(fastest.into_iter().chain(limit).chain(one.latency.max_us))
}

fn limit(scenario: &Scenario, one: &QuestionReport) -> Option<Limit> {
    let limit = scenario.limit_of(one.question, one.users.as_deref())?;
    Some(Limit { label: format!("limit {}", exact_duration(limit)), y: limit.as_micros() as f64 })
}

fn points(series: &SeriesReport, values: &[Option<u64>]) -> Vec<(f64, Option<f64>)> {
    values.iter().enumerate().map(|(index, value)| (middle(series, index), value.map(|value| value as f64))).collect()
}

/// The middle of an interval, in seconds.
fn middle(series: &SeriesReport, index: usize) -> f64 {
    (index as f64 + 0.5) * series.interval_s
}
