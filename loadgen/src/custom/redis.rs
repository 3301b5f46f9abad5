//! Questions to the cache cluster of Redis: one command each, which the server itself must flag as a read. Of modules,
//! it sends only commands that are known to read, whatever their flags say.

use redis::cluster_async::ClusterConnection;
use redis::{Cmd, Value};
use sluice_schemas::connect;
use sluice_schemas::stores::Stores;

use super::Chosen;
use super::error::CustomError;
use super::parameters::Parameters;
use crate::question::Answer;
use crate::question::custom::{CustomQuestion, Piece, Statement, words};
use crate::target::QueryError;
use crate::target::redis::STORE;

/// The commands of modules that read. A module says itself whether its commands are reads, and RediSearch says so of
/// `FT.CONFIG SET` and, in some versions, of commands that change its dictionaries.
const MODULE_READS: [(&str, &[&str]); 8] = [
    ("FT", &["SEARCH", "AGGREGATE", "INFO", "EXPLAIN", "TAGVALS"]),
    ("JSON", &["GET", "MGET", "TYPE", "STRLEN", "ARRLEN", "ARRINDEX", "OBJKEYS", "OBJLEN", "RESP"]),
    ("TS", &["GET", "MGET", "RANGE", "REVRANGE", "MRANGE", "MREVRANGE", "INFO", "QUERYINDEX"]),
    ("BF", &["EXISTS", "MEXISTS", "CARD", "INFO"]),
    ("CF", &["EXISTS", "MEXISTS", "COUNT", "INFO"]),
    ("CMS", &["QUERY", "INFO"]),
    ("TOPK", &["QUERY", "LIST", "INFO"]),
    ("TDIGEST", &["QUANTILE", "CDF", "RANK", "REVRANK", "MIN", "MAX", "TRIMMED_MEAN", "INFO"]),
];
/// The search, whose answer begins with the number of hits.
const SEARCH: &str = "FT.SEARCH";
/// The aggregation, whose answer begins with a number that means nothing, followed by its rows.
const AGGREGATION: &str = "FT.AGGREGATE";

/// How an answer is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The hits of a search.
    Hits,
    /// The rows of an aggregation.
    Aggregated,
    /// A value, or a list of values.
    Values,
}

impl Form {
    fn of(command: &str) -> Self {
        match command {
            SEARCH => Self::Hits,
            AGGREGATION => Self::Aggregated,
            _ => Self::Values,
        }
    }
}

/// A command as it is sent.
#[derive(Debug)]
pub(super) struct Command {
    /// How its answer is read.
    form: Form,
    /// Its words, each in pieces.
    words: Vec<Vec<Piece>>,
}

impl Command {
    /// Asks the server whether the command is a read, and then once for its answer, so that the server checks its words.
    pub(super) async fn prepare(
        question: &CustomQuestion,
        parameters: &Parameters,
        stores: &Stores,
    ) -> Result<Self, CustomError> {
        let refused = |why: String| CustomError::refused(question, why);
        let words = words(&question.text).map_err(|error| refused(error.to_string()))?;
        let Some(name) = words.first().filter(|name| !name.contains('$')) else {
            return Err(refused("it does not begin with a command; write one, such as GET user:$id".to_owned()));
        };
        let node = stores.redis.cache.first().map_or("", String::as_str);
        let mut connection = connect::redis_node("Redis (cache)", node).await?;
        let info: Value = redis::cmd("COMMAND")
            .arg("INFO")
            .arg(name)
            .query_async(&mut connection)
            .await
            .map_err(|error| CustomError::query(question, error))?;
        let flags = flags(&info).ok_or_else(|| refused(format!("Redis knows no command {name}; correct it")))?;
        let has = |wanted: &str| flags.iter().any(|flag| flag == wanted);
        let is_modules = name.contains('.');
        if !has("readonly") || has("write") || (!is_modules && changes_keys(&info)) {
            return Err(refused(format!(
                "{name} is not a read by what COMMAND INFO says, and a question never writes; ask with a command that is"
            )));
        }
        if has("blocking") {
            return Err(refused(format!(
                "{name} may block the connection that all questions share; ask with a command that answers at once"
            )));
        }
        let upper = name.to_ascii_uppercase();
        if upper.split_once('.').is_some_and(|(module, command)| !module_reads(module, command)) {
            return Err(refused(format!(
                "{name} is not one of the modules' commands that are known to read, and a question never writes; ask with one \
                 that is, such as FT.SEARCH, JSON.GET or TS.RANGE"
            )));
        }
        let pieces =
            |word: &String| Statement::parse(question.question.store(), word).map(|statement| statement.pieces);
        let words = words.iter().map(pieces).collect::<Result<_, _>>().map_err(|error| refused(error.to_string()))?;
        let command = Self { form: Form::of(&upper), words };
        let asked = async { Client::connect(stores).await?.ask(&command, &parameters.first()).await };
        asked.await.map_err(|error| CustomError::query(question, error))?;
        Ok(command)
    }

    fn with(&self, values: &Chosen<'_>) -> Cmd {
        let mut command = Cmd::new();
        for word in &self.words {
            let piece = |piece: &Piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Parameter(name) => values.get(name.as_str()).copied().unwrap_or_default().to_owned(),
            };
            command.arg(word.iter().map(piece).collect::<String>());
        }
        command
    }
}

/// Whether a command of a module is known to read.
fn module_reads(module: &str, command: &str) -> bool {
    MODULE_READS.iter().any(|(known, reads)| *known == module && reads.contains(&command))
}

/// The flags in the answer to COMMAND INFO; `None` if the command is unknown.
fn flags(info: &Value) -> Option<Vec<String>> {
    let (Value::Array(flags) | Value::Set(flags)) = command(info)?.get(2)? else { return None };
    Some(flags.iter().filter_map(text).collect())
}

/// Whether a key specification in the answer to COMMAND INFO says that the command may change its key. PFCOUNT is flagged as a
/// read, and stores what it counted. Modules don't specify their keys so exactly.
fn changes_keys(info: &Value) -> bool {
    command(info)
        .and_then(|command| command.get(8))
        .is_some_and(|specifications| mentions(specifications, &["RW", "OW", "RM"]))
}

fn command(info: &Value) -> Option<&[Value]> {
    let Value::Array(commands) = info else { return None };
    if let Some(Value::Array(command)) = commands.first() { Some(command) } else { None }
}

/// Whether a value is one of these words, or contains it.
fn mentions(value: &Value, words: &[&str]) -> bool {
    match value {
        Value::Array(parts) | Value::Set(parts) => parts.iter().any(|part| mentions(part, words)),
        Value::Map(pairs) => pairs.iter().any(|(_, part)| mentions(part, words)),
        one => text(one).is_some_and(|text| words.contains(&text.as_str())),
    }
}

/// A connection to the cache cluster.
#[derive(Clone)]
pub(super) struct Client(ClusterConnection);

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// Connects.
    pub(super) async fn connect(stores: &Stores) -> Result<Self, QueryError> {
        Ok(Self(connect::redis_cache(stores).await?))
    }

    /// Sends the command. The rows of a search are its hits, those of an aggregation its rows; else no value is no row, a list
    /// has a row for each element that has a value, and anything else is one row.
    pub(super) async fn ask(&self, command: &Command, values: &Chosen<'_>) -> Result<Answer, QueryError> {
        let value: Value = command.with(values).query_async(&mut self.0.clone()).await?;
        let (rows, first) = match command.form {
            Form::Hits => hits(&value).ok_or(QueryError::Unreadable { store: STORE, what: "a search without hits" })?,
            Form::Aggregated => aggregated(&value)
                .ok_or(QueryError::Unreadable { store: STORE, what: "an aggregation without rows" })?,
            Form::Values => (rows(&value), text(&value)),
        };
        Ok(Answer::Table { rows, first })
    }
}

/// The rows of an answer that is not a search's.
fn rows(value: &Value) -> u64 {
    let has_value = |element: &&Value| **element != Value::Nil;
    match value {
        Value::Nil => 0,
        Value::Array(elements) | Value::Set(elements) => elements.iter().filter(has_value).count() as u64,
        Value::Map(entries) => entries.len() as u64,
        _ => 1,
    }
}

/// The number of hits of a search, and the first one's key or first field.
fn hits(value: &Value) -> Option<(u64, Option<String>)> {
    let Value::Array(elements) = value else { return None };
    let (Value::Int(count), found) = elements.split_first()? else { return None };
    Some((u64::try_from(*count).ok()?, found.first().and_then(text)))
}

/// The number of rows of an aggregation, and the first text of the first one.
fn aggregated(value: &Value) -> Option<(u64, Option<String>)> {
    let Value::Array(elements) = value else { return None };
    let (Value::Int(_), rows) = elements.split_first()? else { return None };
    Some((rows.len() as u64, rows.first().and_then(text)))
}

/// The first text in a value.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        Value::Double(number) => Some(number.to_string()),
        Value::Boolean(value) => Some(value.to_string()),
        Value::Array(values) | Value::Set(values) => values.first().and_then(text),
        Value::Map(entries) => entries.first().and_then(|(_, value)| text(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_values_are_no_rows_and_a_search_has_its_hits() {
        let found = |key: &str| Value::BulkString(key.as_bytes().to_vec());
        assert_eq!(rows(&Value::Array(vec![Value::Nil, found("a"), Value::Nil])), 1);
        assert_eq!((rows(&Value::Nil), rows(&found("a"))), (0, 1));
        assert_eq!(hits(&Value::Array(vec![Value::Int(0)])), Some((0, None)));
        let two = Value::Array(vec![Value::Int(57), found("doc:1"), found("doc:2")]);
        assert_eq!(hits(&two), Some((57, Some("doc:1".to_owned()))));
        assert_eq!(hits(&found("a")), None);
        let row = |value: &str| Value::Array(vec![found(value), found("3")]);
        let grouped = Value::Array(vec![Value::Int(1), row("city"), row("city")]);
        assert_eq!(aggregated(&grouped), Some((2, Some("city".to_owned()))), "the number says nothing");
    }
}
