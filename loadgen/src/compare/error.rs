//! Why reports of runs can't be compared. A run that became slower is no error.

use chrono::{DateTime, Utc};

use crate::plan::Shard;
use crate::report::wording::instant;

/// Why runs can't be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The runs are of different scenarios.
    #[error("compare the runs: {a} and {b} are different scenarios; name runs of one scenario")]
    OtherScenario {
        /// The scenario of the first run.
        a: String,
        /// Another one.
        b: String,
    },
    /// A side has no run.
    #[error("compare the runs: side {0} has none; name at least one report on each side")]
    NoRun(char),
    /// A report is of a part of a run.
    #[error(
        "compare the runs: that of {started_at} is only shard {shard} of a run; merge the reports of its shards first with \
         `sluice report merge`",
        started_at = instant(started_at)
    )]
    Shard {
        /// Start of its drive.
        started_at: DateTime<Utc>,
        /// The shard.
        shard: Shard,
    },
    /// A run is there twice.
    #[error(
        "compare the runs: that of {started_at} is {place}, and the same run again shows neither a change nor the noise between \
         runs; name each run once",
        started_at = instant(started_at)
    )]
    Twice {
        /// Start of its drive.
        started_at: DateTime<Utc>,
        /// `on both sides`, or `twice on side A`.
        place: String,
    },
    /// A baseline would leave every comparison undecided.
    #[error(
        "compare the runs: that of {started_at} is not valid ({why}), so it proves nothing about the stores, and no comparison \
         with it is decided; leave it out, or run its scenario again",
        started_at = instant(started_at)
    )]
    Invalid {
        /// Start of its drive.
        started_at: DateTime<Utc>,
        /// The reasons.
        why: String,
    },
    /// A run has no latencies.
    #[error(
        "compare the runs: that of {started_at} has no latencies, since no question was answered; leave it out",
        started_at = instant(started_at)
    )]
    NothingMeasured {
        /// Start of its drive.
        started_at: DateTime<Utc>,
    },
}
