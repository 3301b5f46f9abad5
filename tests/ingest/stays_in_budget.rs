//! While ClickHouse is unavailable, a worker fills its budget and pauses; it resumes when ClickHouse recovers. Nothing is lost.

use bytesize::ByteSize;
use sluice_schemas::names::topic;
use sluice_testkit::{TcpProxy, eventually};

use crate::harness::{DEADLINE, World, event_record, quick_settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_larger_than_the_budget_pauses_consumption_and_then_lands() {
    const RECORDS: u32 = 60_000;
    const FIRST: u32 = 500;
    let world = World::new().await;
    let mut proxy = TcpProxy::start(&world.stores.clickhouse.url).await;
    let mut stores = world.stores.clone();
    stores.clickhouse.url = proxy.url.clone();
    let mut settings = quick_settings();
    settings.memory_budget = ByteSize::mib(32);
    for pipeline in settings.pipelines.values_mut() {
        pipeline.max_bytes = ByteSize::kib(512);
    }
    let worker = world.start_with_stores(settings, stores).await;
    let producer = world.producer("lz4");
    // A partition consumes nothing before its first query to the table, so ClickHouse must be available at first.
    let first: Vec<_> = (0..FIRST).map(padded_record).collect();
    world.produce_all(&producer, &first).await;
    world.wait_for_rows(FIRST as usize).await;
    proxy.close();
    for chunk in (FIRST..RECORDS).map(padded_record).collect::<Vec<_>>().chunks(5_000) {
        world.produce_all(&producer, chunk).await;
    }
    eventually(DEADLINE, "partitions pause", || async {
        worker.metric("sluice_ingest_paused_partitions{", "communication-events").await > 0.0
    })
    .await;
    let limit = worker.metric("sluice_ingest_budget_bytes", "").await;
    let in_flight = worker.metric("sluice_ingest_bytes_in_flight{", "").await;
    assert!(in_flight > 0.0 && in_flight <= limit, "{in_flight} of {limit}");
    proxy.reopen().await;
    eventually(DEADLINE * 2, "all rows land", || async { world.count().await >= RECORDS as usize }).await;
    worker.stop().await;
    assert_eq!(world.count().await, RECORDS as usize);
    assert_eq!(world.committed_sum(topic::COMMUNICATION_EVENTS).await, i64::from(RECORDS));
    world.drop_namespace().await;
}

fn padded_record(n: u32) -> crate::harness::Record {
    let mut event = crate::harness::event(n);
    event.agent_id = "a".repeat(500);
    crate::harness::Record { payload: Some(serde_json::to_vec(&event).unwrap()), ..event_record(n) }
}
