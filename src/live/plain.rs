//! The plain lines of a drive, for a log or a simple terminal: what is in flight and written, and during the drive each store's rates
//! and latency, and the verdict so far on each SLO. It never draws.

use sluice_loadgen::{
    drive::{Phase, Progress, StoreCounts},
    measure::Counts,
    number::{counted, separated},
    question::Store,
};

use super::numbers::{millis, rate};
use super::phase::phase;
use super::view::so_far;

/// The lines.
pub(super) fn describe(now: &Progress) -> String {
    let questions = questions(now);
    let mut lines = vec![if now.is_read_only { questions } else { format!("{questions}: {}", writes(now)) }];
    if now.phase == Phase::Driving {
        lines.extend([stores(now), verdicts(now)].into_iter().filter(|line| !line.is_empty()));
    }
    lines.join("\n          ")
}

fn questions(now: &Progress) -> String {
    let (in_flight, held_back) = (counted(now.in_flight, "question"), separated(now.held_back));
    let sum = |count: fn(&Counts) -> u64| separated(now.questions.iter().map(|one| count(&one.counts)).sum());
    let (failed, wrong) = (sum(Counts::failed), sum(|counts| counts.wrong));
    format!("{}, {in_flight} in flight, {held_back} held back, {failed} failed, {wrong} wrong", phase(now))
}

fn writes(now: &Progress) -> String {
    let written = now.acknowledged;
    let [communications, events, interactions, metrics] =
        [written.communications, written.events, written.interactions, written.metrics].map(separated);
    format!("{communications} communications, {events} events, {interactions} interactions, {metrics} metrics")
}

/// Rates and the 95th percentile of each store, over the drive so far.
fn stores(now: &Progress) -> String {
    let seconds = now.elapsed.as_secs_f64().max(1.0);
    let describe = |store: Store| {
        let StoreCounts { offered, answered, .. } = now.counts(store);
        let [offered, answered] = [offered, answered].map(|count| rate(count as f64 / seconds));
        format!("{} {answered} of {offered}/s, p95 {}", store.as_str(), millis(now.latency(store).quantile(0.95)))
    };
    now.asked().map(describe).collect::<Vec<_>>().join("; ")
}

fn verdicts(now: &Progress) -> String {
    let judged = now.slos.iter().map(|one| format!("{} {}", one.slo.name, so_far(one).0)).collect::<Vec<_>>();
    if judged.is_empty() { String::new() } else { format!("so far: {}", judged.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::progress;
    use super::*;
    use sluice_loadgen::scenario::Scenario;
    use std::time::Duration;

    #[test]
    fn a_drive_is_described_with_rates_and_verdicts() {
        let smoke = Scenario::parse(include_str!("../../scenarios/smoke.toml"), "smoke").unwrap();
        insta::assert_snapshot!(describe(&progress(&smoke, Duration::from_secs(41))));
    }
}
