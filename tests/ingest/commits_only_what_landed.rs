//! An offset is committed if and only if everything below it is durable.

use std::time::Duration;

use sluice_schemas::names::topic;
use sluice_testkit::eventually;

use crate::harness::{DEADLINE, World, event_record, quick_settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_batch_is_not_committed_and_a_landed_one_is() {
    let world = World::new().await;
    let mut settings = quick_settings();
    for pipeline in settings.pipelines.values_mut() {
        pipeline.max_age = Duration::from_hours(1);
        pipeline.max_rows = 100;
    }
    let worker = world.start(settings).await;
    let mut records: Vec<_> = (0..150).map(event_record).collect();
    for record in &mut records {
        record.partition = Some(0);
    }
    world.produce_all(&world.producer("none"), &records).await;
    world.wait_for_rows(100).await;
    eventually(DEADLINE, "the full batch is committed", || async {
        world.committed_sum(topic::COMMUNICATION_EVENTS).await == 100
    })
    .await;
    assert_eq!(world.count().await, 100, "the open batch has not landed");
    // Negative control: a crashed worker leaves the other records uncommitted, and its successor continues from there.
    worker.crash();
    let worker = world.start(quick_settings()).await;
    world.wait_for_rows(150).await;
    worker.stop().await;
    assert_eq!((world.count().await, world.committed_sum(topic::COMMUNICATION_EVENTS).await), (150, 150));
    world.drop_namespace().await;
}
