//! The ledger of a load: which parts of which population the stores hold. It is a table of the namespace's PostgreSQL
//! database, and rows of PostgreSQL are recorded in the transaction that writes them. It never counts a record itself.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sluice_schemas::connect::{self, Role};
use sluice_schemas::names::Names;
use sluice_schemas::runs;
use sluice_schemas::sql::postgres::literal;
use sluice_schemas::stores::Stores;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use super::error::LoadError;

const TABLE: &str = "load_progress";

/// What the stores hold of one population.
#[derive(Debug)]
pub(super) struct Ledger {
    pool: PgPool,
    /// [`crate::plan::Digests::population`], with the version of Sluice that computed it.
    population: String,
    /// Completed steps, with their state.
    steps: BTreeMap<String, Option<serde_json::Value>>,
}

/// A range of records of one kind and tenant, by its first index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step<'a> {
    pub(super) kind: &'a str,
    pub(super) tenant: usize,
    pub(super) first: u64,
}

impl Step<'_> {
    fn key(self) -> String {
        format!("{}, tenant {}, from {}", self.kind, self.tenant, self.first)
    }
}

/// The population as the ledger names it.
fn versioned(digest: &str) -> String {
    format!("{digest} by {}", env!("CARGO_PKG_VERSION"))
}

/// Whether an earlier load of a run in this namespace recorded parts of the population. The names have the run's mark.
pub(super) async fn knows(stores: &Stores, names: &Names, digest: &str) -> Result<bool, LoadError> {
    let Some(label) = runs::label(names, TABLE) else { return Ok(false) };
    let mut admin = connect::postgres_admin(stores).await?;
    let exists = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)";
    if !sqlx::query_scalar(exists).bind(names.database()).fetch_one(&mut admin).await? {
        return Ok(false);
    }
    let mut database = connect::postgres_connection(stores, &names.database(), Role::Admin).await?;
    let comment = "SELECT obj_description(to_regclass($1), 'pg_class')";
    let comment: Option<String> = sqlx::query_scalar(comment).bind(TABLE).fetch_one(&mut database).await?;
    if comment != Some(label) {
        return Ok(false);
    }
    let known = format!("SELECT EXISTS (SELECT FROM {TABLE} WHERE population = $1)");
    Ok(sqlx::query_scalar(AssertSqlSafe(known)).bind(versioned(digest)).fetch_one(&mut database).await?)
}

impl Ledger {
    /// Opens the ledger, and creates it in a fresh namespace.
    pub(super) async fn open(stores: &Stores, names: &Names, digest: &str) -> Result<Self, LoadError> {
        let mut owner = connect::postgres_connection(stores, &names.database(), Role::Owner).await?;
        let label = runs::label(names, TABLE).unwrap_or_default();
        let create = format!(
            "BEGIN; CREATE TABLE IF NOT EXISTS {TABLE} (population text, step text, state jsonb, PRIMARY KEY (population, step)); \
             COMMENT ON TABLE {TABLE} IS {}; GRANT SELECT, INSERT, UPDATE ON {TABLE} TO {}; COMMIT",
            literal(&label),
            sluice_schemas::sql::postgres::identifier(&Role::Loader.login(stores).user)
        );
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut owner).await?;
        let pool = connect::postgres(stores, names, Role::Loader).await?;
        let (query, population) = (format!("SELECT step, state FROM {TABLE} WHERE population = $1"), versioned(digest));
        let steps: Vec<(String, Option<serde_json::Value>)> =
            sqlx::query_as(AssertSqlSafe(query)).bind(&population).fetch_all(&pool).await?;
        Ok(Self { pool, population, steps: steps.into_iter().collect() })
    }

    /// Whether nothing of the population is loaded.
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The connections of the load to PostgreSQL.
    pub(super) const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Whether the step is complete.
    pub(super) fn has(&self, step: Step<'_>) -> bool {
        self.steps.contains_key(&step.key())
    }

    /// The state that was last saved under a name.
    pub(super) fn state<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_value(self.steps.get(name)?.clone()?).ok()
    }

    /// Records a complete step, in the caller's transaction.
    pub(super) async fn record(&self, step: Step<'_>, transaction: &mut PgConnection) -> Result<(), LoadError> {
        self.write(&step.key(), None::<()>, transaction).await
    }

    /// Records a step that another store has completed.
    pub(super) async fn record_elsewhere(&self, step: Step<'_>) -> Result<(), LoadError> {
        self.record(step, &mut *self.pool.acquire().await?).await
    }

    /// Saves the state of another store's load.
    pub(super) async fn save(&self, name: &str, state: &impl Serialize) -> Result<(), LoadError> {
        self.write(name, Some(state), &mut *self.pool.acquire().await?).await
    }

    async fn write(
        &self,
        step: &str,
        state: Option<impl Serialize>,
        connection: &mut PgConnection,
    ) -> Result<(), LoadError> {
        let state = state.map(|state| Json(serde_json::to_value(state).unwrap_or_default()));
        let query = format!(
            "INSERT INTO {TABLE} (population, step, state) VALUES ($1, $2, $3) \
             ON CONFLICT (population, step) DO UPDATE SET state = excluded.state"
        );
        let query = sqlx::query(AssertSqlSafe(query)).bind(&self.population).bind(step).bind(state);
        query.execute(connection).await?;
        Ok(())
    }
}
