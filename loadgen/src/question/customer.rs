//! A customer, read from a row of PostgreSQL. It sends no query.

use sluice_schemas::records::Customer;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::target::QueryError;

/// Reads every column.
pub(super) fn from_row(row: &PgRow) -> Result<Customer, QueryError> {
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
