//! PostgreSQL's queries for the account: tallies and entries of customers, campaigns and communications. The queries
//! never write.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, PgPool, Row as _};
use uuid::Uuid;

use super::canonical::{CAMPAIGN_TEXT, COMMUNICATION_TEXT, CUSTOMER_TEXT, postgres_digest_expression};
use super::ledger::Origin;
use super::reconcile::{Entry, Tally};
use super::slice::Kind;

/// A set of rows of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    pub(super) table: &'static str,
    pub(super) kind: Kind,
    pub(super) origin: Origin,
    text: &'static str,
    /// A condition on the scenario's start, `$1`.
    condition: &'static str,
}

/// All rows that are accounted for.
pub(super) const ROWS: [Rows; 4] = [
    Rows {
        table: "customers",
        kind: Kind::Customers,
        origin: Origin::Loaded,
        text: CUSTOMER_TEXT,
        condition: "$1::timestamptz IS NOT NULL",
    },
    Rows {
        table: "campaigns",
        kind: Kind::Campaigns,
        origin: Origin::Loaded,
        text: CAMPAIGN_TEXT,
        condition: "$1::timestamptz IS NOT NULL",
    },
    Rows {
        table: "communications",
        kind: Kind::Communications,
        origin: Origin::Loaded,
        text: COMMUNICATION_TEXT,
        condition: "created_at < $1",
    },
    Rows {
        table: "communications",
        kind: Kind::Communications,
        origin: Origin::Driven,
        text: COMMUNICATION_TEXT,
        condition: "created_at >= $1",
    },
];

impl Rows {
    /// A tally of each tenant's rows.
    pub(super) async fn tallies(
        self,
        pool: &PgPool,
        start: DateTime<Utc>,
    ) -> Result<BTreeMap<Uuid, Tally>, sqlx::Error> {
        let Self { table, condition, .. } = self;
        let digest = postgres_digest_expression(self.text);
        let query = format!(
            "SELECT tenant_id, count(*), count(DISTINCT id), bit_xor({digest}) FROM {table} WHERE {condition} GROUP BY 1"
        );
        // The query consists of constants of this crate.
        let rows = sqlx::query(AssertSqlSafe(query)).bind(start).fetch_all(pool).await?;
        rows.iter()
            .map(|row| {
                let (rows, distinct, digest): (i64, i64, i64) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
                let tally = Tally {
                    rows: rows.unsigned_abs(),
                    distinct: distinct.unsigned_abs(),
                    digest: digest.cast_unsigned(),
                };
                Ok((row.try_get(0)?, tally))
            })
            .collect()
    }

    /// Identity and digest of each of a tenant's rows.
    pub(super) async fn entries(
        self,
        pool: &PgPool,
        start: DateTime<Utc>,
        tenant: Uuid,
    ) -> Result<Vec<Entry>, sqlx::Error> {
        let Self { table, condition, .. } = self;
        let digest = postgres_digest_expression(self.text);
        let query = format!("SELECT id::text, {digest} FROM {table} WHERE {condition} AND tenant_id = $2");
        let rows = sqlx::query(AssertSqlSafe(query)).bind(start).bind(tenant).fetch_all(pool).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<i64, _>(1)?.cast_unsigned()))).collect()
    }
}
