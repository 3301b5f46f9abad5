//! The attempts at one batch: the wait after each failure, and its report.
//! Once the quick retries are used up, it sends [`Event::Stalled`]. It never gives up, and writes nothing itself.

use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{error, info, warn};
use xxhash_rust::xxh3::xxh3_64;

use super::retry::{Decision, decide};
use crate::config::Retry;
use crate::event::{self, AssignmentId, Event};
use crate::failure::{Class, Failure};
use crate::observe::metrics::Metrics;
use crate::target::Target;

/// The attempts at one batch.
pub(super) struct Attempts<'a> {
    retry: &'a Retry,
    metrics: &'a Metrics,
    events: &'a mpsc::Sender<Event>,
    assignment: AssignmentId,
    target: &'a Target,
    /// First offset of the batch; `None` while a partition is opened.
    first: Option<i64>,
    /// Failures since the last success.
    pub(super) count: u32,
    is_stalled: bool,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(
        retry: &'a Retry,
        metrics: &'a Metrics,
        events: &'a mpsc::Sender<Event>,
        assignment: AssignmentId,
        target: &'a Target,
        first: Option<i64>,
    ) -> Self {
        Self { retry, metrics, events, assignment, target, first, count: 0, is_stalled: false }
    }

    /// Reports a failure, and waits until the next attempt is due.
    pub(super) async fn back_off(&mut self, failure: Failure) {
        self.count += 1;
        self.metrics.count_retry(&self.target.topic, failure.class);
        let seed = [self.assignment.epoch, self.first.unwrap_or_default().cast_unsigned(), u64::from(self.count)]
            .map(u64::to_le_bytes)
            .concat();
        match decide(self.retry, failure.class, self.count, xxh3_64(&seed)) {
            Decision::Again(wait) => {
                let (topic, partition, attempt) = (&*self.target.topic, self.assignment.partition, self.count);
                warn!(topic, partition, attempt, %failure, "write failed; retrying");
                tokio::time::sleep(wait).await;
            }
            Decision::Probe(wait) => self.stall(&failure, wait).await,
        }
    }

    /// Reports a stall, and waits until the next attempt is due.
    async fn stall(&mut self, failure: &Failure, wait: Duration) {
        let (topic, partition, first) = (&*self.target.topic, self.assignment.partition, self.first);
        let why = first.map_or_else(|| failure.to_string(), |first| format!("{failure}, from offset {first}"));
        if failure.class == Class::Transient {
            warn!(topic, partition, first, attempt = self.count, %failure, "write failed; paused while probing continues");
        } else {
            error!(topic, partition, first, attempt = self.count, %failure, "write failed; paused until an operator repairs this");
        }
        self.is_stalled = true;
        event::send(self.events, Event::Stalled { assignment: self.assignment, why }).await;
        tokio::time::sleep(wait).await;
    }

    /// Resets the count after a success.
    pub(super) fn record_success(&mut self) {
        if self.is_stalled {
            info!(topic = &*self.target.topic, partition = self.assignment.partition, "writes succeed again");
        }
        (self.count, self.is_stalled) = (0, false);
    }
}
