//! ClickHouse: the namespace's database and its migrations, which are recorded in `schema_migrations`.
//! A file does not run in a transaction, so its statements are idempotent and it is recorded after the last one. It
//! never undoes a migration.

mod client;
pub(crate) mod run;

use std::collections::BTreeMap;

use self::client::{execute, failed};
use crate::connect;
use crate::error::SchemaError;
use crate::names::Names;
use crate::schema::drift::Drift;
use crate::schema::facts::{self, Facts};
use crate::schema::migration::{self, Migration, migrations};
use crate::schema::outcome::{AppliedObject, Outcome};
use crate::store::Store;
use crate::stores::Stores;

const MIGRATIONS: &[Migration] = migrations!["clickhouse":
    "0001_communication_events.sql",
    "0002_agent_metrics.sql",
    "0003_customer_interactions.sql",
    "0004_campaign_performance.sql",
    "0005_campaign_performance_hourly.sql",
];
const HISTORY: &str = "CREATE TABLE IF NOT EXISTS schema_migrations
    (file String, sha256 String, applied_at DateTime('UTC') DEFAULT now()) ENGINE = MergeTree ORDER BY file";
const CATALOG: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/clickhouse/catalog.sql"));
const EXPECTED: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/clickhouse/catalog.txt"));

/// Applies everything; see [`crate::apply::apply`].
pub(crate) async fn apply(stores: &Stores, names: &Names) -> Result<Vec<AppliedObject>, SchemaError> {
    let database = create_database(stores, names).await?;
    let client = connect::clickhouse(stores, names);
    let history = client.query_raw(&run::with_label(HISTORY, names));
    execute(history).await.map_err(failed(stores, "create schema_migrations"))?;
    let recorded = recorded_migrations(stores, &client).await?;
    let mut applied = vec![database];
    for file in MIGRATIONS {
        let outcome = migrate(stores, names, &client, &recorded, file).await?;
        applied.push(AppliedObject::new(Store::ClickHouse, file.file, outcome));
    }
    Ok(applied)
}

/// Compares; see [`crate::check::check`].
pub(crate) async fn check(stores: &Stores, names: &Names) -> Result<Vec<Drift>, SchemaError> {
    if !has_database(stores, names).await? {
        return Ok(vec![Drift::missing(Store::ClickHouse, format!("database {}", names.database()))]);
    }
    let client = connect::clickhouse(stores, names);
    let rows: Vec<(String, String)> =
        client.query(CATALOG).fetch_all().await.map_err(failed(stores, "read the catalog"))?;
    let catalog: Facts = rows.into_iter().collect();
    let mut drift = facts::compare(Store::ClickHouse, &facts::parse(EXPECTED), &catalog);
    if catalog.contains_key("column schema_migrations.file") {
        drift.extend(migration::compare(Store::ClickHouse, MIGRATIONS, recorded_migrations(stores, &client).await?));
    }
    Ok(drift)
}

/// Drops the namespace's database and waits until that is complete.
pub(crate) async fn drop_namespace(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    let database = names.database();
    let sql = format!("DROP DATABASE IF EXISTS {database} SYNC");
    let dropped = execute(connect::clickhouse_server(stores).query(&sql)).await;
    dropped.map_err(failed(stores, format!("drop database {database}")))
}

async fn has_database(stores: &Stores, names: &Names) -> Result<bool, SchemaError> {
    let client = connect::clickhouse_server(stores);
    let counted = client.query("SELECT count() FROM system.databases WHERE name = ?").bind(names.database());
    let databases: u64 = counted.fetch_one().await.map_err(failed(stores, "list databases"))?;
    Ok(databases > 0)
}

async fn create_database(stores: &Stores, names: &Names) -> Result<AppliedObject, SchemaError> {
    let database = names.database();
    let outcome = if has_database(stores, names).await? {
        Outcome::Unchanged
    } else {
        let sql = format!("CREATE DATABASE IF NOT EXISTS {database}");
        let created = execute(connect::clickhouse_server(stores).query(&sql)).await;
        created.map_err(failed(stores, format!("create database {database}")))?;
        Outcome::Created
    };
    Ok(AppliedObject::new(Store::ClickHouse, database, outcome))
}

async fn recorded_migrations(
    stores: &Stores,
    client: &clickhouse::Client,
) -> Result<BTreeMap<String, String>, SchemaError> {
    let rows = client.query("SELECT file, sha256 FROM schema_migrations").fetch_all::<(String, String)>().await;
    Ok(rows.map_err(failed(stores, "read schema_migrations"))?.into_iter().collect())
}

async fn migrate(
    stores: &Stores,
    names: &Names,
    client: &clickhouse::Client,
    recorded: &BTreeMap<String, String>,
    file: &Migration,
) -> Result<Outcome, SchemaError> {
    if file.is_applied(Store::ClickHouse, recorded.get(file.file).map(String::as_str))? {
        return Ok(Outcome::Unchanged);
    }
    let doing = || failed(stores, format!("apply {}", file.file));
    for statement in file.statements() {
        execute(client.query_raw(&run::with_label(statement, names))).await.map_err(doing())?;
    }
    let record = client.query("INSERT INTO schema_migrations (file, sha256) VALUES (?, ?)");
    execute(record.bind(file.file).bind(file.sha256())).await.map_err(doing())?;
    Ok(Outcome::Created)
}
