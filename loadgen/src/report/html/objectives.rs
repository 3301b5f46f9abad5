//! The section on the objectives: each with its verdict, its interval and its reason. It tests nothing itself.

use maud::{Markup, html};

use super::interval;
use crate::number::{percent, separated};
use crate::report::contents::Report;
use crate::report::wording::{availability_name, effective, millis, objective, word};
use crate::verdict::{Availability, Judged, Proportion, Verdict};

/// The section.
pub(super) fn section(report: &Report) -> Markup {
    html! {
        section #objectives {
            h2 { "Objectives" }
            p.note {
                "The bar is the share that misses the limit, as far as this run can tell: one-sided bounds at alpha, for samples \
                 as correlated as they were seen to be. An objective passes when the whole bar is in the allowed zone, and fails when \
                 none of it is; its reason says for which stalls that holds."
            }
            @for one in &report.findings.slos { (slo(one)) }
            @if !report.findings.availability.is_empty() {
                h3 { "Availability" }
                @for one in &report.findings.availability { (availability(one)) }
            }
        }
    }
}

fn slo(one: &Judged) -> Markup {
    let latency = one.latency;
    let numbers = [
        ("samples", separated(one.counts.samples)),
        ("effective", effective(&one.test)),
        ("missed", separated(one.counts.exceedances)),
        ("p50", millis(latency.p50_us)),
        ("p95", millis(latency.p95_us)),
        ("p99", millis(latency.p99_us)),
        ("max", millis(latency.max_us)),
    ];
    article(&one.slo.name, &objective(&one.slo), &one.test, &numbers)
}

fn availability(one: &Availability) -> Markup {
    let numbers =
        [("samples", separated(one.samples)), ("effective", effective(&one.test)), ("failed", separated(one.failed))];
    let target = format!("{} succeed", percent(one.objective));
    article(&availability_name(one), &target, &one.test, &numbers)
}

fn article(name: &str, target: &str, test: &Proportion, numbers: &[(&str, String)]) -> Markup {
    html! {
        article.objective {
            div.name {
                h4 { (name) (chip(test.verdict)) }
                p { (target) }
            }
            (interval::markup(test))
            dl.numbers { @for (name, value) in numbers { div { dt { (name) } dd { (value) } } } }
            p.reason { (test.reason) }
        }
    }
}

/// A verdict as a label.
fn chip(verdict: Verdict) -> Markup {
    html! { span.chip.(word(verdict).to_lowercase()) { (word(verdict)) } }
}
