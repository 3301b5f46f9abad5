//! A trial: one drive, the wait until everything has landed, the account, and the findings. A session has any number of
//! them in turn, each with a number that keeps its records apart from those of the others. It never
//! starts or stops a process; the ingest worker of the namespace is its caller's.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sluice_schemas::concurrency::blocking;
use sluice_schemas::connect;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::account::{self, Account, AccountError, Settled};
use crate::drive::{self, DriveError, Driven, Progress};
use crate::load::{self, LoadError};
use crate::number::separated;
use crate::observer::Observer;
use crate::plan::{Plan, Totals};
use crate::run_context::RunContext;
use crate::scenario::Scenario;
use crate::session::Session;
use crate::verdict::{self, Findings};

/// Time-out of the check of a store that neither a question nor the account uses.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a trial has no result. A failure of a store is a result, not an error.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The drive could not run.
    #[error(transparent)]
    Drive(#[from] DriveError),
    /// The dead letters of earlier trials could not be counted.
    #[error("count the dead letters of earlier trials: {0}")]
    Letters(AccountError),
    /// PostgreSQL has no partitions for the simulated time of the trial.
    #[error("prepare the simulated time of the trial: {0}")]
    Partitions(LoadError),
    /// What earlier trials wrote could not be removed.
    #[error("remove what earlier trials wrote: {0}")]
    Restore(LoadError),
    /// The population has become too old.
    #[error(
        "continue the search: what the load cached for the scenario's questions expires before the next step ends, and their \
         answers would be wrong; choose a shorter --hold and --confirm, or fewer parts with --of"
    )]
    Expires,
    /// Records of an earlier trial never landed.
    #[error(
        "continue the search: records of the last step neither landed nor were dead-lettered, and the next one would find them; \
         the log of the ingest worker says why"
    )]
    Unsettled,
    /// The ingest worker no longer runs, as the one who started it says.
    #[error("{0}")]
    Worker(String),
    /// The trial was stopped.
    #[error("finish the trial: stopped")]
    Stopped,
}

/// A running trial.
#[derive(Debug)]
pub struct Trial<'a> {
    session: &'a Session,
    scenario: Scenario,
    plan: Arc<Plan>,
    observer: &'a dyn Observer,
    stop: &'a CancellationToken,
    /// Dead letters of earlier trials.
    letters_before: u64,
    failures: Vec<String>,
    /// What says that communications were never written; the generator may be at fault.
    unwritten: Vec<String>,
    /// What an interruption after the drive kept from ending.
    interrupted: Option<&'static str>,
    /// What was acknowledged to all shards; `None` if this is the only one.
    all_acknowledged: Option<Vec<Totals>>,
}

impl<'a> Trial<'a> {
    /// The first trial of a session. `stop` ends it without a result.
    pub fn new(session: &'a Session, observer: &'a dyn Observer, stop: &'a CancellationToken) -> Self {
        let (scenario, plan) = (session.scenario().clone(), Arc::clone(session.context().plan));
        Self {
            session,
            scenario,
            plan,
            observer,
            stop,
            letters_before: 0,
            failures: Vec::new(),
            unwritten: Vec::new(),
            interrupted: None,
            all_acknowledged: None,
        }
    }

    /// Trial `number` of a session; the first one is number 0. It writes records of its own, asks about other keys, and its
    /// account contains only its records. Everything that earlier trials wrote must have landed or been dead-lettered.
    /// `scenario` is that of the session, at any rate.
    pub async fn numbered(
        number: u32,
        scenario: Scenario,
        session: &'a Session,
        observer: &'a dyn Observer,
        stop: &'a CancellationToken,
    ) -> Result<Self, TrialError> {
        if number == 0 && scenario == *session.scenario() {
            return Ok(Self::new(session, observer, stop));
        }
        let first = Arc::clone(session.context().plan);
        let (plan, scenario) = blocking(move || (Arc::new(first.of_trial(number, &scenario)), scenario)).await;
        let mut trial = Self { scenario, plan, ..Self::new(session, observer, stop) };
        let RunContext { stores, names, .. } = trial.context();
        load::ensure_partitions(stores, names, trial.plan.population()).await.map_err(TrialError::Partitions)?;
        let counted = account::count_letters(trial.context()).await;
        trial.letters_before = counted.map_err(TrialError::Letters)?;
        Ok(trial)
    }

    /// The plan of the trial.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The scenario of the trial, at its rate.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    fn context(&self) -> RunContext<'_> {
        RunContext { scenario: &self.scenario, plan: &self.plan, ..self.session.context() }
    }

    /// Adds a failure that no latency outweighs, such as an ingest worker that died. Each is kept once.
    pub fn fail(&mut self, failure: String) {
        self.failures.push(failure);
    }

    /// Notes that the trial was interrupted after its drive, `doing` what. Its measurements are whole, but without an account they
    /// prove nothing: the findings are INVALID.
    pub fn interrupt(&mut self, doing: &'static str) {
        self.interrupted.get_or_insert(doing);
    }

    /// What the trial did when it was interrupted after its drive.
    pub fn interrupted(&self) -> Option<&'static str> {
        self.interrupted
    }

    /// Whether anything failed so far.
    pub fn has_failed(&self) -> bool {
        !self.failures.is_empty() || !self.unwritten.is_empty()
    }

    /// Drives the plan. A store's failures are measured; an error means that the drive itself failed.
    pub async fn drive(&mut self) -> Result<Driven, TrialError> {
        let (sender, mut receiver) = watch::channel(Arc::<Progress>::default());
        self.observer.drive_started();
        // A shard that is left alone ends its drive, before another run uses the namespace.
        let (stop, lost) = (self.stop.child_token(), OnceLock::new());
        let watching = async {
            if let Some(shards) = self.session.context().shards.filter(|shards| !shards.shard().is_first()) {
                lost.set(shards.wait_until_gone().await).ok();
                stop.cancel();
            }
            std::future::pending::<()>().await;
        };
        let driving = async {
            let driven = tokio::select! {
                driven = Box::pin(drive::drive(self.context(), &stop, &sender)) => driven,
                () = watching => unreachable!("it never ends"),
            };
            drop(sender);
            driven
        };
        let observing = async {
            while receiver.changed().await.is_ok() {
                self.observer.driving(&receiver.borrow_and_update().clone());
            }
        };
        let (driven, ()) = tokio::join!(driving, observing);
        if let Some(lost) = lost.into_inner() {
            return Err(DriveError::Shards(lost).into());
        }
        let driven = match driven {
            Ok(driven) if driven.stopped => return Err(TrialError::Stopped),
            Err(DriveError::Stopped) => return Err(TrialError::Stopped),
            driven => driven?,
        };
        self.failures.extend(driven.lost.unacknowledged.clone());
        self.unwritten.extend(driven.lost.uncommitted.clone());
        self.observer.step_finished(&describe(&driven));
        Ok(driven)
    }

    /// Tells the other shards that the drive is over. The first shard waits for them, since it settles and accounts for all; a
    /// shard that does not finish is a failure of the trial.
    pub async fn gather(&mut self, driven: &Driven) -> Result<(), TrialError> {
        let Some(shards) = self.session.context().shards else { return Ok(()) };
        self.observer.step_started("waiting for the other shards");
        let gathering = async {
            shards.finish(&driven.acknowledged).await?;
            if shards.shard().is_first() { shards.gather().await.map(Some) } else { Ok(None) }
        };
        match self.unless_stopped(gathering).await? {
            Ok(all) => {
                self.all_acknowledged = all;
                self.observer.step_finished("the shards have finished their drives");
            }
            Err(error) => {
                self.observer.step_finished(&format!("failed to {error}"));
                self.fail(error.to_string());
            }
        }
        Ok(())
    }

    fn acknowledged<'b>(&'b self, driven: &'b Driven) -> &'b [Totals] {
        self.all_acknowledged.as_deref().unwrap_or(&driven.acknowledged)
    }

    /// Waits until every record has landed or been dead-lettered, or none has arrived for the scenario's settle time. A
    /// store that becomes unavailable is a failure of the trial, and the result `None`.
    pub async fn settle(&mut self, driven: &Driven) -> Result<Option<Settled>, TrialError> {
        let observer = self.observer;
        observer.step_started("waiting until everything has landed (the last batches are sealed by time)");
        let progress = |arrived: u64, produced: u64| {
            let (arrived, produced) = (separated(arrived), separated(produced));
            observer.step_advanced(&format!("{arrived} of {produced} have landed or been dead-lettered"));
        };
        let produced = (self.acknowledged(driven), self.letters_before);
        let settling =
            account::settle(self.context(), produced, (driven.ended, self.scenario.settle), self.stop, &progress);
        match self.unless_stopped(settling).await? {
            // It ends by itself as well when it is stopped.
            Ok(settled) if self.stop.is_cancelled() && !settled.is_complete() => Err(TrialError::Stopped),
            Ok(settled) => {
                observer.step_finished(&format!(
                    "{} of {} records have landed or been dead-lettered, after {:.1} s",
                    separated(settled.arrived),
                    separated(settled.produced),
                    settled.took.as_secs_f64()
                ));
                Ok(Some(settled))
            }
            Err(error) => {
                self.fail(unavailable(error));
                Ok(None)
            }
        }
    }

    /// Draws up the account; each difference is a failure of the trial.
    pub async fn account(&mut self, driven: &Driven) -> Result<Account, TrialError> {
        self.observer.step_started("drawing up the account");
        let balancing = account::balance(self.context(), self.acknowledged(driven));
        let account = self.unless_stopped(Box::pin(balancing)).await?;
        let balances = if account.is_balanced() {
            "the account balances"
        } else {
            "the account does not balance, or a store could not be read"
        };
        self.observer.step_finished(balances);
        let uncommitted = account.uncommitted();
        self.failures.extend(account.discrepancies().into_iter().filter(|one| !uncommitted.contains(one)));
        self.unwritten.extend(uncommitted);
        self.failures.extend(self.check_state_cluster().await);
        if self.session.is_taken() {
            self.failures.push(format!(
                "another run has reserved namespace {} while PostgreSQL was away, and has changed what this one wrote",
                self.context().names.namespace()
            ));
        }
        Ok(account)
    }

    /// What the trial found. A drive that was never accounted for is judged by its answers alone.
    pub fn findings(self, driven: &Driven) -> Findings {
        let scenario = &self.scenario;
        let (slos, availability) = verdict::judge(scenario, &driven.measured);
        let validity = verdict::validity(&scenario.slos, &driven.measured, &driven.health);
        let mut found = self.failures;
        // No store refused them.
        if !verdict::is_short_of_writers(&driven.measured) {
            found.extend(self.unwritten);
        }
        let failures = verdict::failures(found, scenario, &driven.measured.questions);
        Findings { slos, availability, validity, interrupted: self.interrupted.map(str::to_owned), failures }
    }

    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, TrialError> {
        self.stop.run_until_cancelled(work).await.ok_or(TrialError::Stopped)
    }

    /// Checks the Redis cluster that neither a question nor the account uses, so that its failure is noticed.
    async fn check_state_cluster(&self) -> Option<String> {
        let connected = timeout(CHECK_TIMEOUT, connect::redis_state(self.context().stores)).await;
        let why = match connected {
            Ok(Ok(_)) => return None,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("connect to Redis (state): no response in {} s", CHECK_TIMEOUT.as_secs()),
        };
        Some(unavailable(why))
    }
}

/// The failure of an unavailable store.
fn unavailable(why: impl std::fmt::Display) -> String {
    format!("{why}; `sluice status` shows which store does not respond, `sluice logs STORE` why")
}

fn describe(driven: &Driven) -> String {
    if driven.planned == Totals::default() {
        let seconds = driven.health.monotonic.as_secs_f64();
        return format!(
            "driven for {seconds:.0} s: {} questions, nothing written",
            separated(driven.health.probes.sent)
        );
    }
    let acknowledged: u64 = driven.acknowledged.iter().map(Totals::through_kafka).sum();
    let (took, written_in) = (driven.health.monotonic.as_secs_f64(), driven.written_in.as_secs_f64());
    let per_second = if written_in > 0.0 { (acknowledged as f64 / written_in) as u64 } else { 0 };
    format!("driven for {took:.0} s: {} records to Kafka, {}/s", separated(acknowledged), separated(per_second))
}
