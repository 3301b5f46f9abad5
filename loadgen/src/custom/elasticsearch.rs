//! Questions to Elasticsearch, which are only ever sent to its search endpoint.

use serde::Deserialize;
use serde_json::Value;
use sluice_schemas::elastic::Elastic;
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;

use super::Chosen;
use super::error::CustomError;
use super::parameters::Parameters;
use crate::question::Answer;
use crate::question::custom::{CustomQuestion, Piece, Rows};
use crate::target::QueryError;
use crate::target::elasticsearch::{LONGEST, WHOLE};

/// A search as it is sent.
#[derive(Debug)]
pub(super) struct Search {
    path: String,
    pieces: Vec<Piece>,
    /// Whether the exact number of hits is compared.
    expects_exactly: bool,
}

impl Search {
    /// Asks once, so that the server checks the text.
    pub(super) async fn prepare(
        question: &CustomQuestion,
        parameters: &Parameters,
        (stores, names): (&Stores, &Names),
    ) -> Result<Self, CustomError> {
        let statement = question.statement().map_err(|error| CustomError::refused(question, error))?;
        let index = in_namespace(names, question.index.as_deref().unwrap_or_default());
        // A pattern without an index, and an index that does not exist, are mistakes and not empty answers.
        let path = format!("/{index}/_search?ignore_unavailable=false&allow_no_indices=false&{WHOLE}");
        let expects_exactly = matches!(question.expected.rows, Some(Rows::Exactly(_)));
        let search = Self { path, pieces: statement.pieces, expects_exactly };
        let client = Client::new(stores)?;
        client.ask(&search, &parameters.first()).await.map_err(|error| CustomError::query(question, error))?;
        Ok(search)
    }

    /// The body with values in place of its parameters, which are inside of JSON strings.
    fn body(&self, values: &Chosen<'_>) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(more) => text.push_str(more),
                Piece::Parameter(name) => {
                    let quoted = Value::from(values.get(name.as_str()).copied().unwrap_or_default()).to_string();
                    text.push_str(&quoted[1..quoted.len() - 1]);
                }
            }
        }
        text
    }
}

/// The namespace's names of indices, patterns and exclusions (`-name`) that are separated by commas.
fn in_namespace(names: &Names, list: &str) -> String {
    let name = |one: &str| match one.strip_prefix('-') {
        Some(excluded) => format!("-{}", names.index(excluded)),
        None => names.index(one),
    };
    list.split(',').map(name).collect::<Vec<_>>().join(",")
}

#[derive(Deserialize)]
struct Found {
    hits: Hits,
}

#[derive(Deserialize)]
struct Hits {
    /// Missing if the search does not track it.
    total: Option<Total>,
    hits: Vec<Hit>,
}

#[derive(Deserialize)]
struct Total {
    value: u64,
    /// `gte` where the search counts only up to a limit.
    relation: String,
}

#[derive(Deserialize)]
struct Hit {
    #[serde(rename = "_id")]
    id: Option<String>,
}

/// A client for searches.
#[derive(Debug)]
pub(super) struct Client(Elastic);

impl Client {
    /// Creates the client without connecting.
    pub(super) fn new(stores: &Stores) -> Result<Self, sluice_schemas::connect::ConnectError> {
        Ok(Self(Elastic::limited(stores, LONGEST)?))
    }

    /// Searches. The rows are all hits, and the first value is the identifier of the first one.
    pub(super) async fn ask(&self, search: &Search, values: &Chosen<'_>) -> Result<Answer, QueryError> {
        let found: Found = self.0.search(&search.path, search.body(values)).await?;
        let is_exact = found.hits.total.as_ref().is_none_or(|total| total.relation == "eq");
        if !is_exact && search.expects_exactly {
            return Err(QueryError::Unreadable {
                store: "Elasticsearch",
                what: "a lower bound of the hits, where the scenario expects a number; write \"track_total_hits\": true",
            });
        }
        let rows = found.hits.total.map_or(found.hits.hits.len() as u64, |total| total.value);
        let first = found.hits.hits.into_iter().next().and_then(|hit| hit.id);
        Ok(Answer::Table { rows, first })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::question::Store;
    use crate::question::custom::Statement;

    #[test]
    fn indices_are_those_of_the_namespace() {
        let namespace = Names::new("mine").unwrap();
        assert_eq!(in_namespace(&namespace, "a-*,-a-old"), "mine-a-*,-mine-a-old");
        assert_eq!(in_namespace(&Names::platform(), "a-*,-a-old"), "a-*,-a-old");
    }

    #[test]
    fn a_value_stays_inside_of_its_string() {
        let statement = Statement::parse(Store::Elasticsearch, r#"{"query": {"match": {"body": "a $word"}}}"#).unwrap();
        let search = Search { path: String::new(), pieces: statement.pieces, expects_exactly: false };
        let body = search.body(&Chosen::from([("word", "x\"}, \"size\": 9, \\")]));
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["query"]["match"]["body"], "a x\"}, \"size\": 9, \\");
        assert_eq!(body.as_object().map(serde_json::Map::len), Some(1));
    }
}
