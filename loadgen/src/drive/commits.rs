//! PostgreSQL's writers: commit groups of one tenant's communications, each in a transaction of that tenant, so
//! row-level security checks every row. A commit whose outcome is unknown is retried and inserts nothing twice. After
//! several attempts, or a minute after the end of the drive, a group is given up and its rows are counted.

use std::sync::Arc;
use std::time::Duration;

use sluice_schemas::concurrency::{join, lock};
use sluice_schemas::connect::{self, ConnectError, Role};
use sluice_schemas::names::Names;
use sluice_schemas::records::Communication;
use sluice_schemas::stores::Stores;
use sluice_schemas::tenant;
use sqlx::PgConnection;
use sqlx::types::Json;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::clock::Clock;
use super::engine::next_pulse;
use super::shared::{Shared, add};
use super::timer::Timer;
use super::writes::Group;
use crate::measure::{Backing, DurationHistogram, Outcome, Sample};
use crate::scenario::Operation;
use crate::target::QueryError;
use crate::target::call;
use crate::target::connections::{Connections, Turn};

/// Delays before each retry; after the last one fails, the group is given up.
const RETRY_DELAYS: [Duration; 6] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(20),
];

/// Maximum time after the end of the drive in which a group may still be committed.
const GRACE: Duration = Duration::from_mins(1);
/// Timeout of one attempt, after which another one is made: its connection may have no peer any more.
const ATTEMPT: Duration = Duration::from_secs(30);
/// Maximum number of groups that are committed or wait for a connection or a retry. It protects memory.
const PENDING: usize = 8_192;
/// Interval at which it is measured how late tasks run.
const PULSE: Duration = Duration::from_millis(10);
/// Timeout of closing the connections.
const CLOSE: Duration = Duration::from_secs(5);

/// Inserts one tenant's communications. `ON CONFLICT` makes a retry idempotent.
const INSERT_COMMUNICATIONS: &str = "\
INSERT INTO communications
    (id, tenant_id, customer_id, campaign_id, channel, direction, content, metadata, status, created_at)
SELECT id, $1, customer_id, campaign_id, channel, direction, content, metadata, status, created_at
FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::jsonb[], $8::jsonb[], $9::text[],
            $10::timestamptz[])
    AS made (id, customer_id, campaign_id, channel, direction, content, metadata, status, created_at)
ON CONFLICT (tenant_id, id, created_at) DO NOTHING";

/// The writers of one drive.
pub(super) struct Commits {
    shared: Arc<Shared>,
    clock: Clock,
    connections: Connections,
    /// The shortest limit of an SLO of commits.
    limit: Option<Duration>,
}

impl Commits {
    pub(super) fn new(shared: &Arc<Shared>, clock: &Clock, connections: Connections) -> Self {
        let limit = shared.scenario.shortest_limit(Operation::Commits);
        Self { shared: Arc::clone(shared), clock: clock.clone(), connections, limit }
    }

    /// Commits groups concurrently until the channel closes or the drive is stopped. Returns how late the tasks of its runtime
    /// ran: what delays them counts as latency of the commits.
    pub(super) async fn run(self, mut groups: mpsc::Receiver<Group>, stop: CancellationToken) -> DurationHistogram {
        let ended = CancellationToken::new();
        let this = Arc::new(self);
        let delays = tokio::spawn(measure_delays(Arc::clone(&this), ended.clone()));
        let pending = Arc::new(Semaphore::new(PENDING));
        let tasks = TaskTracker::new();
        while let Some(group) = groups.recv().await {
            let Ok(permit) = Arc::clone(&pending).acquire_owned().await else { break };
            let (this, stop) = (Arc::clone(&this), stop.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = this.commit(group) => {}
                    () = stop.cancelled() => {}
                }
                drop(permit);
            });
        }
        tasks.close();
        tasks.wait().await;
        ended.cancel();
        // A frozen store never closes its connections.
        drop(tokio::time::timeout(CLOSE, this.connections.close()).await);
        join(delays).await
    }

    async fn commit(&self, group: Group) {
        let Group { at, intended, queued, tenant, number, rows } = group;
        let newest = rows.iter().map(|row| row.created_at).max();
        let (lag, mut waited, count) =
            (queued.saturating_duration_since(intended), queued.elapsed(), rows.len() as u64);
        let measure = |outcome, waited| {
            let sample =
                Sample { intended: at, lag, latency: intended.elapsed(), waited, outcome, backing: Backing::NotAsked };
            self.shared.record_commit(tenant, sample, self.clock.elapsed());
        };
        let tenant_id = self.shared.plan.population().tenants()[tenant].id;
        let rows = Columns::from_rows(rows);
        let mut given_up = Outcome::Error;
        for (attempt, pause) in RETRY_DELAYS.map(Some).into_iter().chain([None]).enumerate() {
            let (result, spent) = call::measure(self.limit, self.attempt(&rows, tenant_id)).await;
            waited += spent.waited;
            let is_committed = matches!(result, Some(Ok(())));
            if attempt == 0 {
                lock(&self.shared.transactions).record_first_attempt(at, !is_committed);
            }
            if let Some(Err(error)) = &result {
                self.shared.note_own_fault(error);
            }
            given_up = if result.is_none() { Outcome::TimedOut } else { Outcome::Error };
            match result {
                Some(Ok(())) => {
                    measure(Outcome::Correct, waited);
                    if let Some(newest) = newest {
                        self.shared.bounds.committed(tenant, (number, newest), self.clock.elapsed());
                    }
                    return add(&self.shared.counters.committed[tenant], count);
                }
                Some(Err(error)) if self.shared.should_log_failure() => {
                    tracing::warn!(tenant, rows = count, %error, retry = pause.is_some(), "a transaction failed");
                }
                Some(Err(_)) | None => {}
            }
            match pause.filter(|pause| *pause < self.time_left()) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => break,
            }
        }
        measure(given_up, waited);
        add(&self.shared.counters.uncommitted, count);
    }

    /// One attempt; `None` if it did not end in time. The wait for a connection belongs to none.
    async fn attempt(&self, rows: &Columns, tenant: Uuid) -> Option<Result<(), QueryError>> {
        let turn = tokio::time::timeout(self.time_left(), self.connections.turn()).await.ok()?;
        tokio::time::timeout(self.time_left().min(ATTEMPT), rows.insert(turn, tenant)).await.ok()
    }

    fn time_left(&self) -> Duration {
        (self.shared.scenario.duration + GRACE).saturating_sub(self.clock.elapsed())
    }
}

/// How late the tasks of this runtime run at regular instants of the drive. What PostgreSQL held up comes all at once when it goes on: that
/// delay is not the generator's.
async fn measure_delays(commits: Arc<Commits>, ended: CancellationToken) -> DurationHistogram {
    let (clock, drive) = (&commits.clock, commits.shared.scenario.duration);
    let (mut delays, mut due) = (DurationHistogram::default(), Duration::ZERO);
    // Without a timer, the loops of the questions can't run either, which is the error of the drive.
    let Ok(mut timer) = Timer::new() else { return delays };
    while !clock.is_stopped() {
        let Some(Ok(())) = ended.run_until_cancelled(timer.wait_until(clock.instant(due))).await else { break };
        let now = clock.elapsed();
        // Also after the drive: the last groups wait for connections as well.
        let excused = commits.connections.pulse(clock.instant(due).into(), clock.instant(now).into());
        if due < drive {
            delays.record(now.saturating_sub(due).saturating_sub(excused));
        }
        due = next_pulse(due + PULSE, now);
    }
    delays
}

/// Connections of their own for writes, so that probes and writes never wait for each other's.
pub(super) async fn connect(stores: &Stores, names: &Names, writers: u32) -> Result<Connections, ConnectError> {
    let database = names.database();
    let options = connect::postgres_options(stores, &database, Role::App);
    Connections::open((stores, &database), options, (writers, writers)).await
}

/// Communications as the arrays that [`INSERT_COMMUNICATIONS`] takes.
#[derive(Default)]
struct Columns {
    ids: Vec<Uuid>,
    customers: Vec<Uuid>,
    campaigns: Vec<Option<Uuid>>,
    channels: Vec<&'static str>,
    directions: Vec<&'static str>,
    contents: Vec<Json<sluice_schemas::records::Content>>,
    metadata: Vec<serde_json::Value>,
    statuses: Vec<&'static str>,
    created: Vec<chrono::DateTime<chrono::Utc>>,
}

impl Columns {
    fn from_rows(rows: Vec<Communication>) -> Self {
        let mut columns = Self::default();
        for row in rows {
            columns.ids.push(row.id);
            columns.customers.push(row.customer_id);
            columns.campaigns.push(row.campaign_id);
            columns.channels.push(row.channel.as_str());
            columns.directions.push(row.direction.as_str());
            columns.contents.push(Json(row.content));
            columns.metadata.push(row.metadata);
            columns.statuses.push(row.status.as_str());
            columns.created.push(row.created_at);
        }
        columns
    }

    async fn insert(&self, turn: Turn<'_>, tenant: Uuid) -> Result<(), QueryError> {
        let mut lease = turn.lease().await?;
        let inserted = self.insert_on(&mut lease, tenant).await;
        lease.end(inserted.map_err(QueryError::from))
    }

    async fn insert_on(&self, connection: &mut PgConnection, tenant: Uuid) -> Result<(), sqlx::Error> {
        let mut transaction = tenant::begin_on(connection, tenant).await?;
        sqlx::query(INSERT_COMMUNICATIONS)
            .bind(tenant)
            .bind(&self.ids)
            .bind(&self.customers)
            .bind(&self.campaigns)
            .bind(&self.channels)
            .bind(&self.directions)
            .bind(&self.contents)
            .bind(&self.metadata)
            .bind(&self.statuses)
            .bind(&self.created)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_quotes_the_insert_as_it_is_sent() {
        let page = include_str!("../../../docs/scenarios.md");
        let text = INSERT_COMMUNICATIONS;
        assert!(page.contains(&format!("\n{text}\n```\n")), "docs/scenarios.md does not quote this:\n{text}");
    }
}
