//! Something between a worker and ClickHouse answers in its place: a login page, a redirect, a proxy that removes headers
//! or limits the request line. Only what proves to be ClickHouse's own answer to that very request counts.

use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::producer::FutureRecord;
use reqwest::header::HeaderName;
use sluice_ingest::config::Pipeline;
use sluice_schemas::connect;
use sluice_schemas::names::topic::COMMUNICATION_EVENTS;
use sluice_testkit::{Answered, OtherHost, Requests, StandIn, eventually};

use crate::harness::{DEADLINE, World, in_partition, stands_still};
use crate::oracle::{Besides, judge, judge_besides};
use crate::process::{Process, committed, committed_or_still, same_member, short_lived};

/// Where a worker process finds ClickHouse.
const CLICKHOUSE: &str = "SLUICE_STORES__CLICKHOUSE__URL";
/// Only in the question what of a range is in the table.
const LOOK_UP: &str = "_offset BETWEEN";
const QUERY_ID: HeaderName = HeaderName::from_static("x-clickhouse-query-id");

async fn behind_a_stand_in(world: &World, faults: &str) -> (StandIn, Process) {
    let stand_in = StandIn::before(&world.stores.clickhouse.url).await;
    let variables = [("SLUICE_FAULTS", faults), (CLICKHOUSE, &stand_in.url)];
    let worker = world.spawn_ready(&short_lived(), &variables).await;
    (stand_in, worker)
}

/// Two INSERTs are answered like that.
async fn answered(manner: Answered, faults: &str) -> Result<(), String> {
    let world = World::new().await;
    let (stand_in, worker) = behind_a_stand_in(&world, faults).await;
    stand_in.answer(Requests::Inserts, 2, manner);
    world.produce_all(&world.producer("lz4"), &in_partition(0, 0..160)).await;
    committed(&world, 160).await;
    assert_eq!(stand_in.refused(), 2);
    let said = worker.stop().await;
    let judged = judge(&world).await.map(drop);
    assert_eq!(judged.is_ok(), said.contains("not a ClickHouse response"), "{said}");
    world.drop().await;
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_somebody_else_acknowledges_nothing() {
    let without = Answered::Without(HeaderName::from_static("x-clickhouse-summary"));
    let (page, empty, stripped, believed) = tokio::join!(
        answered(Answered::Page, ""),
        answered(Answered::Refused { status: 204, code: None }, ""),
        answered(without, ""),
        answered(Answered::Page, "accept_any_response,trust_acknowledgements"),
    );
    assert_eq!((page, empty, stripped), (Ok(()), Ok(()), Ok(())));
    assert!(believed.as_ref().is_err_and(|wrong| wrong.contains("are missing")), "any 200 believed: {believed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_not_followed_and_takes_no_password_away() {
    let elsewhere = OtherHost::start().await;
    let follow = reqwest::Client::new().get(&elsewhere.url).header("X-ClickHouse-Key", "secret");
    assert!(follow.send().await.unwrap().status().is_success());
    assert_eq!(
        (elsewhere.requests(), elsewhere.passwords()),
        (1, 1),
        "negative control: it sees who brings a password"
    );
    let answered = answered(Answered::Redirect(elsewhere.url.clone()), "").await;
    assert_eq!(answered, Ok(()));
    assert_eq!((elsewhere.requests(), elsewhere.passwords()), (1, 1));
}

/// A group is set back after ClickHouse has forgotten the tokens, and the first look-ups are answered with nothing at all.
async fn looked_up(faults: &str) -> Result<(), String> {
    let world = World::new().await;
    let settings = short_lived();
    let worker = world.spawn_ready(&settings, &[]).await;
    world.produce_all(&world.producer("lz4"), &in_partition(0, 0..100)).await;
    committed(&world, 100).await;
    worker.stop().await;
    world.remember_only(16).await;
    world.others_write(40).await;
    world.set_offset(COMMUNICATION_EVENTS, 0, 0, "").await;
    let stand_in = StandIn::before(&world.stores.clickhouse.url).await;
    stand_in.answer(Requests::About(LOOK_UP), 2, Answered::Empty);
    let mut settings = same_member();
    (settings.peak_inserts_per_second, settings.insert_timeout) = (1, std::time::Duration::from_secs(2));
    let worker = world.spawn_ready(&settings, &[("SLUICE_FAULTS", faults), (CLICKHOUSE, &stand_in.url)]).await;
    committed_or_still(&world, worker, 100, faults, "are in table communication_events more than once").await;
    assert_eq!(stand_in.refused(), 2);
    let judged = judge_besides(&world, Besides { others: 40, ..Besides::default() }).await.map(drop);
    world.drop().await;
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_answer_to_a_look_up_does_not_mean_that_nothing_is_there() {
    let (whole, believed) = tokio::join!(looked_up(""), looked_up("accept_any_response"));
    assert_eq!(whole, Ok(()));
    assert!(believed.as_ref().is_err_and(|wrong| wrong.contains("more than once")), "any 200 believed: {believed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_removes_a_header_is_named() {
    let world = World::new().await;
    let (stand_in, worker) = behind_a_stand_in(&world, "").await;
    // A table that may have been made after an INSERT was announced is looked into, and the rows are found.
    let age =
        "SELECT toInt64(min(now() - metadata_modification_time)) FROM system.tables WHERE database = currentDatabase()";
    eventually(DEADLINE, "its tables are old enough", || async {
        connect::clickhouse(&world.stores, &world.names).query(age).fetch_one::<i64>().await.unwrap() > 2
    })
    .await;
    stand_in.answer(Requests::Inserts, usize::MAX, Answered::Without(QUERY_ID));
    world.produce_all(&world.producer("lz4"), &in_partition(0, 0..50)).await;
    stands_still(&worker.url, "not a ClickHouse response (HTTP 200 without the header X-ClickHouse-Query-Id)").await;
    assert_eq!(world.committed(COMMUNICATION_EVENTS).await, 0);
    stand_in.answer(Requests::Inserts, 0, Answered::Page);
    committed(&world, 50).await;
    worker.stop().await;
    assert_eq!(judge(&world).await.unwrap().landed, 50);
    world.drop().await;
}

/// Columns of a table whose INSERT statement is longer than the line of a request may be.
const COLUMNS: usize = 600;
const LINE: usize = 16 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_many_columns_lands_behind_a_short_request_line() {
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
    let made = admin.create_topics([&wide], &options);
    made.await.unwrap().into_iter().collect::<Result<Vec<_>, _>>().unwrap();
    let producer = world.producer("lz4");
    for n in 0..20 {
        let payload = format!("{{\"{}\":{n}}}", names[n * 20]);
        producer.send(FutureRecord::<[u8], _>::to(&topic).payload(&payload), DEADLINE).await.unwrap();
    }
    let stand_in = StandIn::before(&world.stores.clickhouse.url).await;
    stand_in.limit_request_line(LINE);
    let statement = format!("INSERT INTO wide ({}) FORMAT RowBinary", names.join(", "));
    let in_the_url = reqwest::Client::new().post(&stand_in.url).query(&[("query", &statement)]).send().await.unwrap();
    assert_eq!(in_the_url.status().as_u16(), 414, "negative control: such a statement does not fit into the line");
    let mut settings = short_lived();
    let max_age = std::time::Duration::from_millis(300);
    let pipeline = Pipeline { table: "wide".to_owned(), tenant: String::new(), max_age, ..Pipeline::default() };
    settings.pipelines.insert("wide".to_owned(), pipeline);
    let worker = world.spawn_ready(&settings, &[(CLICKHOUSE, &stand_in.url)]).await;
    eventually(DEADLINE, "all is committed", || async { world.committed("wide").await == 20 }).await;
    worker.stop().await;
    let sums = format!("SELECT toUInt64(sum(arraySum([{}]))) FROM wide", names.join(", "));
    let sum: u64 = connect::clickhouse(&world.stores, &world.names).query(&sums).fetch_one().await.unwrap();
    assert_eq!(sum, (0..20).sum::<u64>());
    world.drop().await;
}
