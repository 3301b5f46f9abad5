//! A proxy between a worker and ClickHouse responds with a login page or a redirect, removes headers, or limits the request line.
//! A response counts only if it is provably ClickHouse's response to that request.

use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::producer::FutureRecord;
use reqwest::header::HeaderName;
use sluice_ingest::config::Pipeline;
use sluice_schemas::connect;
use sluice_schemas::names::topic::COMMUNICATION_EVENTS;
use sluice_testkit::{InterceptingProxy, Interception, OtherHost, Requests, eventually};

use crate::harness::{DEADLINE, World, november_records, wait_for_stall};
use crate::oracle::{Allowed, judge, judge_allowing};
use crate::process::{Process, short_lived, static_member, stop_after_commit_or_stall, wait_for_commit};

/// Variable with ClickHouse's URL for a worker process.
const CLICKHOUSE: &str = "SLUICE_STORES__CLICKHOUSE__URL";
/// Text that only the lookup of a range contains.
const LOOKUP: &str = "_offset BETWEEN";
const QUERY_ID: HeaderName = HeaderName::from_static("x-clickhouse-query-id");

async fn start_behind_proxy(world: &World, faults: &str) -> (InterceptingProxy, Process) {
    let proxy = InterceptingProxy::in_front_of(&world.stores.clickhouse.url).await;
    let variables = [("SLUICE_FAULTS", faults), (CLICKHOUSE, &proxy.url)];
    let mut settings = short_lived();
    // With the usual session, a busy machine causes no rebalance, after which the rows would be looked up instead.
    settings.kafka.clear();
    let worker = world.spawn_ready(&settings, &variables).await;
    (proxy, worker)
}

/// Intercepts two INSERTs; the oracle judges the outcome.
async fn judge_behind_proxy(interception: Interception, faults: &str) -> Result<(), String> {
    let world = World::new().await;
    let (proxy, worker) = start_behind_proxy(&world, faults).await;
    proxy.intercept_next(2, Requests::Inserts, interception);
    world.produce_all(&world.producer("lz4"), &november_records(0, 0..160)).await;
    wait_for_commit(&world, 160).await;
    assert_eq!(proxy.intercepted(), 2);
    let output = worker.stop().await;
    let judged = judge(&world).await.map(drop);
    assert_eq!(judged.is_ok(), output.contains("not a ClickHouse response"), "{output}");
    world.drop_namespace().await;
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_from_another_server_acknowledges_nothing() {
    let without = Interception::RemoveHeader(HeaderName::from_static("x-clickhouse-summary"));
    let (page, empty, stripped, faulty) = tokio::join!(
        judge_behind_proxy(Interception::Page, ""),
        judge_behind_proxy(Interception::Refuse { status: 204, code: None }, ""),
        judge_behind_proxy(without, ""),
        judge_behind_proxy(Interception::Page, "accept_any_response,trust_acknowledgements"),
    );
    assert_eq!((page, empty, stripped), (Ok(()), Ok(()), Ok(())));
    assert!(faulty.as_ref().is_err_and(|wrong| wrong.contains("are missing")), "if any 200 counts: {faulty:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_not_followed_and_leaks_no_password() {
    let other_host = OtherHost::start().await;
    let follow = reqwest::Client::new().get(&other_host.url).header("X-ClickHouse-Key", "secret");
    assert!(follow.send().await.unwrap().status().is_success());
    assert_eq!((other_host.requests(), other_host.passwords()), (1, 1), "negative control: it counts passwords");
    let judged = judge_behind_proxy(Interception::Redirect(302, other_host.url.clone()), "").await;
    assert_eq!(judged, Ok(()));
    assert_eq!((other_host.requests(), other_host.passwords()), (1, 1));
}

/// The group's offset is set back after ClickHouse has forgotten the tokens, and the first two lookups get an empty response.
async fn judge_after_rewind(faults: &str) -> Result<(), String> {
    let world = World::new().await;
    let settings = short_lived();
    let worker = world.spawn_ready(&settings, &[]).await;
    world.produce_all(&world.producer("lz4"), &november_records(0, 0..100)).await;
    wait_for_commit(&world, 100).await;
    worker.stop().await;
    let mut settings = static_member();
    settings.peak_inserts_per_second = 1;
    world.shrink_window(settings.tokens_needed()).await;
    world.write_foreign_rows(40).await;
    world.set_offset(COMMUNICATION_EVENTS, 0, 0, "").await;
    let proxy = InterceptingProxy::in_front_of(&world.stores.clickhouse.url).await;
    proxy.intercept_next(2, Requests::Containing(LOOKUP.to_owned()), Interception::Empty);
    let worker = world.spawn_ready(&settings, &[("SLUICE_FAULTS", faults), (CLICKHOUSE, &proxy.url)]).await;
    stop_after_commit_or_stall(&world, worker, 100, faults, "are in table communication_events more than once").await;
    assert_eq!(proxy.intercepted(), 2);
    let judged = judge_allowing(&world, Allowed { foreign: 40, ..Allowed::default() }).await.map(drop);
    world.drop_namespace().await;
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_lookup_response_does_not_mean_that_no_row_landed() {
    let (normal, faulty) = tokio::join!(judge_after_rewind(""), judge_after_rewind("accept_any_response"));
    assert_eq!(normal, Ok(()));
    assert!(faulty.as_ref().is_err_and(|wrong| wrong.contains("more than once")), "if any 200 counts: {faulty:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_response_header_is_named() {
    let world = World::new().await;
    let (proxy, worker) = start_behind_proxy(&world, "").await;
    world.wait_until_tables_are_old().await;
    proxy.intercept_next(usize::MAX, Requests::Inserts, Interception::RemoveHeader(QUERY_ID));
    world.produce_all(&world.producer("lz4"), &november_records(0, 0..50)).await;
    wait_for_stall(&worker.url, "not a ClickHouse response (HTTP 200 without the header X-ClickHouse-Query-Id)").await;
    assert_eq!(world.committed_sum(COMMUNICATION_EVENTS).await, 0);
    proxy.forward_all();
    wait_for_commit(&world, 50).await;
    worker.stop().await;
    assert_eq!(judge(&world).await.unwrap().landed, 50);
    world.drop_namespace().await;
}

/// Number of columns that makes an INSERT statement longer than [`LINE`].
const COLUMNS: usize = 600;
/// Maximum length of a request line of the proxy, in bytes.
const LINE: usize = 16 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_many_columns_lands_despite_a_request_line_limit() {
    let world = World::new().await;
    let names: Vec<_> = (0..COLUMNS).map(|n| format!("a_column_with_a_long_name_{n:03}")).collect();
    let columns: Vec<_> = names.iter().map(|name| format!("{name} UInt16 DEFAULT 0, ")).collect();
    let columns = columns.concat();
    world
        .execute(&format!(
            "CREATE TABLE wide ({columns}_topic String, _topic_id UUID, _partition Int32, _offset Int64) \
             ENGINE = MergeTree ORDER BY _offset SETTINGS non_replicated_deduplication_window = 10000"
        ))
        .await;
    let topic = world.names.topic("wide");
    let wide = NewTopic::new(&topic, 1, TopicReplication::Fixed(1));
    let (admin, options) = (world.admin(), AdminOptions::new());
    let created = admin.create_topics([&wide], &options);
    created.await.unwrap().into_iter().collect::<Result<Vec<_>, _>>().unwrap();
    let producer = world.producer("lz4");
    for n in 0..20 {
        let payload = format!("{{\"{}\":{n}}}", names[n * 20]);
        producer.send(FutureRecord::<[u8], _>::to(&topic).payload(&payload), DEADLINE).await.unwrap();
    }
    let proxy = InterceptingProxy::in_front_of(&world.stores.clickhouse.url).await;
    proxy.limit_request_line(LINE);
    let statement = format!("INSERT INTO wide ({}) FORMAT RowBinary", names.join(", "));
    let in_the_url = reqwest::Client::new().post(&proxy.url).query(&[("query", &statement)]).send().await.unwrap();
    assert_eq!(in_the_url.status().as_u16(), 414, "negative control: the statement does not fit into the request line");
    let mut settings = short_lived();
    let max_age = std::time::Duration::from_millis(300);
    let pipeline = Pipeline { table: "wide".to_owned(), tenant: String::new(), max_age, ..Pipeline::default() };
    settings.pipelines.insert("wide".to_owned(), pipeline);
    let worker = world.spawn_ready(&settings, &[(CLICKHOUSE, &proxy.url)]).await;
    eventually(DEADLINE, "everything is committed", || async { world.committed_sum("wide").await == 20 }).await;
    worker.stop().await;
    let sums = format!("SELECT toUInt64(sum(arraySum([{}]))) FROM wide", names.join(", "));
    let sum: u64 = connect::clickhouse(&world.stores, &world.names).query(&sums).fetch_one().await.unwrap();
    assert_eq!(sum, (0..20).sum::<u64>());
    world.drop_namespace().await;
}
