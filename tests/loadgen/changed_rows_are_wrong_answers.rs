//! A value that changes in a store makes the answers wrong that contain it, and no others: for each column that a question
//! asks for and that can change alone. What can't is corrupted in the answer itself, beside the questions.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_loadgen::plan::Plan;
use sluice_loadgen::question::Question::{
    self, CampaignStatus, ContentContains, DashboardAgents, DashboardCampaigns, DashboardEvents, DashboardInteractions,
    LookupByEmail, LookupById, LookupCached, ProfileContains, Search, Session, Timeline,
};
use sluice_loadgen::question::lookup_cached::set_context;
use sluice_loadgen::question::session::set_session;
use sluice_loadgen::target::redis::Cluster;
use sluice_schemas::connect::{self, Role};
use sluice_schemas::records::{Customer, Session as UserSession};
use sluice_schemas::tenant;
use tokio_util::sync::CancellationToken;

use crate::world::World;

/// What is asked; every store has at least one of them.
const ASKED: [Question; 13] = [
    LookupById,
    LookupByEmail,
    LookupCached,
    Session,
    Timeline,
    CampaignStatus,
    ProfileContains,
    ContentContains,
    Search,
    DashboardEvents,
    DashboardAgents,
    DashboardInteractions,
    DashboardCampaigns,
];
const LOOKUPS: &[Question] = &[LookupById, LookupByEmail];

/// A table of PostgreSQL, an assignment, the one that undoes it, and the questions whose answers it makes wrong. What the drive writes
/// keeps its time: the next drive would write it a second time.
const POSTGRES: [(&str, &str, &str, &[Question]); 15] = [
    ("customers", "email = 'x' || email", "email = substr(email, 2)", LOOKUPS),
    ("customers", "phone = concat(phone, 'x')", "phone = nullif(left(phone, -1), '')", LOOKUPS),
    (
        "customers",
        "company_name = concat(company_name, 'x')",
        "company_name = nullif(left(company_name, -1), '')",
        LOOKUPS,
    ),
    ("customers", "profile_data = profile_data || '{\"x\": 1}'", "profile_data = profile_data - 'x'", LOOKUPS),
    (
        "customers",
        "payment_history = payment_history || '{\"x\": 1}'",
        "payment_history = payment_history - 'x'",
        LOOKUPS,
    ),
    ("customers", "preferences = preferences || '{\"x\": 1}'", "preferences = preferences - 'x'", LOOKUPS),
    ("customers", "created_at = created_at + interval '1 ms'", "created_at = created_at - interval '1 ms'", LOOKUPS),
    ("customers", "updated_at = updated_at + interval '1 ms'", "updated_at = updated_at - interval '1 ms'", LOOKUPS),
    (
        "customers",
        "is_active = NOT is_active",
        "is_active = NOT is_active",
        &[LookupById, LookupByEmail, ProfileContains],
    ),
    ("communications", "channel = reverse(channel)", "channel = reverse(channel)", &[Timeline]),
    ("communications", "direction = reverse(direction)", "direction = reverse(direction)", &[Timeline]),
    ("communications", "status = reverse(status)", "status = reverse(status)", &[Timeline, CampaignStatus]),
    (
        "communications",
        "content = jsonb_set(content, '{body}', to_jsonb('x' || (content->>'body')))",
        "content = jsonb_set(content, '{body}', to_jsonb(substr(content->>'body', 2)))",
        &[Timeline],
    ),
    (
        "communications",
        "content = jsonb_set(content, '{template}', to_jsonb('x' || (content->>'template')))",
        "content = jsonb_set(content, '{template}', to_jsonb(substr(content->>'template', 2)))",
        &[Timeline, ContentContains],
    ),
    (
        "communications",
        "created_at = created_at + interval '1 ms' WHERE created_at < '2026-11-15T23:59:00Z'",
        "created_at = created_at - interval '1 ms' WHERE created_at < '2026-11-15T23:59:00.001Z'",
        &[Timeline, CampaignStatus],
    ),
];

const OF_EVENTS: &[Question] = &[DashboardEvents, DashboardCampaigns];

/// A table of ClickHouse, a replaced column, and the questions whose answers it makes wrong.
const CLICKHOUSE: [(&str, &str, &[Question]); 13] = [
    ("communication_events", "reverse(channel) AS channel", &[DashboardEvents]),
    ("communication_events", "reverse(event_type) AS event_type", &[DashboardEvents]),
    ("communication_events", "NOT success AS success", OF_EVENTS),
    ("communication_events", "duration_ms + 1000 AS duration_ms", OF_EVENTS),
    ("communication_events", "generateUUIDv4() AS campaign_id", &[DashboardCampaigns]),
    ("communication_events", "timestamp + INTERVAL 1 DAY AS timestamp", OF_EVENTS),
    ("agent_metrics", "reverse(metric_name) AS metric_name", &[DashboardAgents]),
    ("agent_metrics", "metric_value + 1 AS metric_value", &[DashboardAgents]),
    ("agent_metrics", "'nobody' AS agent_id", &[DashboardAgents]),
    ("customer_interactions", "reverse(interaction_type) AS interaction_type", &[DashboardInteractions]),
    ("customer_interactions", "amount_minor + 1 AS amount_minor", &[DashboardInteractions]),
    ("customer_interactions", "generateUUIDv4() AS customer_id", &[DashboardInteractions]),
    ("customer_interactions", "'negative' AS sentiment", &[DashboardInteractions]),
];

/// A field of Elasticsearch's documents, and another value.
const ELASTICSEARCH: [(&str, &str); 5] = [
    ("tenant_id", "00000000-0000-0000-0000-000000000001"),
    ("channel", "fax"),
    ("language", "xx"),
    ("timestamp", "2001-01-01T00:00:00.000Z"),
    ("content", "nothing"),
];

/// A field of a context in the cache; its identifier is its key.
const CONTEXT: [fn(&mut Customer); 10] = [
    |customer| customer.tenant_id = uuid::Uuid::nil(),
    |customer| customer.email.push('x'),
    |customer| customer.phone = Some("0".to_owned()),
    |customer| customer.company_name = Some("another".to_owned()),
    |customer| customer.profile_data = json!({}),
    |customer| customer.payment_history = json!({}),
    |customer| customer.preferences = json!({}),
    |customer| customer.created_at += chrono::TimeDelta::milliseconds(1),
    |customer| customer.updated_at += chrono::TimeDelta::milliseconds(1),
    |customer| customer.is_active = !customer.is_active,
];

/// A field of a session; its user is its key.
const SESSION: [fn(&mut UserSession); 4] = [
    |session| session.tenant_id = uuid::Uuid::nil(),
    |session| session.token = uuid::Uuid::nil(),
    |session| session.role.push('x'),
    |session| session.signed_in_at += chrono::TimeDelta::milliseconds(1),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_changed_column_makes_the_answers_wrong_that_contain_it_and_no_others() {
    let (world, _) = World::loaded_with(|scenario| {
        scenario.probes = ASKED.map(|question| (question, 25.0)).into();
        (scenario.duration, scenario.warm_up) = (Duration::from_secs(2), Duration::ZERO);
    })
    .await;
    let stores = Stores::of(&world).await;
    // Without a miss, the cache takes nothing from PostgreSQL.
    stores.set_contexts(|_| ()).await;
    assert_eq!(wrong(&world).await, BTreeSet::new(), "the negative control");
    for step in 0..POSTGRES.len().max(CLICKHOUSE.len()) {
        let (mut changes, mut expected) = (Vec::new(), BTreeSet::new());
        if let Some((table, change, _, questions)) = POSTGRES.get(step) {
            stores.update(table, change).await;
            changes.push(*change);
            expected.extend(*questions);
        }
        if let Some((table, change, questions)) = CLICKHOUSE.get(step) {
            stores.refill(table, &format!("* REPLACE ({change})")).await;
            changes.push(*change);
            expected.extend(*questions);
        }
        if let Some((field, value)) = ELASTICSEARCH.get(step) {
            stores.index(field, |_| json!(value)).await;
            changes.push(*field);
            expected.insert(Search);
        }
        if let Some(change) = CONTEXT.get(step) {
            stores.set_contexts(change).await;
            expected.insert(LookupCached);
        }
        if let Some(change) = SESSION.get(step) {
            stores.set_sessions(change).await;
            expected.insert(Session);
        }
        assert_eq!(wrong(&world).await, expected, "step {step}: {changes:?}");
        stores.undo(step).await;
    }
    assert_eq!(wrong(&world).await, BTreeSet::new(), "all is as it was");
    stores.close().await;
    world.drop_namespace().await;
}

/// The questions of which at least one answer was wrong.
async fn wrong(world: &World) -> BTreeSet<Question> {
    let driven = world.drive_on(&world.stores, &CancellationToken::new()).await;
    let asked = driven.measured.questions.iter();
    let counts = asked.map(|recorder| (recorder.question(), recorder.measured().counts));
    let counts: Vec<_> = counts.inspect(|(question, counts)| assert!(counts.samples > 10, "{question}")).collect();
    counts.into_iter().filter(|(_, counts)| counts.wrong > 0).map(|(question, _)| question).collect()
}

/// Clients that change what the load wrote.
struct Stores<'a> {
    world: &'a World,
    plan: &'a Plan,
    postgres: sqlx::PgPool,
    clickhouse: clickhouse::Client,
    http: reqwest::Client,
    /// Index, identifier and content of each document.
    documents: Vec<(String, String, Value)>,
    cache: Cluster,
    state: Cluster,
}

impl<'a> Stores<'a> {
    async fn of(world: &'a World) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let all =
            format!("{}/{}/_search?size=10000", world.stores.elasticsearch.url, world.names.index("communications-*"));
        let found: Value = http.get(all).send().await.unwrap().json().await.unwrap();
        let hits = found["hits"]["hits"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let documents = hits.iter().map(|hit| (text(&hit["_index"]), text(&hit["_id"]), hit["_source"].clone()));
        let clickhouse = connect::clickhouse(&world.stores, &world.names).with_setting("insert_deduplicate", "0");
        for table in ["communication_events", "agent_metrics", "customer_interactions"] {
            for statement in [
                format!("CREATE TABLE kept_{table} AS {table}"),
                format!("INSERT INTO kept_{table} SELECT * FROM {table}"),
            ] {
                clickhouse.query(&statement).execute().await.unwrap();
            }
        }
        Self {
            world,
            plan: &world.plan,
            postgres: connect::postgres(&world.stores, &world.names, Role::App).await.unwrap(),
            clickhouse,
            documents: documents.collect(),
            http,
            cache: Cluster::cache(&world.stores, &world.names).await.unwrap(),
            state: Cluster::state(&world.stores, &world.names).await.unwrap(),
        }
    }

    /// Updates all rows of a table of PostgreSQL.
    async fn update(&self, table: &str, assignment: &str) {
        for owner in self.plan.population().tenants() {
            let mut transaction = tenant::begin(&self.postgres, owner.id).await.unwrap();
            let update = sqlx::AssertSqlSafe(format!("UPDATE {table} SET {assignment}"));
            assert!(sqlx::query(update).execute(&mut *transaction).await.unwrap().rows_affected() > 0);
            transaction.commit().await.unwrap();
        }
    }

    /// Fills a table of ClickHouse again, and with the events their aggregate.
    async fn refill(&self, table: &str, columns: &str) {
        let aggregate = (table == "communication_events").then(|| "TRUNCATE TABLE campaign_performance".to_owned());
        let statements =
            [format!("TRUNCATE TABLE {table}"), format!("INSERT INTO {table} SELECT {columns} FROM kept_{table}")];
        for statement in aggregate.into_iter().chain(statements) {
            self.clickhouse.query(&statement).execute().await.unwrap();
        }
    }

    /// Sets a field of all documents.
    async fn index(&self, field: &str, value: impl Fn(&Value) -> Value) {
        let mut body = String::new();
        for (index, id, source) in &self.documents {
            let place = json!({"update": {"_index": index, "_id": id, "routing": source["tenant_id"]}});
            let change = json!({"doc": {field: value(source)}});
            writeln!(body, "{place}\n{change}").unwrap();
        }
        let url = format!("{}/_bulk?refresh=true", self.world.stores.elasticsearch.url);
        let request = self.http.post(url).header("content-type", "application/x-ndjson").body(body);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["errors"], false, "{answer}");
    }

    /// Caches every customer, changed.
    async fn set_contexts(&self, change: impl Fn(&mut Customer)) {
        let population = self.plan.population();
        for owner in population.tenants() {
            for index in 0..owner.customers {
                let mut customer = population.customer(owner.index, index);
                change(&mut customer);
                set_context(&self.cache, &customer).await.unwrap();
            }
        }
    }

    /// Signs every user in, changed.
    async fn set_sessions(&self, change: impl Fn(&mut UserSession)) {
        let population = self.plan.population();
        for owner in population.tenants() {
            for index in 0..owner.agents {
                let mut session = population.session(owner.index, index);
                change(&mut session);
                set_session(&self.state, &session).await.unwrap();
            }
        }
    }

    async fn undo(&self, step: usize) {
        if let Some((table, _, undo, _)) = POSTGRES.get(step) {
            self.update(table, undo).await;
        }
        if let Some((table, ..)) = CLICKHOUSE.get(step) {
            self.refill(table, "*").await;
        }
        if let Some((field, _)) = ELASTICSEARCH.get(step) {
            self.index(field, |source| source[*field].clone()).await;
        }
        self.set_contexts(|_| ()).await;
        self.set_sessions(|_| ()).await;
    }

    async fn close(self) {
        for table in ["communication_events", "agent_metrics", "customer_interactions"] {
            self.clickhouse.query(&format!("DROP TABLE kept_{table} SYNC")).execute().await.unwrap();
        }
        self.postgres.close().await;
    }
}
