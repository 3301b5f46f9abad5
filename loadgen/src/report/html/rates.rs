//! The section on rates: questions offered and answered, and writes, for each store over time; records over the run. It
//! compares no rate with an objective.

use maud::{Markup, html};

use super::axis::Axis;
use super::chart::{Chart, Line};
use crate::number::separated;
use crate::question::Store;
use crate::report::contents::{QuestionReport, Report};
use crate::report::rates::Rate;
use crate::report::series::WriteReport;
use crate::report::wording::{UNKNOWN, millis};
use crate::scenario::Scenario;

/// The section.
pub(super) fn section(report: &Report) -> Markup {
    let scenario = &report.run.scenario;
    let asked = Store::ALL.iter().map(|store| {
        let of_store: Vec<_> = report.questions.iter().filter(|one| one.store == *store).collect();
        (*store, of_store)
    });
    html! {
        section #rates {
            h2 { "Rates" }
            p.note { "Questions and writes start when the plan says, whether or not earlier ones are answered." }
            div.pair.wrap {
                @for (store, of_store) in asked.filter(|(_, of_store)| !of_store.is_empty()) {
                    (questions(scenario, store, &of_store).markup())
                }
                @for one in &report.writes { (writes(scenario, one).markup()) }
            }
            @if !report.writes.is_empty() { (latencies(&report.writes)) }
            (table(&report.rates))
        }
    }
}

fn questions(scenario: &Scenario, store: Store, asked: &[&QuestionReport]) -> Chart {
    let interval = asked.first().map_or(1.0, |one| one.series.interval_s);
    let sum = |column: fn(&QuestionReport) -> &[u64]| {
        let mut sums = vec![0; asked.first().map_or(0, |one| column(one).len())];
        asked.iter().flat_map(|one| column(one).iter().enumerate()).for_each(|(index, count)| {
            sums.get_mut(index).into_iter().for_each(|sum| *sum += count);
        });
        sums
    };
    let (offered, answered) = (sum(|one| &one.series.offered), sum(|one| &one.series.answered));
    let failed = sum(|one| &one.series.failed);
    Chart {
        title: format!("Questions to {} per second", sluice_schemas::Store::from(store)),
        x: Axis::time(scenario.duration),
        y: Axis::rates(highest(&[&offered, &answered], interval)),
        lines: vec![line("offered", &offered, interval), line("answered", &answered, interval)],
        limit: None,
        failures: failures(&failed, interval),
    }
}

fn writes(scenario: &Scenario, one: &WriteReport) -> Chart {
    Chart {
        title: format!("Writes to {} per second ({})", one.store, one.unit()),
        x: Axis::time(scenario.duration),
        y: Axis::rates(highest(&[&one.offered, &one.answered], one.interval_s)),
        lines: vec![line("offered", &one.offered, one.interval_s), line("answered", &one.answered, one.interval_s)],
        limit: None,
        failures: failures(&one.failed, one.interval_s),
    }
}

/// Latencies of the writes.
fn latencies(writes: &[WriteReport]) -> Markup {
    html! {
        div.scroll {
            table {
                thead { tr {
                    th { "writes to" } th { "what" } th { "samples" } th { "errors" }
                    th { "p50" } th { "p95" } th { "p99" } th { "max" } th { "waited" }
                } }
                tbody {
                    @for one in writes {
                        tr {
                            td { (one.store) }
                            td.text { (one.unit()) }
                            @for count in one.totals() { td { (separated(count)) } }
                            @for latency in one.latency.columns() { td { (millis(latency)) } }
                            td { (millis(one.waited_p95_us)) }
                        }
                    }
                }
            }
        }
    }
}

fn line(class: &'static str, counts: &[u64], interval: f64) -> Line {
    let label = if class == "offered" { "offered" } else { "achieved" };
    let points =
        counts.iter().enumerate().map(|(index, &count)| (middle(index, interval), Some(count as f64 / interval)));
    Line { class, label: label.to_owned(), points: points.collect() }
}

fn highest(columns: &[&[u64]], interval: f64) -> f64 {
    columns.iter().flat_map(|column| column.iter()).max().map_or(0.0, |&most| most as f64 / interval)
}

fn failures(failed: &[u64], interval: f64) -> Vec<f64> {
    let is_failed = |(index, count): (usize, &u64)| (*count > 0).then(|| middle(index, interval));
    failed.iter().enumerate().filter_map(is_failed).collect()
}

fn middle(index: usize, interval: f64) -> f64 {
    (index as f64 + 0.5) * interval
}

fn table(rates: &[Rate]) -> Markup {
    let per_second = |count: u64, seconds: f64| {
        if seconds > 0.0 { separated((count as f64 / seconds) as u64) } else { UNKNOWN.to_owned() }
    };
    let seconds = |seconds: f64| format!("{seconds:.1} s");
    html! {
        div.scroll {
            table {
                thead { tr {
                    th { "records" } th { "planned" } th { "produced" } th { "in" } th { "per s" }
                    th { "landed after" } th { "per s to the store" }
                } }
                tbody {
                    @for rate in rates {
                        tr {
                            td { (rate.kind) }
                            td { (separated(rate.planned)) }
                            td { (separated(rate.produced)) }
                            td { (seconds(rate.produced_in)) }
                            td { (per_second(rate.produced, rate.produced_in)) }
                            td { (rate.landed_in.map_or_else(|| UNKNOWN.to_owned(), seconds)) }
                            td {
                                (rate.landed_in.map_or_else(|| UNKNOWN.to_owned(), |landed| per_second(rate.produced, landed)))
                            }
                        }
                    }
                }
            }
        }
    }
}
