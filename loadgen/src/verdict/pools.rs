//! Whether the generator's own connections to PostgreSQL ran out: a pool that is too small looks like a slow store. What a store makes its
//! callers wait is no wait for the pool; [`crate::target`] tells them apart. It never judges a store.

use std::time::Duration;

use super::validity::{MAX_WRITE_LAG, is_late, is_too_many, max_own_delay, of_commits};
use crate::measure::{Measured, Measurements, Recorder, SloRecorder, WriteRecorder};
use crate::number::percent;
use crate::scenario::{Slo, brief_duration, exact_duration};

/// The key that raises the number of connections that ask.
const ASKING: &str = "connections.postgres";
/// The key that raises the number of connections that write.
const WRITING: &str = "connections.postgres_writers";

/// Whether so many questions would have been in time without their wait that it may change a verdict, or most of them waited while the
/// store itself answers in time.
pub(super) fn of_questions(slos: &[Slo], recorders: &[Recorder]) -> Option<String> {
    let kept = recorders.iter().filter_map(|recorder| {
        let share = kept_waiting(recorder.measured())?;
        Some((share, recorder.question()))
    });
    if let Some((share, question)) = kept.max_by(|(one, _), (two, _)| one.total_cmp(two)) {
        return Some(exceeded(&format!("probes of {question}"), share, ASKING));
    }
    let waiting = recorders.iter().filter_map(|recorder| {
        let (question, measured) = (recorder.question(), recorder.measured());
        let judging = || slos.iter().filter(|slo| slo.is_about(question, recorder.users()));
        let within = judging().map(|slo| slo.within).min()?;
        Some((most_waited(measured, max_own_delay(judging()), within)?, question))
    });
    let (waited, question) = waiting.max()?;
    // Only clients of PostgreSQL wait for one; questions to other stores wait where they ask it as well.
    Some(format!(
        "half of the probes of {question} waited more than {} for a connection of the generator, although the store \
         answers in time: {}",
        brief_duration(waited),
        remedy(ASKING)
    ))
}

/// The same of the transactions that an SLO judges. Without one, transactions may not wait longer than any write may be late.
pub(super) fn of_writes(measured: &Measurements) -> Option<String> {
    match of_commits(&measured.slos).next() {
        Some(_) => of_judged(&measured.slos),
        None => measured.writes.iter().find_map(of_transactions),
    }
}

fn of_judged(judged: &[SloRecorder]) -> Option<String> {
    if let Some((share, one)) = of_commits(judged).find_map(|(one, _)| Some((kept_waiting(one.measured())?, one))) {
        return Some(exceeded(&format!("transactions of {}", one.slo().name), share, WRITING));
    }
    let (one, waited) =
        of_commits(judged).find_map(|(one, own)| Some((one, most_waited(one.measured(), own, one.slo().within)?)))?;
    Some(format!(
        "half of the transactions of {} waited more than {} for a connection of the generator, although PostgreSQL commits \
         in time: {}",
        one.slo().name,
        brief_duration(waited),
        remedy(WRITING)
    ))
}

fn of_transactions(writes: &WriteRecorder) -> Option<String> {
    let waited = writes.waited();
    is_late(waited, MAX_WRITE_LAG).then(|| {
        format!(
            "{} of the transactions waited more than {} for a connection of the generator; the limit is 1 %: {}",
            percent(waited.count_above(MAX_WRITE_LAG) as f64 / waited.len() as f64),
            exact_duration(MAX_WRITE_LAG),
            remedy(WRITING)
        )
    })
}

/// How long half of the samples waited at least, if that is longer than `own` and the store itself took at most `within`.
fn most_waited(measured: &Measured, own: Duration, within: Duration) -> Option<Duration> {
    let (waited, latency) = (measured.waited.quantile(0.5)?, measured.latency.quantile(0.5)?);
    (waited > own && latency.saturating_sub(waited) <= within).then_some(waited)
}

/// The share of all samples that would have been no exceedances without their wait, if it is too large.
fn kept_waiting(measured: &Measured) -> Option<f64> {
    let (kept, all) = (measured.kept_waiting, measured.counts.samples);
    is_too_many(kept, all).then(|| kept as f64 / all as f64)
}

fn exceeded(what: &str, share: f64, key: &str) -> String {
    format!(
        "{} of the {what} were only late because they waited for a connection of the generator; the limit is 1 %: {}",
        percent(share),
        remedy(key)
    )
}

/// What to do about connections that run out. No number of them helps a store that is at its limit.
fn remedy(key: &str) -> String {
    format!("raise `{key}` of the scenario, or lower the rate if PostgreSQL serves no more with more connections")
}

#[cfg(test)]
mod tests {
    use sluice_schemas::Store;

    use super::*;
    use crate::measure::{Backing, Outcome, Sample};
    use crate::population::TenantClass;
    use crate::question::Question;
    use crate::scenario::{Operation, Scenario};

    const MINUTE: Duration = Duration::from_mins(1);

    fn smoke() -> Scenario {
        Scenario::parse(include_str!("../../../scenarios/smoke.toml"), "smoke.toml").unwrap()
    }

    /// A hundred samples, of which the first `waiting` wait so many milliseconds before they are served.
    fn samples(waiting: u64, waited: u64, served: u64) -> impl Iterator<Item = Sample> {
        (0..100).map(move |number| {
            let (intended, lag) = (Duration::from_millis(500 * number), Duration::ZERO);
            let waited = Duration::from_millis(if number < waiting { waited } else { 0 });
            let latency = waited + Duration::from_millis(served);
            Sample { intended, lag, latency, waited, outcome: Outcome::Correct, backing: Backing::NotAsked }
        })
    }

    #[test]
    fn too_few_connections_are_the_generators_fault_and_a_slow_store_is_not() {
        let (scenario, question) = (smoke(), Question::LookupById);
        let judge = |waiting: u64, waited: u64, served: u64| {
            let mut recorder = Recorder::new(question, scenario.limit_of(question, None), scenario.duration);
            samples(waiting, waited, served).for_each(|sample| recorder.record(TenantClass::Large, sample));
            of_questions(&scenario.slos, &[recorder])
        };
        insta::assert_snapshot!([judge(40, 4_000, 80), judge(90, 12, 80)].map(Option::unwrap).join("\n"), @r"
        40 % of the probes of lookup_by_id were only late because they waited for a connection of the generator; the limit is 1 %: raise `connections.postgres` of the scenario, or lower the rate if PostgreSQL serves no more with more connections
        half of the probes of lookup_by_id waited more than 12 ms for a connection of the generator, although the store answers in time: raise `connections.postgres` of the scenario, or lower the rate if PostgreSQL serves no more with more connections
        ");
        assert_eq!(judge(90, 4_000, 300), None, "a slow store makes its callers wait");
        assert_eq!(judge(2, 4_000, 80), None, "a few may be chance");
        assert_eq!(judge(90, 4, 80), None, "a short wait");
    }

    #[test]
    fn questions_without_an_slo_are_not_given_up_for_lack_of_connections() {
        let mut recorder = Recorder::new(Question::LookupById, None, MINUTE);
        for sample in samples(90, 9_000, 80) {
            let outcome = if sample.waited.is_zero() { Outcome::Correct } else { Outcome::TimedOut };
            recorder.record(TenantClass::Large, Sample { outcome, ..sample });
        }
        assert!(
            of_questions(&[], &[recorder]).unwrap().starts_with("90 % of the probes of lookup_by_id were only late")
        );
    }

    #[test]
    fn too_few_writers_are_the_generators_fault_and_a_slow_store_is_not() {
        let commits = "\n[[slo]]\nname = \"commits\"\nof = \"commits\"\nobjective = \"95 %\"\nwithin = \"100 ms\"\n";
        let text = include_str!("../../../scenarios/smoke.toml").to_owned() + commits;
        let scenario = Scenario::parse(&text, "commits.toml").unwrap();
        let judge = |waiting: u64, waited: u64, served: u64| {
            let mut measured = Measurements::new(&scenario);
            measured.writes.push(WriteRecorder::with_first_attempts(Store::Postgres, MINUTE));
            for sample in samples(waiting, waited, served) {
                measured.writes[0].record_wait(sample.intended, sample.waited);
                measured.record_operation(Operation::Commits, TenantClass::Large, sample);
            }
            of_writes(&measured)
        };
        insta::assert_snapshot!([judge(40, 4_000, 5), judge(90, 60, 5)].map(Option::unwrap).join("\n"), @r"
        40 % of the transactions of commits were only late because they waited for a connection of the generator; the limit is 1 %: raise `connections.postgres_writers` of the scenario, or lower the rate if PostgreSQL serves no more with more connections
        half of the transactions of commits waited more than 60 ms for a connection of the generator, although PostgreSQL commits in time: raise `connections.postgres_writers` of the scenario, or lower the rate if PostgreSQL serves no more with more connections
        ");
        assert_eq!(judge(90, 4_000, 500), None, "a slow store makes its callers wait");
    }

    #[test]
    fn writers_are_not_short_only_where_an_slo_judges_commits() {
        let judge = |waited: Duration| {
            let mut writes = WriteRecorder::with_first_attempts(Store::Postgres, MINUTE);
            (0..100).for_each(|second| writes.record_wait(Duration::from_secs(second), waited));
            of_writes(&Measurements { questions: Vec::new(), slos: Vec::new(), writes: vec![writes] })
        };
        assert_eq!(judge(Duration::from_millis(900)), None);
        insta::assert_snapshot!(judge(Duration::from_secs(3)).unwrap(), @"100 % of the transactions waited more than 1 s for a connection of the generator; the limit is 1 %: raise `connections.postgres_writers` of the scenario, or lower the rate if PostgreSQL serves no more with more connections");
    }
}
