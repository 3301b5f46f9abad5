//! Compares the expected contents of a store with the actual ones: tallies for the quick comparison; for the exact one,
//! every identity with its digest, and the dead letters. It never reads a store.

use std::collections::HashMap;

use super::ledger::{DifferenceKind, Differences};

/// A summary of records or rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Number of rows.
    pub(super) rows: u64,
    /// Number of identities.
    pub(super) distinct: u64,
    /// Exclusive or of the digests of all canonical texts.
    pub(super) digest: u64,
}

/// A record's identity, and the digest of its canonical text.
pub(super) type Entry = (String, u64);

/// Counts every difference. `planned` visits each record exactly once; `rows` come from the store; `dead` has each
/// identity of the dead-letter topic exactly once.
pub(super) fn reconcile(
    planned: impl FnOnce(&mut dyn FnMut(String, u64)),
    rows: Vec<Entry>,
    dead: Vec<String>,
) -> Differences {
    let mut differences = Differences::default();
    let mut landed: HashMap<String, Vec<u64>> = HashMap::with_capacity(rows.len());
    for (identity, digest) in rows {
        landed.entry(identity).or_default().push(digest);
    }
    let mut dead_lettered: HashMap<String, bool> = dead.into_iter().map(|identity| (identity, false)).collect();
    planned(&mut |identity, digest| {
        let rows = landed.remove(&identity);
        let in_dead_letters = dead_lettered.get_mut(&identity).map(|known| *known = true).is_some();
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
    });
    let unexpected_rows = landed.into_iter().flat_map(|(identity, digests)| vec![identity; digests.len()]);
    let unexpected_letters = dead_lettered.into_iter().filter(|(_, known)| !known).map(|(identity, _)| identity);
    let mut unexpected: Vec<String> = unexpected_rows.chain(unexpected_letters).collect();
    unexpected.sort_unstable();
    for identity in &unexpected {
        differences.note(DifferenceKind::Unexpected, identity);
    }
    differences
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries(ids: &[u32]) -> Vec<Entry> {
        ids.iter().map(|id| (id.to_string(), u64::from(*id) + 1000)).collect()
    }

    fn difference_counts(planned: &[u32], rows: Vec<Entry>, dead: &[u32]) -> (u64, u64, u64, u64) {
        let planned = entries(planned);
        let dead = dead.iter().map(ToString::to_string).collect();
        let plan = |visit: &mut dyn FnMut(String, u64)| planned.into_iter().for_each(|(id, digest)| visit(id, digest));
        let Differences { missing, duplicate, wrong, unexpected, .. } = reconcile(plan, rows, dead);
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
