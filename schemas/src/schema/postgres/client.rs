//! What the modules of PostgreSQL share: how an error is reported, and whether a database exists.
//! This module never changes anything.

use sqlx::PgConnection;

use crate::error::{SchemaError, refused};
use crate::store::Store;

pub(super) fn failed(doing: impl Into<String>) -> impl FnOnce(sqlx::Error) -> SchemaError {
    refused(Store::Postgres, doing)
}

pub(super) async fn has_database(admin: &mut PgConnection, database: &str) -> Result<bool, SchemaError> {
    let query = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)").bind(database);
    query.fetch_one(admin).await.map_err(failed("list databases"))
}
