//! Asks the questions of a scenario's own: each is prepared once against its store, and then asked by every loop with
//! connections of its own. It only reads: PostgreSQL in read-only transactions, ClickHouse with `readonly`, Elasticsearch by its
//! search endpoint, Redis by commands that it flags as reads. It never judges.
//!
//! # Layout
//! - `error`: why a question can't be asked
//! - `postgres`, `clickhouse`, `elasticsearch`, `redis`: preparing and asking, a file for each store
//! - `parameters`: the values of parameters, sampled once

mod clickhouse;
mod elasticsearch;
mod error;
mod parameters;
mod postgres;
mod redis;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;
use tokio::time::timeout;

use crate::question::custom::{Custom, CustomQuestion, Expected};
use crate::question::{Answer, Key, Store};
use crate::scenario::exact_duration;
use crate::target::QueryError;
use parameters::Parameters;

pub use error::CustomError;

/// Time in which the values of a question's parameters are sampled, and its store accepts it.
const PREPARED_WITHIN: Duration = Duration::from_mins(1);

/// The values of the parameters of one request, by name.
type Chosen<'a> = BTreeMap<&'a str, &'a str>;

/// The questions of a scenario's own, prepared.
#[derive(Debug, Default)]
pub struct Prepared(BTreeMap<Custom, PreparedQuestion>);

#[derive(Debug)]
struct PreparedQuestion {
    request: Request,
    parameters: Parameters,
    expected: Expected,
}

/// What is sent, apart from the values of parameters.
#[derive(Debug)]
enum Request {
    Postgres(postgres::Query),
    Clickhouse(clickhouse::Query),
    Elasticsearch(elasticsearch::Search),
    Redis(redis::Command),
}

impl PreparedQuestion {
    async fn new(question: &CustomQuestion, (stores, names): (&Stores, &Names)) -> Result<Self, CustomError> {
        let parameters = Parameters::sample(question, (stores, names)).await?;
        let request = match question.question.store() {
            Store::Postgres => {
                Request::Postgres(postgres::Query::prepare(question, &parameters, (stores, names)).await?)
            }
            Store::Clickhouse => {
                Request::Clickhouse(clickhouse::Query::prepare(question, &parameters, (stores, names)).await?)
            }
            Store::Elasticsearch => {
                Request::Elasticsearch(elasticsearch::Search::prepare(question, &parameters, (stores, names)).await?)
            }
            Store::Redis => Request::Redis(redis::Command::prepare(question, &parameters, stores).await?),
        };
        Ok(Self { request, parameters, expected: question.expected.clone() })
    }
}

impl Prepared {
    /// Prepares those of the questions that are asked: samples the values of their parameters, and lets their stores check
    /// them. Nothing is written. `preparing` is told each question before it is prepared.
    pub async fn new(
        questions: &[CustomQuestion],
        asked: &BTreeSet<Custom>,
        (stores, names): (&Stores, &Names),
        preparing: impl Fn(Custom),
    ) -> Result<Self, CustomError> {
        let mut prepared = BTreeMap::new();
        for question in questions.iter().filter(|question| asked.contains(&question.question)) {
            preparing(question.question);
            let ready = timeout(PREPARED_WITHIN, PreparedQuestion::new(question, (stores, names))).await;
            // A frozen store returns nothing, not even an error.
            let no_answer = |_| {
                CustomError::refused(
                    question,
                    format!("its store gives no answer in {}", exact_duration(PREPARED_WITHIN)),
                )
            };
            prepared.insert(question.question, ready.map_err(no_answer)??);
        }
        Ok(Self(prepared))
    }

    /// Compares an answer with the expected one. The error says what differs, without a value.
    pub(crate) fn compare(&self, question: Custom, key: &Key, answer: &Answer) -> Result<(), String> {
        let unprepared = || "the question was not prepared".to_owned();
        let PreparedQuestion { parameters, expected, .. } = self.0.get(&question).ok_or_else(unprepared)?;
        let Answer::Table { rows, first } = answer else { return Err("the answer is of another question".to_owned()) };
        expected.compare(*rows, first.as_deref(), &parameters.choose(key))
    }

    /// The databases of PostgreSQL that are asked.
    fn databases(&self) -> BTreeSet<&str> {
        let questions = self.0.values();
        questions
            .filter_map(|question| match &question.request {
                Request::Postgres(query) => Some(query.database()),
                _ => None,
            })
            .collect()
    }

    fn asks(&self, store: Store) -> bool {
        self.0.keys().any(|question| question.store() == store)
    }
}

/// Connections of one loop to the stores of prepared questions.
#[derive(Debug)]
pub(crate) struct Clients {
    postgres: postgres::Databases,
    clickhouse: clickhouse::Client,
    elasticsearch: Option<elasticsearch::Client>,
    redis: Option<redis::Client>,
}

impl Clients {
    /// Connects to each store that is asked, with up to that many connections to each database of PostgreSQL.
    pub(crate) async fn connect(
        prepared: &Prepared,
        (stores, names): (&Stores, &Names),
        postgres_connections: u32,
    ) -> Result<Self, QueryError> {
        Ok(Self {
            postgres: postgres::Databases::connect(stores, prepared.databases(), postgres_connections).await?,
            clickhouse: clickhouse::Client::new(stores, names),
            elasticsearch: prepared
                .asks(Store::Elasticsearch)
                .then(|| elasticsearch::Client::new(stores))
                .transpose()?,
            redis: if prepared.asks(Store::Redis) { Some(redis::Client::connect(stores).await?) } else { None },
        })
    }

    /// Sends a question with the values that a key chooses, and reads the reply.
    pub(crate) async fn ask(&self, prepared: &Prepared, question: Custom, key: &Key) -> Result<Answer, QueryError> {
        let unprepared =
            QueryError::Unreadable { store: question.store().as_str(), what: "a question that was not prepared" };
        let Some(PreparedQuestion { request, parameters, .. }) = prepared.0.get(&question) else {
            return Err(unprepared);
        };
        let values = parameters.choose(key);
        match request {
            Request::Postgres(query) => self.postgres.ask(query, &values).await,
            Request::Clickhouse(query) => self.clickhouse.ask(query, &values).await,
            Request::Elasticsearch(search) => match &self.elasticsearch {
                Some(client) => client.ask(search, &values).await,
                None => Err(unprepared),
            },
            Request::Redis(command) => match &self.redis {
                Some(client) => client.ask(command, &values).await,
                None => Err(unprepared),
            },
        }
    }
}
