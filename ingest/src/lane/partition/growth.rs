//! How far the open batch of a partition may grow while another batch of it is under way.
//! Writes go in as they begin and end; out come the limits for the batch behind. Pure, clocked by the caller. It never
//! allows less than the usual limits, and seals nothing itself.
//!
//! A batch twice as large takes up to twice as long to write, and a rebalance, a drain and `insert_timeout` wait only so
//! long. So a batch grows no further than what could be written in [`Backlog::time`] at the pace of the last write. A write
//! that was short may have been small as well and then says little about the pace: after it, and where none has ended yet,
//! the next one may be [`STEP`] times as large as usual.

use std::time::{Duration, Instant};

use crate::batch::Batch;
use crate::batch::limits::{Backlog, Limits};

/// How many times the usual size a batch may have where little is known about the pace.
const STEP: usize = 4;
/// A write that took less than this share of the time there is was short.
const SHORT: u32 = 8;

/// No write takes less.
const LEAST: Duration = Duration::from_micros(1);

/// What a write carries.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    rows: usize,
    bytes: usize,
}

/// What is known about the writes of a partition.
#[derive(Debug, Default)]
pub(super) struct Growth {
    begun: Option<(Load, Instant)>,
    /// The last write that ended, with the time from its begin until it was acknowledged, retries included.
    last: Option<(Load, Duration)>,
}

impl Growth {
    /// A write begins.
    pub(super) fn began(&mut self, batch: &Batch, now: Instant) {
        self.begun = Some((Load { rows: batch.records(), bytes: batch.bytes() }, now));
    }

    /// It was acknowledged.
    pub(super) fn ended(&mut self, now: Instant) {
        if let Some((load, began)) = self.begun.take() {
            self.last = Some((load, now.saturating_duration_since(began)));
        }
    }

    /// What the batch behind may hold.
    #[expect(clippy::cast_possible_truncation, reason = "a float that is too large for a size becomes the largest")]
    pub(super) fn most(&self, limits: &Limits) -> Backlog {
        let Backlog { rows, bytes, time } = limits.backlog;
        let (load, consumed) = self.last.unwrap_or_default();
        let step = if consumed <= time / SHORT { STEP } else { 1 };
        let most = |written: usize, usual: usize, backlog: usize| {
            let in_time = written as f64 * (time.as_secs_f64() / consumed.max(LEAST).as_secs_f64());
            (in_time as usize).max(usual.saturating_mul(step)).clamp(usual, backlog)
        };
        Backlog { rows: most(load.rows, limits.rows, rows), bytes: most(load.bytes, limits.bytes, bytes), time }
    }
}

#[cfg(test)]
mod model;
