//! State that all tasks of a drive share: the plan, the clients, the recorders and the counters.
//! It is updated from many threads and decides nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::bounds::Bounds;
use super::producer::{Producer, Topic};
use super::progress::{Phase, Progress, QuestionProgress};
use crate::custom::Prepared;
use crate::measure::{Measurements, Sample, Started, WriteRecorder};
use crate::plan::{Plan, Shard, Totals};
use crate::population::TenantClass;
use crate::question::{Store, oracle::Oracle};
use crate::scenario::{Access, Operation, Scenario};
use crate::target::QueryError;
use crate::verdict;
use sluice_schemas::concurrency::lock;
use sluice_schemas::connect::ran_out_of_files;

/// The state of one drive.
pub(super) struct Shared {
    pub(super) scenario: Scenario,
    pub(super) plan: Arc<Plan>,
    /// The part of the plan that is driven here.
    pub(super) shard: Shard,
    pub(super) oracle: Oracle,
    /// What the drive adds to the expected answers of live questions.
    pub(super) bounds: Bounds,
    /// The questions of the scenario's own.
    pub(super) own: Arc<Prepared>,
    /// What the run may do.
    pub(super) access: Access,
    /// `None` if nothing is written.
    pub(super) producer: Option<Producer>,
    /// Measurements of probes, and of SLOs of other operations.
    pub(super) measured: Mutex<Measurements>,
    pub(super) counters: Counters,
    /// PostgreSQL's transactions.
    pub(super) transactions: Mutex<WriteRecorder>,
}

/// Counts that only grow.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) probes: ProbeCounts,
    pub(super) writes_held_back: AtomicU64,
    pub(super) communications: AtomicU64,
    pub(super) records: [AtomicU64; 3],
    /// Communications that PostgreSQL has committed, per tenant.
    pub(super) committed: Vec<AtomicU64>,
    /// Questions and transactions that failed since this process may open no more files.
    pub(super) out_of_files: AtomicU64,
    /// Communications that were given up.
    pub(super) uncommitted: AtomicU64,
    failures: AtomicU64,
}

/// Probes by what became of them.
#[derive(Debug, Default)]
pub(super) struct ProbeCounts {
    /// Questions that were due, by the store that answers them.
    offered: [AtomicU64; Store::ALL.len()],
    /// Probes that were started.
    pub(super) sent: AtomicU64,
    /// Probes never started because too many were in flight.
    pub(super) held_back: AtomicU64,
}

impl ProbeCounts {
    /// Counts a question that is due.
    pub(super) fn offer(&self, store: Store) {
        add(&self.offered[store as usize], 1);
    }

    /// Questions to a store that were due.
    fn offered_to(&self, store: Store) -> u64 {
        read(&self.offered[store as usize])
    }

    /// All questions that were due.
    fn offered(&self) -> u64 {
        self.offered.iter().map(read).sum()
    }
}

impl Counters {
    pub(super) fn for_tenants(tenants: usize) -> Self {
        Self { committed: (0..tenants).map(|_| AtomicU64::new(0)).collect(), ..Self::default() }
    }
}

/// Adds to a count.
pub(super) fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

/// Reads a count.
pub(super) fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

/// Failures that are logged individually; later ones are only counted.
const MAX_LOGGED_FAILURES: u64 = 10;

impl Shared {
    /// Whether to log one more failure.
    pub(super) fn should_log_failure(&self) -> bool {
        self.counters.failures.fetch_add(1, Ordering::Relaxed) < MAX_LOGGED_FAILURES
    }

    /// Counts a failure that is no store's.
    pub(super) fn note_own_fault(&self, error: &QueryError) {
        if ran_out_of_files(error) {
            add(&self.counters.out_of_files, 1);
        }
    }

    /// Records a transaction of a tenant that ended `at` after the start of the drive. Its intended start counts from the first
    /// write; those of the warm-up are not judged.
    pub(super) fn record_commit(&self, tenant: usize, sample: Sample, at: Duration) {
        lock(&self.transactions).record_ended(&sample, at);
        self.judge_commit(tenant, sample);
    }

    /// Records a transaction of a tenant that no writer could take.
    pub(super) fn record_held_back_commit(&self, tenant: usize, intended: Duration) {
        lock(&self.transactions).record(intended, true);
        self.judge_commit(tenant, Sample::failed(intended));
    }

    fn judge_commit(&self, tenant: usize, sample: Sample) {
        if let Some(intended) = sample.intended.checked_sub(self.scenario.lead()) {
            self.record_operation(Operation::Commits, tenant, Sample { intended, ..sample });
        }
    }

    /// Records an operation of a tenant that is no question.
    pub(super) fn record_operation(&self, of: Operation, tenant: usize, sample: Sample) {
        let class = TenantClass::of(tenant, self.plan.population().tenants().len());
        lock(&self.measured).record_operation(of, class, sample);
    }

    /// Writes handed to the stores so far.
    pub(super) fn sent(&self) -> Totals {
        let [events, metrics, interactions] = &self.counters.records;
        Totals {
            communications: read(&self.counters.communications),
            events: read(events),
            metrics: read(metrics),
            interactions: read(interactions),
        }
    }

    /// How many of the planned writes were started.
    pub(super) fn started_writes(&self, planned: Totals) -> Started {
        let held_back = read(&self.counters.writes_held_back);
        Started { offered: planned.all(), sent: self.sent().all(), held_back }
    }

    /// How many probes were planned and started.
    pub(super) fn started_probes(&self) -> Started {
        let probes = &self.counters.probes;
        Started { offered: probes.offered(), sent: read(&probes.sent), held_back: read(&probes.held_back) }
    }

    /// Writes of a tenant that their stores have acknowledged.
    pub(super) fn acknowledged(&self, tenant: usize) -> Totals {
        let acknowledged = |topic| self.producer.as_ref().map_or(0, |producer| producer.acknowledged(tenant, topic));
        Totals {
            communications: read(&self.counters.committed[tenant]),
            events: acknowledged(Topic::Events),
            interactions: acknowledged(Topic::Interactions),
            metrics: acknowledged(Topic::Metrics),
        }
    }

    /// A copy of what is judged. The lock is held briefly for each part, and not while it is judged: transactions record their
    /// ends under it.
    fn measured_so_far(&self) -> Measurements {
        let (asked, judged) = {
            let measured = lock(&self.measured);
            (measured.questions.len(), measured.slos.len())
        };
        Measurements {
            questions: (0..asked).map(|index| lock(&self.measured).questions[index].judged()).collect(),
            slos: (0..judged).map(|index| lock(&self.measured).slos[index].judged()).collect(),
            writes: lock(&self.measured).writes.clone(),
        }
    }

    /// A snapshot. It takes some milliseconds, of a thread that may block.
    pub(super) fn snapshot(&self, phase: Phase, elapsed: Duration) -> Progress {
        let length = match phase {
            Phase::WarmUp => self.scenario.warm_up,
            Phase::Driving => self.scenario.duration,
            Phase::Preparing | Phase::AwaitingAnswers | Phase::AwaitingEvents => Duration::ZERO,
        };
        let tenants = 0..self.plan.population().tenants().len();
        let acknowledged = tenants.map(|tenant| self.acknowledged(tenant)).sum();
        // Before what was due, so that never more have ended than were due.
        let measured = self.measured_so_far();
        let probes = &self.counters.probes;
        let offered = Store::ALL.iter().map(|&store| (store, probes.offered_to(store))).collect();
        let held_back = read(&probes.held_back) + read(&self.counters.writes_held_back);
        let questions: Vec<_> = measured.questions.iter().map(QuestionProgress::from).collect();
        let (slos, _) = verdict::judge(&self.scenario, &measured);
        let finished: u64 = questions.iter().map(|one| one.counts.samples).sum();
        let in_flight = probes.offered().saturating_sub(finished);
        let (sent, is_read_only) = (self.sent(), self.access == Access::ReadOnly);
        Progress {
            phase,
            elapsed,
            length,
            is_read_only,
            sent,
            acknowledged,
            held_back,
            in_flight,
            offered,
            questions,
            slos,
        }
    }
}
