//! Temporary copies of a pipeline's table in which rows are tried: nothing in them ever lands.
//! Each copy has its own session, and ClickHouse drops it with that session even if this worker dies.
//!
//! | engine | does not detect |
//! |---|---|
//! | `Memory`, without the constraints | constraints: they are evaluated over its rows instead |
//! | `Null` | expressions of the partition key, the sorting key, indices, projections and TTLs |
//! | the table's own, not replicated | effects of views; quorum and Keeper |

use bytes::Bytes;
use serde::Deserialize;
use uuid::Uuid;

use crate::batch::rows::Rows;
use crate::clickhouse::client::ClickHouse;
use crate::clickhouse::insert::Insert;
use crate::clickhouse::quoting::quote_identifier;
use crate::clickhouse::row_binary::numbers;
use crate::failure::{Class, Failure};

/// Name of the temporary table.
const NAME: &str = "sluice_trial";
/// How long ClickHouse keeps an idle session, in seconds.
const SESSION_TIMEOUT: &str = "60";

/// The definition of a table, as far as it affects rows.
#[derive(Debug)]
pub(super) struct SourceTable<'a> {
    clickhouse: &'a ClickHouse,
    insert: &'a Insert,
    /// Engine clause without replication; empty if the engine cannot be copied.
    engine: String,
}

#[derive(Deserialize)]
struct Engine {
    engine_full: String,
}

#[derive(Deserialize)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    type_text: String,
    default_kind: String,
    default_expression: String,
}

#[derive(Deserialize)]
struct Constraint {
    expression: String,
}

/// The outcome of trying rows.
#[derive(Debug)]
pub(super) enum Trial {
    /// The copy accepted all of them.
    Accepted,
    /// It accepted none; one of them may be at fault.
    Refused(Failure),
}

impl Trial {
    pub(super) fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted)
    }
}

/// A temporary table in its own session.
#[derive(Debug)]
pub(super) struct TrialTable<'a> {
    clickhouse: &'a ClickHouse,
    insert: &'a Insert,
    session: String,
}

impl<'a> SourceTable<'a> {
    /// Reads the table's definition.
    pub(super) async fn read(clickhouse: &'a ClickHouse, insert: &'a Insert) -> Result<Self, Failure> {
        let query = "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = {table:String} \
                     FORMAT JSON";
        let engines: Vec<Engine> = clickhouse.select(query, &insert.table).await?;
        let engine = engines.first().map(|engine| unreplicated(&engine.engine_full)).unwrap_or_default();
        Ok(Self { clickhouse, insert, engine })
    }

    /// The engines to use for copies, the cheapest first.
    pub(super) fn engines(&self) -> impl Iterator<Item = &str> {
        ["Null", &self.engine].into_iter().filter(|engine| !engine.is_empty())
    }

    /// Creates a copy with the table's columns, defaults, constraints, indices, projections.
    pub(super) async fn copy(&self, engine: &str) -> Result<TrialTable<'a>, Failure> {
        self.create(&format!("AS {} ENGINE = {engine}", quote_identifier(&self.insert.table))).await
    }

    /// The expressions of the table's constraints; empty if this server or this user cannot read them.
    pub(super) async fn constraints(&self) -> Result<Vec<String>, Failure> {
        let query = "SELECT expression FROM system.constraints WHERE database = currentDatabase() AND table = {table:String} \
                     AND type = 'CHECK' FORMAT JSON";
        match self.clickhouse.select::<Constraint>(query, &self.insert.table).await {
            Ok(constraints) => Ok(constraints.into_iter().map(|constraint| constraint.expression).collect()),
            Err(failure) if failure.class == Class::Transient => Err(failure),
            Err(_) => Ok(Vec::new()),
        }
    }

    /// Creates a table with the same columns that keeps its rows and has no constraints.
    pub(super) async fn unconstrained(&self) -> Result<TrialTable<'a>, Failure> {
        let query = "SELECT name, type, default_kind, default_expression FROM system.columns \
                     WHERE database = currentDatabase() AND table = {table:String} ORDER BY position FORMAT JSON";
        let columns: Vec<Column> = self.clickhouse.select(query, &self.insert.table).await?;
        let text = |Column { name, type_text, default_kind, default_expression }: &Column| {
            format!("{} {type_text} {default_kind} {default_expression}", quote_identifier(name))
        };
        let columns: Vec<_> = columns.iter().map(text).collect();
        self.create(&format!("({}) ENGINE = Memory", columns.join(", "))).await
    }

    async fn create(&self, definition: &str) -> Result<TrialTable<'a>, Failure> {
        let session = Uuid::new_v4().to_string();
        let copy = TrialTable { clickhouse: self.clickhouse, insert: self.insert, session };
        copy.run(&format!("CREATE TEMPORARY TABLE {NAME} {definition}")).await?;
        Ok(copy)
    }

    /// Whether the copy accepts a row that the table holds; `false` if the table holds none.
    pub(super) async fn accepts_existing_row(&self, copy: &TrialTable<'_>) -> Result<bool, Failure> {
        let table = quote_identifier(&self.insert.table);
        if self.clickhouse.query(&format!("SELECT 1 FROM {table} LIMIT 1 FORMAT RowBinary"), &[]).await?.is_empty() {
            return Ok(false);
        }
        let columns: Vec<_> = self.insert.columns.iter().map(|(name, _)| quote_identifier(name)).collect();
        let columns = columns.join(", ");
        match copy.run(&format!("INSERT INTO {NAME} ({columns}) SELECT {columns} FROM {table} LIMIT 1")).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.may_be_row_fault() => Ok(false),
            Err(failure) => Err(failure),
        }
    }
}

impl TrialTable<'_> {
    async fn run(&self, query: &str) -> Result<Bytes, Failure> {
        let session = [("session_id", self.session.clone()), ("session_timeout", SESSION_TIMEOUT.to_owned())];
        self.clickhouse.query(query, &session).await.map_err(explain_missing_table)
    }

    /// Sends rows to the table. Returns an error for a failure that cannot be the fault of a row.
    pub(super) async fn try_rows(&self, rows: &Rows) -> Result<Trial, Failure> {
        let (statement, session) = (self.insert.statement_for(NAME), [("session_id", &*self.session)]);
        match self.clickhouse.insert_for_trial(&statement, &self.insert.head, &session, rows).await {
            Ok(()) => Ok(Trial::Accepted),
            Err(failure) if failure.may_be_row_fault() => Ok(Trial::Refused(failure)),
            Err(failure) => Err(explain_missing_table(failure)),
        }
    }

    /// Returns the offsets of rows that violate one of these expressions, in order.
    pub(super) async fn violating(&self, constraints: &[String]) -> Result<Vec<i64>, Failure> {
        let holds: Vec<_> = constraints.iter().map(|expression| format!("ifNull(({expression}), 0)")).collect();
        let query =
            format!("SELECT _offset FROM {NAME} WHERE NOT ({}) ORDER BY _offset FORMAT RowBinary", holds.join(" AND "));
        let body = self.run(&query).await?;
        numbers(&body)
    }

    /// Drops the table; if that fails, it is dropped with its session.
    pub(super) async fn drop(self) {
        drop(self.run(&format!("DROP TEMPORARY TABLE IF EXISTS {NAME}")).await);
    }
}

/// Explains the failure if the temporary table is missing: it was created on another server.
fn explain_missing_table(failure: Failure) -> Failure {
    if failure.code != "unknown_table" {
        return failure;
    }
    let message = "a temporary table disappeared immediately; make the load balancer send all requests of a session to \
                   one server";
    Failure::new(Class::Transient, message)
}

/// An engine clause without replication or sharing; empty if it is not a MergeTree.
fn unreplicated(engine_full: &str) -> String {
    let name = engine_full.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    let parameters = &engine_full[name.len()..];
    if !name.ends_with("MergeTree") {
        return String::new();
    }
    match ["Replicated", "Shared"].iter().find_map(|prefix| name.strip_prefix(prefix)) {
        // The parentheses hold the path in Keeper; parameters of other engines of the family are not needed here.
        Some(_) => format!("MergeTree{}", after_parentheses(parameters)),
        None => engine_full.to_owned(),
    }
}

/// The text after the parentheses at its start, if there are any.
fn after_parentheses(text: &str) -> &str {
    let (mut depth, mut quote, mut is_escaped) = (0, None, false);
    for (at, c) in text.char_indices() {
        match (c, quote) {
            _ if is_escaped => is_escaped = false,
            ('\\', Some(_)) => is_escaped = true,
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '`' | '"', None) => quote = Some(c),
            ('(', None) => depth += 1,
            (')', None) => depth -= 1,
            _ => {}
        }
        if depth == 0 && quote.is_none() {
            return if c == ')' { &text[at + 1..] } else { text };
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_copied_without_its_replication() {
        let plain = "MergeTree PARTITION BY toYYYYMM(ts) ORDER BY a SETTINGS index_granularity = 8192";
        assert_eq!(unreplicated(plain), plain);
        assert_eq!(unreplicated(&format!("Replicated{plain}")), plain);
        let path = r"ReplicatedMergeTree('/a/(\'b)', '{replica}') ORDER BY (a, b)";
        assert_eq!(unreplicated(path), "MergeTree ORDER BY (a, b)");
        assert_eq!(unreplicated("SharedReplacingMergeTree('/x', 'y', version) ORDER BY a"), "MergeTree ORDER BY a");
        assert_eq!(unreplicated("ReplacingMergeTree(version) ORDER BY a"), "ReplacingMergeTree(version) ORDER BY a");
        assert_eq!((unreplicated("Distributed('c', 'd', 't')"), unreplicated("")), (String::new(), String::new()));
    }
}
