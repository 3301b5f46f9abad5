//! Checks the questions of a scenario's own, and reads the CSV files that their parameters name. Every mistake is reported with
//! its line. It never asks a store whether it accepts one.

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
    let message =
        "it is about a population; describe it with [population], [past] and [drive], or ask questions of your own";
    Err(source.wrong(at, &format!("{key}.{}", at.as_ref()), message))
}

fn question(at: &Text, raw: &raw::OwnQuestion, source: &Source) -> Option<CustomQuestion> {
    let key = |of: &str| format!("question.{}.{of}", at.as_ref());
    let name = source.keep(own_name(at, source));
    let stores = || Store::ALL.iter().map(|store| store.as_str());
    let store = Store::from_name(raw.store.as_ref())
        .ok_or_else(|| unknown(&raw.store, &key("store"), "store", stores(), source));
    let store = source.keep(store);
    let statement = store.and_then(|store| {
        let parsed = Statement::parse(store, raw.text.as_ref());
        source.keep(parsed.map_err(|error| source.wrong(&raw.text, &key("text"), error)))
    });
    let belongs = store.and_then(|store| source.keep_all(belong(raw, store, &key, source)));
    let index = source.keep(raw.index.as_ref().map(|at| index(at, &key("index"), source)).transpose());
    let parameter = |(name, raw): (&Text, &toml::Spanned<raw::ValueSource>)| {
        let key = key(&format!("parameters.{}", name.as_ref()));
        source.keep(parameter(raw, store, &key, source)?).map(|parameter| (name.as_ref().clone(), parameter))
    };
    // All of them are checked before the first one with a mistake ends it.
    let parameters: Vec<Option<(String, custom::Source)>> = raw.parameters.iter().map(parameter).collect();
    let expected = source.keep(expected(raw.expect.as_ref(), &key("expect"), source));
    let fit = source.keep_all(parameters_fit(raw, statement.as_ref(), &key, source));
    let (name, store, index, expected) = (name?, store?, index?, expected?);
    statement.and(belongs).and(fit)?;
    Some(CustomQuestion {
        question: Custom::new(store, &name),
        text: raw.text.as_ref().clone(),
        place: source.place(raw.text.span()),
        database: raw.database.as_ref().map(|at| at.as_ref().clone()),
        index,
        tenant: raw.tenant.as_ref().map(|at| at.as_ref().clone()),
        parameters: parameters.into_iter().collect::<Option<_>>()?,
        expected,
    })
}

/// A name that none of Sluice's own questions has.
fn own_name(at: &Text, source: &Source) -> Result<String, ScenarioError> {
    let key = format!("question.{}", at.as_ref());
    let name = name(at, &key, source)?;
    if Question::from_name(&name).is_none() {
        return Ok(name);
    }
    Err(source.wrong(at, &key, "it is one of Sluice's own questions; give yours another name"))
}

/// A mistake for each parameter without values, and for each one that is not used. Without a statement, what it uses is unknown.
fn parameters_fit(
    raw: &raw::OwnQuestion,
    statement: Option<&Statement>,
    key: &impl Fn(&str) -> String,
    source: &Source,
) -> Vec<ScenarioError> {
    let in_text = statement.map(Statement::parameters).unwrap_or_default();
    let value = raw.expect.as_ref().and_then(|expect| expect.as_ref().value.as_ref());
    let expected = Expected { rows: None, value: value.map(|at| at.as_ref().clone()) };
    let in_value = value.zip(expected.parameter());
    let uses = in_text.iter().map(|name| (&raw.text, "text", *name));
    let uses = uses.chain(raw.tenant.as_ref().map(|at| (at, "tenant", at.as_ref().as_str())));
    let uses: Vec<(&Text, &str, &str)> = uses.chain(in_value.map(|(at, name)| (at, "expect.value", name))).collect();
    let known: Vec<&str> = raw.parameters.keys().map(|name| name.as_ref().as_str()).collect();
    let without_values = uses.iter().filter(|(.., name)| !known.contains(name));
    let missing = without_values.map(|(at, of, name)| source.wrong(at, &key(of), no_source(name, &known)));
    let is_unused = |at: &&Text| statement.is_some() && uses.iter().all(|(.., name)| name != at.as_ref());
    let unused = raw.parameters.keys().filter(is_unused).map(|at| {
        let key = key(&format!("parameters.{}", at.as_ref()));
        source.wrong(at, &key, "it is not used in the text; write it there, or remove it")
    });
    missing.chain(unused).collect()
}

fn no_source(name: &str, known: &[&str]) -> String {
    let known = if known.is_empty() { String::new() } else { format!("; it gives {}", known.join(", ")) };
    format!("`parameters` says nothing about \"{name}\"; add {name} = {{ csv = \"FILE\", column = \"NAME\" }}{known}")
}

/// A mistake for each key that questions to that store don't have, and for an index that it lacks.
fn belong(raw: &raw::OwnQuestion, store: Store, key: &impl Fn(&str) -> String, source: &Source) -> Vec<ScenarioError> {
    let keys: [(&str, Option<&Text>, &[Store]); 3] = [
        ("database", raw.database.as_ref(), &[Store::Postgres, Store::Clickhouse]),
        ("index", raw.index.as_ref(), &[Store::Elasticsearch]),
        ("tenant", raw.tenant.as_ref(), &[Store::Postgres]),
    ];
    let foreign = keys.into_iter().filter_map(|(name, at, of)| Some((name, at?)).filter(|_| !of.contains(&store)));
    let message = format!("a question to {} has none; remove it", store.as_str());
    let foreign = foreign.map(|(name, at)| source.wrong(at, &key(name), &message));
    let database = raw.database.as_ref().filter(|at| at.as_ref().is_empty());
    let database = database.map(|at| source.wrong(at, &key("database"), "it is empty; name one, or remove it"));
    let lacks_index = store == Store::Elasticsearch && raw.index.is_none();
    let index = lacks_index.then(|| {
        let message =
            "a question to Elasticsearch needs an index; write index = \"NAME\", or a pattern such as \"logs-*\"";
        source.wrong(&raw.store, &key("index"), message)
    });
    foreign.chain(database).chain(index).collect()
}

/// An index pattern that can't be mistaken for another endpoint.
fn index(at: &Text, key: &str, source: &Source) -> Result<String, ScenarioError> {
    let index = at.as_ref();
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.*,".contains(c);
    // A path of dots alone would lead to another one.
    let is_name = |part: &str| !part.starts_with('_') && part.chars().any(|c| c != '.');
    if index.chars().all(fits) && index.split(',').all(is_name) {
        return Ok(index.clone());
    }
    let message = format!("\"{index}\" is not the name of an index; use lowercase letters, digits and - _ . * ,");
    Err(source.wrong(at, key, message))
}

/// Where the values of a parameter come from; `None` if they come from the question's own store, and that is unknown.
fn parameter(
    at: &toml::Spanned<raw::ValueSource>,
    store: Option<Store>,
    key: &str,
    source: &Source,
) -> Option<Result<custom::Source, ScenarioError>> {
    let raw = at.as_ref();
    let needs_store = raw.store.is_none() && (raw.query.is_some() || raw.table.is_some());
    (store.is_some() || !needs_store).then(|| values_of(at, store, key, source))
}

fn values_of(
    at: &toml::Spanned<raw::ValueSource>,
    store: Option<Store>,
    key: &str,
    source: &Source,
) -> Result<custom::Source, ScenarioError> {
    let raw::ValueSource { values, csv, query, table, column, store: from } = at.as_ref();
    let column = || {
        let column = column.as_ref().map(|at| at.as_ref().clone());
        column.ok_or_else(|| source.wrong(at, key, "it names no column; add column = \"NAME\""))
    };
    match (values, csv, query, table) {
        (Some(values), None, None, None) if !values.is_empty() => Ok(custom::Source::Values(values.clone())),
        (Some(_), None, None, None) => Err(source.wrong(at, key, "`values` is empty; add at least one")),
        (None, Some(csv), None, None) => {
            let (path, column) = (source.path(csv.span(), csv.as_ref()), column()?);
            let values = read_csv(&path, &column)
                .map_err(|message| source.wrong(csv, key, format!("{}: {message}", path.display())))?;
            Ok(custom::Source::Csv { file: path.display().to_string(), column, digest: digest(&values) })
        }
        (None, None, Some(text), None) => {
            let store = source_store(from.as_ref(), store, (at, key), source)?;
            let statement = Statement::parse(store, text.as_ref()).map_err(|error| source.wrong(text, key, error))?;
            if let Some(name) = statement.parameters().first() {
                return Err(source.wrong(
                    text,
                    key,
                    format!("a query of values has no parameters; replace \"{name}\""),
                ));
            }
            Ok(custom::Source::Query { store, text: text.as_ref().clone(), column: column()? })
        }
        (None, None, None, Some(table)) => {
            let store = source_store(from.as_ref(), store, (at, key), source)?;
            let column = column()?;
            let is_plain =
                |name: &str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.');
            if !is_plain(table.as_ref()) || !is_plain(&column) {
                let message =
                    "only letters, digits, _ and . are possible in the names of a table and a column; write a query";
                return Err(source.wrong(table, key, message));
            }
            Ok(custom::Source::Table { store, table: table.as_ref().clone(), column })
        }
        _ => Err(source.wrong(at, key, "write exactly one of `values`, `csv`, `query` and `table`")),
    }
}

fn source_store<T>(
    at: Option<&Text>,
    own: Option<Store>,
    (whole, key): (&toml::Spanned<T>, &str),
    source: &Source,
) -> Result<Store, ScenarioError> {
    let choices = [Store::Postgres, Store::Clickhouse].map(|store| (store.as_str(), store));
    match at {
        Some(at) => source.choice(at, key, &choices),
        None => own
            .filter(|own| choices.iter().any(|(_, store)| store == own))
            .ok_or_else(|| source.wrong(whole, key, "it names no store; add store = \"postgres\" or \"clickhouse\"")),
    }
}

fn expected(at: Option<&toml::Spanned<raw::Expect>>, key: &str, source: &Source) -> Result<Expected, ScenarioError> {
    let Some(at) = at else { return Ok(Expected::default()) };
    let raw = at.as_ref();
    if let (None, None) = (&raw.rows, &raw.value) {
        return Err(source.wrong(at, key, "it expects nothing; write `rows` or `value`, or remove it"));
    }
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
    let rows = raw.rows.as_ref().map(|at| source.unit(at, &format!("{key}.rows"), rows)).transpose()?;
    if rows == Some(Rows::Exactly(0)) && raw.value.is_some() {
        return Err(source.wrong(at, key, "an answer without a row has no value; remove `value`, or expect a row"));
    }
    Ok(Expected { rows, value: raw.value.as_ref().map(|at| at.as_ref().clone()) })
}
