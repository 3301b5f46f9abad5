//! Watches events until ClickHouse shows them: asks for the offsets of the watched ones several times a second, as a reader
//! of the table would. An event counts as visible when the answer that contains it has arrived, so a latency is never too
//! short, and too long by at most one interval and the time of one query. It never reads another time than the drive's clock.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use clickhouse::Client;
use sluice_schemas::concurrency::join;
use sluice_schemas::connect;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::producer::{Topic, Watched};
use super::shared::Shared;
use crate::measure::{Backing, Outcome, Sample};
use crate::run_context::RunContext;
use crate::scenario::Operation;

/// Interval between two queries.
const POLL: Duration = Duration::from_millis(250);
/// Timeout of a query. While ClickHouse answers none, it shows nothing.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// An event is given up when it has been missing for so long after the longest limit.
const PATIENCE: Duration = Duration::from_secs(10);

/// The task that watches.
pub(super) struct Watching {
    task: JoinHandle<()>,
    all_delivered: CancellationToken,
}

impl Watching {
    /// Starts to watch, if an SLO judges events.
    pub(super) fn start(
        context: RunContext<'_>,
        shared: &Arc<Shared>,
        clock: &Clock,
        stop: &CancellationToken,
    ) -> Option<Self> {
        let limit = context.scenario.longest_limit(Operation::Events)?;
        let all_delivered = CancellationToken::new();
        let watch = Watch {
            client: connect::clickhouse(context.stores, context.names),
            topic: context.names.topic(Topic::Events.name()),
            shared: Arc::clone(shared),
            clock: clock.clone(),
            give_up: limit + PATIENCE,
            missing: Vec::new(),
        };
        let (delivered, stop) = (all_delivered.clone(), stop.clone());
        let task = tokio::spawn(async move {
            tokio::select! {
                () = watch.run(&delivered) => {}
                () = stop.cancelled() => {}
            }
        });
        Some(Self { task, all_delivered })
    }

    /// Waits until every watched event is visible or given up. All deliveries must be known.
    pub(super) async fn finish(self) {
        self.all_delivered.cancel();
        join(self.task).await;
    }
}

struct Watch {
    client: Client,
    topic: String,
    shared: Arc<Shared>,
    clock: Clock,
    give_up: Duration,
    missing: Vec<Watched>,
}

impl Watch {
    async fn run(mut self, all_delivered: &CancellationToken) {
        let mut polls = tokio::time::interval(POLL);
        polls.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            polls.tick().await;
            // Read before the records are taken: what is delivered later is taken in the next round.
            let is_last = all_delivered.is_cancelled();
            self.missing.extend(self.shared.producer.iter().flat_map(super::producer::Producer::take_watched));
            if !self.missing.is_empty() {
                let visible = self.visible().await;
                self.sort_out(&visible);
            }
            if is_last && self.missing.is_empty() {
                return;
            }
        }
    }

    /// Which of the missing events a query returns; none if it fails, since nobody else sees them then either.
    async fn visible(&self) -> HashSet<(i32, i64)> {
        let rows = self.client.query(&query(&self.missing)).param("topic", &self.topic).fetch_all::<(i32, i64)>();
        match timeout(RESPONSE_TIMEOUT, rows).await {
            Ok(Ok(rows)) => rows.into_iter().collect(),
            Ok(Err(error)) => {
                if self.shared.should_log_failure() {
                    tracing::warn!(%error, "the query for visible events failed");
                }
                HashSet::new()
            }
            Err(_) => HashSet::new(),
        }
    }

    /// Records the events that are visible or given up; the others stay missing.
    fn sort_out(&mut self, visible: &HashSet<(i32, i64)>) {
        let now = self.clock.elapsed();
        let (shared, give_up) = (&self.shared, self.give_up);
        self.missing.retain(|event| {
            let latency = now.saturating_sub(event.at);
            let outcome = match event.place {
                None => Outcome::Error,
                Some(place) if visible.contains(&place) => Outcome::Correct,
                Some(_) if latency > give_up => Outcome::TimedOut,
                Some(_) => return true,
            };
            let (lag, waited) = Default::default();
            let sample = Sample { intended: event.at, lag, latency, waited, outcome, backing: Backing::NotAsked };
            shared.record_operation(Operation::Events, event.tenant, sample);
            false
        });
    }
}

/// The query for the offsets of events, by partition; the projection `by_offset` answers it without a scan.
fn query(events: &[Watched]) -> String {
    let mut offsets: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for (partition, offset) in events.iter().filter_map(|event| event.place) {
        offsets.entry(partition).or_default().push(offset.to_string());
    }
    let of = |(partition, offsets): (i32, Vec<String>)| {
        format!("(_partition = {partition} AND _offset IN ({}))", offsets.join(", "))
    };
    let mut conditions: Vec<String> = offsets.into_iter().map(of).collect();
    if conditions.is_empty() {
        conditions.push("false".to_owned());
    }
    format!(
        "SELECT _partition, _offset FROM communication_events WHERE _topic = {{topic:String}} AND ({})",
        conditions.join(" OR ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_names_each_offset_with_its_partition() {
        let event = |place| Watched { tenant: 0, at: Duration::ZERO, place };
        let events = [Some((1, 7)), None, Some((0, 3)), Some((1, 9))].map(event);
        assert!(
            query(&events)
                .ends_with("AND ((_partition = 0 AND _offset IN (3)) OR (_partition = 1 AND _offset IN (7, 9)))")
        );
        assert!(query(&events[1..2]).ends_with("AND (false)"), "no place is no condition that all rows meet");
    }
}
