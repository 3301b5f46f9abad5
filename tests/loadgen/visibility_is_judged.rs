//! Events that a worker does not bring to ClickHouse in time miss their SLO, and so does a rate at which they arrive.

use std::time::Duration;

use sluice_loadgen::scenario::{Operation, Slo};
use sluice_loadgen::verdict::{Judged, Verdict, judge};
use tokio_util::sync::CancellationToken;

use crate::world::{Worker, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_lands_nothing_fails_the_slos_of_events() {
    let (world, _) = World::loaded_with(|scenario| {
        let of_events = |name: &str, at_least: Option<f64>| Slo {
            name: name.to_owned(),
            of: Operation::Events,
            questions: Vec::new(),
            within: Duration::from_secs(20),
            at_least,
            ..scenario.slos[0].clone()
        };
        let slos = [("visible", None), ("sustained", Some(10.0)), ("not-driven", Some(1e6))];
        let slos = slos.map(|(name, at_least)| of_events(name, at_least));
        scenario.slos.extend(slos);
    })
    .await;
    // Negative control: a worker that seals its batches after half a second.
    let worker = Worker::start(&world);
    let [landed, sustained, not_driven] = judged(&world).await;
    worker.stop().await;
    assert_eq!(landed.test.verdict, Verdict::Pass, "{landed:?}");
    assert_eq!((landed.counts.errors, landed.counts.timed_out), (0, 0), "{landed:?}");
    assert_eq!(sustained.test.verdict, Verdict::Pass, "{sustained:?}");
    assert_eq!(
        not_driven.test.verdict,
        Verdict::Inconclusive,
        "a rate that was not driven is not shown: {not_driven:?}"
    );

    let [stalled, not_sustained, _] = judged(&world).await;
    assert_eq!(stalled.test.verdict, Verdict::Fail, "{stalled:?}");
    assert_eq!(not_sustained.test.verdict, Verdict::Fail, "{not_sustained:?}");
    assert_eq!(stalled.counts.timed_out, stalled.counts.samples, "nothing became visible");
    assert_eq!(stalled.counts.samples, landed.counts.samples, "the same events are watched");
    world.drop_namespace().await;
}

/// Drives, and judges the SLOs of events, in their order.
async fn judged(world: &World) -> [Judged; 3] {
    let driven = world.drive_on(&world.stores, &CancellationToken::new()).await;
    let (slos, _) = judge(&world.scenario, &driven.measured);
    let of_events = slos.into_iter().filter(|judged| judged.slo.of == Operation::Events);
    of_events.collect::<Vec<_>>().try_into().expect("three SLOs of events")
}
