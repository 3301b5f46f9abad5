//! `schemas check` reports no drift after `apply`, and reports each object that is then changed. Every change here is a
//! negative control of the check.

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use sluice_schemas::apply::apply;
use sluice_schemas::check::check;
use sluice_schemas::connect::{self, Role};
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;
use sluice_schemas::{Store, drop_namespace};
use sluice_testkit::{Service, Stack, fresh_names};
use sqlx::AssertSqlSafe;

struct Applied {
    _stack: Stack,
    stores: Stores,
    names: Names,
    store: Store,
}

impl Applied {
    async fn new(services: &[Service], store: Store) -> Self {
        let stack = Stack::up(env!("CARGO_BIN_EXE_sluice"), services).await;
        let names = fresh_names("drift");
        let stores = stack.stores(&names);
        apply(&stores, &names, &[store]).await.unwrap_or_else(|error| panic!("failed to {error}"));
        let applied = Self { _stack: stack, stores, names, store };
        assert_eq!(applied.drift().await, Vec::<String>::new(), "drift right after apply");
        applied
    }

    async fn drift(&self) -> Vec<String> {
        let drift = check(&self.stores, &self.names, &[self.store]).await;
        drift.unwrap_or_else(|error| panic!("failed to {error}")).iter().map(ToString::to_string).collect()
    }

    async fn expect(&self, prefixes: &[&str]) {
        let drift = self.drift().await;
        assert_eq!(drift.len(), prefixes.len(), "{drift:#?}");
        for prefix in prefixes {
            assert!(drift.iter().any(|found| found.starts_with(prefix)), "{prefix:?} is not in {drift:#?}");
        }
    }

    async fn drop(self) {
        drop_namespace(&self.stores, &self.names, &[self.store]).await.expect("drop the namespace");
    }
}

#[tokio::test]
async fn postgres_reports_each_change() {
    let applied = Applied::new(&[Service::Postgres], Store::Postgres).await;
    let owner = connect::postgres(&applied.stores, &applied.names, Role::Owner).await.expect("connect");
    let changes = "DROP INDEX idx_customers_tenant_email;
        ALTER TABLE communications_y2027m01 DISABLE ROW LEVEL SECURITY;
        ALTER TABLE customers NO FORCE ROW LEVEL SECURITY;
        DROP POLICY tenant_isolation_campaigns ON campaigns;
        ALTER TABLE customers ADD COLUMN nickname text;
        ALTER TABLE campaigns ALTER COLUMN status DROP NOT NULL;
        GRANT SELECT ON communications_default TO PUBLIC";
    // The months of the partitions depend on the current date, so the newest partition is looked up.
    let newest = "SELECT max(inhrelid::regclass::text) FROM pg_inherits
        WHERE inhparent = 'communications'::regclass AND inhrelid::regclass::text LIKE '%\\_y%'";
    let newest: String = sqlx::query_scalar(newest).fetch_one(&owner).await.expect("the newest partition");
    let changes = changes.replace("communications_y2027m01", &newest);
    sqlx::raw_sql(AssertSqlSafe(changes)).execute(&owner).await.expect("change the schema");
    applied
        .expect(&[
            "PostgreSQL: index idx_customers_tenant_email: expected CREATE INDEX",
            &format!("PostgreSQL: partition {newest}: expected row-level security enabled"),
            "PostgreSQL: row-level security customers: expected enabled and forced, found enabled",
            "PostgreSQL: policy campaigns.tenant_isolation_campaigns: expected permissive",
            "PostgreSQL: column customers.nickname: expected nothing, found text",
            "PostgreSQL: column campaigns.status: expected character varying(50) NOT NULL",
            "PostgreSQL: partition communications_default: expected row-level security enabled",
        ])
        .await;
    owner.close().await;
    applied.drop().await;
}

#[tokio::test]
async fn postgres_reports_a_missing_partition_and_stray_rows() {
    let applied = Applied::new(&[Service::Postgres], Store::Postgres).await;
    let owner = connect::postgres(&applied.stores, &applied.names, Role::Owner).await.expect("connect");
    let loader = connect::postgres(&applied.stores, &applied.names, Role::Loader).await.expect("connect");
    let customer = "WITH customer AS (INSERT INTO customers (tenant_id, email)
            VALUES ('00000000-0000-4000-8000-000000000001', 'a@example.com') RETURNING tenant_id, id)
        SELECT tenant_id, id FROM customer";
    let (tenant, customer): (uuid::Uuid, uuid::Uuid) =
        sqlx::query_as(customer).fetch_one(&loader).await.expect("a customer");
    let stray = "INSERT INTO communications (tenant_id, customer_id, channel, direction, content, status, created_at)
        VALUES ($1, $2, 'email', 'outbound', '{}', 'sent', '2091-05-17')";
    sqlx::query(stray)
        .bind(tenant)
        .bind(customer)
        .execute(&loader)
        .await
        .expect("a row without a partition of its own");
    let month = sqlx::query_scalar("SELECT to_char(now() AT TIME ZONE 'UTC', '\"communications_y\"YYYY\"m\"MM')");
    let month: String = month.fetch_one(&owner).await.expect("this month");
    sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE {month}"))).execute(&owner).await.expect("drop a partition");
    applied
        .expect(&[
            &format!("PostgreSQL: partition {month}: expected row-level security enabled"),
            "PostgreSQL: rows of communications_default: expected none, found 1 rows",
        ])
        .await;

    // The function that creates partitions repairs both, and the stray row is kept.
    let created: i32 = sqlx::query_scalar("SELECT ensure_partitions('2091-05-01', '2091-05-31')")
        .fetch_one(&loader)
        .await
        .expect("create the partition");
    assert_eq!(created, 1);
    apply(&applied.stores, &applied.names, &[Store::Postgres]).await.expect("apply again");
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM communications WHERE created_at = '2091-05-17'")
        .fetch_one(&loader)
        .await
        .expect("count");
    assert_eq!(rows, 1);
    applied.expect(&[]).await;
    owner.close().await;
    loader.close().await;
    applied.drop().await;
}

#[tokio::test]
async fn clickhouse_reports_each_change() {
    let applied = Applied::new(&[Service::ClickHouse], Store::ClickHouse).await;
    let client = connect::clickhouse(&applied.stores, &applied.names);
    for change in [
        "ALTER TABLE communication_events MODIFY TTL toDateTime(timestamp) + INTERVAL 1 YEAR",
        "ALTER TABLE agent_metrics MODIFY SETTING non_replicated_deduplication_window = 0",
        "ALTER TABLE customer_interactions DROP PROJECTION by_offset SETTINGS mutations_sync = 2",
        "ALTER TABLE customer_interactions DROP INDEX customer SETTINGS mutations_sync = 2",
        "ALTER TABLE agent_metrics MODIFY COLUMN metric_value Float32 SETTINGS mutations_sync = 2",
        "DROP VIEW campaign_performance_mv SYNC",
        "CREATE TABLE surplus (a UInt8) ENGINE = MergeTree ORDER BY a",
    ] {
        client.query_raw(change).execute().await.unwrap_or_else(|error| panic!("{change}: {error}"));
    }
    applied
        .expect(&[
            "ClickHouse: table communication_events: expected MergeTree",
            "ClickHouse: table agent_metrics: expected MergeTree",
            "ClickHouse: projection customer_interactions.by_offset: expected SELECT",
            "ClickHouse: index customer_interactions.customer: expected customer_id bloom_filter",
            "ClickHouse: column agent_metrics.metric_value: expected Float64, found Float32",
            "ClickHouse: view campaign_performance_mv: expected CREATE MATERIALIZED VIEW",
            "ClickHouse: table surplus: expected nothing",
            "ClickHouse: column surplus.a: expected nothing",
        ])
        .await;
    applied.drop().await;
}

#[tokio::test]
async fn kafka_reports_a_changed_setting_and_a_missing_topic() {
    let applied = Applied::new(&[Service::Kafka], Store::Kafka).await;
    let admin: AdminClient<DefaultClientContext> = connect::kafka_config(&applied.stores).create().expect("connect");
    let changed = applied.names.topic("communication-events");
    let missing = applied.names.topic("agent-metrics");
    let altered =
        AlterConfig::new(ResourceSpecifier::Topic(&changed)).set("retention.ms", "1000").set("segment.ms", "99999");
    let options = AdminOptions::new();
    let results = admin.alter_configs([&altered], &options).await.expect("change a topic");
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let results = admin.delete_topics(&[&missing], &options).await.expect("delete a topic");
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    // A change becomes visible shortly after the broker has acknowledged it.
    let visible = || async { applied.drift().await.len() == 4 };
    sluice_testkit::eventually(std::time::Duration::from_secs(20), "the changes become visible", visible).await;
    applied
        .expect(&[
            &format!("Kafka: topic {changed} retention.ms: expected 604800000, found 1000"),
            &format!("Kafka: topic {changed} segment.ms: expected not set, found 99999"),
            // Altering a topic's settings resets all others to the broker's defaults.
            &format!("Kafka: topic {changed} max.message.bytes: expected 1048576"),
            &format!("Kafka: topic {missing}: expected present, found nothing"),
        ])
        .await;
    apply(&applied.stores, &applied.names, &[Store::Kafka]).await.expect("apply again");
    let repaired = || async { applied.drift().await.is_empty() };
    sluice_testkit::eventually(std::time::Duration::from_secs(20), "apply repairs it", repaired).await;
    applied.drop().await;
}

#[tokio::test]
async fn elasticsearch_reports_a_changed_field() {
    let applied = Applied::new(&[Service::Elasticsearch], Store::Elasticsearch).await;
    let url = format!("{}/_index_template/{}", applied.stores.elasticsearch.url, applied.names.index("communications"));
    let http = reqwest::Client::new();
    let stored: serde_json::Value = http.get(&url).send().await.expect("read").json().await.expect("JSON");
    let mut template = stored["index_templates"][0]["index_template"].clone();
    template["template"]["settings"]["index"]["refresh_interval"] = "30s".into();
    template["template"]["mappings"]["_routing"]["required"] = false.into();
    template["template"]["mappings"]["properties"]["extra"] = serde_json::json!({ "type": "keyword" });
    let put = http.put(&url).json(&template).send().await.expect("change the template");
    assert!(put.status().is_success(), "{}", put.text().await.expect("response"));
    applied
        .expect(&[
            "Elasticsearch: template template.settings.index.refresh_interval: expected 1s, found 30s",
            "Elasticsearch: template template.mappings._routing.required: expected true, found",
            "Elasticsearch: template template.mappings.properties.extra.type: expected nothing, found keyword",
        ])
        .await;
    applied.drop().await;
}

#[tokio::test]
async fn redis_reports_a_dropped_search_index() {
    let applied = Applied::new(&[Service::RedisCache, Service::RedisState], Store::Redis).await;
    let index = format!("{}:", applied.names.key("idx:customers"));
    for url in &applied.stores.redis.cache {
        let mut node = connect::redis_node("Redis (cache)", url).await.expect("connect");
        let listed: Vec<String> = redis::cmd("FT._LIST").query_async(&mut node).await.expect("list");
        let role: redis::Value = redis::cmd("ROLE").query_async(&mut node).await.expect("role");
        let is_master = format!("{role:?}").contains("master");
        if let Some(own) = listed.iter().find(|name| name.starts_with(&index)).filter(|_| is_master) {
            let dropped: Result<(), _> = redis::cmd("FT.DROPINDEX").arg(own).query_async(&mut node).await;
            dropped.expect("drop the index");
            break;
        }
    }
    let drift = applied.drift().await;
    assert_eq!(drift.len(), 9, "the prefix and eight fields of one master: {drift:#?}");
    assert!(
        drift.iter().all(|found| found.starts_with("Redis: search index") && found.ends_with("found nothing")),
        "{drift:#?}"
    );
    applied.drop().await;
}
