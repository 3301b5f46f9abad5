//! The comparison as data: every quantity of every question and SLO on both sides, the verdicts, and what a reader must know
//! about the runs. It is written as JSON. It reads and writes no file.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::repeat;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::differences::{Difference, differences};
use super::effect::{self, ASSUMED_DEVIATION, Effect, Noise};
use super::error::CompareError;
use super::judged::{Change, judge};
use super::observed::{ALPHA, Observed, Quantity, percentile, share};
use crate::binomial::at_least;
use crate::measure::Counts;
use crate::number::{counted, percent};
use crate::report::{QuestionReport, Report, wording::instant};
use crate::scenario::Slo;
use crate::verdict::{Judged, Overall, Verdict};

/// Parts of a scenario that do not change what the stores are asked to do.
const NOT_LOAD: &[&str] =
    &["scenario.seed", "scenario.key_seed", "scenario.slos", "scenario.availability", "scenario.settle"];

/// Runs before and after a change, compared.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// The scenario.
    pub scenario: String,
    /// The verdict.
    pub outcome: Outcome,
    /// The share by which a latency may be higher and still be no worse; of an SLO's allowance for its share.
    pub margin: f64,
    /// Maximum probability of a wrong verdict.
    pub alpha: f64,
    /// Where the noise between runs is known from.
    pub noise: Noise,
    /// The runs before the change.
    pub a: Vec<Run>,
    /// The runs after it.
    pub b: Vec<Run>,
    /// Every quantity of every question and SLO.
    pub compared: Vec<Compared>,
    /// Failures of side B that side A does not have, one sentence each: no latency outweighs them.
    pub failures: Vec<String>,
    /// What limits the comparison, one sentence each.
    pub notes: Vec<String>,
    /// What differs besides the measurements.
    pub differences: Vec<Difference>,
}

/// What a comparison says about the runs as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every judged quantity is no worse.
    NoWorse,
    /// A judged quantity is worse, or something failed.
    Worse,
    /// Nothing is worse, and something is undecided.
    Undecided,
}

/// One run of a side.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// Start of the drive.
    pub started_at: DateTime<Utc>,
    /// Its own verdict.
    pub verdict: Overall,
}

/// One quantity of a question or an SLO on both sides.
#[derive(Debug, Clone, Serialize)]
pub struct Compared {
    /// The question or the SLO.
    pub subject: String,
    /// The quantity.
    pub quantity: Quantity,
    /// Its mean on side A: microseconds (the geometric mean), or a share.
    pub a: f64,
    /// Its mean on side B.
    pub b: f64,
    /// The change; of the natural logarithm for a percentile.
    pub effect: Effect,
    /// The verdict; `None` if the quantity informs only.
    pub change: Option<Change>,
}

/// Compares the runs `a` before a change with the runs `b` after it.
pub fn compare(a: &[Report], b: &[Report], margin: f64) -> Result<Comparison, CompareError> {
    check(a, b)?;
    let mut measured = questions(a, b, margin);
    measured.extend(slos(a, b, margin));
    let (compared, outcome) = judged(measured);
    let failures = failures(a, b);
    let noise = Noise::of(a.len(), b.len());
    let differences = differences(a, b);
    let notes = notes((a, b), noise, &differences);
    let is_invalid = a.iter().chain(b).any(|run| !run.findings.is_valid());
    let outcome = match outcome {
        _ if !failures.is_empty() => Outcome::Worse,
        _ if is_invalid => Outcome::Undecided,
        outcome => outcome,
    };
    let [of_a, of_b] = [a, b].map(|side| side.iter().map(run).collect());
    let scenario = a[0].run.scenario.name.clone();
    Ok(Comparison {
        scenario,
        outcome,
        margin,
        alpha: ALPHA,
        noise,
        a: of_a,
        b: of_b,
        compared,
        failures,
        notes,
        differences,
    })
}

fn run(report: &Report) -> Run {
    Run { started_at: report.run.started_at, verdict: report.verdict }
}

fn check(a: &[Report], b: &[Report]) -> Result<(), CompareError> {
    let Some(first) = a.first() else { return Err(CompareError::NoRun('A')) };
    if b.is_empty() {
        return Err(CompareError::NoRun('B'));
    }
    for report in a.iter().chain(b) {
        check_scenario(&first.run.scenario.name, report)?;
        check_measured(report)?;
    }
    check_once(a, b)
}

/// Checks that no run is there twice: it would look like a repeat without noise, or like a change of nothing.
fn check_once(a: &[Report], b: &[Report]) -> Result<(), CompareError> {
    let mut seen: BTreeMap<(DateTime<Utc>, &str), char> = BTreeMap::new();
    for (report, side) in a.iter().zip(repeat('A')).chain(b.iter().zip(repeat('B'))) {
        let started_at = report.run.started_at;
        if let Some(before) = seen.insert((started_at, &report.run.digest), side) {
            let place = if before == side { format!("twice on side {side}") } else { "on both sides".to_owned() };
            return Err(CompareError::Twice { started_at, place });
        }
    }
    Ok(())
}

/// Checks that something was measured that can be compared: answers, or samples of an SLO.
fn check_measured(report: &Report) -> Result<(), CompareError> {
    let has_answers = report.questions.iter().any(|question| !question.histogram.is_empty());
    let has_samples = report.findings.slos.iter().any(|one| one.counts.samples > 0);
    if has_answers || has_samples {
        Ok(())
    } else {
        Err(CompareError::NothingMeasured { started_at: report.run.started_at })
    }
}

/// Checks that reports can be the baseline of a run of a scenario of that name, before it starts: that a comparison with
/// them can be made, and decided.
pub fn check_baseline(scenario: &str, reports: &[Report]) -> Result<(), CompareError> {
    for report in reports {
        check_scenario(scenario, report)?;
        check_measured(report)?;
        if !report.findings.is_valid() {
            let why = report.findings.why_invalid().join("; ");
            return Err(CompareError::Invalid { started_at: report.run.started_at, why });
        }
    }
    check_once(reports, &[])
}

/// Checks that a report is of a whole run of a scenario of that name.
fn check_scenario(scenario: &str, report: &Report) -> Result<(), CompareError> {
    let other = &report.run.scenario.name;
    if let Some(shard) = report.run.shard {
        return Err(CompareError::Shard { started_at: report.run.started_at, shard });
    }
    if other == scenario {
        Ok(())
    } else {
        Err(CompareError::OtherScenario { a: scenario.to_owned(), b: other.clone() })
    }
}

/// A quantity before it is judged.
struct Measured {
    subject: String,
    quantity: Quantity,
    means: [f64; 2],
    effect: Effect,
    margin: f64,
}

impl Measured {
    /// From the runs of both sides; `None` if one of them lacks the quantity.
    fn of(subject: &str, quantity: Quantity, a: &[Observed], b: &[Observed], margin: f64) -> Option<Self> {
        let effect = effect::effect(quantity, a, b)?;
        let mean = |side: &[Observed]| side.iter().map(|one| one.value).sum::<f64>() / side.len() as f64;
        let means = [a, b].map(|side| if quantity == Quantity::Exceeding { mean(side) } else { mean(side).exp() });
        Some(Self { subject: subject.to_owned(), quantity, means, effect, margin })
    }
}

fn questions(a: &[Report], b: &[Report], margin: f64) -> Vec<Measured> {
    let all = a[0].questions.iter().map(QuestionReport::name);
    let of_question = |name: String| {
        let [of_a, of_b] = [a, b].map(|side| side.iter().map(|run| percentiles(run, &name)).collect::<Vec<_>>());
        Quantity::PERCENTILES.into_iter().enumerate().filter_map(move |(index, (quantity, _))| {
            let side = |runs: &[Option<[Observed; 3]>]| -> Option<Vec<Observed>> {
                runs.iter().map(|run| run.map(|run| run[index])).collect()
            };
            Measured::of(&name, quantity, &side(&of_a)?, &side(&of_b)?, margin.ln_1p())
        })
    };
    all.flat_map(of_question).collect()
}

/// The percentiles of a question in a run; `None` if the run has no latencies of it.
fn percentiles(report: &Report, name: &str) -> Option<[Observed; 3]> {
    let question = report.questions.iter().find(|question| question.name() == name)?;
    let observe = |(_, quantile)| percentile(&question.histogram, &question.series, quantile);
    let [p50, p95, p99] = Quantity::PERCENTILES.map(observe);
    Some([p50?, p95?, p99?])
}

fn slos(a: &[Report], b: &[Report], margin: f64) -> Vec<Measured> {
    let of_slo = |judged: &Judged| {
        let (slo, margin) = (&judged.slo, margin * judged.test.allowed);
        let [of_a, of_b] = [a, b].map(|side| side.iter().map(|run| exceeding(run, slo)).collect::<Option<Vec<_>>>());
        Measured::of(&format!("SLO {}", slo.name), Quantity::Exceeding, &of_a?, &of_b?, margin)
    };
    a[0].findings.slos.iter().filter_map(of_slo).collect()
}

/// The share that exceeds the limit of an SLO; `None` if the run does not judge it with the same limit.
fn exceeding(report: &Report, slo: &Slo) -> Option<Observed> {
    let judged = report.findings.slos.iter().find(|judged| judged.slo.counts_like(slo))?;
    // The effective sample may be that of one window: in the whole drive, as many samples count as one.
    let effective = &judged.test.effective;
    let worth = effective.samples / (effective.taken_from as f64).max(1.0);
    share(judged.counts.exceedances, judged.counts.samples, judged.counts.samples as f64 * worth)
}

/// Judges all quantities together, except for those that inform only.
fn judged(measured: Vec<Measured>) -> (Vec<Compared>, Outcome) {
    let effects: Vec<(Effect, f64)> =
        measured.iter().filter(|one| one.quantity.is_judged()).map(|one| (one.effect, one.margin)).collect();
    let changes = judge(&effects);
    let has = |change| changes.contains(&change);
    let outcome = if has(Change::Worse) {
        Outcome::Worse
    } else if has(Change::Undecided) || changes.is_empty() {
        Outcome::Undecided
    } else {
        Outcome::NoWorse
    };
    let mut changes = changes.into_iter();
    let compared = measured.into_iter().map(|Measured { subject, quantity, means: [a, b], effect, .. }| {
        let change = if quantity.is_judged() { changes.next() } else { None };
        Compared { subject, quantity, a, b, effect, change }
    });
    (compared.collect(), outcome)
}

/// What failed in the runs of B and in none of A, by kind.
fn failures(a: &[Report], b: &[Report]) -> Vec<String> {
    let known: BTreeSet<String> = a.iter().flat_map(failures_of).map(|(kind, _)| kind).collect();
    let mut failures = Vec::new();
    for report in b {
        let new = failures_of(report).into_iter().filter(|(kind, _)| !known.contains(kind)).map(|(_, why)| why);
        let of_questions = report.questions.iter().filter_map(|question| more_failing(a, question));
        let started = instant(&report.run.started_at);
        failures.extend(
            new.chain(of_questions)
                .map(|why| format!("the run of {started} failed in a way in which none before the change did: {why}")),
        );
    }
    failures
}

/// What no latency outweighs in a run, each with its kind: wrong answers to a question, a store that was not available, and
/// sentences, whose kind is the text without its numbers.
fn failures_of(report: &Report) -> Vec<(String, String)> {
    let wrong = report.questions.iter().filter(|question| question.counts.wrong > 0).map(|question| {
        let name = question.name();
        let sentence = format!("{} to {name}", counted(question.counts.wrong, "wrong answer"));
        (format!("wrong answers to {name}"), sentence)
    });
    let availability = report.findings.availability.iter().filter(|one| one.test.verdict == Verdict::Fail);
    let availability = availability.map(|one| {
        let subject = format!("{} {:?}", one.store, one.subject);
        (subject, format!("{} was not available: {}", one.store, one.test.reason))
    });
    let sentences = report.findings.failures.iter().map(|sentence| {
        let kind: String = sentence.chars().filter(|c| !c.is_ascii_digit() && *c != ',').collect();
        (kind, sentence.clone())
    });
    sentences.chain(wrong).chain(availability).collect()
}

/// Share of a question's samples that may be errors or time-outs before it counts as failing.
const FAILING: f64 = 0.01;
/// Maximum probability of so many by chance.
const FAILING_ALPHA: f64 = 0.001;

/// Errors and time-outs of a question in a run of B that are more than in every run of A. They have no latency that is compared.
fn more_failing(a: &[Report], question: &QuestionReport) -> Option<String> {
    let share = |counts: &Counts| {
        (counts.samples > 0).then(|| (counts.errors + counts.timed_out) as f64 / counts.samples as f64)
    };
    let name = question.name();
    let before = a.iter().flat_map(|run| &run.questions).filter(|one| one.name() == name);
    let before = before.filter_map(|one| share(&one.counts)).fold(0.0, f64::max);
    let (counts, now) = (&question.counts, share(&question.counts)?);
    let failing = (counts.errors + counts.timed_out) as f64;
    let is_more = at_least(failing, counts.samples as f64, before.max(FAILING)) <= FAILING_ALPHA;
    is_more.then(|| format!("{} of the answers to {name} failed, and at most {} did", percent(now), percent(before)))
}

/// What a reader must know about the runs.
fn notes((a, b): (&[Report], &[Report]), noise: Noise, differences: &[Difference]) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(match noise {
        Noise::BothSides => None,
        Noise::OneSide => Some(
            "one side has a single run: the noise between runs is taken from the other side, as if it were the same"
                .to_owned(),
        ),
        Noise::Assumed => Some(format!(
            "each side has a single run, so the noise between runs is not known: a standard deviation of {:.0} % is \
             assumed, and more noise than that looks like a change; repeat the runs of both sides",
            ASSUMED_DEVIATION * 100.0
        )),
    });
    let starts = |side: &[Report]| side.iter().map(|run| run.run.started_at).collect::<Vec<_>>();
    let [starts_a, starts_b] = [a, b].map(starts);
    let apart = starts_a.iter().max() < starts_b.iter().min() || starts_b.iter().max() < starts_a.iter().min();
    if apart && noise != Noise::Assumed {
        notes.push(
            "the runs of one side all came before those of the other: a drift of the machine looks like a change; \
             interleave them, A B A B"
                .to_owned(),
        );
    }
    let invalid = a.iter().chain(b).filter(|run| !run.findings.is_valid());
    notes.extend(invalid.map(|run| {
        let started = instant(&run.run.started_at);
        format!("the run of {started} is not valid and proves nothing about the stores: repeat it, or leave it out")
    }));
    let is_load = |one: &&Difference| {
        one.what.starts_with("scenario.") && !NOT_LOAD.iter().any(|part| one.what.starts_with(part))
    };
    notes.extend(
        differences.iter().find(is_load).map(|one| {
            format!("the sides do not have the same load ({} differs), which may explain a change", one.what)
        }),
    );
    notes.extend(missing(a, b));
    notes
}

/// One sentence for each question or SLO that not every run has, or not with the same limit.
fn missing(a: &[Report], b: &[Report]) -> Vec<String> {
    let all = || a.iter().chain(b);
    let names: BTreeSet<String> = all().flat_map(|run| &run.questions).map(QuestionReport::name).collect();
    let questions = names.into_iter().filter(|name| !all().all(|run| percentiles(run, name).is_some()));
    let slos = all().flat_map(|run| &run.findings.slos).map(|one| &one.slo);
    let slos = slos.filter(|slo| !all().all(|run| exceeding(run, slo).is_some()));
    let slos: BTreeSet<String> = slos.map(|slo| format!("SLO {}", slo.name)).collect();
    questions
        .chain(slos)
        .map(|name| format!("{name} is not compared: not every run measured it in the same way"))
        .collect()
}
