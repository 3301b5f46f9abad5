//! The values of a question's parameters: read or sampled once before the drive, then chosen for each request by the number that
//! the plan drew. Parameters from the same rows are chosen together. No value is read from a store during the drive.

use std::collections::BTreeMap;

use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, Row as _};
use xxhash_rust::xxh64::xxh64;

use super::error::CustomError;
use super::{Chosen, clickhouse, postgres};
use crate::question::custom::{CustomQuestion, Source, Values, read_csv};
use crate::question::{Key, Store};
use crate::target::QueryError;

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
    pub(super) async fn sample(question: &CustomQuestion, to: (&Stores, &Names)) -> Result<Self, CustomError> {
        let mut sources: BTreeMap<String, Vec<Parameter<'_>>> = BTreeMap::new();
        for (name, source) in &question.parameters {
            sources.entry(source.rows(name)).or_default().push((name, source));
        }
        let mut all = Vec::new();
        for parameters in sources.values() {
            all.push(Rows::read(question, parameters, to).await?);
        }
        Ok(Self(all))
    }

    /// The values that a key chooses.
    pub(super) fn choose(&self, key: &Key) -> Chosen<'_> {
        let draw = if let Key::Draw(draw) = key { *draw } else { 0 };
        let rows = self.0.iter().enumerate();
        // Rows of different sources are chosen independently.
        rows.flat_map(|(index, rows)| rows.at(xxh64(&draw.to_le_bytes(), index as u64) % rows.length)).collect()
    }

    /// All values of a parameter.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let columns = self.0.iter().filter_map(move |rows| rows.columns.get(name));
        columns.flatten().map(String::as_str)
    }

    /// The first values, for a try.
    pub(super) fn first(&self) -> Chosen<'_> {
        self.0.iter().flat_map(|rows| rows.at(0)).collect()
    }
}

/// A parameter's name, and where its values come from.
type Parameter<'a> = (&'a String, &'a Source);

impl Rows {
    /// Reads the columns of parameters whose values come from the same rows.
    async fn read(
        question: &CustomQuestion,
        parameters: &[Parameter<'_>],
        to: (&Stores, &Names),
    ) -> Result<Self, CustomError> {
        let all = match parameters.first().and_then(|(_, source)| sampled(source)) {
            Some((store, from)) => {
                let names: Vec<&str> = parameters.iter().filter_map(|(_, source)| source.column()).collect();
                let rows = rows(question, store, &select(store, &from, &names), to).await;
                columns(names.len(), rows.map_err(|error| error.of_parameter(parameters[0].0))?)
            }
            None => parameters.iter().map(|parameter| listed(question, *parameter)).collect::<Result<_, _>>()?,
        };
        let length = all.iter().map(Vec::len).min().unwrap_or(0) as u64;
        if length == 0 {
            let name = parameters.first().map_or("", |(name, _)| name.as_str());
            let why = format!("the source of its parameter \"{name}\" has no values; is it the right one?");
            return Err(CustomError::refused(question, why));
        }
        let names = parameters.iter().map(|(name, _)| (*name).clone());
        Ok(Self { columns: names.zip(all).collect(), length })
    }

    fn at(&self, row: u64) -> impl Iterator<Item = (&str, &str)> {
        let columns = self.columns.iter();
        columns.map(move |(name, values)| (name.as_str(), values.get(row as usize).map_or("", String::as_str)))
    }
}

/// The values of a parameter that no store holds.
fn listed(question: &CustomQuestion, (name, source): Parameter<'_>) -> Result<Values, CustomError> {
    match source {
        Source::Values(values) => Ok(values.clone()),
        Source::Csv { file, column, .. } => read_csv(file.as_ref(), column)
            .map_err(|message| CustomError::refused(question, format!("{file}: {message}")).of_parameter(name)),
        Source::Query { .. } | Source::Table { .. } => Ok(Values::new()),
    }
}

/// The columns of rows that have so many.
fn columns(count: usize, rows: Vec<Vec<String>>) -> Vec<Values> {
    let mut columns = vec![Values::with_capacity(rows.len()); count];
    for row in rows {
        columns.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
    }
    columns
}

/// The store that holds the rows of a source, and what they are selected from; `None` if it is no store.
fn sampled(source: &Source) -> Option<(Store, String)> {
    match source {
        Source::Values(_) | Source::Csv { .. } => None,
        Source::Query { store, text, .. } => {
            // A comment may end the text.
            Some((*store, format!("({}\n) AS rows", text.trim().trim_end_matches(';'))))
        }
        Source::Table { store, table, .. } => Some((*store, quoted(*store, table))),
    }
}

/// Selects rows of text.
async fn rows(
    question: &CustomQuestion,
    store: Store,
    sql: &str,
    (stores, names): (&Stores, &Names),
) -> Result<Vec<Vec<String>>, CustomError> {
    let failed = |error| CustomError::query(question, error);
    let database = question.database.clone().filter(|_| question.question.store() == store);
    if store == Store::Clickhouse {
        return clickhouse::Client::new(stores, names).texts(database, sql).await.map_err(failed);
    }
    let database = database.unwrap_or_else(|| names.database());
    let mut connection = postgres::connect_once(question, stores, &database).await?;
    let rows = postgres::read(&mut connection, sql).await;
    let closed = connection.close().await;
    let rows = rows.map_err(QueryError::from).map_err(failed)?;
    closed.map_err(QueryError::from).map_err(failed)?;
    let texts = |row: PgRow| (0..row.len()).map(|column| row.try_get(column)).collect::<Result<Vec<String>, _>>();
    rows.into_iter().map(texts).collect::<Result<_, _>>().map_err(QueryError::from).map_err(failed)
}

/// Selects the first values of columns as text: all columns at once, since a store may return other rows, or in another order, to
/// each query. It sorts nothing, so that it costs a large table little.
fn select(store: Store, from: &str, columns: &[&str]) -> String {
    let columns: Vec<String> = columns.iter().map(|column| quoted(store, column)).collect();
    let text = |column: &String| {
        if store == Store::Clickhouse { format!("toString({column})") } else { format!("CAST({column} AS text)") }
    };
    let texts: Vec<String> = columns.iter().map(text).collect();
    let known: Vec<String> = columns.iter().map(|column| format!("{column} IS NOT NULL")).collect();
    format!("SELECT {} FROM {from} WHERE {} LIMIT {MAX_SAMPLED}", texts.join(", "), known.join(" AND "))
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
    fn columns_of_the_same_rows_are_read_at_once() {
        assert_eq!(
            select(Store::Clickhouse, "`calls`", &["agent", "day"]),
            "SELECT toString(`agent`), toString(`day`) FROM `calls` WHERE `agent` IS NOT NULL AND `day` IS NOT NULL \
             LIMIT 10000"
        );
    }

    #[test]
    fn names_are_quoted_part_by_part() {
        assert_eq!(
            select(Store::Postgres, &quoted(Store::Postgres, "crm.customers"), &["id"]),
            "SELECT CAST(\"id\" AS text) FROM \"crm\".\"customers\" WHERE \"id\" IS NOT NULL LIMIT 10000"
        );
    }
}
