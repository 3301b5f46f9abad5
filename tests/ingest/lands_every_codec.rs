//! Every record lands once and unaltered, whatever codec the producer uses.

use sluice_schemas::names::topic;

use crate::harness::{World, event, event_record, quick_settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_every_codec_land_unaltered() {
    let world = World::new().await;
    let worker = world.start(quick_settings()).await;
    for (index, codec) in (0..).zip(["none", "gzip", "snappy", "lz4", "zstd"]) {
        let records: Vec<_> = (index * 400..(index + 1) * 400).map(event_record).collect();
        world.produce_all(&world.producer(codec), &records).await;
    }
    world.wait_for_rows(2000).await;
    let rows = world.event_rows().await;
    assert_eq!(rows.len(), 2000, "each row lands once");
    for (row, n) in rows.iter().zip(0..) {
        let event = event(n);
        assert_eq!(row.event_id, event.event_id);
        assert_eq!(row.channel, event.channel.as_str());
        assert_eq!(row.timestamp_ms, event.timestamp.timestamp_millis());
        assert_eq!((row.duration_ms, row.success), (event.duration_ms, event.success));
        assert_eq!(row.metadata, serde_json::to_string(&event.metadata).unwrap());
    }
    let summary = worker.stop().await;
    let counts = summary.topics[&world.names.topic(topic::COMMUNICATION_EVENTS)];
    assert_eq!((counts.consumed, counts.landed, counts.dead_lettered), (2000, 2000, 0));
    assert_eq!(world.committed_sum(topic::COMMUNICATION_EVENTS).await, 2000);
    world.drop_namespace().await;
}
