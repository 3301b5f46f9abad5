//! A tenant's rows are visible only to that tenant. Without a tenant, no row is visible. No row can be written for
//! another tenant, no partition bypasses the policies, and the policies also apply to the tables' owner.

use sluice_schemas::apply::apply;
use sluice_schemas::connect::{self, Role};
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;
use sluice_schemas::{Store, drop_namespace, tenant};
use sluice_testkit::{Service, Stack, fresh_names};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, Row};
use uuid::Uuid;

const TENANT: Uuid = Uuid::from_u128(0x0000_0000_0000_4000_8000_0000_0000_0001);
const OTHER_TENANT: Uuid = Uuid::from_u128(0x0000_0000_0000_4000_8000_0000_0000_0002);
const NO_TENANTS: [Uuid; 0] = [];
/// SQLSTATE insufficient_privilege, also for a violated policy.
const DENIED: &str = "42501";
/// SQLSTATE of a duplicate value.
const UNIQUE_VIOLATION: &str = "23505";
/// SQLSTATE foreign_key_violation.
const FOREIGN_KEY: &str = "23503";

struct Platform {
    _stack: Stack,
    stores: Stores,
    names: Names,
}

impl Platform {
    /// Two tenants with a customer, a campaign and a communication each.
    async fn new() -> Self {
        let stack = Stack::up(env!("CARGO_BIN_EXE_sluice"), &[Service::Postgres]).await;
        let names = fresh_names("rls");
        let stores = stack.stores(&names);
        apply(&stores, &names, &[Store::Postgres]).await.unwrap_or_else(|error| panic!("failed to {error}"));
        let platform = Self { _stack: stack, stores, names };
        let app = platform.connect(Role::App).await;
        for tenant in [TENANT, OTHER_TENANT] {
            let mut transaction = tenant::begin(&app, tenant).await.expect("begin");
            for row in [
                "INSERT INTO customers (id, tenant_id, email) VALUES ($1, $1, 'same@example.com')",
                "INSERT INTO campaigns (id, tenant_id, name, configuration, escalation_rules) VALUES ($1, $1, 'c', '{}', '{}')",
                "INSERT INTO communications (tenant_id, customer_id, campaign_id, channel, direction, content, status)
                 VALUES ($1, $1, $1, 'email', 'outbound', '{}', 'sent')",
            ] {
                sqlx::query(row).bind(tenant).execute(&mut *transaction).await.expect("insert a tenant's own row");
            }
            transaction.commit().await.expect("commit");
        }
        platform
    }

    async fn connect(&self, role: Role) -> PgPool {
        connect::postgres(&self.stores, &self.names, role).await.unwrap_or_else(|error| panic!("failed to {error}"))
    }

    async fn drop(self) {
        drop_namespace(&self.stores, &self.names, &[Store::Postgres]).await.expect("drop the namespace");
    }
}

async fn visible_tenants(connection: &mut PgConnection, table: &str) -> Vec<Uuid> {
    let sql = format!("SELECT tenant_id FROM {table} ORDER BY tenant_id");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(connection).await.expect("read")
}

/// The SQLSTATE with which a statement fails when run as a tenant.
async fn refusal(pool: &PgPool, tenant: Uuid, sql: &str) -> String {
    let mut transaction = tenant::begin(pool, tenant).await.expect("begin");
    let error = sqlx::query(AssertSqlSafe(sql)).execute(&mut *transaction).await.expect_err(sql);
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default().into_owned()
}

#[tokio::test]
async fn each_tenant_sees_its_own_rows_and_none_are_visible_without_a_tenant() {
    let platform = Platform::new().await;
    for role in [Role::App, Role::Reader, Role::Owner] {
        let pool = platform.connect(role).await;
        let mut connection = pool.acquire().await.expect("connect");
        for table in ["customers", "campaigns", "communications"] {
            assert_eq!(visible_tenants(&mut connection, table).await, NO_TENANTS, "{role:?} {table} before any tenant");
            let mut transaction = connection.begin().await.expect("begin");
            tenant::set(&mut transaction, TENANT).await.expect("set the tenant");
            assert_eq!(visible_tenants(&mut transaction, table).await, [TENANT], "{role:?} {table}");
            transaction.commit().await.expect("commit");
        }
        // On a connection that had a tenant before, the setting reads as an empty string, not as unset.
        assert_eq!(
            visible_tenants(&mut connection, "customers").await,
            NO_TENANTS,
            "{role:?} after a tenant's transaction"
        );
        drop(connection);
        pool.close().await;
    }
    // The negative control: a role that bypasses the policies sees the rows.
    let loader = platform.connect(Role::Loader).await;
    let mut connection = loader.acquire().await.expect("connect");
    assert_eq!(visible_tenants(&mut connection, "communications").await, [TENANT, OTHER_TENANT]);
    drop(connection);
    loader.close().await;
    platform.drop().await;
}

#[tokio::test]
async fn the_policies_apply_to_the_owner_too() {
    let platform = Platform::new().await;
    let owner = platform.connect(Role::Owner).await;
    for table in ["customers", "campaigns", "communications", "communications_default"] {
        let mut connection = owner.acquire().await.expect("connect");
        assert_eq!(visible_tenants(&mut connection, table).await, NO_TENANTS, "{table}");
    }
    owner.close().await;
    platform.drop().await;
}

#[tokio::test]
async fn a_row_for_another_tenant_is_refused() {
    let platform = Platform::new().await;
    let app = platform.connect(Role::App).await;
    let insert = format!("INSERT INTO customers (tenant_id, email) VALUES ('{OTHER_TENANT}', 'x@example.com')");
    assert_eq!(refusal(&app, TENANT, &insert).await, DENIED);
    let update = format!("UPDATE customers SET tenant_id = '{OTHER_TENANT}'");
    assert_eq!(refusal(&app, TENANT, &update).await, DENIED);
    // A row that references another tenant's customer or campaign: the foreign keys include the tenant.
    for (customer, campaign) in [(OTHER_TENANT, TENANT), (TENANT, OTHER_TENANT)] {
        let foreign = format!(
            "INSERT INTO communications (tenant_id, customer_id, campaign_id, channel, direction, content, status)
             VALUES ('{TENANT}', '{customer}', '{campaign}', 'email', 'outbound', '{{}}', 'sent')"
        );
        assert_eq!(refusal(&app, TENANT, &foreign).await, FOREIGN_KEY, "{customer} {campaign}");
    }
    app.close().await;
    platform.drop().await;
}

#[tokio::test]
async fn no_partition_bypasses_the_policies() {
    let platform = Platform::new().await;
    let app = platform.connect(Role::App).await;
    let mut connection = app.acquire().await.expect("connect");
    let partitions = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'communications'::regclass";
    let partitions = sqlx::query(partitions).fetch_all(&mut *connection).await.expect("list the partitions");
    drop(connection);
    assert!(partitions.len() > 12, "{}", partitions.len());
    for role in [Role::App, Role::Reader, Role::Cdc, Role::Loader] {
        let pool = platform.connect(role).await;
        for partition in &partitions {
            let partition: String = partition.get(0);
            let read = format!("SELECT count(*) FROM {partition}");
            assert_eq!(refusal(&pool, TENANT, &read).await, DENIED, "{role:?} {partition}");
        }
        pool.close().await;
    }
    app.close().await;
    platform.drop().await;
}

#[tokio::test]
async fn the_loader_copies_but_cannot_delete_and_readers_cannot_write() {
    let platform = Platform::new().await;
    let copied = format!("{OTHER_TENANT}\tcopied@example.com\n");
    let loader = platform.connect(Role::Loader).await;
    let mut connection = loader.acquire().await.expect("connect");
    let mut copy =
        connection.copy_in_raw("COPY customers (tenant_id, email) FROM STDIN").await.expect("start the copy");
    copy.send(copied.as_bytes()).await.expect("send");
    assert_eq!(copy.finish().await.expect("finish"), 1);
    drop(connection);
    assert_eq!(refusal(&loader, TENANT, "DELETE FROM customers").await, DENIED);
    loader.close().await;
    for role in [Role::Cdc, Role::Reader] {
        let pool = platform.connect(role).await;
        assert_eq!(refusal(&pool, TENANT, "UPDATE customers SET phone = '1'").await, DENIED, "{role:?}");
        pool.close().await;
    }
    platform.drop().await;
}

#[tokio::test]
async fn an_address_is_unique_per_tenant_in_any_letter_case() {
    let platform = Platform::new().await;
    let app = platform.connect(Role::App).await;
    let duplicate = format!("INSERT INTO customers (tenant_id, email) VALUES ('{TENANT}', 'SAME@example.com')");
    assert_eq!(refusal(&app, TENANT, &duplicate).await, UNIQUE_VIOLATION);
    app.close().await;
    platform.drop().await;
}
