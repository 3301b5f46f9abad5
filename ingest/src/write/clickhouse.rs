//! ClickHouse over HTTP: one request, one answer.
//! An INSERT's text, its token and its encoded rows go in; an acknowledgement or a classified failure comes out. It never
//! tries again by itself and never changes a byte, so a retry sends exactly what the first attempt sent.
//!
//! Why not the `clickhouse` crate: the class of a failure is decided by the exception code header and the HTTP status,
//! and the crate gives only the text, which may quote rows.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Client, Response};
use serde::Deserialize;
use sluice_schemas::connect::CONNECT_TIMEOUT;
use sluice_schemas::stores;

use super::failure::Failure;
use crate::body::Body;
use crate::decode::insert::Insert;
use crate::decode::table::{Shape, ShapeColumn};
use crate::retry::Class;

/// Settings of every INSERT, fixed so that the same part always makes the same block.
pub const SETTINGS: [(&str, &str); 5] = [
    ("async_insert", "0"),
    ("insert_deduplicate", "1"),
    ("deduplicate_blocks_in_dependent_materialized_views", "1"),
    ("max_insert_block_size", "1048576"),
    ("wait_end_of_query", "1"),
];

/// A ClickHouse server and the database that ingest writes to.
#[derive(Debug)]
pub struct ClickHouse {
    http: Client,
    server: stores::ClickHouse,
    database: String,
}

impl ClickHouse {
    /// Opens no connection yet.
    pub fn new(server: &stores::ClickHouse, database: &str, timeout: Duration) -> Result<Self, reqwest::Error> {
        let http = Client::builder().no_proxy().connect_timeout(CONNECT_TIMEOUT).timeout(timeout).build()?;
        Ok(Self { http, server: server.clone(), database: database.to_owned() })
    }

    /// Sends one part; returns when ClickHouse has acknowledged it. A table whose columns are not what they were is no
    /// fault of a row.
    pub async fn insert(&self, insert: &Insert, token: &str, body: &Body) -> Result<(), Failure> {
        if !insert.is_typed() {
            self.still_fits(insert).await?;
        }
        let own = [("query", insert.statement.as_str()), ("insert_deduplication_token", token)];
        let body = reqwest::Body::wrap(body.sent(&insert.head));
        match self.post(&[&SETTINGS[..], &own].concat(), body).await {
            Err(failure) if failure.class == Class::Row => {
                self.still_fits(insert).await?;
                Err(failure)
            }
            sent => sent.map(drop),
        }
    }

    /// Fails if the table's columns have other types than those that rows are encoded for.
    async fn still_fits(&self, insert: &Insert) -> Result<(), Failure> {
        let columns = self.columns(&insert.table).await?;
        // A table that is gone says so itself.
        if columns.is_empty() || insert.fits(&columns) {
            Ok(())
        } else {
            Err(Failure::of_a_changed_table(&insert.table))
        }
    }

    /// The database that it asks and writes to.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Reads what a table looks like; a table that does not exist has no columns.
    pub async fn shape(&self, table: &str) -> Result<Shape, Failure> {
        let facts = "SELECT partition_key, timezone() AS server_zone FROM system.tables \
                     WHERE database = currentDatabase() AND name = {table:String} FORMAT JSON";
        let columns = self.columns(table).await?;
        let facts: Vec<Facts> = self.select(facts, table).await?;
        let Facts { partition_key, server_zone } = facts.into_iter().next().unwrap_or_default();
        Ok(Shape { columns, partition_key, server_zone })
    }

    async fn columns(&self, table: &str) -> Result<Vec<ShapeColumn>, Failure> {
        let columns = "SELECT name, type AS type_text, default_kind FROM system.columns \
                       WHERE database = currentDatabase() AND table = {table:String} ORDER BY position FORMAT JSON";
        self.select(columns, table).await
    }

    /// Runs a query with parameters and gives its answer back as it came.
    pub async fn query(&self, query: &str, parameters: &[(&str, String)]) -> Result<Bytes, Failure> {
        let parameters: Vec<_> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let response = self.post(&parameters, query.to_owned().into()).await?;
        response.bytes().await.map_err(|error| Failure::unanswered(&error))
    }

    /// Runs a query about a table whose answer is in the format JSON.
    pub async fn select<T: for<'de> Deserialize<'de>>(&self, query: &str, table: &str) -> Result<Vec<T>, Failure> {
        let response = self.post(&[("param_table", table)], query.to_owned().into()).await?;
        let body = response.bytes().await.map_err(|error| Failure::unanswered(&error))?;
        let rows: Rows<T> = serde_json::from_slice(&body).map_err(|_| Failure::answer(200, None))?;
        Ok(rows.data)
    }

    async fn post(&self, parameters: &[(&str, &str)], body: reqwest::Body) -> Result<Response, Failure> {
        let login = &self.server.login;
        let request = self
            .http
            .post(&self.server.url)
            .query(&[("database", self.database.as_str())])
            .query(parameters)
            .header("X-ClickHouse-User", &login.user)
            .header("X-ClickHouse-Key", login.password.reveal())
            .body(body);
        let response = request.send().await.map_err(|error| Failure::unanswered(&error))?;
        let status = response.status();
        let code = response.headers().get("X-ClickHouse-Exception-Code").cloned();
        if status.is_success() && code.is_none() {
            return Ok(response);
        }
        // Reading the rest lets the connection be used again; what it says may quote a row, so of it only the number of the
        // row is kept.
        let text = response.bytes().await.map_err(|error| Failure::unanswered(&error))?;
        let failure = Failure::answer(status.as_u16(), code.and_then(|code| code.to_str().ok()?.parse().ok()));
        Err(failure.at_row(&String::from_utf8_lossy(&text)))
    }
}

/// A name as ClickHouse's SQL quotes it.
pub fn quote(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

#[derive(Deserialize)]
struct Rows<T> {
    data: Vec<T>,
}

#[derive(Default, Deserialize)]
struct Facts {
    partition_key: String,
    server_zone: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        assert_eq!(quote("a`b"), "`a\\`b`");
    }
}
