//! The report as one page for a browser: no request to a network, no font, no library. Everything is readable without
//! its script, in light and dark, on a phone and on paper. It only renders and never writes a file.
//!
//! # Layout: each module imports only modules above it
//! - `axis`, `chart`: scales with their ticks, and line charts as SVG
//! - `interval`: the interval of a share beside its limit, as SVG
//! - `objectives`, `latency`, `rates`, `classes`, `account`, `run`: the sections of the page

mod account;
pub(crate) mod axis;
pub(crate) mod chart;
mod classes;
mod interval;
mod latency;
mod objectives;
mod rates;
mod run;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::contents::Report;
use super::wording::{explanation, reasons, verdict, word};
use crate::number::separated;
use crate::scenario::exact_duration;
use crate::verdict::{Overall, Verdict};

/// The style of every page.
const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = include_str!("html/script.js");

/// The page.
pub(super) fn page(report: &Report) -> Result<String, serde_json::Error> {
    let run = &report.run;
    let title = format!("{} {} · sluice", verdict(report.verdict), run.scenario.name);
    let configuration = serde_json::to_string_pretty(&run.config)?;
    let scenario = serde_json::to_string_pretty(&run.scenario)?;
    let sections = html! {
        (objectives::section(report))
        (latency::section(report))
        (rates::section(report))
        (classes::section(report))
        (account::section(report))
        (run::section(report, &scenario, &configuration))
    };
    let footer = "Written by sluice. Latencies count from the intended start, so a stalled store hides nothing.";
    Ok(document(&title, (&header(report), &sections), footer, Some(SCRIPT)))
}

/// A page that needs nothing else: its header, its sections and its style.
pub(crate) fn document(
    title: &str,
    (header, sections): (&Markup, &Markup),
    footer: &str,
    script: Option<&str>,
) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (header)
                main { (sections) }
                footer { (footer) }
                @if let Some(script) = script { script { (PreEscaped(script)) } }
            }
        }
    };
    page.into_string()
}

fn header(report: &Report) -> Markup {
    let run = &report.run;
    let explanation = explanation(report);
    let class = verdict(report.verdict).to_lowercase();
    html! {
        header {
            p.kicker { (run.started_at.format("%A, %-d %B %Y, %H:%M UTC")) }
            h1 { (run.scenario.name) }
            p.lead { (run.scenario.description) }
            div.verdict.(class) {
                strong { (verdict(report.verdict)) }
                div {
                    @if !explanation.is_empty() { p { (explanation) } }
                    ul { @for ground in grounds(report) { li { (ground) } } }
                }
            }
            dl.facts { @for (name, value) in facts(report) { div { dt { (name) } dd { (value) } } } }
            nav {
                a href="#objectives" { "Objectives" }
                a href="#latency" { "Latency" }
                a href="#rates" { "Rates" }
                a href="#classes" { "Tenants" }
                a href="#account" { "Account" }
                a href="#run" { "Run" }
            }
        }
    }
}

/// Why the verdict is no PASS, a sentence each.
fn grounds(report: &Report) -> Vec<String> {
    let findings = &report.findings;
    let mut grounds = findings.failures.clone();
    grounds.extend(findings.why_invalid());
    let because = match report.verdict {
        Overall::Fail => word(Verdict::Fail),
        Overall::Inconclusive => word(Verdict::Inconclusive),
        Overall::Pass | Overall::Invalid => return grounds,
    };
    grounds.extend(
        reasons(findings).iter().filter_map(|line| line.strip_prefix(because)).map(|line| line.trim().to_owned()),
    );
    grounds
}

fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let scenario = &report.run.scenario;
    let asked: u64 = report.questions.iter().map(|one| one.counts.samples).sum();
    let written: u64 = report.rates.iter().map(|rate| rate.produced).sum();
    vec![
        ("drive", exact_duration(scenario.duration)),
        ("simulated", exact_duration(scenario.span)),
        ("questions", separated(asked)),
        ("records", separated(written)),
        ("tenants", separated(u64::from(scenario.tenants))),
        ("plan", report.run.digest.chars().take(12).collect()),
    ]
}
