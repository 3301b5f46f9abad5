//! PostgreSQL's queries for the account: tallies and entries of customers, campaigns and communications. The queries
//! never write.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgPool, Row as _};
use uuid::Uuid;

use super::canonical::{CAMPAIGN_TEXT, COMMUNICATION_TEXT, CUSTOMER_TEXT, postgres_digest_expression};
use super::error::AccountError;
use super::ledger::Origin;
use super::page::StoredRows;
use super::reconcile::{Entry, Tally};
use super::slice::Kind;
use super::time_limit::TimeLimit;
use crate::target::postgres::STORE;

/// A set of rows of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowSet {
    pub(super) table: &'static str,
    pub(super) kind: Kind,
    pub(super) origin: Origin,
    text: &'static str,
    /// A condition on the start of what is driven, `$1`.
    condition: &'static str,
}

/// All rows that are accounted for.
pub(super) const ROW_SETS: [RowSet; 4] = [
    RowSet {
        table: "customers",
        kind: Kind::Customers,
        origin: Origin::Loaded,
        text: CUSTOMER_TEXT,
        condition: "$1::timestamptz IS NOT NULL",
    },
    RowSet {
        table: "campaigns",
        kind: Kind::Campaigns,
        origin: Origin::Loaded,
        text: CAMPAIGN_TEXT,
        condition: "$1::timestamptz IS NOT NULL",
    },
    RowSet {
        table: "communications",
        kind: Kind::Communications,
        origin: Origin::Loaded,
        text: COMMUNICATION_TEXT,
        condition: "created_at < $1",
    },
    RowSet {
        table: "communications",
        kind: Kind::Communications,
        origin: Origin::Driven,
        text: COMMUNICATION_TEXT,
        condition: "created_at >= $1",
    },
];

/// The rows of a set.
pub(super) struct RelationalRows<'a> {
    pub(super) pool: &'a PgPool,
    /// The start of what is driven.
    pub(super) start: DateTime<Utc>,
    pub(super) set: RowSet,
    pub(super) time_limit: TimeLimit,
}

impl StoredRows for RelationalRows<'_> {
    async fn tallies(&self) -> Result<BTreeMap<Uuid, Tally>, AccountError> {
        let RowSet { table, condition, text, .. } = self.set;
        let digest = postgres_digest_expression(text);
        let query =
            format!("SELECT tenant_id, count(*), bit_xor({digest}) FROM {table} WHERE {condition} GROUP BY tenant_id");
        // The query consists of constants of this crate.
        let asking = sqlx::query(AssertSqlSafe(query)).bind(self.start).fetch_all(self.pool);
        let rows = self.time_limit.apply(STORE, asking).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, tally(row)?))).collect()
    }

    async fn bucket_tallies(&self, tenant: Uuid, buckets: u64) -> Result<BTreeMap<u64, Tally>, AccountError> {
        let RowSet { table, condition, text, .. } = self.set;
        let (bucket, digest) = (bucket_expression(buckets), postgres_digest_expression(text));
        let query = format!(
            "SELECT {bucket}, count(*), bit_xor({digest}) FROM {table} WHERE {condition} AND tenant_id = $2 GROUP BY 1"
        );
        let asking = sqlx::query(AssertSqlSafe(query)).bind(self.start).bind(tenant).fetch_all(self.pool);
        let rows = self.time_limit.apply(STORE, asking).await?;
        rows.iter().map(|row| Ok((row.try_get::<i64, _>(0)?.cast_unsigned(), tally(row)?))).collect()
    }

    async fn entries(&self, tenant: Uuid, buckets: u64, chosen: &[u64]) -> Result<Vec<Entry>, AccountError> {
        let RowSet { table, condition, text, .. } = self.set;
        let (bucket, digest) = (bucket_expression(buckets), postgres_digest_expression(text));
        let query = format!(
            "SELECT id::text, {digest} FROM {table} WHERE {condition} AND tenant_id = $2 AND {bucket} = ANY($3::bigint[])"
        );
        let chosen: Vec<i64> = chosen.iter().map(|bucket| bucket.cast_signed()).collect();
        let asking = sqlx::query(AssertSqlSafe(query)).bind(self.start).bind(tenant).bind(chosen).fetch_all(self.pool);
        let rows = self.time_limit.apply(STORE, asking).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<i64, _>(1)?.cast_unsigned()))).collect()
    }
}

/// Count and digest in the second and third columns.
fn tally(row: &PgRow) -> Result<Tally, sqlx::Error> {
    let (rows, digest): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
    Ok(Tally { rows: rows.unsigned_abs(), digest: digest.cast_unsigned() })
}

fn bucket_expression(buckets: u64) -> String {
    format!("({} & {})", postgres_digest_expression("id::text"), buckets - 1)
}
