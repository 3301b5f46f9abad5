//! Compares PostgreSQL's catalog with `postgres/catalog.txt`, every partition with what a partition must be, and the
//! recorded migrations with the files.

use chrono::{Months, NaiveDate, Utc};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use super::{MIGRATIONS, failed, own_logins};
use crate::check::Drift;
use crate::connect::{self, Role};
use crate::error::SchemaError;
use crate::facts::{self, Facts};
use crate::migration::render;
use crate::names::Names;
use crate::store::Store;
use crate::stores::Stores;

const CATALOG: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/postgres/catalog.sql"));
const PARTITIONS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/postgres/partitions.sql"));
const EXPECTED: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/postgres/catalog.txt"));
const DEFAULT_PARTITION: &str = "communications_default";

/// Compares; see [`crate::check::check`].
pub(crate) async fn check(stores: &Stores, names: &Names) -> Result<Vec<Drift>, SchemaError> {
    let mut admin = connect::postgres_connection(stores, super::MAINTENANCE, Role::Admin).await?;
    if !has_database(&mut admin, &names.database()).await? {
        return Ok(vec![drift(format!("database {}", names.database()), "there", "nothing")]);
    }
    let owner = connect::postgres(stores, names, Role::Owner).await?;
    // Definitions that hold a time are written in the session's zone.
    let mut connection = owner.acquire().await.map_err(failed("connect"))?;
    sqlx::query("SET timezone = 'UTC'").execute(&mut *connection).await.map_err(failed("set the time zone"))?;
    let mut drift = migrations(&owner).await?;
    drift.extend(facts::compare(Store::Postgres, &expected(stores), &read_facts(&mut connection).await?));
    drift.extend(partitions(&mut connection, stores, names).await?);
    Ok(drift)
}

fn drift(object: String, expected: &str, found: &str) -> Drift {
    Drift { store: Store::Postgres, object, expected: expected.to_owned(), found: found.to_owned() }
}

async fn has_database(admin: &mut PgConnection, database: &str) -> Result<bool, SchemaError> {
    let asked = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)").bind(database);
    asked.fetch_one(admin).await.map_err(failed("list databases"))
}

async fn migrations(owner: &PgPool) -> Result<Vec<Drift>, SchemaError> {
    let there: bool = sqlx::query_scalar("SELECT to_regclass('schema_migrations') IS NOT NULL")
        .fetch_one(owner)
        .await
        .map_err(failed("look for schema_migrations"))?;
    let recorded: Vec<(String, String)> = if there {
        let rows = sqlx::query_as("SELECT file, sha256 FROM schema_migrations").fetch_all(owner).await;
        rows.map_err(failed("read schema_migrations"))?
    } else {
        Vec::new()
    };
    let label = |(file, sha256): (String, String)| (format!("migration {file}"), sha256);
    let expected = MIGRATIONS.iter().map(|file| label((file.file.to_owned(), file.sha256()))).collect();
    Ok(facts::compare(Store::Postgres, &expected, &recorded.into_iter().map(label).collect()))
}

fn expected(stores: &Stores) -> Facts {
    let names: Vec<_> = own_logins(stores).iter().map(|(name, login)| (*name, login.user.clone())).collect();
    facts::parse(&render(EXPECTED, &names))
}

async fn read_facts(connection: &mut PgConnection) -> Result<Facts, SchemaError> {
    let rows: Vec<(String, String)> =
        sqlx::query_as(CATALOG).fetch_all(connection).await.map_err(failed("read the catalog"))?;
    Ok(rows.into_iter().collect())
}

async fn partitions(connection: &mut PgConnection, stores: &Stores, names: &Names) -> Result<Vec<Drift>, SchemaError> {
    let there: bool = sqlx::query_scalar("SELECT to_regclass('communications') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed("look for communications"))?;
    if !there {
        return Ok(Vec::new());
    }
    let rows: Vec<(String, String, bool)> =
        sqlx::query_as(PARTITIONS).fetch_all(connection).await.map_err(failed("read the partitions"))?;
    let stray = rows.iter().any(|(partition, _, has_rows)| partition == DEFAULT_PARTITION && *has_rows);
    let found: Facts = rows.into_iter().map(|(name, facts, _)| (format!("partition {name}"), facts)).collect();
    let mut drift = facts::compare(Store::Postgres, &expected_partitions(&found, Utc::now().date_naive()), &found);
    if stray {
        drift.extend(strays(stores, names).await?);
    }
    Ok(drift)
}

/// The default partition, the months that must be there, and whatever month is there: all must look alike.
fn expected_partitions(found: &Facts, today: NaiveDate) -> Facts {
    let ahead = (0..=super::MONTHS_AHEAD)
        .map(|months| (today + Months::new(months)).format("communications_y%Ym%m").to_string());
    let there = found.keys().filter_map(|object| object.strip_prefix("partition ")).map(str::to_owned);
    ahead
        .chain(there)
        .chain([DEFAULT_PARTITION.to_owned()])
        .map(|name| (format!("partition {name}"), format!("{PARTITION_FACTS}, {}", bound(&name))))
        .collect()
}

const PARTITION_FACTS: &str =
    "row-level security enabled, forced, 0 policies, 0 grants, indexes without a valid part: none";

/// The bound that a partition's name promises.
fn bound(partition: &str) -> String {
    let month = partition.strip_prefix("communications_y").map(|month| format!("{month}d01"));
    let month = month.and_then(|month| NaiveDate::parse_from_str(&month, "%Ym%md%d").ok());
    match month {
        Some(from) => {
            let to = from + Months::new(1);
            format!("FOR VALUES FROM ('{from} 00:00:00+00') TO ('{to} 00:00:00+00')")
        }
        None if partition == DEFAULT_PARTITION => "DEFAULT".to_owned(),
        None => "no such partition".to_owned(),
    }
}

/// Counts the rows of the default partition, as a role that row-level security does not narrow. It reads the whole
/// table, so it is asked only when that partition's file is not empty.
async fn strays(stores: &Stores, names: &Names) -> Result<Option<Drift>, SchemaError> {
    let loader = connect::postgres(stores, names, Role::Loader).await?;
    let sql = format!("SELECT count(*) FROM communications WHERE tableoid = '{DEFAULT_PARTITION}'::regclass");
    let rows: i64 =
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&loader).await.map_err(failed("count stray rows"))?;
    let found = format!("{rows} rows: call ensure_partitions(first, last) for their months");
    Ok((rows > 0).then(|| drift(format!("rows of {DEFAULT_PARTITION}"), "none", &found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partitions_name_promises_its_bound() {
        let bound_2026_12 = "FOR VALUES FROM ('2026-12-01 00:00:00+00') TO ('2027-01-01 00:00:00+00')";
        assert_eq!(bound("communications_y2026m12"), bound_2026_12);
        assert_eq!(bound("communications_default"), "DEFAULT");
        assert_eq!(bound("communications_y2026m13"), "no such partition");
    }

    #[test]
    fn this_month_and_three_ahead_are_expected_even_when_nothing_is_there() {
        let today = NaiveDate::from_ymd_opt(2026, 11, 24).unwrap();
        let objects: Vec<_> = expected_partitions(&Facts::new(), today).into_keys().collect();
        assert_eq!(
            objects,
            [
                "partition communications_default",
                "partition communications_y2026m11",
                "partition communications_y2026m12",
                "partition communications_y2027m01",
                "partition communications_y2027m02",
            ]
        );
    }
}
