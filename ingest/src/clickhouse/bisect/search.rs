//! The order in which rows of a part are tried, so that all that are refused alone are found in few tries.
//! What became of one stretch of rows after the other goes in; the next stretch to try comes out. Pure.
//!
//! A stretch that is taken holds no such row. One that is refused is halved, and a row is at fault only once it was tried
//! alone: so `k` of `n` rows are found in about `k * log2(n / k)` tries.

use std::ops::Range;

/// Most rows that are found in one search; what is left is searched once these are out of the way.
pub(super) const MOST_FOUND: usize = 250;

/// Rows that have not been tried yet.
#[derive(Debug, Clone)]
struct Open {
    rows: Range<usize>,
    /// The whole was refused and its other half taken: this half need not be tried as a whole.
    is_refused: bool,
    /// The other half of the same stretch is the next one.
    is_left: bool,
}

/// A search under way.
#[derive(Debug)]
pub(super) struct Search {
    open: Vec<Open>,
    /// Rows that were refused alone, in order, with why.
    found: Vec<(usize, String)>,
    /// The stretch that is being tried.
    tried: Option<Open>,
}

impl Search {
    /// Among so many rows, which were refused as a whole.
    pub(super) fn new(rows: usize) -> Self {
        let open = vec![Open { rows: 0..rows, is_refused: true, is_left: false }];
        Self { open, found: Vec::new(), tried: None }
    }

    /// The rows to try next, until everything is known or enough is found.
    pub(super) fn next(&mut self) -> Option<Range<usize>> {
        if self.found.len() >= MOST_FOUND {
            return None;
        }
        while let Some(open) = self.open.pop() {
            if open.rows.len() > 1 && open.is_refused {
                self.halve(&open.rows);
            } else if !open.rows.is_empty() {
                let rows = open.rows.clone();
                self.tried = Some(open);
                return Some(rows);
            }
        }
        None
    }

    fn halve(&mut self, rows: &Range<usize>) {
        let middle = rows.start + rows.len() / 2;
        self.open.push(Open { rows: middle..rows.end, is_refused: false, is_left: false });
        self.open.push(Open { rows: rows.start..middle, is_refused: false, is_left: true });
    }

    /// What became of them: taken, or refused for this reason.
    pub(super) fn answer(&mut self, refused: Option<String>) {
        let Some(Open { rows, is_left, .. }) = self.tried.take() else { return };
        match refused {
            None => {
                if let Some(other) = self.open.last_mut().filter(|_| is_left) {
                    other.is_refused = true;
                }
            }
            Some(reason) if rows.len() == 1 => self.found.push((rows.start, reason)),
            Some(_) => self.halve(&rows),
        }
    }

    /// The rows that are refused alone, in order, with why.
    pub(super) fn found(self) -> Vec<(usize, String)> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    /// Searches where exactly these rows are refused; gives what was found and in how many tries.
    fn search(rows: usize, refused: &BTreeSet<usize>) -> (Vec<usize>, usize) {
        let (mut search, mut tries) = (Search::new(rows), 0);
        while let Some(stretch) = search.next() {
            tries += 1;
            let is_refused = refused.range(stretch).next().is_some();
            search.answer(is_refused.then(|| "why".to_owned()));
        }
        (search.found().into_iter().map(|(row, _)| row).collect(), tries)
    }

    #[test]
    fn a_few_among_many_take_few_tries() {
        let refused: BTreeSet<_> = (0..10_000).step_by(100).collect();
        let (found, tries) = search(10_000, &refused);
        assert_eq!(found, refused.iter().copied().collect::<Vec<_>>());
        assert!(tries < 1_500, "{tries} tries");
        assert!(search(10_000, &BTreeSet::from([7_777])).1 <= 28);
    }

    #[test]
    fn it_stops_when_enough_is_found() {
        let (found, tries) = search(10_000, &(0..10_000).collect());
        assert_eq!(found, (0..MOST_FOUND).collect::<Vec<_>>());
        assert!(tries < 3 * MOST_FOUND);
    }

    /// Refused as a whole and not in part: nothing is blamed.
    #[test]
    fn rows_that_are_refused_only_together_are_not_found() {
        let mut search = Search::new(64);
        while let Some(stretch) = search.next() {
            search.answer((stretch.len() > 5).then(|| "too many".to_owned()));
        }
        assert!(search.found().is_empty());
    }

    proptest! {
        /// Exactly the refused rows are found, those in front first, each after it was tried alone, and in no more tries
        /// than halving needs.
        #[test]
        fn exactly_the_refused_rows_are_found(
            rows in 1_usize..2_000, some in proptest::collection::vec(any::<proptest::sample::Index>(), 1..40)
        ) {
            let refused: BTreeSet<_> = some.iter().map(|index| index.index(rows)).collect();
            let (found, tries) = search(rows, &refused);
            prop_assert_eq!(&found, &refused.iter().copied().collect::<Vec<_>>());
            let depth = usize::BITS - rows.leading_zeros();
            prop_assert!(tries <= 2 * found.len() * depth as usize + 1, "{} tries", tries);
        }
    }
}
