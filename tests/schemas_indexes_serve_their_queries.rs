//! With 100,000 customers, each index of the ADR serves its query when the application runs it, under row-level security.
//! The negative control: without the index, the same query has another plan.

use sluice_schemas::apply::apply;
use sluice_schemas::connect::{self, Role};
use sluice_schemas::{Store, drop_namespace, tenant};
use sluice_testkit::{Service, Stack, fresh_names};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

const TENANT: Uuid = Uuid::from_u128(0x0000_0000_0000_4000_8000_0000_0000_0001);

/// 100,000 customers of three unequal tenants, 20 campaigns each, and 200,000 communications of the last three months.
const POPULATION: &str = "
    INSERT INTO customers (id, tenant_id, email, profile_data, created_at)
    SELECT md5('customer' || n)::uuid,
           ('00000000-0000-4000-8000-00000000000' || CASE WHEN n % 10 < 6 THEN 1 WHEN n % 10 < 9 THEN 2 ELSE 3 END)::uuid,
           'customer' || n || '@example.com',
           jsonb_build_object('segment', 'segment' || n % 500, 'language', 'en', 'score', n % 100),
           now() - interval '1 year'
    FROM generate_series(1, 100000) n;

    INSERT INTO campaigns (id, tenant_id, name, configuration, escalation_rules)
    SELECT md5('campaign' || t || '-' || n)::uuid, ('00000000-0000-4000-8000-00000000000' || t)::uuid, 'c' || n, '{}', '{}'
    FROM generate_series(1, 3) t, generate_series(0, 19) n;

    INSERT INTO communications (tenant_id, customer_id, campaign_id, channel, direction, content, status, created_at)
    SELECT c.tenant_id, c.id, md5('campaign' || right(c.tenant_id::text, 1) || '-' || k % 20)::uuid, 'email', 'outbound',
           jsonb_build_object('subject', 'payment', 'body', repeat('words of a message ', 5), 'template', 'template' || k % 700),
           (ARRAY['queued', 'sent', 'delivered', 'opened', 'answered', 'promised', 'paid', 'failed'])[1 + k % 8],
           now() - (k % 90) * interval '1 day'
    FROM (SELECT id, tenant_id, row_number() OVER () AS n FROM customers) c, LATERAL (VALUES (c.n), (c.n + 37)) AS two (k);

    ANALYZE customers;
    ANALYZE communications;";

struct Query {
    index: &'static str,
    sql: &'static str,
}

const QUERIES: [Query; 5] = [
    Query {
        index: "idx_customers_tenant_email",
        sql: "SELECT id, phone FROM customers WHERE email = 'customer54321@example.com' AND is_active",
    },
    Query {
        index: "idx_communications_customer_created",
        sql: "SELECT id, status FROM communications WHERE customer_id = md5('customer54321')::uuid
              ORDER BY created_at DESC LIMIT 50",
    },
    Query {
        index: "idx_communications_campaign_status",
        sql: "SELECT id, customer_id FROM communications
              WHERE campaign_id = md5('campaign1-3')::uuid AND status = 'opened' ORDER BY created_at DESC LIMIT 100",
    },
    Query {
        index: "idx_customers_profile_data_gin",
        sql: "SELECT id FROM customers WHERE profile_data @> '{\"segment\": \"segment321\", \"score\": 21}'",
    },
    Query {
        index: "idx_communications_content_gin",
        sql: "SELECT id FROM communications WHERE content @> '{\"template\": \"template321\"}'",
    },
];

/// The plan of a query that the application runs, and the number of rows that the query returns.
async fn explain(app: &PgPool, sql: &str) -> (String, i64) {
    let mut transaction = tenant::begin(app, TENANT).await.expect("begin");
    let plan = sqlx::query_scalar(AssertSqlSafe(format!("EXPLAIN (COSTS OFF) {sql}")));
    let plan: Vec<String> = plan.fetch_all(&mut *transaction).await.expect("explain");
    let rows = sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM ({sql}) AS found")));
    (plan.join("\n"), rows.fetch_one(&mut *transaction).await.expect("query"))
}

/// The names of an index and of its indexes on the partitions.
async fn partition_indexes(owner: &PgPool, index: &str) -> Vec<String> {
    let sql = "SELECT $1 UNION ALL SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = $1::regclass";
    sqlx::query_scalar(sql).bind(index).fetch_all(owner).await.expect("list the indexes")
}

#[tokio::test]
async fn each_index_of_the_adr_serves_its_query() {
    let stack = Stack::up(env!("CARGO_BIN_EXE_sluice"), &[Service::Postgres]).await;
    let names = fresh_names("index");
    let stores = stack.stores(&names);
    apply(&stores, &names, &[Store::Postgres]).await.unwrap_or_else(|error| panic!("failed to {error}"));
    let pool = |role| connect::postgres(&stores, &names, role);
    let admin = pool(Role::Admin).await.expect("connect");
    sqlx::raw_sql(POPULATION).execute(&admin).await.expect("create the population");
    let (app, owner) = (pool(Role::App).await.expect("connect"), pool(Role::Owner).await.expect("connect"));

    for Query { index, sql } in QUERIES {
        let indexes = partition_indexes(&owner, index).await;
        let (plan, rows) = explain(&app, sql).await;
        assert!(rows > 0, "{index}: the query returns nothing");
        // A partition without matching rows may be read in another way, but none may be scanned in full.
        let is_served = plan.lines().any(|line| {
            indexes.iter().any(|name| line.ends_with(&format!(" {name}")) || line.contains(&format!(" {name} ")))
        });
        assert!(is_served, "{index} does not serve its query:\n{plan}");

        sqlx::raw_sql(AssertSqlSafe(format!("DROP INDEX {index}"))).execute(&owner).await.expect("drop the index");
        let (without, rows_without) = explain(&app, sql).await;
        assert!(
            !indexes.iter().any(|name| without.contains(name.as_str())),
            "{index} was dropped, but is in the plan:\n{without}"
        );
        assert_eq!(rows, rows_without, "{index}: the result differs without it");
    }
    for pool in [admin, app, owner] {
        pool.close().await;
    }
    drop_namespace(&stores, &names, &[Store::Postgres]).await.expect("drop the namespace");
}
