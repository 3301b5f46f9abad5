//! How far the open batch of a partition may grow while another of its batches is in flight.
//! It derives the limits of the next batch from the size and duration of the last write; the caller passes the time. It never
//! allows less than the usual limits, and seals nothing itself.
//!
//! A batch twice as large takes up to twice as long to write, and a rebalance, a drain and `insert_timeout` have deadlines.
//! So a batch grows no further than what could be written in [`Backlog::time`] at the throughput of the last write. A short
//! write may have been small, and then tells little about the throughput: after one, and before the first write has ended,
//! the next batch may be [`STEP`] times as large as usual.

use std::time::{Duration, Instant};

use crate::batch::Batch;
use crate::batch::limits::{Backlog, Limits};

/// Factor by which a batch may exceed the usual size while the throughput is unknown.
const STEP: usize = 4;
/// A write that took at most [`Backlog::time`] divided by this was short.
const SHORT_DIVISOR: u32 = 8;

/// Lower bound of a write's duration, against division by zero.
const MIN_DURATION: Duration = Duration::from_micros(1);

/// Size of a batch.
#[derive(Debug, Clone, Copy, Default)]
struct BatchSize {
    rows: usize,
    bytes: usize,
}

/// The current and the last write of a partition.
#[derive(Debug, Default)]
pub(super) struct Growth {
    current: Option<(BatchSize, Instant)>,
    /// The last write that ended, with the time from its start until its acknowledgement, retries included.
    last: Option<(BatchSize, Duration)>,
}

impl Growth {
    /// Records the start of a write.
    pub(super) fn begin(&mut self, batch: &Batch, now: Instant) {
        self.current = Some((BatchSize { rows: batch.records(), bytes: batch.bytes() }, now));
    }

    /// Records that the write was acknowledged.
    pub(super) fn end(&mut self, now: Instant) {
        if let Some((size, started)) = self.current.take() {
            self.last = Some((size, now.saturating_duration_since(started)));
        }
    }

    /// Returns the limits of the next batch.
    #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates at the largest size")]
    pub(super) fn allowance(&self, limits: &Limits) -> Backlog {
        let Backlog { rows, bytes, time } = limits.backlog;
        let (size, took) = self.last.unwrap_or_default();
        let step = if took <= time / SHORT_DIVISOR { STEP } else { 1 };
        let allowance = |written: usize, usual: usize, backlog: usize| {
            let in_time = written as f64 * (time.as_secs_f64() / took.max(MIN_DURATION).as_secs_f64());
            (in_time as usize).max(usual.saturating_mul(step)).clamp(usual, backlog)
        };
        Backlog {
            rows: allowance(size.rows, limits.rows, rows),
            bytes: allowance(size.bytes, limits.bytes, bytes),
            time,
        }
    }
}

#[cfg(test)]
mod model;
