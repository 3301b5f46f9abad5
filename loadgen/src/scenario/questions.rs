//! Checks the questions of a scenario's own, and reads the CSV files that their parameters name. Every mistake is reported with
//! its line.

use std::collections::BTreeMap;

use super::error::ScenarioError;
use super::names::{name, unknown};
use super::raw::{self, Raw, Text};
use super::source::Source;
use crate::question::custom::{self, Custom, CustomQuestion, Expected, Rows, Statement, digest, read_csv};
use crate::question::{Question, Store};

/// The questions. One with a mistake stands for its name, so that what asks it is no second mistake.
pub(super) fn questions(raw: &BTreeMap<Text, raw::OwnQuestion>, source: &Source) -> Vec<CustomQuestion> {
    let checked = |(name, raw)| question(name, raw, source).unwrap_or_else(|| stand_in(name));
    raw.iter().map(checked).collect()
}

fn stand_in(name: &Text) -> CustomQuestion {
    CustomQuestion {
        question: Custom::new(Store::Postgres, name.as_ref()),
        text: String::new(),
        place: String::new(),
        database: None,
        index: None,
        tenant: None,
        parameters: BTreeMap::new(),
        expected: Expected::default(),
    }
}

/// Without a population, there is nothing that Sluice's own questions could be about.
pub(super) fn fit(raw: &Raw, source: &Source) -> Result<(), ScenarioError> {
    let by_users = raw.users.iter().flat_map(|users| users.questions.as_ref().keys());
    let asked = raw.probes.keys().map(|at| (at, "probes")).chain(by_users.map(|at| (at, "users.questions")));
    let mut builtin = asked.filter(|(at, _)| Question::from_name(at.as_ref()).is_some());
    let Some((at, key)) = builtin.next().filter(|_| !raw.describes_population) else { return Ok(()) };
    let message = format!(
        "\"{}\" is about a population; describe it with [population], [past] and [drive], or ask questions of your own",
        at.as_ref()
    );
    Err(source.wrong(at, key, message))
}

fn question(at: &Text, raw: &raw::OwnQuestion, source: &Source) -> Option<CustomQuestion> {
    let name = source.keep(own_name(at, source));
    let stores = || Store::ALL.iter().map(|store| store.as_str());
    let store = Store::from_name(raw.store.as_ref())
        .ok_or_else(|| unknown(&raw.store, "question.store", "store", stores(), source));
    let store = source.keep(store)?;
    let statement =
        Statement::parse(store, raw.text.as_ref()).map_err(|error| source.wrong(&raw.text, "question.text", error));
    let statement = source.keep(statement);
    let belonging = [
        belongs(raw.database.as_ref(), "question.database", &[Store::Postgres, Store::Clickhouse], store, source),
        belongs(raw.index.as_ref(), "question.index", &[Store::Elasticsearch], store, source),
        belongs(raw.tenant.as_ref(), "question.tenant", &[Store::Postgres], store, source),
    ];
    let belonging: Vec<Option<()>> = belonging.into_iter().map(|belongs| source.keep(belongs)).collect();
    let index = source.keep(raw.index.as_ref().map(|at| index(at, source)).transpose());
    if store == Store::Elasticsearch && raw.index.is_none() {
        let message =
            "a question to Elasticsearch needs an index; write index = \"NAME\", or a pattern such as \"logs-*\"";
        source.keep::<()>(Err(source.wrong(&raw.store, "question.index", message)));
        return None;
    }
    let parameter = |(name, raw): (&Text, &toml::Spanned<raw::ValueSource>)| {
        source.keep(parameter(raw, store, source)).map(|parameter| (name.as_ref().clone(), parameter))
    };
    // All of them are checked before the first one with a mistake ends it.
    let parameters: Vec<Option<(String, custom::Source)>> = raw.parameters.iter().map(parameter).collect();
    let expected = source.keep(expected(raw.expect.as_ref(), source));
    belonging.into_iter().collect::<Option<()>>()?;
    let (name, statement, index, expected) = (name?, statement?, index?, expected?);
    let parameters = parameters.into_iter().collect::<Option<BTreeMap<_, _>>>()?;
    let question = CustomQuestion {
        question: Custom::new(store, &name),
        text: raw.text.as_ref().clone(),
        place: source.place(raw.text.span()),
        database: raw.database.as_ref().map(|at| at.as_ref().clone()),
        index,
        tenant: raw.tenant.as_ref().map(|at| at.as_ref().clone()),
        parameters,
        expected,
    };
    source.keep(parameters_fit(raw, &statement, &question, source)).map(|()| question)
}

/// A name that none of Sluice's own questions has.
fn own_name(at: &Text, source: &Source) -> Result<String, ScenarioError> {
    let name = name(at, "question", source)?;
    if Question::from_name(&name).is_none() {
        return Ok(name);
    }
    let message = format!("\"{name}\" is one of Sluice's own questions; give yours another name");
    Err(source.wrong(at, "question", message))
}

/// Every parameter has a source, and every source is used.
fn parameters_fit(
    raw: &raw::OwnQuestion,
    statement: &Statement,
    question: &CustomQuestion,
    source: &Source,
) -> Result<(), ScenarioError> {
    let CustomQuestion { parameters, expected, .. } = question;
    let missing = |name: &str| !parameters.contains_key(name);
    if let Some(name) = statement.parameters().into_iter().find(|name| missing(name)) {
        return Err(source.wrong(&raw.text, "question.text", no_source(name, parameters)));
    }
    if let Some(at) = raw.tenant.as_ref().filter(|at| missing(at.as_ref())) {
        return Err(source.wrong(at, "question.tenant", no_source(at.as_ref(), parameters)));
    }
    if let Some((at, name)) = raw.expect.as_ref().and_then(|expect| expect.value.as_ref()).zip(expected.parameter())
        && missing(name)
    {
        return Err(source.wrong(at, "question.expect.value", no_source(name, parameters)));
    }
    let used = |name: &str| {
        statement.parameters().contains(name)
            || expected.parameter() == Some(name)
            || raw.tenant.as_ref().is_some_and(|tenant| tenant.as_ref() == name)
    };
    if let Some(at) = raw.parameters.keys().find(|name| !used(name.as_ref())) {
        let message = format!("\"{}\" is not used in the text; write it there, or remove it", at.as_ref());
        return Err(source.wrong(at, "question.parameters", message));
    }
    Ok(())
}

fn no_source(name: &str, parameters: &BTreeMap<String, custom::Source>) -> String {
    let known: Vec<&str> = parameters.keys().map(String::as_str).collect();
    let known = if known.is_empty() { String::new() } else { format!("; it gives {}", known.join(", ")) };
    format!("`parameters` says nothing about \"{name}\"; add {name} = {{ csv = \"FILE\", column = \"NAME\" }}{known}")
}

fn belongs(at: Option<&Text>, key: &str, to: &[Store], store: Store, source: &Source) -> Result<(), ScenarioError> {
    at.filter(|_| !to.contains(&store)).map_or(Ok(()), |at| {
        Err(source.wrong(at, key, format!("a question to {} has none; remove it", store.as_str())))
    })
}

/// An index pattern that can't be mistaken for another endpoint.
fn index(at: &Text, source: &Source) -> Result<String, ScenarioError> {
    let index = at.as_ref();
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.*,".contains(c);
    // A path of dots alone would lead to another one.
    let is_name = |part: &str| !part.starts_with('_') && part.chars().any(|c| c != '.');
    if index.chars().all(fits) && index.split(',').all(is_name) {
        return Ok(index.clone());
    }
    let message = format!("\"{index}\" is not the name of an index; use lowercase letters, digits and - _ . * ,");
    Err(source.wrong(at, "question.index", message))
}

fn parameter(
    at: &toml::Spanned<raw::ValueSource>,
    store: Store,
    source: &Source,
) -> Result<custom::Source, ScenarioError> {
    const KEY: &str = "question.parameters";
    let raw::ValueSource { values, csv, query, table, column, store: from } = at.as_ref();
    let column = || {
        let column = column.as_ref().map(|at| at.as_ref().clone());
        column.ok_or_else(|| source.wrong(at, KEY, "it names no column; add column = \"NAME\""))
    };
    match (values, csv, query, table) {
        (Some(values), None, None, None) if !values.is_empty() => Ok(custom::Source::Values(values.clone())),
        (Some(_), None, None, None) => Err(source.wrong(at, KEY, "`values` is empty; add at least one")),
        (None, Some(csv), None, None) => {
            let (path, column) = (source.path(csv.span(), csv.as_ref()), column()?);
            let values = read_csv(&path, &column)
                .map_err(|message| source.wrong(csv, KEY, format!("{}: {message}", path.display())))?;
            Ok(custom::Source::Csv { file: path.display().to_string(), column, digest: digest(&values) })
        }
        (None, None, Some(text), None) => {
            let store = source_store(from.as_ref(), store, (at, KEY), source)?;
            let statement = Statement::parse(store, text.as_ref()).map_err(|error| source.wrong(text, KEY, error))?;
            if let Some(name) = statement.parameters().first() {
                return Err(source.wrong(
                    text,
                    KEY,
                    format!("a query of values has no parameters; replace \"{name}\""),
                ));
            }
            Ok(custom::Source::Query { store, text: text.as_ref().clone(), column: column()? })
        }
        (None, None, None, Some(table)) => {
            let store = source_store(from.as_ref(), store, (at, KEY), source)?;
            let column = column()?;
            let is_plain =
                |name: &str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.');
            if !is_plain(table.as_ref()) || !is_plain(&column) {
                let message =
                    "only letters, digits, _ and . are possible in the names of a table and a column; write a query";
                return Err(source.wrong(table, KEY, message));
            }
            Ok(custom::Source::Table { store, table: table.as_ref().clone(), column })
        }
        _ => Err(source.wrong(at, KEY, "write exactly one of `values`, `csv`, `query` and `table`")),
    }
}

fn source_store<T>(
    at: Option<&Text>,
    own: Store,
    (whole, key): (&toml::Spanned<T>, &str),
    source: &Source,
) -> Result<Store, ScenarioError> {
    let choices = [Store::Postgres, Store::Clickhouse].map(|store| (store.as_str(), store));
    match at {
        Some(at) => source.choice(at, key, &choices),
        None if choices.iter().any(|(_, store)| *store == own) => Ok(own),
        None => Err(source.wrong(whole, key, "it names no store; add store = \"postgres\" or \"clickhouse\"")),
    }
}

fn expected(raw: Option<&raw::Expect>, source: &Source) -> Result<Expected, ScenarioError> {
    let Some(raw) = raw else { return Ok(Expected::default()) };
    let rows = |text: &str| {
        let (number, rows): (_, fn(u64) -> Rows) = match text.strip_prefix("at least ") {
            Some(number) => (number, Rows::AtLeast),
            None => (text, Rows::Exactly),
        };
        number
            .parse()
            .map(rows)
            .map_err(|_| format!("\"{text}\" is not a number of rows; write \"1\" or \"at least 1\""))
            .and_then(|rows| match rows {
                Rows::AtLeast(0) => {
                    Err("every answer has at least 0 rows; write \"at least 1\", or remove it".to_owned())
                }
                rows => Ok(rows),
            })
    };
    Ok(Expected {
        rows: raw.rows.as_ref().map(|at| source.unit(at, "question.expect.rows", rows)).transpose()?,
        value: raw.value.as_ref().map(|at| at.as_ref().clone()),
    })
}
