//! A stream that consists only of poison stops after a bounded number of dead letters, and the worker reports it; a reset lets it
//! continue. One tenant's poison does not stop the others. Nothing is lost.

use sluice_ingest::config::{Breaker, Settings};
use sluice_schemas::names::topic;
use sluice_schemas::records::CommunicationEvent;
use sluice_testkit::eventually;
use uuid::Uuid;

use crate::harness::{DEADLINE, Record, TENANT, Worker, World, event, quick_settings, wait_for_stall};
use crate::oracle::judge;

const BREAKER: Breaker = Breaker { enabled: true, window: 100, percent: 50, rejected: 20, consecutive: 50 };

fn settings(breaker: Breaker) -> Settings {
    let mut settings = Settings { breaker, ..quick_settings() };
    for pipeline in settings.pipelines.values_mut() {
        pipeline.max_rows = 50;
    }
    settings
}

/// A record of this tenant that cannot be decoded.
fn poison(partition: i32, tenant: Option<Uuid>) -> Record {
    let key = tenant.map(|tenant| format!("{tenant}:customer").into_bytes());
    Record { key, payload: Some(b"nothing to decode".to_vec()), partition: Some(partition), ..Record::default() }
}

/// Valid records of two tenants without a key: only the payload names the tenant.
fn good(partition: i32, numbers: std::ops::Range<u32>) -> Vec<Record> {
    let record = |n: u32| {
        let tenant_id = if n.is_multiple_of(2) { TENANT } else { Uuid::from_u128(9) };
        let payload = serde_json::to_vec(&CommunicationEvent { tenant_id, ..event(n) }).unwrap();
        Record { payload: Some(payload), partition: Some(partition), ..Record::default() }
    };
    numbers.map(record).collect()
}

async fn is_open(worker: &Worker) -> bool {
    worker.metric("sluice_ingest_breaker_open", topic::COMMUNICATION_EVENTS).await > 0.0
}

/// Resets the breaker as an operator would.
async fn reset(worker: &Worker) {
    let client = reqwest::Client::new();
    let refused = client.post(format!("{}/breaker/reset", worker.url)).send().await.unwrap();
    assert_eq!(refused.status(), 403, "without the header, a page in a browser could reset it");
    let request = client.post(format!("{}/breaker/reset?topic=communication-events", worker.url));
    let response = request.header("x-sluice-command", "1").send().await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_poison_opens_the_breaker_until_a_reset() {
    let world = World::new().await;
    let producer = world.producer("none");
    let stream: Vec<_> = good(0, 0..30).into_iter().chain((0..300).map(|_| poison(0, None))).collect();
    world.produce_all(&producer, &stream).await;
    let worker = world.start(settings(BREAKER)).await;
    wait_for_stall(&worker.url, "communication-events/0 is stalled: the breaker is open").await;
    assert!(worker.page("readyz").await.contains("the last one as invalid_json"), "the page names the reason");
    world.produce_all(&producer, &good(1, 30..60)).await;
    world.wait_for_rows(30).await;
    assert!(is_open(&worker).await, "the other partition continues, and this one does not");
    let letters_at_stop = world.dead_letters().await.len();
    assert!(letters_at_stop <= 50, "{letters_at_stop} dead letters before the breaker opened");

    reset(&worker).await;
    let bound = letters_at_stop + BREAKER.window + 50;
    eventually(DEADLINE, "the breaker opens again, at a later offset", || async {
        is_open(&worker).await && world.dead_letters().await.len() > letters_at_stop
    })
    .await;
    let letters = world.dead_letters().await.len();
    assert!(letters <= bound, "{letters} dead letters after one reset");
    eventually(DEADLINE, "resets bring the worker to the end of the stream", || async {
        if is_open(&worker).await {
            reset(&worker).await;
        }
        world.committed_sum(topic::COMMUNICATION_EVENTS).await == 360
    })
    .await;
    assert_eq!(worker.status("readyz").await, 200);
    worker.stop().await;
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.landed, counts.dead_lettered), (60, 300));
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrected_worker_lands_what_the_breaker_held_back() {
    let world = World::new().await;
    let several_tenants = (0..200).map(|n| {
        let event = CommunicationEvent { tenant_id: Uuid::from_u128(1 + u128::from(n % 4)), ..event(n) };
        Record { payload: serde_json::to_vec(&event).ok(), partition: Some(0), ..Record::default() }
    });
    world.produce_all(&world.producer("none"), &several_tenants.collect::<Vec<_>>()).await;
    let mut strict = settings(BREAKER);
    for pipeline in strict.pipelines.values_mut() {
        pipeline.limits.string = bytesize::ByteSize::b(8);
    }
    let worker = world.start(strict).await;
    wait_for_stall(&worker.url, "4 tenants, the last one as string_too_long").await;
    worker.stop().await;
    let dead_lettered = world.dead_letters().await.len();
    assert!(dead_lettered <= 50, "{dead_lettered} dead letters of a wrong deployment");
    let worker = world.start(settings(BREAKER)).await;
    world.wait_until_processed(200).await;
    worker.stop().await;
    assert_eq!(judge(&world).await.unwrap().landed, 200 - dead_lettered);
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_tenants_poison_does_not_stop_the_others() {
    let world = World::new().await;
    let worker = world.start(settings(BREAKER)).await;
    let producer = world.producer("none");
    let flood: Vec<_> = (0..10)
        .flat_map(|n| {
            let poison = std::iter::repeat_n(poison(0, Some(TENANT)), 60);
            poison.chain(good(0, n * 3..n * 3 + 3))
        })
        .collect();
    world.produce_all(&producer, &flood).await;
    world.wait_until_processed(630).await;
    assert!(!is_open(&worker).await);
    assert_eq!(worker.status("readyz").await, 200);
    assert!(worker.metric("sluice_ingest_breaker_tenant_alarms_total", "").await >= 1.0, "an alarm is raised");
    eventually(DEADLINE, "everything is committed", || async {
        world.committed_sum(topic::COMMUNICATION_EVENTS).await == 630
    })
    .await;
    worker.stop().await;
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.landed, counts.dead_lettered), (30, 600));
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_breaker_the_stream_drains_into_the_dead_letter_topic() {
    let world = World::new().await;
    let worker = world.start(settings(Breaker { enabled: false, ..BREAKER })).await;
    world.produce_all(&world.producer("none"), &vec![poison(0, None); 300]).await;
    world.wait_until_processed(300).await;
    assert_eq!(world.dead_letters().await.len(), 300);
    worker.stop().await;
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_refused_by_clickhouse_open_the_breaker_and_the_rest_land_after_the_repair() {
    let world = World::new().await;
    world.execute("ALTER TABLE communication_events ADD CONSTRAINT refuse_all CHECK duration_ms > 1000000").await;
    world.produce_all(&world.producer("none"), &good(0, 0..120)).await;
    let worker = world.start(settings(BREAKER)).await;
    wait_for_stall(&worker.url, "the last one as violated_constraint").await;
    world.execute("ALTER TABLE communication_events DROP CONSTRAINT refuse_all").await;
    reset(&worker).await;
    world.wait_until_processed(120).await;
    eventually(DEADLINE, "everything is committed", || async {
        world.committed_sum(topic::COMMUNICATION_EVENTS).await == 120
    })
    .await;
    worker.stop().await;
    let counts = judge(&world).await.unwrap();
    let letters = counts.dead_lettered;
    assert!(
        letters < BREAKER.rejected && counts.landed == 120 - letters,
        "fewer dead letters than are needed to open the breaker: {counts:?}"
    );
    world.drop_namespace().await;
}

/// One month's refused row and an undecodable record are already dead letters when the next month's rows open the breaker.
/// The batch is read again, and neither is sent a second time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_sent_before_the_breaker_opens_are_not_sent_again() {
    let world = World::new().await;
    let refuse_november = "toYYYYMM(timestamp) = 202610 AND duration_ms != 3";
    world
        .execute(&format!("ALTER TABLE communication_events ADD CONSTRAINT refuse_some CHECK {refuse_november}"))
        .await;
    // 18 rows of October, one of them refused, then as many of November as are needed to open the breaker.
    let mut records = good(0, 0..47);
    records.insert(10, poison(0, None));
    world.produce_all(&world.producer("none"), &records).await;
    let worker = world.start(settings(BREAKER)).await;
    wait_for_stall(&worker.url, "the last one as violated_constraint").await;
    assert_eq!((world.count().await, world.dead_letters().await.len()), (17, 2));
    world.execute("ALTER TABLE communication_events DROP CONSTRAINT refuse_some").await;
    reset(&worker).await;
    world.wait_until_processed(48).await;
    eventually(DEADLINE, "everything is committed", || async {
        world.committed_sum(topic::COMMUNICATION_EVENTS).await == 48
    })
    .await;
    worker.stop().await;
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.landed, counts.dead_lettered), (46, 2));
    assert_eq!(world.read_all(topic::CLICKHOUSE_ERRORS).await.len(), 2, "each was sent once");
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_tenants_refused_rows_do_not_stop_the_others() {
    let world = World::new().await;
    world
        .execute(&format!(
            "ALTER TABLE communication_events ADD CONSTRAINT refuse_tenant CHECK tenant_id != '{TENANT}'"
        ))
        .await;
    world.produce_all(&world.producer("none"), &good(0, 0..120)).await;
    let worker = world.start(settings(BREAKER)).await;
    world.wait_until_processed(120).await;
    assert!(!is_open(&worker).await, "the payloads name the tenants");
    worker.stop().await;
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.landed, counts.dead_lettered), (60, 60));
    world.drop_namespace().await;
}
