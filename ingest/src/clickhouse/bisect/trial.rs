//! Temporary tables that look like a pipeline's table, to try rows in: nothing of them ever lands.
//! A table's name goes in; temporary tables in a session of their own come out. They end with that session, whatever
//! happens to this worker.
//!
//! | engine | what it does not notice |
//! |---|---|
//! | `Memory`, without the constraints | constraints: they are evaluated over its rows instead |
//! | `Null` | expressions of the partition key, the sorting key, indices, projections and TTLs |
//! | the table's own, not replicated | what views do; quorum and Keeper |

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
/// How long ClickHouse keeps a session that asks nothing more, in seconds.
const SESSION_TIMEOUT: &str = "60";

/// What a table is made of, as far as it matters for rows.
#[derive(Debug)]
pub(super) struct SourceTable<'a> {
    clickhouse: &'a ClickHouse,
    insert: &'a Insert,
    /// Clause of its engine without replication; empty where there is none that could be copied.
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
    column_type: String,
    default_kind: String,
    default_expression: String,
}

#[derive(Deserialize)]
struct Constraint {
    expression: String,
}

/// What became of rows that were tried.
#[derive(Debug)]
pub(super) enum Trial {
    /// The twin took all of them.
    Accepted,
    /// It took none; one of them may be at fault.
    Refused(Failure),
}

impl Trial {
    pub(super) fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted)
    }
}

/// A temporary table in a session of its own.
#[derive(Debug)]
pub(super) struct TrialTable<'a> {
    clickhouse: &'a ClickHouse,
    insert: &'a Insert,
    session: String,
}

impl<'a> SourceTable<'a> {
    /// Reads what the table is made of.
    pub(super) async fn read(clickhouse: &'a ClickHouse, insert: &'a Insert) -> Result<Self, Failure> {
        let query = "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = {table:String} \
                     FORMAT JSON";
        let found: Vec<Engine> = clickhouse.select(query, &insert.table).await?;
        let engine = found.first().map(|found| local(&found.engine_full)).unwrap_or_default();
        Ok(Self { clickhouse, insert, engine })
    }

    /// The engines of twins, the cheaper one first.
    pub(super) fn engines(&self) -> impl Iterator<Item = &str> {
        ["Null", &self.engine].into_iter().filter(|engine| !engine.is_empty())
    }

    /// A twin with all that the table has: columns, defaults, constraints, indices, projections.
    pub(super) async fn twin(&self, engine: &str) -> Result<TrialTable<'a>, Failure> {
        self.make(&format!("AS {} ENGINE = {engine}", quote_identifier(&self.insert.table))).await
    }

    /// The table's constraints, each an expression; none where this server or this user cannot know them.
    pub(super) async fn constraints(&self) -> Result<Vec<String>, Failure> {
        let query = "SELECT expression FROM system.constraints WHERE database = currentDatabase() AND table = {table:String} \
                     AND type = 'CHECK' FORMAT JSON";
        match self.clickhouse.select::<Constraint>(query, &self.insert.table).await {
            Ok(found) => Ok(found.into_iter().map(|constraint| constraint.expression).collect()),
            Err(failure) if failure.class == Class::Transient => Err(failure),
            Err(_) => Ok(Vec::new()),
        }
    }

    /// A table with the same columns that keeps its rows and takes what constraints would refuse.
    pub(super) async fn rows(&self) -> Result<TrialTable<'a>, Failure> {
        let query = "SELECT name, type, default_kind, default_expression FROM system.columns \
                     WHERE database = currentDatabase() AND table = {table:String} ORDER BY position FORMAT JSON";
        let columns: Vec<Column> = self.clickhouse.select(query, &self.insert.table).await?;
        let text = |Column { name, column_type, default_kind, default_expression }: &Column| {
            format!("{} {column_type} {default_kind} {default_expression}", quote_identifier(name))
        };
        let columns: Vec<_> = columns.iter().map(text).collect();
        self.make(&format!("({}) ENGINE = Memory", columns.join(", "))).await
    }

    async fn make(&self, what: &str) -> Result<TrialTable<'a>, Failure> {
        let session = Uuid::new_v4().to_string();
        let twin = TrialTable { clickhouse: self.clickhouse, insert: self.insert, session };
        twin.run(&format!("CREATE TEMPORARY TABLE {NAME} {what}")).await?;
        Ok(twin)
    }

    /// Whether a row that the table holds is taken by the twin; not if there is none.
    pub(super) async fn accepts_existing_row(&self, twin: &TrialTable<'_>) -> Result<bool, Failure> {
        let table = quote_identifier(&self.insert.table);
        if self.clickhouse.query(&format!("SELECT 1 FROM {table} LIMIT 1 FORMAT RowBinary"), &[]).await?.is_empty() {
            return Ok(false);
        }
        let columns: Vec<_> = self.insert.columns.iter().map(|(name, _)| quote_identifier(name)).collect();
        let columns = columns.join(", ");
        match twin.run(&format!("INSERT INTO {NAME} ({columns}) SELECT {columns} FROM {table} LIMIT 1")).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.may_be_of_a_row() => Ok(false),
            Err(failure) => Err(failure),
        }
    }
}

impl TrialTable<'_> {
    async fn run(&self, query: &str) -> Result<Bytes, Failure> {
        let session = [("session_id", self.session.clone()), ("session_timeout", SESSION_TIMEOUT.to_owned())];
        self.clickhouse.query(query, &session).await.map_err(elsewhere)
    }

    /// Sends rows to it. A failure that cannot be the fault of a row is an error.
    pub(super) async fn try_rows(&self, rows: &Rows) -> Result<Trial, Failure> {
        let (statement, session) = (self.insert.statement_for(NAME), [("session_id", &*self.session)]);
        match self.clickhouse.insert_for_trial(&statement, &self.insert.head, &session, rows).await {
            Ok(()) => Ok(Trial::Accepted),
            Err(failure) if failure.may_be_of_a_row() => Ok(Trial::Refused(failure)),
            Err(failure) => Err(elsewhere(failure)),
        }
    }

    /// Offsets of its rows for which one of these expressions does not hold, in order.
    pub(super) async fn violating(&self, constraints: &[String]) -> Result<Vec<i64>, Failure> {
        let holds: Vec<_> = constraints.iter().map(|expression| format!("ifNull(({expression}), 0)")).collect();
        let query =
            format!("SELECT _offset FROM {NAME} WHERE NOT ({}) ORDER BY _offset FORMAT RowBinary", holds.join(" AND "));
        let body = self.run(&query).await?;
        numbers(&body)
    }

    /// Drops it; where that fails it goes with its session.
    pub(super) async fn drop(self) {
        drop(self.run(&format!("DROP TEMPORARY TABLE IF EXISTS {NAME}")).await);
    }
}

/// A temporary table that is gone a moment later was made at another server.
fn elsewhere(failure: Failure) -> Failure {
    if failure.code != "unknown_table" {
        return failure;
    }
    let what =
        "a temporary table is gone at once: requests of one session have to reach one server, whatever balances them";
    Failure::new(Class::Transient, what)
}

/// The clause of an engine without what makes it replicated or shared; empty where it is no MergeTree.
fn local(engine_full: &str) -> String {
    let name = engine_full.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    let rest = &engine_full[name.len()..];
    if !name.ends_with("MergeTree") {
        return String::new();
    }
    match ["Replicated", "Shared"].iter().find_map(|prefix| name.strip_prefix(prefix)) {
        // What is in parentheses is the path in Keeper; parameters of the family's other members are not needed here.
        Some(_) => format!("MergeTree{}", after_parentheses(rest)),
        None => engine_full.to_owned(),
    }
}

/// What follows the parentheses that a text begins with, if it begins with some.
fn after_parentheses(text: &str) -> &str {
    let (mut depth, mut quote_identifier, mut is_escaped) = (0, None, false);
    for (at, c) in text.char_indices() {
        match (c, quote_identifier) {
            _ if is_escaped => is_escaped = false,
            ('\\', Some(_)) => is_escaped = true,
            (c, Some(open)) if c == open => quote_identifier = None,
            ('\'' | '`' | '"', None) => quote_identifier = Some(c),
            ('(', None) => depth += 1,
            (')', None) => depth -= 1,
            _ => {}
        }
        if depth == 0 && quote_identifier.is_none() {
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
        assert_eq!(local(plain), plain);
        assert_eq!(local(&format!("Replicated{plain}")), plain);
        let path = r"ReplicatedMergeTree('/a/(\'b)', '{replica}') ORDER BY (a, b)";
        assert_eq!(local(path), "MergeTree ORDER BY (a, b)");
        assert_eq!(local("SharedReplacingMergeTree('/x', 'y', version) ORDER BY a"), "MergeTree ORDER BY a");
        assert_eq!(local("ReplacingMergeTree(version) ORDER BY a"), "ReplacingMergeTree(version) ORDER BY a");
        assert_eq!((local("Distributed('c', 'd', 't')"), local("")), (String::new(), String::new()));
    }
}
