//! The written form of a long list of counts of which most are zero: its length, and each other count with its place.
//! It never reads a list of more than a million counts.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Maximum length of a list that is read.
const MAX_LENGTH: usize = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Sparse {
    length: usize,
    counts: Vec<(usize, u32)>,
}

pub(super) fn serialize<S: Serializer>(counts: &[u32], serializer: S) -> Result<S::Ok, S::Error> {
    let others = counts.iter().copied().enumerate().filter(|(_, count)| *count > 0);
    Sparse { length: counts.len(), counts: others.collect() }.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
    let Sparse { length, counts } = Sparse::deserialize(deserializer)?;
    if length > MAX_LENGTH {
        return Err(D::Error::custom(format_args!("a list of {length} counts is too long")));
    }
    let mut all = vec![0; length];
    for (place, count) in counts {
        *all.get_mut(place).ok_or_else(|| D::Error::custom(format_args!("{place} is outside the list")))? = count;
    }
    Ok(all)
}
