//! ClickHouse: the namespace's database and its migrations; what was applied is kept in `schema_migrations`.
//! There is no transaction around a file, so its statements are repeatable and it is recorded after the last one.

pub(crate) mod run;

use std::collections::BTreeMap;

use crate::apply::{Applied, Outcome};
use crate::check::Drift;
use crate::connect;
use crate::error::{SchemaError, refused};
use crate::facts::{self, Facts};
use crate::migration::{Migration, migrations};
use crate::names::Names;
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

fn failed(stores: &Stores, doing: impl Into<String>) -> impl FnOnce(clickhouse::error::Error) -> SchemaError {
    let (address, doing) = (stores.clickhouse.url.clone(), doing.into());
    move |error| match error {
        clickhouse::error::Error::Network(cause) => {
            connect::ConnectError { store: "ClickHouse", section: "clickhouse", address, cause: cause.to_string() }
                .into()
        }
        other => refused(Store::ClickHouse, doing)(other),
    }
}

/// Runs a statement that returns nothing. It is done only if the answer is ClickHouse's own: a summary in its headers, and
/// no body. The client itself takes any 200 for success.
async fn execute(query: clickhouse::query::Query) -> Result<(), clickhouse::error::Error> {
    let mut answer = query.fetch_bytes("TabSeparated")?;
    let mut is_empty = true;
    while answer.next().await?.is_some() {
        is_empty = false;
    }
    if is_empty && answer.summary().is_some() {
        return Ok(());
    }
    let why = "it is not an answer of ClickHouse; is there a proxy or another server at its address?";
    Err(clickhouse::error::Error::BadResponse(why.to_owned()))
}

/// Applies everything; see [`crate::apply::apply`].
pub(crate) async fn apply(stores: &Stores, names: &Names) -> Result<Vec<Applied>, SchemaError> {
    let database = create_database(stores, names).await?;
    let client = connect::clickhouse(stores, names);
    let history = client.query_raw(&run::labelled(HISTORY, names));
    execute(history).await.map_err(failed(stores, "create schema_migrations"))?;
    let recorded = recorded(stores, &client).await?;
    let mut applied = vec![database];
    for file in MIGRATIONS {
        let outcome = migrate(stores, names, &client, &recorded, file).await?;
        applied.push(Applied::new(Store::ClickHouse, file.file, outcome));
    }
    Ok(applied)
}

/// Compares; see [`crate::check::check`].
pub(crate) async fn check(stores: &Stores, names: &Names) -> Result<Vec<Drift>, SchemaError> {
    if !has_database(stores, names).await? {
        let object = format!("database {}", names.database());
        let (expected, found) = ("there".to_owned(), "nothing".to_owned());
        return Ok(vec![Drift { store: Store::ClickHouse, object, expected, found }]);
    }
    let client = connect::clickhouse(stores, names);
    let rows: Vec<(String, String)> =
        client.query(CATALOG).fetch_all().await.map_err(failed(stores, "read the catalog"))?;
    let found: Facts = rows.into_iter().collect();
    let mut drift = facts::compare(Store::ClickHouse, &facts::parse(EXPECTED), &found);
    if found.contains_key("column schema_migrations.file") {
        let label = |(file, sha256): (String, String)| (format!("migration {file}"), sha256);
        let expected = MIGRATIONS.iter().map(|file| label((file.file.to_owned(), file.sha256()))).collect();
        let recorded = recorded(stores, &client).await?.into_iter().map(label).collect();
        drift.extend(facts::compare(Store::ClickHouse, &expected, &recorded));
    }
    Ok(drift)
}

/// Drops the namespace's database and waits until it is gone.
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

async fn create_database(stores: &Stores, names: &Names) -> Result<Applied, SchemaError> {
    let database = names.database();
    let outcome = if has_database(stores, names).await? {
        Outcome::Unchanged
    } else {
        let sql = format!("CREATE DATABASE IF NOT EXISTS {database}");
        let created = execute(connect::clickhouse_server(stores).query(&sql)).await;
        created.map_err(failed(stores, format!("create database {database}")))?;
        Outcome::Created
    };
    Ok(Applied::new(Store::ClickHouse, database, outcome))
}

async fn recorded(stores: &Stores, client: &clickhouse::Client) -> Result<BTreeMap<String, String>, SchemaError> {
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
    match recorded.get(file.file) {
        Some(sha256) if *sha256 == file.sha256() => return Ok(Outcome::Unchanged),
        Some(_) => return Err(SchemaError::Edited { store: Store::ClickHouse, file: file.file.to_owned() }),
        None => {}
    }
    let doing = || failed(stores, format!("apply {}", file.file));
    for statement in file.statements() {
        execute(client.query_raw(&run::labelled(statement, names))).await.map_err(doing())?;
    }
    let record = client.query("INSERT INTO schema_migrations (file, sha256) VALUES (?, ?)");
    execute(record.bind(file.file).bind(file.sha256())).await.map_err(doing())?;
    Ok(Outcome::Created)
}
