//! When a batch is sealed, and for which reason. Derived from the settings; pure. This module never seals a batch.

use std::time::Duration;

use crate::config::{Pipeline, Settings};

/// Maximum number of months in a batch: the number of partitions that ClickHouse accepts in one INSERT by default.
const MAX_MONTHS: usize = 100;

/// When a batch is sealed.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Maximum number of records.
    pub rows: usize,
    /// Maximum number of encoded bytes.
    pub bytes: usize,
    /// Maximum time since its first record.
    pub age: Duration,
    /// Maximum number of months; each needs its own INSERT.
    pub months: usize,
    /// How far it may grow instead while another batch of its partition is in flight.
    pub backlog: Backlog,
}

/// How far a batch may grow while another batch of its partition is in flight: sealed, or being written.
#[derive(Debug, Clone, Copy)]
pub struct Backlog {
    /// Maximum number of records.
    pub rows: usize,
    /// Maximum number of encoded bytes.
    pub bytes: usize,
    /// Maximum time that its write should take, estimated from the last write.
    pub time: Duration,
}

/// Why a batch was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SealReason {
    /// It has the maximum number of records.
    Rows,
    /// It has the maximum number of bytes.
    Bytes,
    /// Its first record has waited for the maximum time.
    Age,
    /// It has the maximum number of months.
    Months,
    /// Memory is short.
    Pressure,
    /// The worker is shutting down.
    Drain,
    /// It has reached the end of a range that was announced before this assignment.
    Announced,
    /// It has reached the highest offset that was in its table when the assignment began.
    LookupEnd,
    /// It has grown beyond `max_rows` or `max_bytes` while another batch of its partition was in flight.
    Backlog,
}

impl Limits {
    /// The limits of a pipeline's batches. In a backlog, a batch grows to at most an eighth of `memory_budget`, and only as
    /// far as it can be written within the deadlines of a revocation and of a drain.
    pub fn new(settings: &Settings, pipeline: &Pipeline) -> Self {
        let Pipeline { max_rows: rows, max_age: age, max_bytes, backlog_rows, backlog_bytes, .. } = *pipeline;
        let backlog = Backlog {
            rows: backlog_rows.max(rows),
            bytes: size(backlog_bytes.0.min(settings.memory_budget.0 / 8).max(max_bytes.0)),
            time: (settings.revoke_deadline / 2).min(settings.drain_deadline / 5).min(settings.insert_timeout / 4),
        };
        Self { rows, bytes: size(max_bytes.0), age, months: MAX_MONTHS, backlog }
    }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl SealReason {
    /// Its label in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Bytes => "bytes",
            Self::Age => "age",
            Self::Months => "months",
            Self::Pressure => "pressure",
            Self::Drain => "drain",
            Self::Announced => "announced",
            Self::LookupEnd => "lookup_end",
            Self::Backlog => "backlog",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_seal_reasons_are_stable() {
        use SealReason::{Age, Announced, Backlog, Bytes, Drain, LookupEnd, Months, Pressure, Rows};
        let labels = [Rows, Bytes, Age, Months, Pressure, Drain, Announced, LookupEnd, Backlog].map(SealReason::as_str);
        let expected = "rows bytes age months pressure drain announced lookup_end backlog";
        assert_eq!(labels.join(" "), expected, "dashboards contain these labels");
    }
}
