//! Checks that the stores of an existing deployment have what a namespace's questions are asked about, before the first one
//! is asked. It reports only what is missing: a store that can't be reached says so when it is asked. It changes nothing.

use std::collections::BTreeSet;

use futures::future::join_all;
use serde_json::Value;
use sluice_schemas::connect::{self, CONNECT_TIMEOUT, Role};
use sluice_schemas::elastic::{Elastic, ElasticError};
use sluice_schemas::names::{Names, search_index};
use sluice_schemas::search::index_names;
use sluice_schemas::stores::Stores;
use sqlx::Connection as _;
use tokio::time::timeout;

use crate::question::custom::{CustomQuestion, Source};
use crate::question::{Question, Store};
use crate::scenario::Scenario;
use crate::target::clickhouse::limited;
use crate::target::elasticsearch::communications;

/// ClickHouse's name of that error, which its messages contain.
const UNKNOWN_DATABASE: &str = "UNKNOWN_DATABASE";
/// Elasticsearch's status of a search in an index that does not exist.
const NOT_FOUND: u16 = 404;
/// What RediSearch says of an index that does not exist, in its old and its new versions.
const NO_INDEX: [&str; 2] = ["no such index", "index not found"];

/// The stores do not have the namespace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "find {} in the stores: {}; name the namespace of the deployment with --namespace or `stores.namespace`, or create it with \
     `sluice schemas apply`",
    described(.namespace), .missing.join(", ")
)]
pub struct MissingNamespace {
    /// The namespace; empty for the platform's own.
    pub namespace: String,
    /// What each store lacks, as in `ClickHouse has no database sluice`.
    pub missing: Vec<String>,
}

fn described(name: &str) -> String {
    if name.is_empty() { "the platform's own namespace".to_owned() } else { format!("namespace \"{name}\"") }
}

/// What belongs to a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Object {
    Postgres,
    Clickhouse,
    /// The indices of communications.
    Elasticsearch,
    /// A search index of the cache.
    Redis(&'static str),
}

/// Checks the stores, with the names in effect of what is asked.
pub(super) async fn check(stores: &Stores, names: &Names, scenario: &Scenario) -> Result<(), MissingNamespace> {
    let checks = needed(scenario).into_iter().map(|object| async move {
        // What does not answer in time is not known to be missing.
        timeout(CONNECT_TIMEOUT, Box::pin(object.missing(stores, names))).await.ok().flatten()
    });
    let missing: Vec<String> = join_all(checks).await.into_iter().flatten().collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(MissingNamespace { namespace: names.namespace().to_owned(), missing })
}

/// What the questions of a scenario need of the namespace.
fn needed(scenario: &Scenario) -> BTreeSet<Object> {
    let asked = scenario.questions_asked();
    let own = scenario.questions.iter().filter(|own| asked.contains(&Question::Custom(own.question)));
    asked.iter().filter_map(|question| needed_by(*question)).chain(own.flat_map(needed_by_own)).collect()
}

/// What one of Sluice's own questions needs.
fn needed_by(question: Question) -> Option<Object> {
    match question {
        Question::Custom(_) => None,
        Question::CachedProfiles => Some(Object::Redis(search_index::CUSTOMERS)),
        Question::RecentSearch => Some(Object::Redis(search_index::COMMUNICATIONS)),
        other => match other.store() {
            Store::Postgres => Some(Object::Postgres),
            Store::Clickhouse => Some(Object::Clickhouse),
            Store::Elasticsearch => Some(Object::Elasticsearch),
            Store::Redis => None,
        },
    }
}

/// What a question of the scenario's own needs. Its index and its keys are not the schema's: asking it once tells whether they
/// exist.
fn needed_by_own(question: &CustomQuestion) -> Vec<Object> {
    let own = question.question.store();
    let sampled = question.parameters.values().filter_map(|source| match source {
        Source::Query { store, .. } | Source::Table { store, .. } => Some(*store),
        Source::Values(_) | Source::Csv { .. } => None,
    });
    let stores = sampled.chain([own]).filter(|store| question.database.is_none() || *store != own);
    let database = |store| match store {
        Store::Postgres => Some(Object::Postgres),
        Store::Clickhouse => Some(Object::Clickhouse),
        Store::Elasticsearch | Store::Redis => None,
    };
    stores.filter_map(database).collect()
}

impl Object {
    /// What the store lacks; `None` if it has the object, or does not say.
    async fn missing(self, stores: &Stores, names: &Names) -> Option<String> {
        match self {
            Self::Postgres => {
                match connect::postgres_connection(stores, &names.database(), Role::Reader).await {
                    Ok(connection) => {
                        // Its answer is of no interest.
                        connection.close().await.ok();
                        None
                    }
                    Err(error) => {
                        error.lacks_database.then(|| format!("PostgreSQL has no database {}", names.database()))
                    }
                }
            }
            Self::Clickhouse => {
                let asked = limited(connect::clickhouse(stores, names)).query("SELECT 1").fetch_one::<u8>().await;
                let is_missing = asked.is_err_and(|error| error.to_string().contains(UNKNOWN_DATABASE));
                is_missing.then(|| format!("ClickHouse has no database {}", names.database()))
            }
            Self::Elasticsearch => {
                let indices = communications(names);
                let path = format!("/{indices}/_search?size=0&allow_no_indices=false");
                let found = Elastic::new(stores).ok()?.search::<Value>(&path, "{}".to_owned()).await;
                let is_missing =
                    matches!(found, Err(ElasticError::Refused { status, .. }) if status.as_u16() == NOT_FOUND);
                is_missing.then(|| format!("Elasticsearch has no index {indices}"))
            }
            Self::Redis(index) => {
                let full_names = index_names(stores, names, index).await.ok()?;
                let mut cache = connect::redis_cache(stores).await.ok()?;
                let mut search = redis::cmd("FT.SEARCH");
                search.arg(full_names.first()?).arg("*").arg(&["LIMIT", "0", "0"]);
                let error = search.query_async::<redis::Value>(&mut cache).await.err()?.to_string().to_lowercase();
                let is_missing = NO_INDEX.iter().any(|text| error.contains(text));
                is_missing.then(|| format!("Redis has no search index {}", names.key(index)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Access;

    const HEAD: &str = "name = \"x\"\n[time]\nreplayed_in = \"60 s\"\n[[slo]]\nname = \"a\"\nobjective = \"95 %\"\nwithin = \"1 s\"\nquestions = [\"q\"]\n[probes]\nq = \"1/s\"\n[question.q]\n";

    fn needed_for(question: &str) -> BTreeSet<Object> {
        needed(&Scenario::parse_with(&format!("{HEAD}{question}"), "x.toml", &[], Some(Access::ReadOnly)).unwrap())
    }

    #[test]
    fn the_databases_that_are_asked_and_sampled_must_exist() {
        assert_eq!(needed_for("store = \"postgres\"\ntext = \"SELECT 1\""), BTreeSet::from([Object::Postgres]));
        let sampled = "store = \"postgres\"\ntext = \"SELECT $id\"\nparameters = { id = { store = \"clickhouse\", table = \"t\", column = \"id\" } }";
        assert_eq!(needed_for(sampled), BTreeSet::from([Object::Postgres, Object::Clickhouse]));
        assert_eq!(needed_for("store = \"clickhouse\"\ndatabase = \"erp\"\ntext = \"SELECT 1\""), BTreeSet::new());
        assert_eq!(needed_for("store = \"redis\"\ntext = \"GET a\""), BTreeSet::new());
    }

    #[test]
    fn sluices_own_questions_need_the_objects_of_their_stores() {
        let smoke = Scenario::parse(include_str!("../../../scenarios/smoke.toml"), "smoke.toml").unwrap();
        let all = [Object::Postgres, Object::Clickhouse, Object::Elasticsearch];
        assert!(BTreeSet::from(all).is_subset(&needed(&smoke)), "{:?}", needed(&smoke));
    }

    #[test]
    fn the_error_names_the_stores_and_the_option() {
        let missing = ["PostgreSQL has no database sluice", "ClickHouse has no database sluice"].map(str::to_owned);
        let error = MissingNamespace { namespace: String::new(), missing: missing.into() };
        insta::assert_snapshot!(error, @"find the platform's own namespace in the stores: PostgreSQL has no database sluice, ClickHouse has no database sluice; name the namespace of the deployment with --namespace or `stores.namespace`, or create it with `sluice schemas apply`");
        let error = MissingNamespace {
            namespace: "mine".to_owned(),
            missing: vec!["Elasticsearch has no index mine-communications-*".to_owned()],
        };
        insta::assert_snapshot!(error, @r#"find namespace "mine" in the stores: Elasticsearch has no index mine-communications-*; name the namespace of the deployment with --namespace or `stores.namespace`, or create it with `sluice schemas apply`"#);
    }
}
