//! The words and numbers that every form of a report has in common. It decides nothing.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sluice_schemas::Store;

use super::contents::Report;
use crate::account::{Account, Ledger, Sampled};
use crate::number::{counted, percent, separated};
use crate::scenario::{Operation, Slo, brief_duration, exact_duration};
use crate::verdict::{Availability, Findings, Overall, Proportion, Subject, Verdict};

/// A write that takes so long is worth a word in a PASS.
const SLOW_WRITE: Duration = Duration::from_secs(1);

/// Shown if nothing was measured, which is not zero.
pub(super) const UNKNOWN: &str = "-";

/// An SLO's objective in words, with the tenants that it judges.
pub(super) fn objective(slo: &Slo) -> String {
    let tenants = slo.tenants.map_or_else(String::new, |class| format!(", {} tenants", class.as_str()));
    let windows = slo.in_every.map_or_else(String::new, |window| format!(", in every {}", exact_duration(window)));
    let users = slo.users.as_ref().map_or_else(String::new, |users| format!(", service time of {users}"));
    let of = match slo.of {
        Operation::Questions => "",
        Operation::Commits => " of commits",
        Operation::Events => " of events visible",
    };
    let rate = slo.at_least.map_or_else(String::new, |rate| format!(", at least {}/s", separated(rate as u64)));
    format!("{}{of} within {}{rate}{tenants}{users}{windows}", percent(slo.objective), exact_duration(slo.within))
}

/// The effective sample, if the samples show how they depend on each other.
pub(super) fn effective(test: &Proportion) -> String {
    test.effective_samples().map_or_else(|| UNKNOWN.to_owned(), separated)
}

/// The sums of ledgers: produced, landed, dead-lettered, missing, duplicate, wrong and unexpected.
pub(super) fn ledger_sums(ledgers: &[&Ledger]) -> [String; 7] {
    let counts: [fn(&Ledger) -> u64; 7] = [
        |ledger| ledger.produced,
        |ledger| ledger.landed,
        |ledger| ledger.dead_lettered,
        |ledger| ledger.differences.missing,
        |ledger| ledger.differences.duplicate,
        |ledger| ledger.differences.wrong,
        |ledger| ledger.differences.unexpected,
    ];
    counts.map(|count| separated(ledgers.iter().map(|ledger| count(ledger)).sum()))
}

/// What the account compared by a sample, a sentence each.
pub(super) fn sampled(account: &Account) -> Vec<String> {
    let sentence = |one: &Sampled| {
        let Sampled { store, records, compared, of } = one;
        let [compared, of] = [*compared, *of].map(separated);
        format!("{store}: all {records} were counted, and the contents of {compared} of {of} compared")
    };
    account.sampled.iter().map(sentence).collect()
}

/// What is judged, as a sentence about the store.
pub(super) fn availability_name(one: &Availability) -> String {
    match one.subject {
        Subject::Operations => format!("{} is available", one.store),
        Subject::FirstAttempts => format!("{} at the first attempt", one.store),
    }
}

/// The reason of each verdict, a sentence each.
pub(super) fn reasons(findings: &Findings) -> Vec<String> {
    let line = |name: &str, test: &Proportion| format!("{} {name}: {}", word(test.verdict), test.reason);
    let slos = findings.slos.iter().map(|one| line(&one.slo.name, &one.test));
    let availability = findings.availability.iter().map(|one| line(&availability_name(one), &one.test));
    slos.chain(availability).collect()
}

/// The verdict on a run in a word.
pub(super) fn verdict(overall: Overall) -> &'static str {
    match overall {
        Overall::Pass => "PASS",
        Overall::Fail => "FAIL",
        Overall::Inconclusive => "INCONCLUSIVE",
        Overall::Invalid => "INVALID",
    }
}

/// The verdict in one sentence.
pub(super) fn conclusion(report: &Report) -> String {
    match report.verdict {
        Overall::Pass => pass(report),
        Overall::Fail => fail(report),
        Overall::Inconclusive if report.findings.slos.is_empty() => {
            "INCONCLUSIVE: nothing failed, but the scenario has no SLO that the run could pass".to_owned()
        }
        Overall::Inconclusive => {
            "INCONCLUSIVE: no objective is missed for certain, but the samples don't decide every one; its reason says what \
             would"
                .to_owned()
        }
        Overall::Invalid if report.findings.interrupted.is_some() => {
            "INVALID: the run was interrupted before its account, so it proves nothing about the stores".to_owned()
        }
        Overall::Invalid => {
            "INVALID: the generator was at fault, so the run proves nothing about the stores".to_owned()
        }
    }
}

/// What [`conclusion`] says besides the word, as a sentence; empty if it says no more.
pub(super) fn explanation(report: &Report) -> String {
    let conclusion = conclusion(report);
    let mut rest = conclusion.split_once(": ").map_or("", |(_, rest)| rest).chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).chain(['.']).collect())
}

/// What a FAIL says: how much of what is listed above it, or below it on a page, is why.
fn fail(report: &Report) -> String {
    let findings = &report.findings;
    let slos = findings.slos.iter().map(|one| one.test.verdict);
    let verdicts: Vec<Verdict> = slos.chain(findings.availability.iter().map(|one| one.test.verdict)).collect();
    let missed = verdicts.iter().filter(|verdict| **verdict == Verdict::Fail).count();
    let verb = if missed == 1 { "is" } else { "are" };
    // What no SLO judges is among the failures.
    let wrong = findings.slos.iter().any(|one| one.counts.wrong > 0);
    let failures = findings.failures.len() as u64;
    let why = [
        (missed > 0).then(|| format!("{missed} of {} {verb} missed", counted(verdicts.len() as u64, "objective"))),
        wrong.then(|| "answers are wrong".to_owned()),
        (failures > 0).then(|| counted(failures, if missed > 0 || wrong { "other failure" } else { "failure" })),
    ];
    format!("FAIL: {}", why.into_iter().flatten().collect::<Vec<_>>().join("; "))
}

/// What a PASS says, and no more: the objectives that it leaves out, the longest stall that every SLO excludes, and the longest outage
/// that every available store excludes.
fn pass(report: &Report) -> String {
    let findings = &report.findings;
    let undecided = |one: &&Availability| one.test.verdict == Verdict::Inconclusive;
    let met = match findings.availability.iter().filter(undecided).count() {
        0 => "every objective is met",
        _ => "every SLO is met, and availability is not decided, which the scenario allows",
    };
    let account = if report.account.is_some() { "; the account is exact" } else { "" };
    let stalls = longer("stalls", findings.slos.iter().map(|one| &one.test));
    let of_stores = findings.availability.iter().filter(|one| one.subject == Subject::Operations);
    let outages = longer("outages", of_stores.map(|one| &one.test));
    let not_excluded: Vec<String> = [stalls, outages].into_iter().flatten().collect();
    let slow = slow_writes(report).map_or_else(String::new, |slow| format!("; {slow}"));
    let limit = if not_excluded.is_empty() {
        String::new()
    } else {
        let drive = exact_duration(report.run.scenario.duration);
        format!("; a run of {drive} can't exclude {}", not_excluded.join(", or "))
    };
    format!("PASS: {met}{account}{slow}{limit}")
}

/// The slowest writes that no SLO judges, if they were so slow that a user would want to know.
fn slow_writes(report: &Report) -> Option<String> {
    let is_judged = |store: Store| {
        let of = if store == Store::Kafka { Operation::Events } else { Operation::Commits };
        report.run.scenario.slos.iter().any(|slo| slo.of == of)
    };
    let unjudged = report.writes.iter().filter(|one| !is_judged(one.store));
    let slowest = unjudged.filter_map(|one| Some((one.store, one.latency.max_us?))).max_by_key(|(_, micros)| *micros);
    let (store, micros) = slowest.filter(|(_, micros)| *micros >= SLOW_WRITE.as_micros() as u64)?;
    Some(format!("the slowest write to {store} took {}, which no SLO judges", millis(Some(micros))))
}

/// What is longer than all of these tests exclude; `None` if none was decided.
fn longer<'a>(what: &str, tests: impl Iterator<Item = &'a Proportion>) -> Option<String> {
    let shortest = tests.filter_map(|test| test.excluded).map(|excluded| excluded.stall).min();
    let shortest = shortest.filter(|shortest| !shortest.is_zero())?;
    Some(format!("{what} longer than {}", brief_duration(shortest)))
}

/// The verdict on an objective in a word.
pub(super) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "PASS",
        Verdict::Fail => "FAIL",
        Verdict::Inconclusive => "INCONCLUSIVE",
    }
}

/// An instant to the second.
pub(crate) fn instant(at: &DateTime<Utc>) -> impl std::fmt::Display {
    at.format("%F %T UTC")
}

/// Microseconds as milliseconds, with more decimals for small values; from ten seconds up as seconds.
pub(crate) fn millis(micros: Option<u64>) -> String {
    let Some(micros) = micros else { return UNKNOWN.to_owned() };
    let millis = micros as f64 / 1_000.0;
    match millis {
        ..100.0 => format!("{millis:.1} ms"),
        ..10_000.0 => format!("{} ms", separated(millis.round() as u64)),
        _ => format!("{:.1} s", millis / 1_000.0),
    }
}
