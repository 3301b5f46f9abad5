//! Shards: disjoint parts of a plan, which several generators drive together. Which shard an operation belongs to is a pure
//! function of the operation, so shards need no coordination. A communication, its events and its interactions belong together.
//! A shard never talks to another one.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::question::Question;

/// Maximum number of shards.
const MOST: u32 = 1_000;

/// Shard `number` of `of`, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Shard {
    number: u32,
    of: u32,
}

/// What a shard is called on the command line.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("write the number of the shard and of all shards, as in 2/4, from 1/1 to {MOST}/{MOST}")]
pub struct BadShard;

/// The kinds of operations, each with its own assignment.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Communication,
    Metric,
    Probe,
    User,
}

impl Shard {
    /// The whole plan as one shard.
    pub const WHOLE: Self = Self { number: 1, of: 1 };

    /// Its number, from 1.
    pub fn number(self) -> u32 {
        self.number
    }

    /// The number of all shards.
    pub fn of(self) -> u32 {
        self.of
    }

    /// Whether it is the whole plan.
    pub fn is_whole(self) -> bool {
        self.of == 1
    }

    /// Whether it is the first one, which prepares the stores and draws up the account.
    pub fn is_first(self) -> bool {
        self.number == 1
    }

    /// Whether it writes communication `index` of a tenant, its events and its interactions.
    pub(crate) fn writes(self, tenant: usize, index: u64) -> bool {
        self.owns(Kind::Communication, tenant as u64, index)
    }

    /// Whether it writes agent metric `index` of a tenant.
    pub(crate) fn measures(self, tenant: usize, index: u64) -> bool {
        self.owns(Kind::Metric, tenant as u64, index)
    }

    /// Whether it asks the question that is planned as number `index` of its kind.
    pub(crate) fn asks(self, question: Question, index: u64) -> bool {
        self.owns(Kind::Probe, question.stream(), index)
    }

    /// Whether user `index` of a group of users is one of its own.
    pub(crate) fn has_user(self, group: usize, index: u32) -> bool {
        self.owns(Kind::User, group as u64, u64::from(index))
    }

    /// By hash, since the parts of a plan may be periodic in the index. What is drawn from a Poisson process stays one.
    fn owns(self, kind: Kind, part: u64, index: u64) -> bool {
        if self.is_whole() {
            return true;
        }
        let mut key = [0; 17];
        key[0] = kind as u8;
        key[1..9].copy_from_slice(&part.to_le_bytes());
        key[9..].copy_from_slice(&index.to_le_bytes());
        xxh3_64(&key) % u64::from(self.of) == u64::from(self.number - 1)
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self::WHOLE
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Shard {
    type Err = BadShard;

    fn from_str(text: &str) -> Result<Self, BadShard> {
        let (number, of) = text.split_once('/').ok_or(BadShard)?;
        let [number, of] = [number, of].map(|part| part.parse::<u32>().map_err(|_| BadShard));
        let (number, of) = (number?, of?);
        let fits = (1..=MOST).contains(&of) && (1..=of).contains(&number);
        fits.then_some(Self { number, of }).ok_or(BadShard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_belongs_to_exactly_one_shard_and_the_parts_are_even() {
        let shards: Vec<Shard> = ["1/3", "2/3", "3/3"].map(|text| text.parse().unwrap()).into();
        let mut counts = [0; 3];
        for index in 0..9_000 {
            let owners: Vec<usize> = (0..3).filter(|&shard| shards[shard].writes(2, index)).collect();
            assert_eq!(owners.len(), 1);
            counts[owners[0]] += 1;
        }
        assert!(counts.iter().all(|count| (2_800..3_200).contains(count)), "{counts:?}");
        assert!((0..100).all(|index| Shard::WHOLE.asks(Question::Search, index)));
    }

    #[test]
    fn a_shard_is_read_as_it_is_written_and_others_are_refused() {
        assert_eq!("2/4".parse::<Shard>().map(|shard| shard.to_string()), Ok("2/4".to_owned()));
        for text in ["0/4", "5/4", "2", "2/0", "-1/2", "a/b", "1/1001", ""] {
            assert_eq!(text.parse::<Shard>(), Err(BadShard), "{text}");
        }
    }
}
