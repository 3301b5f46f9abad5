//! Questions to ClickHouse, with parameters of the server and `readonly`, under the limits of a dashboard. The client
//! never holds a whole answer in memory, and never judges one.

use ::clickhouse::query::BytesCursor;
use sluice_schemas::connect;
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;

use super::Chosen;
use super::error::CustomError;
use super::parameters::Parameters;
use crate::question::Answer;
use crate::question::custom::CustomQuestion;
use crate::target::QueryError;
use crate::target::clickhouse::{STORE, limited};

/// The form of an answer: a JSON array for each row.
const FORMAT: &str = "JSONCompactEachRow";
/// Ends each row, and is in none: JSON escapes it.
const NEW_LINE: u8 = b'\n';

/// A question as it is sent.
#[derive(Debug)]
pub(super) struct Query {
    /// The text; the client would read a question mark as a parameter of its own.
    escaped: String,
    database: Option<String>,
    order: Vec<String>,
}

impl Query {
    /// Asks once, so that the server checks the text.
    pub(super) async fn prepare(
        question: &CustomQuestion,
        parameters: &Parameters,
        (stores, names): (&Stores, &Names),
    ) -> Result<Self, CustomError> {
        let statement = question.statement().map_err(|error| CustomError::refused(question, error))?;
        let order = statement.parameters().into_iter().map(str::to_owned).collect();
        let text = question.text.trim().trim_end_matches(';');
        let query = Self { escaped: text.replace('?', "??"), database: question.database.clone(), order };
        let asked = Client::new(stores, names).ask(&query, &parameters.first()).await;
        asked.map_err(|error| CustomError::query(question, error))?;
        Ok(query)
    }
}

/// A client that can't write.
#[derive(Clone)]
pub(super) struct Client(::clickhouse::Client);

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// Creates the client without connecting.
    pub(super) fn new(stores: &Stores, names: &Names) -> Self {
        Self(limited(connect::clickhouse(stores, names)))
    }

    /// Asks, counts the rows and reads the first of them: they may be more than fit into memory.
    pub(super) async fn ask(&self, query: &Query, values: &Chosen<'_>) -> Result<Answer, QueryError> {
        let (mut answer, mut rows, mut head) = (self.asked(query, values)?, 0, Vec::new());
        while let Some(chunk) = answer.next().await? {
            if rows == 0 {
                head.extend(chunk.split_inclusive(|byte| *byte == NEW_LINE).next().unwrap_or_default());
            }
            rows += chunk.split(|byte| *byte == NEW_LINE).skip(1).count() as u64;
        }
        let first = parse(&head)?.first().and_then(|row| row.first()).map(text);
        Ok(Answer::Table { rows, first })
    }

    fn asked(&self, query: &Query, values: &Chosen<'_>) -> Result<BytesCursor, QueryError> {
        let client = match &query.database {
            Some(database) => self.0.clone().with_database(database),
            None => self.0.clone(),
        };
        let mut asking = client.query(&query.escaped);
        for name in &query.order {
            asking = asking.param(name, values.get(name.as_str()).copied().unwrap_or_default());
        }
        Ok(asking.fetch_bytes(FORMAT)?)
    }

    /// The rows of a query without parameters, as text; in the database of the namespace, or in another one.
    pub(super) async fn texts(&self, database: Option<String>, sql: &str) -> Result<Vec<Vec<String>>, QueryError> {
        let query = Query { escaped: sql.replace('?', "??"), database, order: Vec::new() };
        let rows = parse(&self.asked(&query, &Chosen::new())?.collect().await?)?;
        Ok(rows.iter().map(|row| row.iter().map(text).collect()).collect())
    }
}

/// Reads rows in [`FORMAT`].
fn parse(bytes: &[u8]) -> Result<Vec<Vec<serde_json::Value>>, QueryError> {
    let unreadable = |_| QueryError::Unreadable { store: STORE, what: "rows that are not JSON" };
    serde_json::Deserializer::from_slice(bytes).into_iter().collect::<Result<_, _>>().map_err(unreadable)
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
