//! A session: the stores, a namespace of its own, the scenario's plan and the loaded population, prepared once for any
//! number of trials. It never drives and never judges. `existing` checks a deployment that is only read.

mod existing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{Months, NaiveDate, TimeDelta, Utc};
use sluice_schemas::apply;
use sluice_schemas::concurrency::join;
use sluice_schemas::names::Names;
use sluice_schemas::runs;
use sluice_schemas::stores::Stores;
use sluice_schemas::versions::{self, Outdated};
use sluice_schemas::{Reservation, ReserveError, SchemaError, Store, reserve};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::custom::{CustomError, Prepared};
use crate::load::{self, LoadError, Records};
use crate::number::separated;
use crate::observer::Observer;
use crate::plan::{Digests, Plan, Shard};
use crate::population::Population;
use crate::question::Question;
use crate::run_context::RunContext;
use crate::scenario::{Access, Scenario};
use crate::shards::{Agreed, Meeting, ShardsError};

pub use existing::MissingNamespace;

/// Years after which ClickHouse deletes rows of the tables that the load fills; `clickhouse/*.sql` say so.
const RETENTION_YEARS: u32 = 7;

/// Prepared stores, and what is known about them.
#[derive(Debug)]
pub struct Session {
    stores: Stores,
    names: Names,
    scenario: Scenario,
    plan: Arc<Plan>,
    digests: Digests,
    versions: BTreeMap<String, String>,
    own: Arc<Prepared>,
    access: Access,
    /// Held by the first shard of a run that writes.
    reservation: Option<Reservation>,
    shards: Option<Meeting>,
    /// When what expires had been loaded.
    opened: Instant,
}

/// Why a session could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Another run uses the namespace, or Kafka could not be reached.
    #[error(transparent)]
    Reserve(#[from] ReserveError),
    /// The namespace can't be used, or a store failed.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A deployment that is only read lacks the namespace.
    #[error(transparent)]
    Missing(#[from] MissingNamespace),
    /// A question of the scenario's own can't be asked.
    #[error(transparent)]
    Own(#[from] CustomError),
    /// The scenario does not fit the access; see [`Scenario::fits`].
    #[error("open the session: the scenario does not fit a run with this access; read it for the access")]
    Access,
    /// The population is older than what ClickHouse keeps.
    #[error(
        "load the population: its past begins on {0}, and ClickHouse deletes what is older than {RETENTION_YEARS} years; move \
         `time.start`, or shorten `past.span`"
    )]
    TooOld(NaiveDate),
    /// A store is older than the oldest release that Sluice supports.
    #[error("use {0}; upgrade it")]
    Outdated(Outdated),
    /// The population could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The shards of the run do not find each other.
    #[error(transparent)]
    Shards(#[from] ShardsError),
    /// The session was stopped.
    #[error("open the session: stopped")]
    Stopped,
}

/// The versions of the stores, if all that tell theirs are supported.
async fn supported(stores: &Stores, names: &Names) -> Result<BTreeMap<String, String>, SessionError> {
    let versions = Box::pin(versions::versions(stores, names)).await;
    versions::outdated(&versions).map_or(Ok(versions), |outdated| Err(SessionError::Outdated(outdated)))
}

/// A plan that is computed on other threads while the stores start.
#[derive(Debug)]
pub struct Planning {
    scenario: Scenario,
    shard: Shard,
    planned: JoinHandle<(Arc<Plan>, Digests)>,
    reload: bool,
}

impl Planning {
    /// Starts to plan.
    pub fn start(scenario: &Scenario) -> Self {
        let planned = tokio::task::spawn_blocking({
            let scenario = scenario.clone();
            move || {
                let plan = Plan::new(&scenario, &Population::new(&scenario));
                let digests = plan.digests();
                (Arc::new(plan), digests)
            }
        });
        Self { scenario: scenario.clone(), shard: Shard::WHOLE, planned, reload: false }
    }

    /// Loads the population even if the stores hold it.
    #[must_use]
    pub fn reloading(self, reload: bool) -> Self {
        Self { reload, ..self }
    }

    /// The same plan, of which only a shard is driven.
    #[must_use]
    pub fn of_shard(self, shard: Shard) -> Self {
        Self { shard, ..self }
    }
}

fn check(scenario: &Scenario, access: Access) -> Result<(), SessionError> {
    if scenario.fits(access) { Ok(()) } else { Err(SessionError::Access) }
}

/// Checks, before a store starts, that the stores keep the whole population for a day longer than the run.
///
/// # Errors
/// [`SessionError::TooOld`].
pub fn check_age(scenario: &Scenario) -> Result<(), SessionError> {
    let start = scenario.start - scenario.history_span;
    let kept_until = start.checked_add_months(Months::new(RETENTION_YEARS * 12));
    let run = scenario.warm_up + scenario.duration + scenario.settle;
    let is_kept = kept_until.is_none_or(|until| until > Utc::now() + TimeDelta::days(1) + run);
    if is_kept { Ok(()) } else { Err(SessionError::TooOld(start.date_naive())) }
}

impl Session {
    /// Reserves the namespace, drops what earlier runs created there, applies the schemas and loads the population. A
    /// population that the stores hold already, or a part of it, is kept, and only what is missing is loaded.
    /// `groups` are the consumer groups that may exist in the namespace. A namespace that was not created for runs is
    /// refused. A shard other than the first one changes nothing: it waits until the first has done all that.
    pub async fn open(
        planning: Planning,
        (stores, names): (&Stores, &Names),
        groups: &[String],
        observer: &dyn Observer,
        stop: &CancellationToken,
    ) -> Result<Self, SessionError> {
        let opening = async {
            check(&planning.scenario, Access::ReadWrite)?;
            if !planning.shard.is_first() {
                return Box::pin(Self::join(planning, (stores, names), observer)).await;
            }
            observer.step_started("applying the schemas");
            let versions = supported(stores, names).await?;
            let reservation = reserve(stores, names).await?;
            let (plan, digests) = join(planning.planned).await;
            let is_kept = !planning.reload && is_known(stores, names, &digests.population).await?;
            let keep: &[Store] = if is_kept { &load::KEPT } else { &[] };
            let names = reset_namespace((stores, names), keep, groups, observer).await?;
            let (stores, scenario) = (stores.clone(), planning.scenario);
            let (reservation, shards) = (Some(reservation), None);
            let opened = Instant::now();
            let (own, access) = (Arc::default(), Access::ReadWrite);
            let mut session =
                Self { stores, names, scenario, plan, digests, versions, own, access, reservation, shards, opened };
            if !planning.shard.is_whole() {
                let agreed = Agreed::new(&session.scenario, &session.digests.plan, planning.shard.of());
                let meeting = Meeting::open(&session.stores, &session.names, agreed, planning.shard).await?;
                session.shards = Some(meeting);
            }
            session.load(is_kept, observer, stop).await?;
            // What expires was loaded last.
            session.opened = Instant::now();
            session.prepare(observer).await?;
            if let Some(shards) = &session.shards {
                shards.prepared().await?;
            }
            Ok(session)
        };
        let opened = stop.run_until_cancelled(Box::pin(opening)).await;
        // Work that has the token may fail with its own error when it is stopped.
        opened.filter(|opened| opened.is_ok() || !stop.is_cancelled()).unwrap_or(Err(SessionError::Stopped))
    }

    /// Joins the session that the first shard has opened.
    async fn join(
        planning: Planning,
        (stores, names): (&Stores, &Names),
        observer: &dyn Observer,
    ) -> Result<Self, SessionError> {
        observer.step_started(&format!("joining the run as shard {}", planning.shard));
        let (plan, digests) = join(planning.planned).await;
        let waiting = |why: &str| observer.step_advanced(why);
        let agreed = Agreed::new(&planning.scenario, &digests.plan, planning.shard.of());
        let (meeting, names) = Meeting::join((stores, names), &agreed, planning.shard, waiting).await?;
        let versions = supported(stores, &names).await?;
        observer.step_finished(&format!(
            "joined the run in namespace {} as shard {}",
            names.namespace(),
            planning.shard
        ));
        let (stores, scenario, shards) = (stores.clone(), planning.scenario, Some(meeting));
        let (own, access, reservation, opened) = (Arc::default(), Access::ReadWrite, None, Instant::now());
        let mut session =
            Self { stores, names, scenario, plan, digests, versions, own, access, reservation, shards, opened };
        session.prepare(observer).await?;
        Ok(session)
    }

    /// Prepares the questions of an existing deployment, and changes nothing there: no schema, no record, no marker.
    pub async fn attach(
        planning: Planning,
        (stores, names): (&Stores, &Names),
        observer: &dyn Observer,
        stop: &CancellationToken,
    ) -> Result<Self, SessionError> {
        let opening = async {
            observer.step_started("preparing the questions");
            check(&planning.scenario, Access::ReadOnly)?;
            let (plan, digests) = join(planning.planned).await;
            let names = names_to_read(stores, names, &planning.scenario).await?;
            existing::check(stores, &names, &planning.scenario).await?;
            let (stores, scenario) = (stores.clone(), planning.scenario);
            let (own, access) = (Arc::default(), Access::ReadOnly);
            let versions = supported(&stores, &names).await?;
            let (reservation, shards, opened) = (None, None, Instant::now());
            let mut session =
                Self { stores, names, scenario, plan, digests, versions, own, access, reservation, shards, opened };
            session.prepare(observer).await?;
            observer.step_finished("the stores accept every question; they are only read");
            Ok(session)
        };
        stop.run_until_cancelled(Box::pin(opening)).await.unwrap_or(Err(SessionError::Stopped))
    }

    /// Prepares the questions of the scenario's own.
    async fn prepare(&mut self, observer: &dyn Observer) -> Result<(), SessionError> {
        let own = |question| if let Question::Custom(own) = question { Some(own) } else { None };
        let asked = self.scenario.questions_asked().into_iter().filter_map(own).collect();
        let preparing = |own| observer.step_advanced(&format!("preparing question {}", Question::Custom(own)));
        let stores = (&self.stores, &self.names);
        self.own = Arc::new(Prepared::new(&self.scenario.questions, &asked, stores, preparing).await?);
        Ok(())
    }

    async fn load(&self, is_kept: bool, observer: &dyn Observer, stop: &CancellationToken) -> Result<(), SessionError> {
        observer.step_started("loading the population and its past");
        let population = self.plan.population();
        observer.load_started(&load::expected_records(population));
        let loaded = |kind: &str, records| match records {
            Records::Loaded(more) => observer.loaded(kind, more),
            Records::Kept(count) => observer.kept(kind, count),
        };
        let to = (&self.stores, &self.names);
        let loading = load::load(to, &self.scenario, (population, &self.digests.population), stop, &loaded);
        let loaded = Box::pin(loading).await?;
        let (records, seconds) = (separated(loaded.records.values().sum()), loaded.took.as_secs_f64());
        let kept = if is_kept { "; the others were there already" } else { "" };
        observer.step_finished(&format!("{records} records loaded in {seconds:.1} s{kept}"));
        Ok(())
    }

    /// Removes what earlier trials wrote to PostgreSQL, ClickHouse and Kafka, so that the next one finds what the first one found. All of it must
    /// have landed.
    ///
    /// # Errors
    /// A store failed, or `stop`.
    pub async fn restore(&self, stop: &CancellationToken) -> Result<(), LoadError> {
        let known = (self.plan.population(), self.digests.population.as_str());
        load::restore((&self.stores, &self.names), &self.scenario, known, stop).await
    }

    /// The names in the session's namespace.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Whether what the load caches for the scenario's questions lasts for a later trial of `more`, from now on. It is not loaded
    /// again.
    pub fn outlasts(&self, more: Duration) -> bool {
        let asked = self.scenario.questions_asked().into_iter();
        // In a later trial, it expects no customer to be cached still.
        let strict = asked.filter(|question| *question != Question::CachedProfiles);
        let lasting = strict.filter_map(Question::cached_for).min();
        lasting.is_none_or(|lasting| self.opened.elapsed() + more < lasting / 4 * 3)
    }

    /// Whether another run has reserved the namespace since.
    pub fn is_taken(&self) -> bool {
        self.reservation.as_ref().is_some_and(Reservation::is_lost)
    }

    /// The scenario.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// [`Digests::plan`].
    pub fn digest(&self) -> &str {
        &self.digests.plan
    }

    /// The version of each store that tells it, by name of the store.
    pub fn versions(&self) -> &BTreeMap<String, String> {
        &self.versions
    }

    /// The session as the stages of a trial see it.
    pub fn context(&self) -> RunContext<'_> {
        let Self { stores, names, scenario, plan, own, access, shards, opened, .. } = self;
        let (shards, access, loaded) = (shards.as_ref(), *access, *opened);
        RunContext { stores, names, scenario, plan, shards, own, access, loaded }
    }

    /// Frees the namespace. What was created stays until the next session of the namespace.
    pub async fn close(self) {
        if let Some(shards) = self.shards {
            shards.close().await;
        }
        if let Some(reservation) = self.reservation {
            reservation.release().await;
        }
    }
}

/// The names in effect of what is asked. Only names of Elasticsearch and Redis have a run's mark, and these two stores say it
/// to anyone who may read; PostgreSQL's marker takes the administrator. Commands of the scenario's own name their keys in full.
async fn names_to_read(stores: &Stores, names: &Names, scenario: &Scenario) -> Result<Names, SessionError> {
    let is_marked = |question: &Question| match question.store().into() {
        Store::Elasticsearch => true,
        Store::Redis => !matches!(question, Question::Custom(_)),
        _ => false,
    };
    let asked = scenario.questions_asked().into_iter().filter(is_marked);
    let marked: BTreeSet<Store> = asked.map(|question| question.store().into()).collect();
    let marked: Vec<Store> = marked.into_iter().collect();
    Ok(runs::resolve_names(stores, names, &marked).await?)
}

async fn is_known(stores: &Stores, names: &Names, digest: &str) -> Result<bool, SessionError> {
    // The ledger is in PostgreSQL; the claim compares the marks of all stores.
    let marked = runs::resolve_names(stores, names, &[Store::Postgres]).await?;
    Ok(load::is_known(stores, &marked, digest).await?)
}

async fn reset_namespace(
    (stores, names): (&Stores, &Names),
    keep: &[Store],
    groups: &[String],
    observer: &dyn Observer,
) -> Result<Names, SessionError> {
    let names = runs::claim(stores, names, Store::ALL, keep, groups).await?;
    let applied = apply::apply(stores, &names, Store::ALL).await?;
    observer.step_finished(&format!("{} schema objects applied in namespace {}", applied.len(), names.namespace()));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_past_that_clickhouse_would_delete_is_refused() {
        let smoke = Scenario::parse(include_str!("../../scenarios/smoke.toml"), "smoke.toml").unwrap();
        let started = |days: i64| check_age(&Scenario { start: Utc::now() - TimeDelta::days(days), ..smoke.clone() });
        assert!(started(0).is_ok() && started(6 * 365).is_ok());
        let error = started(7 * 366).unwrap_err().to_string();
        assert!(error.contains("move `time.start`, or shorten `past.span`"), "{error}");
    }
}
