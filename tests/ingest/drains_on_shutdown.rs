//! SIGTERM seals, writes and commits what was taken in, long before its batch would have been due.

use std::time::Duration;

use sluice_schemas::names::topic;
use sluice_testkit::eventually;

use crate::harness::{DEADLINE, World, event_record, quick_settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_writes_and_commits_every_open_batch() {
    let world = World::new().await;
    let mut settings = quick_settings();
    for pipeline in settings.pipelines.values_mut() {
        pipeline.max_age = Duration::from_hours(1);
    }
    let worker = world.start(settings).await;
    let records: Vec<_> = (0..500).map(event_record).collect();
    world.produce_all(&world.producer("lz4"), &records).await;
    eventually(DEADLINE, "all records are taken in", || async {
        worker.metric("sluice_ingest_bytes_in_flight{", "communication-events").await > 0.0
            && worker.metric("sluice_ingest_stage_seconds_count{", "decode").await > 0.0
    })
    .await;
    assert_eq!(world.count().await, 0, "nothing was due yet");
    let summary = worker.stop().await;
    let counts = summary.topics[&world.names.topic(topic::COMMUNICATION_EVENTS)];
    assert_eq!(counts.consumed, counts.landed);
    assert_eq!(world.count().await as u64, counts.landed);
    assert_eq!(world.committed(topic::COMMUNICATION_EVENTS).await, i64::try_from(counts.landed).unwrap());
    world.drop().await;
}
