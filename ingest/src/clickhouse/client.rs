//! ClickHouse over HTTP: one request, one response.
//! It never retries and never changes a byte, so a caller's retry sends exactly what the first attempt sent.
//!
//! Why not the `clickhouse` crate: the class of a failure is decided by the exception code header and the HTTP status,
//! and the crate returns only the text, which may quote rows.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Client;
use reqwest::redirect::Policy;
use serde::Deserialize;
use sluice_schemas::connect::CONNECT_TIMEOUT;
use sluice_schemas::stores;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::insert::Insert;
use super::response::{self, Kind, VerifiedResponse};
use super::servers::Servers;
use super::settings::{self, INITIAL, KnownSettings, MAX_EXECUTION_TIME};
use super::shape::{Column, Shape};
use crate::batch::rows::Rows;
use crate::clickhouse::failures;
use crate::failure::Failure;

/// ClickHouse's name of the error for a setting that the server does not have.
const UNKNOWN_SETTING: &str = "unknown_setting";
/// Query ID prefix of clients that set no other.
const PREFIX: &str = "sluice";

/// A ClickHouse server and the database that ingest writes to. A clone shares its connections.
#[derive(Debug, Clone)]
pub struct ClickHouse {
    http: Client,
    server: stores::ClickHouse,
    database: String,
    /// Timeout of one request.
    timeout: Duration,
    /// Prefix of the query IDs.
    prefix: String,
    /// The server's report on the settings that are sent; read before the first request.
    known_settings: Arc<Mutex<Option<KnownSettings>>>,
    servers: Arc<Servers>,
}

/// The HTTP client cannot be created.
#[derive(Debug, thiserror::Error)]
#[error("prepare the HTTP client: {0}")]
pub struct ClientError(#[from] reqwest::Error);

impl ClickHouse {
    /// Creates a client without connecting. It follows no redirect, which would send the password to another host, and
    /// ignores proxies from the environment.
    pub fn new(server: &stores::ClickHouse, database: &str, timeout: Duration) -> Result<Self, ClientError> {
        let http = Client::builder().no_proxy().redirect(Policy::none()).connect_timeout(CONNECT_TIMEOUT).build()?;
        let (server, database, prefix) = (server.clone(), database.to_owned(), PREFIX.to_owned());
        let (known_settings, servers) = (Arc::default(), Arc::default());
        Ok(Self { http, server, database, timeout, prefix, known_settings, servers })
    }

    /// Returns a copy of the client with its own query ID prefix; `timeout` bounds each request.
    #[must_use]
    pub fn with_query_prefix(&self, prefix: &str, timeout: Duration) -> Self {
        Self { prefix: prefix.to_owned(), timeout, ..self.clone() }
    }

    /// Kills all queries whose IDs begin with `prefix` and returns once they have ended. This is required for a query
    /// whose client has stopped waiting: ClickHouse continues it after the client disconnects.
    pub async fn kill(&self, prefix: &str) -> Result<(), Failure> {
        let query = "KILL QUERY WHERE startsWith(query_id, {prefix:String}) AND user = currentUser() SYNC";
        self.query(query, &[("param_prefix", prefix.to_owned())]).await.map(drop)
    }

    /// Sends one part and returns once ClickHouse has acknowledged it. The query ID begins with `name`. If the table's
    /// columns have changed, no row is blamed.
    pub async fn insert(&self, insert: &Insert, name: &str, token: &str, rows: &Rows) -> Result<(), Failure> {
        if !insert.is_typed() {
            self.check_columns(insert).await?;
        }
        let token = [("insert_deduplication_token", token)];
        match self.send_rows(name, &token, &insert.statement, &insert.head, rows).await {
            Err(failure) if failure.may_be_row_fault() => {
                self.check_columns(insert).await?;
                Err(self.name_view(failure).await)
            }
            Err(failure) => Err(self.name_view(failure).await),
            Ok(()) => Ok(()),
        }
    }

    /// Sends rows to a temporary table of a session; only whether they are accepted matters.
    pub(super) async fn insert_for_trial(
        &self,
        statement: &str,
        head: &Bytes,
        session: &[(&str, &str)],
        rows: &Rows,
    ) -> Result<(), Failure> {
        self.send_rows(&self.prefix, session, statement, head, rows).await
    }

    async fn send_rows(
        &self,
        name: &str,
        parameters: &[(&str, &str)],
        statement: &str,
        head: &Bytes,
        rows: &Rows,
    ) -> Result<(), Failure> {
        // In the body rather than the URL, since proxies limit the length of a URL.
        let head = [statement.as_bytes(), b"\n", head].concat();
        self.send(name, parameters, reqwest::Body::wrap(rows.body().to_request(&head.into())), Kind::Insert)
            .await
            .map(drop)
    }

    /// Sends an INSERT whose text contains its rows, with these parameters.
    pub(super) async fn insert_text(
        &self,
        statement: &str,
        token: &str,
        parameters: &[(&str, String)],
    ) -> Result<(), Failure> {
        let mut request_parameters: Vec<_> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        request_parameters.push(("insert_deduplication_token", token));
        self.send(&self.prefix, &request_parameters, statement.to_owned().into(), Kind::Insert).await.map(drop)
    }

    /// Two servers that respond alternately at this address, if any.
    pub(super) fn alternating_servers(&self) -> Option<[String; 2]> {
        self.servers.alternating()
    }

    /// Adds the view at fault to a failure, once the view named in the exception is known to exist.
    async fn name_view(&self, mut failure: Failure) -> Failure {
        let query = "SELECT concat(database, '.', name) AS full_name FROM system.tables WHERE engine = 'MaterializedView' \
                     AND concat(database, '.', name) = {table:String} FORMAT JSON";
        let Some(suspected) = failure.suspected_view.take() else { return failure };
        let views: Vec<Named> = self.select(query, &suspected).await.unwrap_or_default();
        views.first().map_or_else(|| failure.clone(), |view| failures::in_view(failure.clone(), &view.full_name))
    }

    /// Fails if the table's columns have other types than those that rows are encoded for.
    async fn check_columns(&self, insert: &Insert) -> Result<(), Failure> {
        let columns = self.columns(&insert.table).await?;
        // A missing table reports itself.
        if columns.is_empty() || insert.fits(&columns) { Ok(()) } else { Err(failures::table_changed(&insert.table)) }
    }

    /// The database that the client reads from and writes to.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Reads the shape of a table; a missing table has no columns.
    pub async fn shape(&self, table: &str) -> Result<Shape, Failure> {
        let facts = "SELECT partition_key, timezone() AS server_zone FROM system.tables \
                     WHERE database = currentDatabase() AND name = {table:String} FORMAT JSON";
        let columns = self.columns(table).await?;
        let facts: Vec<TableFacts> = self.select(facts, table).await?;
        let TableFacts { partition_key, server_zone } = facts.into_iter().next().unwrap_or_default();
        Ok(Shape { columns, partition_key, server_zone })
    }

    async fn columns(&self, table: &str) -> Result<Vec<Column>, Failure> {
        let columns = "SELECT name, type AS type_text, default_kind FROM system.columns \
                       WHERE database = currentDatabase() AND table = {table:String} ORDER BY position FORMAT JSON";
        self.select(columns, table).await
    }

    /// Runs a query with parameters and returns the raw body.
    pub async fn query(&self, query: &str, parameters: &[(&str, String)]) -> Result<Bytes, Failure> {
        let parameters: Vec<_> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.run_query(query, &parameters).await
    }

    /// Runs a query about a table; its result must be in JSON format.
    pub async fn select<T: for<'de> Deserialize<'de>>(&self, query: &str, table: &str) -> Result<Vec<T>, Failure> {
        rows(&self.run_query(query, &[("param_table", table)]).await?)
    }

    async fn run_query(&self, query: &str, parameters: &[(&str, &str)]) -> Result<Bytes, Failure> {
        self.send(&self.prefix, parameters, query.to_owned().into(), Kind::Query).await
    }

    /// Sends one request with the settings that its result depends on. The server sends a result only when it is
    /// complete, so a failure half-way is an exception, not a truncated result.
    async fn send(
        &self,
        name: &str,
        request_parameters: &[(&str, &str)],
        body: reqwest::Body,
        kind: Kind,
    ) -> Result<Bytes, Failure> {
        let known_settings = self.known_settings().await?;
        let seconds = self.timeout.as_secs_f64().ceil().to_string();
        let mut parameters: Vec<(&str, &str)> = known_settings.parameters(kind, request_parameters)?;
        if known_settings.can_bound() {
            parameters.push((MAX_EXECUTION_TIME, &seconds));
        }
        parameters.extend_from_slice(request_parameters);
        let response = self.post(name, &parameters, body, kind).await;
        if response.as_ref().is_err_and(|failure| failure.code == UNKNOWN_SETTING) {
            // Another version runs there now.
            *self.known_settings.lock().await = None;
        }
        let VerifiedResponse { body, server } = response?;
        self.servers.add(&server);
        Ok(body)
    }

    async fn known_settings(&self) -> Result<KnownSettings, Failure> {
        let mut cached = self.known_settings.lock().await;
        if let Some(known_settings) = &*cached {
            return Ok(known_settings.clone());
        }
        let response = match self.query_settings(&INITIAL).await {
            Err(failure) if failure.code == UNKNOWN_SETTING => self.query_settings(&INITIAL[1..]).await?,
            response => response?,
        };
        let known_settings = KnownSettings::new(rows(&response.body)?)?;
        Ok(cached.insert(known_settings).clone())
    }

    async fn query_settings(&self, parameters: &[(&str, &str)]) -> Result<VerifiedResponse, Failure> {
        self.post(&self.prefix, parameters, settings::query().into(), Kind::Query).await
    }

    /// Sends one request; its query ID is unique and begins with `name`.
    async fn post(
        &self,
        name: &str,
        parameters: &[(&str, &str)],
        body: reqwest::Body,
        kind: Kind,
    ) -> Result<VerifiedResponse, Failure> {
        let (login, id) = (&self.server.login, format!("{name}:{}", Uuid::new_v4()));
        let request = self
            .http
            .post(&self.server.url)
            .timeout(self.timeout)
            .query(&[("database", self.database.as_str()), ("query_id", &id)])
            .query(&parameters.iter().map(|(name, value)| (*name, escaped(name, value))).collect::<Vec<_>>())
            .header("X-ClickHouse-User", &login.user)
            .header("X-ClickHouse-Key", login.password.reveal())
            .body(body);
        let response = request.send().await.map_err(|error| failures::unanswered(&error))?;
        response::accept(response, &id, kind).await
    }
}

/// A query parameter as ClickHouse reads it: escaped like a value in TSV format.
fn escaped<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    if !name.starts_with("param_") || !value.contains(['\\', '\t', '\n', '\r', '\0']) {
        return Cow::Borrowed(value);
    }
    let escapes = [("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"), ("\0", "\\0")];
    Cow::Owned(escapes.iter().fold(value.to_owned(), |text, (from, to)| text.replace(from, to)))
}

/// The rows of a response in JSON format.
fn rows<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<Vec<T>, Failure> {
    let rows: Result<Data<T>, _> = serde_json::from_slice(body);
    rows.map(|rows| rows.data).map_err(|_| failures::not_a_response("a body that is not the requested JSON"))
}

#[derive(Deserialize)]
struct Data<T> {
    data: Vec<T>,
}

#[derive(Deserialize)]
struct Named {
    full_name: String,
}

#[derive(Default, Deserialize)]
struct TableFacts {
    partition_key: String,
    server_zone: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_escaped_and_settings_are_not() {
        assert_eq!(escaped("param_table", "a\\b\tc\nd"), r"a\\b\tc\nd");
        assert_eq!(escaped("format_csv_delimiter", "\t"), "\t");
        assert_eq!(escaped("param_table", "日本"), "日本");
    }
}
