//! A small scenario in a separate namespace: loading, driving and accounting. Shared by the tests of loadgen.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sluice_ingest::Error;
use sluice_ingest::config::Settings;
use sluice_ingest::lane::summary::Summary;
use sluice_loadgen::account::{self, Account};
use sluice_loadgen::drive::{self, Driven, Phase, Progress};
use sluice_loadgen::load::{self, LoadError, Loaded, OnProgress};
use sluice_loadgen::plan::{Plan, Totals};
use sluice_loadgen::population::Population;
use sluice_loadgen::run_context::RunContext;
use sluice_loadgen::scenario::Scenario;
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;
use sluice_schemas::{Store, apply, drop_namespace};
use sluice_testkit::{Service, Stack, free_address, fresh_names};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a test waits for the next record to land.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// How many drives a stack that has just started may take until it answers steadily.
const MAX_WARM_UPS: usize = 10;
const STORES: [Store; 5] = [Store::Postgres, Store::Kafka, Store::ClickHouse, Store::Elasticsearch, Store::Redis];

const SCENARIO: &str = r#"
name = "small"

[seeds]
data = 11
keys = 3

[time]
start = 2026-11-16T00:00:00Z
span = "1 day"
replayed_in = "4 s"
warm_up = "1 s"
settle = "30 s"

[population]
tenants = 2
customers = 300
customers_per_campaign = 50
customers_per_agent = 50

[past]
communications = 600
span = "7 days"

[drive]
communications = 400

[probes]
lookup_by_id = "15/s"
lookup_by_email = "15/s"
lookup_cached = "15/s"
session = "15/s"
agent_state = "15/s"
agent_queue = "15/s"
rate_limit = "15/s"
cached_profiles = "15/s"
recent_search = "15/s"
metric_range = "15/s"
timeline = "15/s"
campaign_status = "15/s"
profile_contains = "15/s"
content_contains = "15/s"
search = "15/s"
dashboard_events = "6/s"
dashboard_agents = "6/s"
dashboard_interactions = "6/s"
dashboard_campaigns = "6/s"

[[slo]]
name = "search"
objective = "95 %"
within = "1 s"
questions = ["search"]

[[slo]]
name = "analytics"
objective = "95 %"
within = "3 s"
questions = ["dashboard_events", "dashboard_agents", "dashboard_interactions", "dashboard_campaigns"]
"#;

/// The small scenario.
pub(crate) fn scenario() -> Scenario {
    Scenario::parse(SCENARIO, "small.toml").unwrap()
}

/// A small scenario and the stores it runs on.
pub(crate) struct World {
    pub(crate) stores: Stores,
    pub(crate) names: Names,
    pub(crate) scenario: Scenario,
    pub(crate) plan: Arc<Plan>,
    _stack: Stack,
}

impl World {
    /// Creates a namespace with schemas applied.
    pub(crate) async fn applied() -> Self {
        Self::applied_with(|_| ()).await
    }

    /// Creates a namespace with schemas applied, for a changed scenario.
    pub(crate) async fn applied_with(change: impl FnOnce(&mut Scenario)) -> Self {
        let stack = Stack::up(env!("CARGO_BIN_EXE_sluice"), Service::DEFAULT).await;
        let names = fresh_names("load");
        let stores = stack.stores(&names);
        apply::apply(&stores, &names, &STORES).await.unwrap();
        let mut scenario = scenario();
        change(&mut scenario);
        let plan = Arc::new(Plan::new(&scenario, &Population::new(&scenario)));
        Self { stores, names, scenario, plan, _stack: stack }
    }

    /// Creates a namespace with schemas applied and the population loaded.
    pub(crate) async fn loaded() -> (Self, Loaded) {
        Self::loaded_with(|_| ()).await
    }

    /// Creates a namespace with schemas applied and the population of a changed scenario loaded.
    pub(crate) async fn loaded_with(change: impl FnOnce(&mut Scenario)) -> (Self, Loaded) {
        let world = Self::applied_with(change).await;
        let loaded = world.load_into(&world.stores, &CancellationToken::new(), &|_, _| ()).await;
        (world, loaded.unwrap())
    }

    /// Loads the population into `stores`, which may differ from the world's.
    pub(crate) async fn load_into(
        &self,
        stores: &Stores,
        stop: &CancellationToken,
        progress: &OnProgress<'_>,
    ) -> Result<Loaded, LoadError> {
        let (population, digest) = (self.plan.population(), self.plan.digests().population);
        Box::pin(load::load((stores, &self.names), &self.scenario, (population, &digest), stop, progress)).await
    }

    /// Drives until every answer comes within a second: stores that have just started stall by themselves.
    pub(crate) async fn warm_up(&self) {
        let mut longest = Duration::MAX;
        for _ in 0..MAX_WARM_UPS {
            let driven = self.drive_on(&self.stores, &CancellationToken::new()).await;
            let latencies = driven.measured.questions.iter().filter_map(|recorder| recorder.measured().latency.max());
            longest = latencies.max().unwrap();
            if longest < Duration::from_secs(1) {
                return;
            }
        }
        panic!("an answer took {longest:?} in the last of {MAX_WARM_UPS} drives");
    }

    /// Drives the plan on `stores`, which may differ from the world's.
    pub(crate) async fn drive_on(&self, stores: &Stores, stop: &CancellationToken) -> Driven {
        let (progress, _) = watch::channel(Arc::<Progress>::default());
        let context = RunContext::new(stores, &self.names, &self.scenario, &self.plan);
        drive::drive(context, stop, &progress).await.unwrap()
    }

    /// Drives the plan on `stores`, which are disrupted from `begin` of the drive on, until they are resumed from `end` on.
    pub(crate) async fn drive_disrupted(
        &self,
        stores: &Stores,
        (begin, disrupt): (Duration, &impl AsyncFn()),
        (end, resume): (Duration, &impl AsyncFn()),
    ) -> Driven {
        let (progress, mut seen) = watch::channel(Arc::<Progress>::default());
        let context = RunContext::new(stores, &self.names, &self.scenario, &self.plan);
        let stop = CancellationToken::new();
        let is_at = |at: Duration| move |now: &Arc<Progress>| now.phase == Phase::Driving && now.elapsed >= at;
        let disrupting = async {
            seen.wait_for(is_at(begin)).await.unwrap();
            disrupt().await;
            seen.wait_for(is_at(end)).await.unwrap();
            resume().await;
        };
        let (driven, ()) = tokio::join!(drive::drive(context, &stop, &progress), disrupting);
        driven.unwrap()
    }

    /// Drives the plan while an ingest worker runs, and waits until everything has landed.
    pub(crate) async fn drive_and_wait(&self) -> Driven {
        let worker = Worker::start(self);
        let driven = self.drive_on(&self.stores, &CancellationToken::new()).await;
        self.wait_until_landed(&driven.acknowledged).await;
        worker.stop().await;
        driven
    }

    pub(crate) async fn wait_until_landed(&self, acknowledged: &[Totals]) {
        let stop = CancellationToken::new();
        let settled =
            account::settle(self.context(), (acknowledged, 0), (Instant::now(), IDLE_LIMIT), &stop, &|_, _| ()).await;
        let settled = settled.unwrap();
        assert!(settled.is_complete(), "{settled:?}");
    }

    pub(crate) async fn account(&self, acknowledged: &[Totals]) -> Account {
        account::balance(self.context(), acknowledged).await
    }

    pub(crate) fn context(&self) -> RunContext<'_> {
        RunContext::new(&self.stores, &self.names, &self.scenario, &self.plan)
    }

    pub(crate) async fn drop_namespace(self) {
        drop_namespace(&self.stores, &self.names, &STORES).await.unwrap();
    }
}

/// An ingest worker in this process, with small batches.
pub(crate) struct Worker {
    shutdown: CancellationToken,
    task: JoinHandle<Result<Summary, Error>>,
}

impl Worker {
    pub(crate) fn start(world: &World) -> Self {
        Self::start_on(&world.stores, &world.names)
    }

    pub(crate) fn start_on(stores: &Stores, names: &Names) -> Self {
        let mut settings = Settings { listen: free_address(), ..Settings::default() };
        for pipeline in settings.pipelines.values_mut() {
            pipeline.max_age = Duration::from_millis(500);
        }
        let shutdown = CancellationToken::new();
        let run = sluice_ingest::run(settings, stores.clone(), names.clone(), shutdown.clone());
        Self { shutdown, task: tokio::spawn(run) }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}
