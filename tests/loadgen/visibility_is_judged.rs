//! Events that a worker does not bring to ClickHouse in time miss their SLO.

use std::time::Duration;

use sluice_loadgen::scenario::{Operation, Slo};
use sluice_loadgen::verdict::{Judged, Verdict, judge};
use tokio_util::sync::CancellationToken;

use crate::world::{Worker, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_lands_nothing_fails_the_slo_of_events() {
    let (world, _) = World::loaded_with(|scenario| {
        let visible = Slo {
            name: "visible".to_owned(),
            of: Operation::Events,
            questions: Vec::new(),
            within: Duration::from_secs(10),
            ..scenario.slos[0].clone()
        };
        scenario.slos.push(visible);
    })
    .await;
    // Negative control: a worker that seals its batches after half a second.
    let worker = Worker::start(&world);
    let landed = visible(&world).await;
    worker.stop().await;
    assert_eq!(landed.test.verdict, Verdict::Pass, "{landed:?}");
    assert_eq!((landed.counts.errors, landed.counts.timed_out), (0, 0), "{landed:?}");

    let stalled = visible(&world).await;
    assert_eq!(stalled.test.verdict, Verdict::Fail, "{stalled:?}");
    assert_eq!(stalled.counts.timed_out, stalled.counts.samples, "nothing became visible");
    assert_eq!(stalled.counts.samples, landed.counts.samples, "the same events are watched");
    world.drop_namespace().await;
}

async fn visible(world: &World) -> Judged {
    let driven = world.drive_on(&world.stores, &CancellationToken::new()).await;
    let (slos, _) = judge(&world.scenario, &driven.measured);
    slos.into_iter().find(|judged| judged.slo.name == "visible").unwrap()
}
