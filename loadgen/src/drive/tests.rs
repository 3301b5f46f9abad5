//! The phases of a drive and the recording of its writes, without stores.

use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;

use super::*;
use crate::measure::{Backing, Outcome, Sample};
use crate::plan::Plan;
use crate::population::Population;
use crate::verdict::Latency;

/// The state of a drive with an SLO of commits that has no store.
async fn shared() -> Arc<Shared> {
    let commits = "\n[[slo]]\nname = \"commits\"\nof = \"commits\"\nobjective = \"95 %\"\nwithin = \"100 ms\"\n";
    let text = include_str!("../../../scenarios/smoke.toml").to_owned() + commits;
    let mut scenario = Scenario::parse(&text, "smoke.toml").unwrap();
    (scenario.communications, scenario.history) = (1_000, 500);
    let plan = Arc::new(Plan::new(&scenario, &Population::new(&scenario)));
    let (stores, names) = (Stores::default(), Names::platform());
    let context = RunContext::new(&stores, &names, &scenario, &plan);
    prepare(RunContext { access: Access::ReadOnly, ..context }).await.unwrap()
}

#[tokio::test]
async fn the_latency_of_a_commit_is_the_same_in_its_slo_and_in_the_writes() {
    let shared = shared().await;
    for millis in 1..=200 {
        let (intended, latency) = (Duration::from_millis(millis), Duration::from_micros(millis * 777));
        let (lag, waited, outcome) = (Duration::ZERO, Duration::ZERO, Outcome::Correct);
        // The transaction is recorded a moment after it ended.
        let at = intended + latency + Duration::from_millis(5);
        shared.record_commit(0, Sample { intended, lag, latency, waited, outcome, backing: Backing::NotAsked }, at);
    }
    let measured = measurements(&shared, Some(WriteRecorder::new(Store::Kafka, shared.scenario.duration)));
    assert!(measured.writes.is_empty(), "nothing is written without a producer");
    let slo = measured.slos.iter().find(|one| one.slo().name == "commits").unwrap();
    let judged = Latency::from(&slo.measured().latency);
    assert_eq!(judged, Latency::from(lock(&shared.transactions).latency()));
    assert_eq!(judged.p50_us.map(|us| us / 1_000), Some(77));
}

#[tokio::test]
async fn a_drive_waits_for_answers_and_only_then_for_watched_events() {
    let (shared, stop) = (shared().await, CancellationToken::new());
    let (progress, receiver) = watch::channel(Arc::default());
    let until = |phase| {
        let mut receiver: watch::Receiver<Arc<Progress>> = receiver.clone();
        async move { drop(receiver.wait_for(|now| now.phase == phase).await.unwrap()) }
    };
    let nothing_watched = None::<std::future::Ready<()>>;
    with_last_progress(&shared, &stop, &progress, until(Phase::AwaitingAnswers), nothing_watched).await;
    assert_eq!(receiver.borrow().phase, Phase::AwaitingAnswers);
    let watching = Some(until(Phase::AwaitingEvents));
    with_last_progress(&shared, &stop, &progress, until(Phase::AwaitingAnswers), watching).await;
    assert_eq!(receiver.borrow().phase, Phase::AwaitingEvents);
}
