//! The monthly partitions of `communications`: created ahead, and compared with what a partition must be.
//! A partition is never dropped.

use chrono::{Datelike, Months, NaiveDate, Utc};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use super::client::failed;
use crate::connect::{self, Role};
use crate::error::SchemaError;
use crate::names::Names;
use crate::schema::drift::Drift;
use crate::schema::facts::{self, Facts};
use crate::schema::outcome::{AppliedObject, Outcome};
use crate::store::Store;
use crate::stores::Stores;

/// Number of past months, and of months ahead, for which `apply` creates partitions.
const MONTHS_BACK: u32 = 12;
const MONTHS_AHEAD: u32 = 3;

const PARTITIONS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/postgres/partitions.sql"));
const DEFAULT_PARTITION: &str = "communications_default";
/// Expected facts of every partition in [`PARTITIONS`], before its bound.
const PARTITION_FACTS: &str =
    "row-level security enabled, forced, 0 policies, 0 grants, indexes without a valid part: none";

/// Creates the partitions that are missing.
pub(super) async fn create_ahead(owner: &PgPool) -> Result<AppliedObject, SchemaError> {
    let (first, last) = months_ahead(Utc::now().date_naive());
    let created: i32 = sqlx::query_scalar("SELECT ensure_partitions($1, $2)")
        .bind(first)
        .bind(last)
        .fetch_one(owner)
        .await
        .map_err(failed("create partitions ahead"))?;
    let outcome = if created == 0 { Outcome::Unchanged } else { Outcome::Created };
    let object = format!("partitions {} to {}", first.format("%Y-%m"), last.format("%Y-%m"));
    Ok(AppliedObject::new(Store::Postgres, object, outcome))
}

/// First days of the first and the last month that must have a partition on `today`.
fn months_ahead(today: NaiveDate) -> (NaiveDate, NaiveDate) {
    let month = today.with_day(1).unwrap_or(today);
    (month - Months::new(MONTHS_BACK), month + Months::new(MONTHS_AHEAD))
}

/// Compares every partition with what a partition must be, and reports rows in the default partition.
pub(super) async fn check(
    connection: &mut PgConnection,
    stores: &Stores,
    names: &Names,
) -> Result<Vec<Drift>, SchemaError> {
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('communications') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed("look for communications"))?;
    if !exists {
        return Ok(Vec::new());
    }
    let rows: Vec<(String, String, bool)> =
        sqlx::query_as(PARTITIONS).fetch_all(connection).await.map_err(failed("read the partitions"))?;
    let has_strays = rows.iter().any(|(partition, _, has_rows)| partition == DEFAULT_PARTITION && *has_rows);
    let actual: Facts = rows.into_iter().map(|(name, facts, _)| (format!("partition {name}"), facts)).collect();
    let mut drift = facts::compare(Store::Postgres, &expected(&actual, Utc::now().date_naive()), &actual);
    if has_strays {
        drift.extend(stray_rows(stores, names).await?);
    }
    Ok(drift)
}

/// Expected facts of the default partition, of the months that must exist, and of every month that exists.
fn expected(actual: &Facts, today: NaiveDate) -> Facts {
    let ahead =
        (0..=MONTHS_AHEAD).map(|months| (today + Months::new(months)).format("communications_y%Ym%m").to_string());
    let existing = actual.keys().filter_map(|object| object.strip_prefix("partition ")).map(str::to_owned);
    ahead
        .chain(existing)
        .chain([DEFAULT_PARTITION.to_owned()])
        .map(|name| (format!("partition {name}"), format!("{PARTITION_FACTS}, {}", bound(&name))))
        .collect()
}

/// The bound that a partition's name implies.
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

/// Counts the rows of the default partition, as a role that bypasses row-level security. This scans the whole table, so
/// it runs only if that partition's file is not empty.
async fn stray_rows(stores: &Stores, names: &Names) -> Result<Option<Drift>, SchemaError> {
    let loader = connect::postgres(stores, names, Role::Loader).await?;
    let sql = format!("SELECT count(*) FROM communications WHERE tableoid = '{DEFAULT_PARTITION}'::regclass");
    let rows: i64 =
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&loader).await.map_err(failed("count stray rows"))?;
    let found = format!("{rows} rows: call ensure_partitions(first, last) for their months");
    Ok((rows > 0).then(|| Drift::new(Store::Postgres, format!("rows of {DEFAULT_PARTITION}"), "none", found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_span_a_year_back_and_three_months_ahead_across_a_year_boundary() {
        let day = |y, m, d| NaiveDate::from_ymd_opt(y, m, d).unwrap();
        assert_eq!(months_ahead(day(2026, 11, 30)), (day(2025, 11, 1), day(2027, 2, 1)));
    }

    #[test]
    fn a_partition_name_implies_its_bound() {
        let bound_2026_12 = "FOR VALUES FROM ('2026-12-01 00:00:00+00') TO ('2027-01-01 00:00:00+00')";
        assert_eq!(bound("communications_y2026m12"), bound_2026_12);
        assert_eq!(bound("communications_default"), "DEFAULT");
        assert_eq!(bound("communications_y2026m13"), "no such partition");
    }

    #[test]
    fn this_month_and_three_ahead_are_expected_even_if_none_exists() {
        let today = NaiveDate::from_ymd_opt(2026, 11, 24).unwrap();
        let objects: Vec<_> = expected(&Facts::new(), today).into_keys().collect();
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
