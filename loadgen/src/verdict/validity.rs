//! Whether the generator kept up. A store's fault never makes a run invalid.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pools;
use crate::binomial;
use crate::{
    measure::{DurationHistogram, GeneratorHealth, Measurements, Recorder, SloRecorder, Started},
    number::{percent, separated},
    scenario::{Operation, Slo, brief_duration, exact_duration},
};

/// Share of an SLO's limit that the generator itself may add to a latency, at the 99th percentile.
const MAX_OWN_SHARE: f64 = 0.05;
/// Share of probes and tasks that may be later.
const MAX_LATE: f64 = 0.01;
/// Maximum probability of so many late ones by chance.
const LATE_ALPHA: f64 = 0.05;
/// What it may add where no SLO has a limit.
const DEFAULT_MAX_OWN: Duration = Duration::from_millis(50);
/// Limit of the writes' send lag at the 99th percentile. It shifts load by that much, and no latency depends on it.
pub(super) const MAX_WRITE_LAG: Duration = Duration::from_secs(1);
/// Minimum share of offered writes and probes that must be started.
const MIN_STARTED: f64 = 0.99;
/// Limit of the difference between the two clocks over a drive.
const MAX_CLOCK_JUMP: Duration = Duration::from_millis(500);
/// Maximum share of all processors that the generator may use itself.
const MAX_PROCESSOR_SHARE: f64 = 0.8;
/// Maximum share of all processors that the hypervisor may take.
const MAX_STEAL_SHARE: f64 = 0.1;

/// What to do about a generator whose threads wait for a processor.
const MORE_PROCESSORS: &str = "give the generator more processors, another machine than the stores', or the right to raise its priority \
                               (CAP_SYS_NICE)";

/// Whether a run can be judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Validity {
    /// The run can be judged.
    Valid,
    /// The run can't be judged; each reason is a sentence with its limit.
    Invalid(Vec<String>),
}

/// Judges the generator by its delays, the probes and writes that it never started, its processors and its clocks.
pub fn validity(slos: &[Slo], measured: &Measurements, health: &GeneratorHealth) -> Validity {
    let (recorders, judged) = (&measured.questions, &measured.slos);
    let checks = [
        probe_lag(slos, recorders),
        pools::of_questions(slos, recorders),
        task_delay(slos, health),
        commit_delay(judged, health),
        out_of_files(health),
        write_lag(health),
        commit_lag(judged),
        pools::of_writes(measured),
        never_started("writes", health.writes),
        never_started("probes", health.probes),
        processors(health),
        steal(health),
        clock_jump(health),
    ];
    let reasons: Vec<String> = checks.into_iter().flatten().collect();
    if reasons.is_empty() { Validity::Valid } else { Validity::Invalid(reasons) }
}

/// Whether the generator itself had too few connections to write what was planned.
pub fn is_short_of_writers(measured: &Measurements) -> bool {
    pools::of_writes(measured).is_some()
}

/// What the generator may add to the latency of a question: a share of the tightest limit that judges it.
pub(super) fn max_own_delay<'a>(slos: impl Iterator<Item = &'a Slo>) -> Duration {
    slos.map(|slo| slo.within.mul_f64(MAX_OWN_SHARE)).min().unwrap_or(DEFAULT_MAX_OWN)
}

/// The question whose probes were sent latest, by its own limit.
fn probe_lag(slos: &[Slo], recorders: &[Recorder]) -> Option<String> {
    let late = recorders.iter().filter_map(|recorder| {
        let (question, lag) = (recorder.question(), &recorder.measured().lag);
        let limit = max_own_delay(slos.iter().filter(|slo| slo.is_about(question, recorder.users())));
        is_late(lag, limit).then(|| (lag.count_above(limit) as f64 / lag.len() as f64, question, limit))
    });
    let (share, question, limit) = late.max_by(|(one, ..), (two, ..)| one.total_cmp(two))?;
    let (share, limit) = (percent(share), exact_duration(limit));
    Some(format!(
        "{share} of the probes of {question} were sent more than {limit} late; the limit is 1 %: {MORE_PROCESSORS}"
    ))
}

/// Whether more than 1 % are above the limit.
pub(super) fn is_late(lag: &DurationHistogram, limit: Duration) -> bool {
    is_too_many(lag.count_above(limit), lag.len())
}

/// Whether these are more than 1 %. Of a few hundred, a few more may be chance.
pub(super) fn is_too_many(late: u64, all: u64) -> bool {
    let (late, all) = (late as f64, all as f64);
    late > all * MAX_LATE && binomial::at_least(late, all, MAX_LATE) <= LATE_ALPHA
}

/// SLOs of commits, each with the maximum delay of the generator's own.
pub(super) fn of_commits(judged: &[SloRecorder]) -> impl Iterator<Item = (&SloRecorder, Duration)> {
    judged
        .iter()
        .filter(|one| one.slo().of == Operation::Commits)
        .map(|one| (one, one.slo().within.mul_f64(MAX_OWN_SHARE)))
}

fn commit_lag(judged: &[SloRecorder]) -> Option<String> {
    let late = of_commits(judged).find(|(one, limit)| is_late(&one.measured().lag, *limit));
    let (one, limit) = late?;
    let lag = &one.measured().lag;
    let (share, limit) = (percent(lag.count_above(limit) as f64 / lag.len() as f64), exact_duration(limit));
    Some(format!(
        "{share} of the transactions of {} were started more than {limit} late; the limit is 1 %: \
         {MORE_PROCESSORS}",
        one.slo().name
    ))
}

fn task_delay(slos: &[Slo], health: &GeneratorHealth) -> Option<String> {
    let limit = max_own_delay(slos.iter());
    let p99 = health.task_delay.quantile(0.99).filter(|_| is_late(&health.task_delay, limit))?;
    let [p99, limit] = [brief_duration(p99), exact_duration(limit)];
    Some(format!(
        "1 % of the generator's tasks waited more than {p99} for a processor, which counts as latency; the limit is \
         {limit}: {MORE_PROCESSORS}"
    ))
}

fn commit_delay(judged: &[SloRecorder], health: &GeneratorHealth) -> Option<String> {
    let limit = of_commits(judged).map(|(_, limit)| limit).min()?;
    let p99 = health.commit_delay.quantile(0.99).filter(|_| is_late(&health.commit_delay, limit))?;
    let [p99, limit] = [brief_duration(p99), exact_duration(limit)];
    Some(format!(
        "1 % of the tasks that commit to PostgreSQL waited more than {p99} for a processor, which counts as latency; the \
         limit is {limit}: {MORE_PROCESSORS}"
    ))
}

fn out_of_files(health: &GeneratorHealth) -> Option<String> {
    (health.out_of_files > 0).then(|| {
        format!(
            "{} questions and transactions failed because the generator may open no more files; raise its limit (`ulimit -n`)",
            separated(health.out_of_files)
        )
    })
}

fn processors(health: &GeneratorHealth) -> Option<String> {
    let share = health.processor_share.filter(|share| *share > MAX_PROCESSOR_SHARE)?;
    Some(format!(
        "the generator used {:.0} % of all processors itself; the limit is {:.0} %: lower the rate, or give it more processors",
        share * 100.0,
        MAX_PROCESSOR_SHARE * 100.0
    ))
}

fn steal(health: &GeneratorHealth) -> Option<String> {
    let share = health.steal_share.filter(|share| *share > MAX_STEAL_SHARE)?;
    Some(format!(
        "the hypervisor took {:.0} % of all processors; the limit is {:.0} %: use a machine whose processors are its own",
        share * 100.0,
        MAX_STEAL_SHARE * 100.0
    ))
}

fn write_lag(health: &GeneratorHealth) -> Option<String> {
    let p99 = health.write_lag.quantile(0.99).filter(|p99| *p99 > MAX_WRITE_LAG)?;
    let [p99, limit] = [brief_duration(p99), exact_duration(MAX_WRITE_LAG)];
    Some(format!("1 % of the writes were sent more than {p99} late; the limit is {limit}: {MORE_PROCESSORS}"))
}

/// Judges writes and probes separately: a thousand times as many writes would hide that every probe is missing.
fn never_started(kind: &str, started: Started) -> Option<String> {
    let Started { offered, sent, held_back } = started;
    let lost = offered.saturating_sub(sent + held_back);
    (lost as f64 > offered as f64 * (1.0 - MIN_STARTED)).then(|| {
        format!("{lost} of {offered} {kind} were never started, and no store held them back; the limit is 1 %: lower the rate, or give the \
             generator more processors")
    })
}

fn clock_jump(health: &GeneratorHealth) -> Option<String> {
    let jump = health.system.abs_diff(health.monotonic);
    (jump > MAX_CLOCK_JUMP).then(|| {
        let [jump, limit] = [brief_duration(jump), exact_duration(MAX_CLOCK_JUMP)];
        format!("the system clock jumped by {jump} during the drive; the limit is {limit}: let it be corrected slowly (NTP slews), and run again")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        measure::{Backing, Outcome, Sample},
        population::TenantClass,
        question::Question,
        scenario::Scenario,
    };

    fn scenario() -> Scenario {
        Scenario::parse(include_str!("../../../scenarios/smoke.toml"), "smoke.toml").unwrap()
    }

    fn probes_late_by(lag: Duration) -> Measurements {
        let scenario = scenario();
        let mut recorder =
            Recorder::new(Question::Search, scenario.limit_of(Question::Search, None), scenario.duration);
        for second in 0..100 {
            let intended = Duration::from_secs(second % 60);
            let sample = Sample {
                intended,
                lag,
                latency: lag,
                waited: Duration::ZERO,
                outcome: Outcome::Correct,
                backing: Backing::NotAsked,
            };
            recorder.record(TenantClass::Large, sample);
        }
        Measurements { questions: vec![recorder], ..nothing() }
    }

    fn nothing() -> Measurements {
        Measurements { questions: Vec::new(), slos: Vec::new(), writes: Vec::new() }
    }

    fn good() -> GeneratorHealth {
        let minute = Duration::from_mins(1);
        let started = Started { offered: 1_000, sent: 1_000, held_back: 0 };
        GeneratorHealth {
            writes: started,
            probes: started,
            monotonic: minute,
            system: minute,
            ..GeneratorHealth::default()
        }
    }

    #[test]
    fn a_generator_that_kept_up_is_valid() {
        assert_eq!(validity(&scenario().slos, &probes_late_by(Duration::from_millis(9)), &good()), Validity::Valid);
    }

    #[test]
    fn a_few_late_ones_of_a_few_hundred_may_be_chance() {
        let late = |count: u64, all: u64| {
            let mut lag = DurationHistogram::default();
            (0..all).for_each(|i| lag.record(Duration::from_millis(if i < count { 20 } else { 1 })));
            is_late(&lag, Duration::from_millis(10))
        };
        assert!(!late(8, 600), "1.3 %: six are allowed, and eight are no evidence");
        assert!(late(12, 600) && late(130, 10_000) && !late(100, 10_000));
    }

    #[test]
    fn each_question_has_the_limit_of_its_own_slo() {
        let mut slos = scenario().slos;
        let is_valid =
            |slos: &[Slo]| validity(slos, &probes_late_by(Duration::from_millis(15)), &good()) == Validity::Valid;
        assert!(!is_valid(&slos), "5 % of 200 ms are 10 ms");
        slos.iter_mut().find(|slo| slo.name == "search").unwrap().within = Duration::from_millis(400);
        assert!(is_valid(&slos), "5 % of 400 ms are 20 ms; the limit of the lookups, 5 ms, is not that of searches");
    }

    #[test]
    fn commits_have_limits_of_their_own() {
        let text = include_str!("../../../scenarios/smoke.toml").to_owned()
            + "\n[[slo]]\nname = \"commits\"\nof = \"commits\"\nobjective = \"95 %\"\nwithin = \"100 ms\"\n";
        let scenario = Scenario::parse(&text, "commits.toml").unwrap();
        let judge = |[lag, waited, served]: [u64; 3]| {
            let mut measured = Measurements::new(&scenario);
            let [lag, waited] = [lag, waited].map(Duration::from_millis);
            let latency = lag + waited + Duration::from_millis(served);
            let sample = Sample {
                intended: Duration::ZERO,
                lag,
                latency,
                waited,
                outcome: Outcome::Correct,
                backing: Backing::NotAsked,
            };
            (0..100).for_each(|_| measured.record_operation(Operation::Commits, TenantClass::Large, sample));
            validity(&scenario.slos, &measured, &good())
        };
        assert_eq!(judge([4, 0, 500]), Validity::Valid, "a slow store is no fault of the generator");
        assert_eq!(judge([0, 90, 500]), Validity::Valid, "and makes its callers wait");
        let reasons = [[11, 0, 5], [0, 90, 5]].map(|fault| match judge(fault) {
            Validity::Invalid(reasons) => reasons.join("\n"),
            Validity::Valid => panic!("{fault:?} is valid"),
        });
        insta::assert_snapshot!(reasons.join("\n"));
    }

    #[test]
    fn tasks_that_commit_late_count_only_where_commits_are_judged() {
        let text = include_str!("../../../scenarios/smoke.toml").to_owned()
            + "\n[[slo]]\nname = \"commits\"\nof = \"commits\"\nobjective = \"95 %\"\nwithin = \"100 ms\"\n";
        let judged = Scenario::parse(&text, "commits.toml").unwrap();
        let judge = |scenario: &Scenario, millis: u64| {
            let mut health = good();
            (0..100).for_each(|_| health.commit_delay.record(Duration::from_millis(millis)));
            validity(&scenario.slos, &Measurements::new(scenario), &health)
        };
        assert_eq!(judge(&judged, 4), Validity::Valid);
        assert_eq!(judge(&scenario(), 60), Validity::Valid, "no SLO judges commits");
        let Validity::Invalid(reasons) = judge(&judged, 60) else { panic!("valid") };
        insta::assert_snapshot!(reasons.join("\n"), @"1 % of the tasks that commit to PostgreSQL waited more than 60 ms for a processor, which counts as latency; the limit is 5 ms: give the generator more processors, another machine than the stores', or the right to raise its priority (CAP_SYS_NICE)");
    }

    #[test]
    fn a_generator_without_files_blames_no_store() {
        let health = GeneratorHealth { out_of_files: 1_200, ..good() };
        let Validity::Invalid(reasons) = validity(&scenario().slos, &nothing(), &health) else { panic!("valid") };
        insta::assert_snapshot!(reasons.join("\n"), @"1,200 questions and transactions failed because the generator may open no more files; raise its limit (`ulimit -n`)");
    }

    #[test]
    fn what_a_store_held_back_is_not_the_generators_fault() {
        let writes = Started { offered: 1_000, sent: 100, held_back: 900 };
        let health = GeneratorHealth { writes, ..good() };
        assert_eq!(validity(&scenario().slos, &nothing(), &health), Validity::Valid);
    }

    #[test]
    fn each_fault_of_the_generator_has_its_own_reason() {
        let shares = (Some(0.9), Some(0.25));
        let probes = Started { offered: 1_000, sent: 900, held_back: 0 };
        let mut health = GeneratorHealth { probes, system: Duration::from_secs(62), ..good() };
        (health.processor_share, health.steal_share) = shares;
        health.write_lag.record(Duration::from_secs(3));
        for _ in 0..100 {
            health.task_delay.record(Duration::from_millis(30));
        }
        let Validity::Invalid(reasons) =
            validity(&scenario().slos, &probes_late_by(Duration::from_millis(80)), &health)
        else {
            panic!("valid")
        };
        insta::assert_snapshot!(reasons.join("\n"));
    }
}
