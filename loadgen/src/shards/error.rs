//! Why shards do not drive together. This module never decides what becomes of the run.

use std::time::Duration;

use sluice_schemas::SchemaError;
use sluice_schemas::connect::ConnectError;

use crate::plan::Shard;
use crate::scenario::exact_duration;

/// Why a shard could not join its run, start with the others or learn what they did.
#[derive(Debug, thiserror::Error)]
pub enum ShardsError {
    /// Redis could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The marks of the namespace could not be read.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Redis refused.
    #[error("agree with the other shards over Redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// The first shard did not come.
    #[error("join the run as shard {shard}: the first shard has not begun within {}; start it as well", exact_duration(*waited))]
    NotPrepared {
        /// The shard.
        shard: Shard,
        /// How long it waited.
        waited: Duration,
    },
    /// The first shard drives something else.
    #[error(
        "join the run as shard {shard}: it does not drive or judge the same as the first shard: {difference}; start all shards with \
         the same scenario, seeds and number of shards"
    )]
    OtherPlan {
        /// The shard.
        shard: Shard,
        /// What differs, with the values of both.
        difference: String,
    },
    /// Another process is the same shard.
    #[error("join the run as shard {0}: another process already is; give every process a number of its own")]
    Taken(Shard),
    /// The first shard has ended, or started again.
    #[error(
        "drive as shard {0}: the run of the first shard has ended, was started again, or Redis has lost what it said; start all \
         shards again"
    )]
    Gone(Shard),
    /// Shards did not come in time.
    #[error("wait for all shards: of {of}, {} did not {doing} within {}", .missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "), exact_duration(*waited))]
    Missing {
        /// Their numbers.
        missing: Vec<u32>,
        /// The number of all shards.
        of: u32,
        /// What they did not do.
        doing: &'static str,
        /// How long the first shard waited.
        waited: Duration,
    },
    /// What a shard said can't be read.
    #[error("read what the shards wrote from Redis: {0}; start all shards with the same version")]
    Unreadable(serde_json::Error),
    /// The clock of the machine is wrong.
    #[error(
        "start shard {shard}: the clock of its machine differs by {millis} ms from that of Redis, and 500 ms are allowed; synchronize the clocks"
    )]
    Skewed {
        /// The shard.
        shard: Shard,
        /// By how much its clock is ahead.
        millis: i64,
    },
    /// The common start has passed.
    #[error(
        "start shard {shard}: the agreed instant was {millis} ms ago; synchronize the clocks of the machines, and start all shards again"
    )]
    Late {
        /// The shard.
        shard: Shard,
        /// How late it is.
        millis: u64,
    },
}

impl ShardsError {
    /// Whether the shards were started with arguments that do not fit together.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::OtherPlan { .. } | Self::Taken(_))
    }
}
