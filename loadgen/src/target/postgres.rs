//! The questions for PostgreSQL, each under row-level security: a tenant and a key go in, rows come out.
//! `BEGIN`, the tenant's name for this transaction, one prepared `SELECT`, `COMMIT`. Never sees another tenant's row,
//! never writes: the drive's writers have pools of their own.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sluice_schemas::connect::{self, CONNECT_TIMEOUT, Role};
use sluice_schemas::names::Names;
use sluice_schemas::records::{Customer, EventType};
use sluice_schemas::stores::Stores;
use sqlx::postgres::{PgPoolOptions, PgRow};
use sqlx::{PgConnection, PgPool, Row as _};
use uuid::Uuid;

use super::AskError;

const STORE: &str = "PostgreSQL";

/// Names the tenant for the transaction it stands in.
pub const SET_TENANT: &str = "SELECT set_config('app.current_tenant_id', $1, true)";

/// A customer by its identifier.
pub const CUSTOMER_BY_ID: &str = "\
SELECT id, tenant_id, email, phone, company_name, profile_data, payment_history, preferences,
       created_at, updated_at, is_active
FROM customers
WHERE id = $1";

/// A customer by its address.
pub const CUSTOMER_BY_EMAIL: &str = "\
SELECT id, tenant_id, email, phone, company_name, profile_data, payment_history, preferences,
       created_at, updated_at, is_active
FROM customers
WHERE email = $1 AND is_active";

/// A customer's newest communications before an instant.
pub const TIMELINE: &str = "\
SELECT id, tenant_id, customer_id, channel, direction, content, status, created_at
FROM communications
WHERE customer_id = $1 AND created_at < $2
ORDER BY created_at DESC, id DESC
LIMIT 50";

/// A campaign's communications before an instant, by status.
pub const CAMPAIGN_STATUS: &str = "\
SELECT status, count(*), max(created_at)
FROM communications
WHERE campaign_id = $1 AND created_at < $2
GROUP BY status";

/// Customers whose profile contains a JSON object.
pub const PROFILE_CONTAINS: &str = "\
SELECT count(*)
FROM customers
WHERE profile_data @> $1";

/// Communications before an instant whose content contains a JSON object.
pub const CONTENT_CONTAINS: &str = "\
SELECT count(*)
FROM communications
WHERE content @> $1 AND created_at < $2";

/// Connections that the questions may use at once.
const POOL: u32 = 16;

/// PostgreSQL, asked as the application.
#[derive(Debug, Clone)]
pub struct Postgres {
    pool: PgPool,
}

impl Postgres {
    /// Opens the pool and one connection, which proves that the store answers.
    pub(super) async fn connect(stores: &Stores, names: &Names) -> Result<Self, AskError> {
        let options = connect::postgres_options(stores, &names.database(), Role::App);
        // An answer is late by the question's own time-out; waiting for a connection is part of it.
        let pool =
            PgPoolOptions::new().min_connections(POOL / 2).max_connections(POOL).acquire_timeout(CONNECT_TIMEOUT * 6);
        let pool = pool.connect_with(options).await?;
        Ok(Self { pool })
    }

    /// [`CUSTOMER_BY_ID`].
    pub async fn customer_by_id(&self, tenant: Uuid, id: Uuid) -> Result<Option<Customer>, AskError> {
        let row = self
            .under(tenant, async |connection| sqlx::query(CUSTOMER_BY_ID).bind(id).fetch_optional(connection).await)
            .await?;
        row.as_ref().map(customer).transpose()
    }

    /// [`CUSTOMER_BY_EMAIL`].
    pub async fn customer_by_email(&self, tenant: Uuid, email: &str) -> Result<Option<Customer>, AskError> {
        let row = self
            .under(tenant, async |connection| {
                sqlx::query(CUSTOMER_BY_EMAIL).bind(email).fetch_optional(connection).await
            })
            .await?;
        row.as_ref().map(customer).transpose()
    }

    /// [`TIMELINE`]: identities, newest first. A row of another tenant or customer fails the whole answer.
    pub async fn timeline(&self, tenant: Uuid, customer: Uuid, before: DateTime<Utc>) -> Result<Vec<Uuid>, AskError> {
        let rows = self
            .under(tenant, async |connection| {
                sqlx::query(TIMELINE).bind(customer).bind(before).fetch_all(connection).await
            })
            .await?;
        let own = |row: &PgRow| -> Result<Uuid, AskError> {
            let (of, by): (Uuid, Uuid) = (row.try_get("tenant_id")?, row.try_get("customer_id")?);
            if (of, by) == (tenant, customer) { Ok(row.try_get("id")?) } else { Err(AskError::Foreign(STORE)) }
        };
        rows.iter().map(own).collect()
    }

    /// [`CAMPAIGN_STATUS`], in order of status.
    pub async fn campaign_status(
        &self,
        tenant: Uuid,
        campaign: Uuid,
        before: DateTime<Utc>,
    ) -> Result<Vec<(EventType, u64)>, AskError> {
        let rows = self
            .under(tenant, async |connection| {
                sqlx::query(CAMPAIGN_STATUS).bind(campaign).bind(before).fetch_all(connection).await
            })
            .await?;
        let counted = |row: &PgRow| -> Result<(EventType, u64), AskError> {
            let (status, count): (&str, i64) = (row.try_get(0)?, row.try_get(1)?);
            Ok((event_type(status)?, count.unsigned_abs()))
        };
        let mut counts: Vec<_> = rows.iter().map(counted).collect::<Result<_, _>>()?;
        counts.sort_unstable();
        Ok(counts)
    }

    /// [`PROFILE_CONTAINS`].
    pub async fn profile_contains(&self, tenant: Uuid, part: &Value) -> Result<u64, AskError> {
        let count: i64 = self
            .under(tenant, async |connection| {
                sqlx::query_scalar(PROFILE_CONTAINS).bind(part).fetch_one(connection).await
            })
            .await?;
        Ok(count.unsigned_abs())
    }

    /// [`CONTENT_CONTAINS`].
    pub async fn content_contains(&self, tenant: Uuid, part: &Value, before: DateTime<Utc>) -> Result<u64, AskError> {
        let count: i64 = self
            .under(tenant, async |connection| {
                sqlx::query_scalar(CONTENT_CONTAINS).bind(part).bind(before).fetch_one(connection).await
            })
            .await?;
        Ok(count.unsigned_abs())
    }

    async fn under<T>(
        &self,
        tenant: Uuid,
        ask: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, AskError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query(SET_TENANT).bind(tenant.to_string()).execute(&mut *transaction).await?;
        let answer = ask(&mut transaction).await?;
        transaction.commit().await?;
        Ok(answer)
    }
}

fn customer(row: &PgRow) -> Result<Customer, AskError> {
    Ok(Customer {
        id: row.try_get("id")?,
        tenant_id: row.try_get("tenant_id")?,
        email: row.try_get("email")?,
        phone: row.try_get("phone")?,
        company_name: row.try_get("company_name")?,
        profile_data: row.try_get("profile_data")?,
        payment_history: row.try_get("payment_history")?,
        preferences: row.try_get("preferences")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        is_active: row.try_get("is_active")?,
    })
}

fn event_type(text: &str) -> Result<EventType, AskError> {
    let found = EventType::ALL.iter().copied().find(|value| value.as_str() == text);
    found.ok_or(AskError::Unreadable { store: STORE, what: "a status that no communication has" })
}
