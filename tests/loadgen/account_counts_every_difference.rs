//! Negative controls of the account: every row removed, altered, duplicated or added in any store is counted and named.

use rdkafka::producer::DefaultProducerContext;
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use sluice_loadgen::account::{Account, Differences, Origin};
use sluice_loadgen::question::lookup_cached::set_context;
use sluice_loadgen::question::session::set_session;
use sluice_loadgen::target::redis::Cluster;
use sluice_schemas::connect::{self, Role};
use sluice_schemas::names::topic;
use sluice_schemas::tenant;
use std::time::Duration;

use crate::world::{Worker, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_difference_is_counted_and_named() {
    let (world, _) = World::loaded().await;
    let driven = world.drive_and_wait().await;
    assert!(world.account(&driven.acknowledged).await.is_balanced());
    let tenants: Vec<String> = world.plan.population().tenants().iter().map(|tenant| tenant.id.to_string()).collect();

    alter_clickhouse(&world, &tenants).await;
    alter_postgres(&world, &tenants).await;
    alter_elasticsearch(&world).await;
    alter_redis(&world).await;
    add_dead_letter(&world).await;

    let account = world.account(&driven.acknowledged).await;
    assert!(!account.is_balanced());
    let in_clickhouse = |kind, tenant: usize| find(&account, "ClickHouse", kind, Origin::Driven, &tenants[tenant]);
    assert_eq!(in_clickhouse("communication_events", 0), (2, 0, 0, 0), "two rows removed");
    assert_eq!(in_clickhouse("communication_events", 1), (0, 0, 1, 0), "a row altered");
    assert_eq!(in_clickhouse("agent_metrics", 0), (0, 1, 0, 0), "a row duplicated");
    assert_eq!(in_clickhouse("customer_interactions", 1), (0, 0, 0, 1), "a row added");
    let in_postgres = |origin, tenant: usize| find(&account, "PostgreSQL", "communications", origin, &tenants[tenant]);
    assert_eq!(in_postgres(Origin::Driven, 0), (1, 0, 0, 0), "a row removed");
    assert_eq!(in_postgres(Origin::Driven, 1), (0, 0, 1, 0), "a row altered");
    assert_eq!(in_postgres(Origin::Loaded, 0), (0, 0, 0, 0), "its other rows are unchanged");
    let in_store = |store, kind| find(&account, store, kind, Origin::Loaded, &tenants[0]);
    assert_eq!(in_store("Elasticsearch", "communications"), (1, 0, 0, 0), "a document removed");
    assert_eq!(in_store("Redis", "contexts"), (0, 0, 1, 0), "a context altered");
    assert_eq!(in_store("Redis", "sessions"), (0, 0, 1, 0), "a session altered");
    assert_eq!(
        find(&account, "Kafka", "clickhouse-errors", Origin::Driven, "(unreadable)"),
        (0, 0, 0, 1),
        "a dead letter"
    );
    assert!(account.recomputed[0].differing > 0, "the aggregate still counts the removed rows");
    let unbalanced: Vec<_> = account.provenance.iter().filter(|table| !table.balances()).map(|t| &t.table).collect();
    assert_eq!(unbalanced, ["communication_events", "agent_metrics", "customer_interactions"]);
    let discrepancies = account.discrepancies().join("\n");
    assert!(discrepancies.contains("2 missing, 0 duplicate, 0 wrong, 0 unexpected: missing "), "{discrepancies}");
    world.drop_namespace().await;
}

fn find(account: &Account, store: &str, kind: &str, origin: Origin, tenant: &str) -> (u64, u64, u64, u64) {
    let ledger = account.ledgers.iter().find(|ledger| {
        (ledger.store.as_str(), ledger.kind.as_str(), ledger.origin, ledger.tenant.as_str())
            == (store, kind, origin, tenant)
    });
    let Differences { missing, duplicate, wrong, unexpected, .. } = ledger.expect("a ledger").differences;
    (missing, duplicate, wrong, unexpected)
}

async fn alter_clickhouse(world: &World, tenants: &[String]) {
    let client = connect::clickhouse(&world.stores, &world.names).with_setting("mutations_sync", "2");
    let (first, second) = (&tenants[0], &tenants[1]);
    let select_rows = |table: &str, column: &str, tenant: &str, count: u32| {
        format!(
            "{column} IN (SELECT {column} FROM {table} WHERE tenant_id = '{tenant}' AND _topic != 'loaded'
             ORDER BY timestamp LIMIT {count})"
        )
    };
    let removed = select_rows("communication_events", "event_id", first, 2);
    let altered = select_rows("communication_events", "event_id", second, 1);
    for statement in [
        format!("ALTER TABLE communication_events DELETE WHERE {removed}"),
        format!("ALTER TABLE communication_events UPDATE duration_ms = duration_ms + 1 WHERE {altered}"),
        format!(
            "INSERT INTO agent_metrics SELECT * FROM agent_metrics
             WHERE tenant_id = '{first}' AND _topic != 'loaded' LIMIT 1"
        ),
        format!(
            "INSERT INTO customer_interactions SELECT * REPLACE(generateUUIDv4() AS interaction_id)
             FROM customer_interactions WHERE tenant_id = '{second}' AND _topic != 'loaded' LIMIT 1"
        ),
    ] {
        client.query(&statement).execute().await.unwrap();
    }
}

async fn alter_postgres(world: &World, tenants: &[String]) {
    let pool = connect::postgres(&world.stores, &world.names, Role::App).await.unwrap();
    let newest = "(SELECT id FROM communications ORDER BY created_at DESC, id LIMIT 1)";
    for (tenant, statement) in [
        (&tenants[0], format!("DELETE FROM communications WHERE id = {newest}")),
        (&tenants[1], format!("UPDATE communications SET metadata = '{{\"altered\": true}}' WHERE id = {newest}")),
    ] {
        let mut transaction = tenant::begin(&pool, tenant.parse().unwrap()).await.unwrap();
        let result = sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut *transaction).await.unwrap();
        assert_eq!(result.rows_affected(), 1);
        transaction.commit().await.unwrap();
    }
    pool.close().await;
}

async fn alter_elasticsearch(world: &World) {
    let document = world.plan.population().past_communication(0, 0);
    let index = world.names.index(&document.created_at.format("communications-%Y.%m").to_string());
    let (id, tenant) = (document.id, document.tenant_id);
    let url = format!("{}/{index}/_doc/{id}?routing={tenant}&refresh=true", world.stores.elasticsearch.url);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    assert_eq!(client.delete(url).send().await.unwrap().status(), 200);
}

async fn alter_redis(world: &World) {
    let cache = Cluster::cache(&world.stores, &world.names).await.unwrap();
    let mut customer = world.plan.population().customer(0, 0);
    customer.email.push_str(".invalid");
    set_context(&cache, &customer).await.unwrap();
    let state = Cluster::state(&world.stores, &world.names).await.unwrap();
    let mut session = world.plan.population().session(0, 0);
    session.role.push('x');
    set_session(&state, &session).await.unwrap();
}

/// Produces a malformed record and waits until it is in the dead-letter topic.
async fn add_dead_letter(world: &World) {
    let worker = Worker::start(world);
    let producer: ThreadedProducer<DefaultProducerContext> = connect::kafka_config(&world.stores).create().unwrap();
    let topic = world.names.topic(topic::CUSTOMER_INTERACTIONS);
    producer.send(BaseRecord::to(&topic).key("poison").payload("{\"tenant_id\":")).map_err(|(error, _)| error).unwrap();
    tokio::task::spawn_blocking(move || producer.flush(Duration::from_secs(30)).unwrap()).await.unwrap();
    let letters = world.names.topic(topic::CLICKHOUSE_ERRORS);
    let consumer: rdkafka::consumer::BaseConsumer = connect::kafka_config(&world.stores).create().unwrap();
    sluice_testkit::eventually(Duration::from_secs(30), "the malformed record is a dead letter", || async {
        (0..16).any(|partition| {
            let watermarks =
                rdkafka::consumer::Consumer::fetch_watermarks(&consumer, &letters, partition, Duration::from_secs(5));
            watermarks.is_ok_and(|(low, high)| high > low)
        })
    })
    .await;
    worker.stop().await;
}
