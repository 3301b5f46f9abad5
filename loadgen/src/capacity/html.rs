//! The result of the searches as one page for a browser, in the style of a run's report: no request to a network, readable
//! without a script, in light and dark. It only renders.

use maud::{Markup, html};

use super::report::{CapacityReport, SearchReport};
use super::search::{Found, Hold, Outcome};
use super::table::{gave_way, latencies, outcome, sentences};
use crate::number::separated;
use crate::report::html::axis::Axis;
use crate::report::html::chart::{Chart, Line};
use crate::report::html::document;

/// Points of the law's line.
const POINTS: usize = 60;

/// The page.
pub(super) fn page(report: &CapacityReport) -> String {
    let title = format!("Capacity of {} · sluice", report.run.scenario.name);
    let sections = html! {
        (summary(report))
        @for search in &report.searches { (section(report, search)) }
    };
    let footer =
        "Written by sluice. A rate holds if every SLO is met by a decided verdict, and everything has landed in time.";
    document(&title, (&header(report), &sections), footer, None)
}

fn header(report: &CapacityReport) -> Markup {
    let run = &report.run;
    html! {
        header {
            p.kicker { (run.started_at.format("%A, %-d %B %Y, %H:%M UTC")) }
            h1 { "Capacity of " (run.scenario.name) }
            p.lead { (run.scenario.description) }
            @if let Some(search) = report.main_search() {
                @let (class, headline) = headline(search.found);
                div.verdict.(class) {
                    strong { (headline) }
                    div {
                        p { (search.subject) " " (search.conclusion()) "." }
                        @if let Some(first) = report.first_to_give_way() {
                            p { (first.subject) " gives way first when it grows alone: " (gave_way(first)) "." }
                        }
                    }
                }
            }
            nav { @for search in &report.searches { a href={ "#" (search.subject) } { (search.subject) } } }
        }
    }
}

/// The class of the box, and in a few words the rate that was found, or why there is none.
fn headline(found: Found) -> (&'static str, String) {
    if let Some(passed) = found.passed() {
        return (if passed >= 1.0 { "pass" } else { "fail" }, format!("{passed:.2}x"));
    }
    match found {
        Found::BelowFirst { failed } => ("fail", format!("below {failed:.2}x")),
        Found::Interrupted { .. } => ("inconclusive", "interrupted".to_owned()),
        Found::TooFewSamples { .. } => ("inconclusive", "undecided".to_owned()),
        Found::GeneratorGaveWay { .. } | Found::Limit { .. } | Found::NoLimit { .. } => {
            ("inconclusive", "unknown".to_owned())
        }
    }
}

fn summary(report: &CapacityReport) -> Markup {
    let dash = || "-".to_owned();
    html! {
        section #capacity {
            h2 { "Capacity" }
            div.scroll {
                table {
                    thead { tr { th { "capacity of" } th { "holds at" } th { "questions/s" } th { "records/s" } th.text { "headroom ends" } th.text { "gave way first" } } }
                    tbody {
                        @for search in &report.searches {
                            tr {
                                td { (search.subject) }
                                td { (search.found.passed().map_or_else(dash, |passed| format!("{passed:.2}x"))) }
                                td { (search.rates.map_or_else(dash, |(questions, _)| separated(questions.round() as u64))) }
                                td { (search.rates.map_or_else(dash, |(_, records)| separated(records.round() as u64))) }
                                td.text { (report.ends_on(search).map_or_else(dash, |day| day.to_string())) }
                                td.text { (gave_way(search)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn section(report: &CapacityReport, search: &SearchReport) -> Markup {
    html! {
        section id=(search.subject) {
            h2 { (search.subject) }
            ul { @for line in sentences(report, search) { li { (line.trim()) } } }
            @if let Some(chart) = scaling(search) { div.pair { (chart.markup()) } }
            div.scroll {
                table {
                    thead { tr { th { "step" } th { "rate" } th { "held" } th { "questions/s" } th { "records/s" } th { "busy" } th.wrap { "95th percentiles" } th.wrap { "outcome" } } }
                    tbody {
                        @for step in &search.steps {
                            tr {
                                td { (step.trial) }
                                td { (format!("{:.2}x", step.factor)) }
                                td { (format!("{:.0} s", step.seconds)) }
                                td { (format!("{:.1}", step.questions)) }
                                td { (separated(step.records.round() as u64)) }
                                td { (format!("{:.0} %", step.observed.machine.busy * 100.0)) }
                                td.wrap { (latencies(step)) }
                                td.wrap { (outcome(step)) @if step.hold == Hold::Confirm { " (confirming)" } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Throughput by the questions in progress: what was measured, and the law.
fn scaling(search: &SearchReport) -> Option<Chart> {
    let of_stores = search.steps.iter().filter(|step| step.outcome != Outcome::GeneratorGaveWay);
    let mut points: Vec<(f64, f64)> =
        of_stores.filter_map(|step| step.point).map(|point| (point.load, point.throughput)).collect();
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    let furthest = points.last()?.0;
    let highest = points.iter().map(|point| point.1).fold(0.0, f64::max);
    let measured = Line {
        class: "p50",
        label: "measured".to_owned(),
        points: points.iter().map(|&(load, throughput)| (load, Some(throughput))).collect(),
    };
    let law = search.scaling.map(|scaling| {
        let at = |n: usize| furthest * n as f64 / POINTS as f64;
        let points = (1..=POINTS).map(|n| (at(n), Some(scaling.throughput(at(n)))));
        Line { class: "p95", label: "scalability law".to_owned(), points: points.collect() }
    });
    Some(Chart {
        title: "Answers per second by the questions in progress".to_owned(),
        x: Axis::rates(furthest),
        y: Axis::rates(highest * 1.05),
        lines: std::iter::once(measured).chain(law).collect(),
        limit: None,
        failures: Vec::new(),
    })
}
