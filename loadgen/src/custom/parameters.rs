//! The values of a question's parameters: read or sampled once before the drive, then chosen for each request by the number that
//! the plan drew. Parameters from the same rows are chosen together.

use std::collections::BTreeMap;

use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;
use sqlx::{AssertSqlSafe, Connection as _};
use xxhash_rust::xxh64::xxh64;

use super::error::CustomError;
use super::{Chosen, clickhouse, postgres};
use crate::question::custom::{CustomQuestion, Source, Values, read_csv};
use crate::question::{Key, Store};

/// Maximum number of values that are taken from a store.
const MAX_SAMPLED: usize = 10_000;

/// The values of all parameters of one question.
#[derive(Debug, Default)]
pub(super) struct Parameters(Vec<Rows>);

/// The columns of parameters that are chosen together.
#[derive(Debug)]
struct Rows {
    columns: BTreeMap<String, Values>,
    length: u64,
}

impl Parameters {
    /// Reads or samples the values.
    pub(super) async fn sample(
        question: &CustomQuestion,
        (stores, names): (&Stores, &Names),
    ) -> Result<Self, CustomError> {
        let mut rows: BTreeMap<String, Rows> = BTreeMap::new();
        for (name, source) in &question.parameters {
            let values = values(question, source, (stores, names)).await;
            let values = values.map_err(|error| error.of_parameter(name))?;
            let length = values.len() as u64;
            if length == 0 {
                let why = format!("the source of its parameter \"{name}\" has no values; is it the right one?");
                return Err(CustomError::refused(question, why));
            }
            let columns = rows.entry(source.rows()).or_insert_with(|| Rows { columns: BTreeMap::new(), length });
            columns.length = columns.length.min(length);
            columns.columns.insert(name.clone(), values);
        }
        Ok(Self(rows.into_values().collect()))
    }

    /// The values that a key chooses.
    pub(super) fn choose(&self, key: &Key) -> Chosen<'_> {
        let draw = if let Key::Draw(draw) = key { *draw } else { 0 };
        let rows = self.0.iter().enumerate();
        // Rows of different sources are chosen independently.
        rows.flat_map(|(index, rows)| rows.at(xxh64(&draw.to_le_bytes(), index as u64) % rows.length)).collect()
    }

    /// The first values, for a try.
    pub(super) fn first(&self) -> Chosen<'_> {
        self.0.iter().flat_map(|rows| rows.at(0)).collect()
    }
}

impl Rows {
    fn at(&self, row: u64) -> impl Iterator<Item = (&str, &str)> {
        let columns = self.columns.iter();
        columns.map(move |(name, values)| (name.as_str(), values.get(row as usize).map_or("", String::as_str)))
    }
}

async fn values(
    question: &CustomQuestion,
    source: &Source,
    (stores, names): (&Stores, &Names),
) -> Result<Values, CustomError> {
    let (store, sql) = match source {
        Source::Values(values) => return Ok(values.clone()),
        Source::Csv { file, column } => {
            let read = read_csv(file.as_ref(), column);
            return read.map_err(|message| CustomError::refused(question, format!("{file}: {message}")));
        }
        Source::Query { store, text, column } => {
            (*store, select(*store, &format!("({}) AS rows", text.trim().trim_end_matches(';')), column))
        }
        Source::Table { store, table, column } => (*store, select(*store, &quoted(*store, table), column)),
    };
    if store == Store::Clickhouse {
        let column = clickhouse::Client::new(stores, names).column(&sql).await;
        return column.map_err(|error| CustomError::query(question, error));
    }
    let database = question.database.clone().filter(|_| question.question.store() == Store::Postgres);
    let database = database.unwrap_or_else(|| names.database());
    let mut connection = postgres::connect_once(stores, &database).await?;
    let values = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut connection).await;
    let closed = connection.close().await;
    let values = values.map_err(|error| CustomError::query(question, error))?;
    closed.map_err(|error| CustomError::query(question, error))?;
    Ok(values)
}

/// Selects the first values of a column as text. It sorts nothing, so that it costs a large table little.
fn select(store: Store, from: &str, column: &str) -> String {
    let column = quoted(store, column);
    let text =
        if store == Store::Clickhouse { format!("toString({column})") } else { format!("CAST({column} AS text)") };
    format!("SELECT {text} FROM {from} WHERE {column} IS NOT NULL LIMIT {MAX_SAMPLED}")
}

/// A name in quotes, part by part.
fn quoted(store: Store, name: &str) -> String {
    let quote = if store == Store::Clickhouse { '`' } else { '"' };
    name.split('.').map(|part| format!("{quote}{part}{quote}")).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(columns: &[(&str, &[&str])]) -> Rows {
        let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Values>();
        let columns: BTreeMap<_, _> = columns.iter().map(|(name, all)| ((*name).to_owned(), values(all))).collect();
        Rows { length: columns.values().map(Vec::len).min().unwrap_or(0) as u64, columns }
    }

    #[test]
    fn parameters_of_the_same_rows_are_chosen_together_and_others_are_not() {
        let parameters =
            Parameters(vec![rows(&[("id", &["1", "2"]), ("total", &["10", "20"])]), rows(&[("day", &["a", "b"])])]);
        let mut seen = std::collections::BTreeSet::new();
        for draw in 0..200 {
            let chosen = parameters.choose(&Key::Draw(draw));
            assert_eq!(chosen["total"], format!("{}0", chosen["id"]));
            seen.insert((chosen["id"].to_owned(), chosen["day"].to_owned()));
            assert_eq!(chosen, parameters.choose(&Key::Draw(draw)));
        }
        assert_eq!(seen.len(), 4, "{seen:?}");
    }

    #[test]
    fn names_are_quoted_part_by_part() {
        assert_eq!(
            select(Store::Postgres, &quoted(Store::Postgres, "crm.customers"), "id"),
            "SELECT CAST(\"id\" AS text) FROM \"crm\".\"customers\" WHERE \"id\" IS NOT NULL LIMIT 10000"
        );
    }
}
