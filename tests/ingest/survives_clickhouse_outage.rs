//! ClickHouse is unavailable and recovers: nothing is lost, duplicated or dead-lettered.

use sluice_schemas::names::topic;
use sluice_testkit::{TcpProxy, eventually};

use crate::harness::{DEADLINE, World, event_record, quick_settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_loses_and_dead_letters_nothing() {
    let world = World::new().await;
    let mut proxy = TcpProxy::start(&world.stores.clickhouse.url).await;
    let mut stores = world.stores.clone();
    stores.clickhouse.url = proxy.url.clone();
    let worker = world.start_with_stores(quick_settings(), stores).await;
    let producer = world.producer("lz4");
    let records: Vec<_> = (0..1000).map(event_record).collect();
    world.produce_all(&producer, &records[..500]).await;
    world.wait_for_rows(500).await;

    proxy.close();
    world.produce_all(&producer, &records[500..]).await;
    eventually(DEADLINE, "the worker reports a stall", || async { worker.status("readyz").await == 503 }).await;
    assert!(worker.page("readyz").await.contains("ClickHouse"));
    assert_eq!(worker.status("healthz").await, 200, "a restart would not help");
    assert!(worker.metric("sluice_ingest_retries_total{", "transient").await > 3.0);
    assert_eq!(world.count().await, 500, "negative control: the proxy is closed");

    proxy.reopen().await;
    world.wait_for_rows(1000).await;
    eventually(DEADLINE, "the worker is ready again", || async { worker.status("readyz").await == 200 }).await;
    worker.stop().await;
    assert_eq!(world.count().await, 1000, "each row lands once");
    assert_eq!(world.committed_sum(topic::COMMUNICATION_EVENTS).await, 1000);
    assert!(world.dead_letters().await.is_empty());
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_table_pauses_writes_and_loses_no_record() {
    let world = World::new().await;
    let worker = world.start(quick_settings()).await;
    let clickhouse = sluice_schemas::connect::clickhouse(&world.stores, &world.names);
    let run = |sql: &'static str| clickhouse.query(sql).execute();
    run("RENAME TABLE communication_events TO renamed").await.unwrap();
    let records: Vec<_> = (0..100).map(event_record).collect();
    world.produce_all(&world.producer("lz4"), &records).await;
    eventually(DEADLINE, "the worker names the fault", || async {
        worker.page("readyz").await.contains("UNKNOWN_TABLE")
    })
    .await;
    run("RENAME TABLE renamed TO communication_events").await.unwrap();
    world.wait_for_rows(100).await;
    worker.stop().await;
    assert_eq!(world.count().await, 100);
    assert!(world.dead_letters().await.is_empty());
    world.drop_namespace().await;
}
