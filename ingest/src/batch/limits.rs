//! When a batch is sealed, and why it was. Pure: settings go in, limits come out.

use std::time::Duration;

use crate::config::{Pipeline, Settings};

/// Most months in a batch: as many partitions as ClickHouse accepts in one INSERT by default.
const MOST_MONTHS: usize = 100;

/// When a batch is sealed.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most records.
    pub rows: usize,
    /// Most encoded bytes.
    pub bytes: usize,
    /// Longest time since its first record.
    pub age: Duration,
    /// Most months: each is an INSERT of its own.
    pub months: usize,
    /// How far it may grow instead while another batch of its partition is under way.
    pub backlog: Backlog,
}

/// How far a batch may grow while another batch of its partition is under way: sealed, or being written.
#[derive(Debug, Clone, Copy)]
pub struct Backlog {
    /// Most records.
    pub rows: usize,
    /// Most encoded bytes.
    pub bytes: usize,
    /// Longest time that writing it should take, judged by the last write.
    pub time: Duration,
}

/// Why a batch was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SealReason {
    /// It has all the records it may have.
    Rows,
    /// It has all the bytes it may have.
    Bytes,
    /// It waited long enough.
    Age,
    /// Its rows are of too many months.
    Months,
    /// Memory is short.
    Pressure,
    /// The worker is shutting down.
    Drain,
    /// It is the range that was announced before this assignment.
    Announced,
    /// It reached the highest offset that its table had when the assignment began.
    Checked,
    /// It has grown beyond `max_rows` or `max_bytes` while another batch of its partition was under way.
    Backlog,
}

impl Limits {
    /// The limits of a pipeline's batches. A batch grows in a backlog to at most an eighth of `memory_budget`, and only so far
    /// that it can be written within the deadlines of a revocation and of a drain.
    pub fn new(settings: &Settings, pipeline: &Pipeline) -> Self {
        let Pipeline { max_rows: rows, max_age: age, max_bytes, backlog_rows, backlog_bytes, .. } = *pipeline;
        let backlog = Backlog {
            rows: backlog_rows.max(rows),
            bytes: size(backlog_bytes.0.min(settings.memory_budget.0 / 8).max(max_bytes.0)),
            time: (settings.revoke_deadline / 2).min(settings.drain_deadline / 5).min(settings.insert_timeout / 4),
        };
        Self { rows, bytes: size(max_bytes.0), age, months: MOST_MONTHS, backlog }
    }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl SealReason {
    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Bytes => "bytes",
            Self::Age => "age",
            Self::Months => "months",
            Self::Pressure => "pressure",
            Self::Drain => "drain",
            Self::Announced => "announced",
            Self::Checked => "checked",
            Self::Backlog => "backlog",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_reasons_stay_as_they_are() {
        use SealReason::{Age, Announced, Backlog, Bytes, Checked, Drain, Months, Pressure, Rows};
        let words = [Rows, Bytes, Age, Months, Pressure, Drain, Announced, Checked, Backlog].map(SealReason::as_str);
        let known = "rows bytes age months pressure drain announced checked backlog";
        assert_eq!(words.join(" "), known, "dashboards hold them");
    }
}
