//! Compares the expected contents of a store with the actual ones: tallies for the quick comparison; for the exact one,
//! every identity with its digest, and the dead letters. It never reads a store.

use std::collections::{HashMap, HashSet};

use super::ledger::{DifferenceKind, Differences};

/// A summary of records or rows. Two sets with equal tallies are equal, but for a chance of 2^-64: where one has rows that
/// the other lacks, the digests of both together have an exclusive or of zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Number of rows.
    pub(super) rows: u64,
    /// Exclusive or of the digests of all canonical texts.
    pub(super) digest: u64,
}

impl Tally {
    /// Adds a record of that digest.
    pub(super) fn add(&mut self, digest: u64) {
        self.rows += 1;
        self.digest ^= digest;
    }

    /// Adds everything in another tally.
    pub(super) fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.digest ^= other.digest;
    }
}

/// A record's identity, and the digest of its canonical text.
pub(super) type Entry = (String, u64);

/// Counts every difference between planned records, the rows of a store, and dead letters. `planned` and `dead` have each
/// identity once.
pub(super) fn reconcile(planned: Vec<Entry>, rows: Vec<Entry>, dead: Vec<String>, differences: &mut Differences) {
    let mut landed: HashMap<String, Vec<u64>> = HashMap::with_capacity(rows.len());
    for (identity, digest) in rows {
        landed.entry(identity).or_default().push(digest);
    }
    let mut dead_lettered: HashSet<String> = dead.into_iter().collect();
    for (identity, digest) in planned {
        let rows = landed.remove(&identity);
        let in_dead_letters = dead_lettered.remove(&identity);
        match rows {
            None if !in_dead_letters => differences.note(DifferenceKind::Missing, &identity),
            None => {}
            Some(digests) => {
                for _ in 1..digests.len() + usize::from(in_dead_letters) {
                    differences.note(DifferenceKind::Duplicate, &identity);
                }
                if digests.iter().any(|found| *found != digest) {
                    differences.note(DifferenceKind::Wrong, &identity);
                }
            }
        }
    }
    let unexpected_rows = landed.into_iter().flat_map(|(identity, digests)| vec![identity; digests.len()]);
    let mut unexpected: Vec<String> = unexpected_rows.chain(dead_lettered).collect();
    unexpected.sort_unstable();
    for identity in &unexpected {
        differences.note(DifferenceKind::Unexpected, identity);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries(ids: &[u32]) -> Vec<Entry> {
        ids.iter().map(|id| (id.to_string(), u64::from(*id) + 1000)).collect()
    }

    fn difference_counts(planned: &[u32], rows: Vec<Entry>, dead: &[u32]) -> (u64, u64, u64, u64) {
        let dead = dead.iter().map(ToString::to_string).collect();
        let mut differences = Differences::default();
        reconcile(entries(planned), rows, dead, &mut differences);
        let Differences { missing, duplicate, wrong, unexpected, .. } = differences;
        (missing, duplicate, wrong, unexpected)
    }

    #[test]
    fn landed_or_dead_lettered_is_balanced() {
        assert_eq!(difference_counts(&[1, 2, 3], entries(&[3, 1]), &[2]), (0, 0, 0, 0));
    }

    #[test]
    fn each_kind_of_difference_is_distinguished() {
        assert_eq!(difference_counts(&[1, 2], entries(&[1]), &[]), (1, 0, 0, 0));
        assert_eq!(difference_counts(&[1, 2], entries(&[1, 2, 2, 2]), &[]), (0, 2, 0, 0));
        assert_eq!(difference_counts(&[1], vec![("1".to_owned(), 7)], &[]), (0, 0, 1, 0));
        assert_eq!(difference_counts(&[1], entries(&[1, 9, 9]), &[8]), (0, 0, 0, 3));
        assert_eq!(difference_counts(&[1], entries(&[1]), &[1]), (0, 1, 0, 0), "landed and dead-lettered as well");
    }

    proptest! {
        #[test]
        fn removing_and_duplicating_rows_is_counted_exactly(count in 1_u32..200, removed in 0_u32..50, duplicated in 0_u32..50) {
            let planned: Vec<u32> = (0..count).collect();
            let (removed, duplicated) = (removed.min(count), duplicated.min(count - removed.min(count)));
            let mut rows: Vec<u32> = planned[removed as usize..].to_vec();
            rows.extend(rows.clone().into_iter().take(duplicated as usize));
            let expected = (u64::from(removed), u64::from(duplicated), 0, 0);
            prop_assert_eq!(difference_counts(&planned, entries(&rows), &[]), expected);
        }
    }
}
