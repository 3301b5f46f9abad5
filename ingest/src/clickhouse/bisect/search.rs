//! Chooses the spans of a part's rows to try, so that few tries find every row that is refused alone. It performs no
//! I/O.
//!
//! An accepted span holds no such row. A refused span is halved, and a row is reported only once it was refused alone:
//! this finds `k` of `n` rows in about `k * log2(n / k)` tries.

use std::ops::Range;

/// Maximum number of rows found in one search; the remaining rows are searched once these have been removed.
pub(super) const MAX_FOUND: usize = 250;

/// A span of rows that has not been tried.
#[derive(Debug, Clone)]
struct Span {
    rows: Range<usize>,
    /// Known to contain a refused row, because the whole span was refused and its other half accepted.
    is_refused: bool,
    /// The second half of the same span is tried next.
    is_first_half: bool,
}

/// A search in progress.
#[derive(Debug)]
pub(super) struct Search {
    pending: Vec<Span>,
    /// Rows that were refused alone, in order, each with the reason.
    refused_rows: Vec<(usize, String)>,
    /// The span being tried.
    tried: Option<Span>,
}

impl Search {
    /// Starts a search among `rows` rows that were refused as a whole.
    pub(super) fn new(rows: usize) -> Self {
        let pending = vec![Span { rows: 0..rows, is_refused: true, is_first_half: false }];
        Self { pending, refused_rows: Vec::new(), tried: None }
    }

    /// Returns the rows to try next; `None` once all refused rows are found, or [`MAX_FOUND`] of them.
    pub(super) fn next(&mut self) -> Option<Range<usize>> {
        if self.refused_rows.len() >= MAX_FOUND {
            return None;
        }
        while let Some(pending) = self.pending.pop() {
            if pending.rows.len() > 1 && pending.is_refused {
                self.halve(&pending.rows);
            } else if !pending.rows.is_empty() {
                let rows = pending.rows.clone();
                self.tried = Some(pending);
                return Some(rows);
            }
        }
        None
    }

    fn halve(&mut self, rows: &Range<usize>) {
        let middle = rows.start + rows.len() / 2;
        self.pending.push(Span { rows: middle..rows.end, is_refused: false, is_first_half: false });
        self.pending.push(Span { rows: rows.start..middle, is_refused: false, is_first_half: true });
    }

    /// Records the outcome of the span being tried: accepted, or refused for this reason.
    pub(super) fn record(&mut self, refused: Option<String>) {
        let Some(Span { rows, is_first_half, .. }) = self.tried.take() else { return };
        match refused {
            None => {
                if let Some(other) = self.pending.last_mut().filter(|_| is_first_half) {
                    other.is_refused = true;
                }
            }
            Some(reason) if rows.len() == 1 => self.refused_rows.push((rows.start, reason)),
            Some(_) => self.halve(&rows),
        }
    }

    /// Returns the rows that were refused alone, in order, each with the reason.
    pub(super) fn into_refused_rows(self) -> Vec<(usize, String)> {
        self.refused_rows
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    /// Runs a search in which exactly these rows are refused; returns the rows found and the number of tries.
    fn search(rows: usize, refused: &BTreeSet<usize>) -> (Vec<usize>, usize) {
        let (mut search, mut tries) = (Search::new(rows), 0);
        while let Some(span) = search.next() {
            tries += 1;
            let is_refused = refused.range(span).next().is_some();
            search.record(is_refused.then(|| "why".to_owned()));
        }
        (search.into_refused_rows().into_iter().map(|(row, _)| row).collect(), tries)
    }

    #[test]
    fn few_refused_rows_need_few_tries() {
        let refused: BTreeSet<_> = (0..10_000).step_by(100).collect();
        let (refused_rows, tries) = search(10_000, &refused);
        assert_eq!(refused_rows, refused.iter().copied().collect::<Vec<_>>());
        assert!(tries < 1_500, "{tries} tries");
        assert!(search(10_000, &BTreeSet::from([7_777])).1 <= 28);
    }

    #[test]
    fn the_search_stops_once_enough_rows_are_found() {
        let (refused_rows, tries) = search(10_000, &(0..10_000).collect());
        assert_eq!(refused_rows, (0..MAX_FOUND).collect::<Vec<_>>());
        assert!(tries < 3 * MAX_FOUND);
    }

    /// If rows are refused only in larger groups, none is reported.
    #[test]
    fn rows_that_are_refused_only_together_are_not_found() {
        let mut search = Search::new(64);
        while let Some(span) = search.next() {
            search.record((span.len() > 5).then(|| "too many".to_owned()));
        }
        assert!(search.into_refused_rows().is_empty());
    }

    proptest! {
        /// Exactly the refused rows are found, in order, each after it was tried alone, and with no more tries than
        /// halving needs.
        #[test]
        fn exactly_the_refused_rows_are_found(
            rows in 1_usize..2_000, indices in proptest::collection::vec(any::<proptest::sample::Index>(), 1..40)
        ) {
            let refused: BTreeSet<_> = indices.iter().map(|index| index.index(rows)).collect();
            let (refused_rows, tries) = search(rows, &refused);
            prop_assert_eq!(&refused_rows, &refused.iter().copied().collect::<Vec<_>>());
            let depth = usize::BITS - rows.leading_zeros();
            prop_assert!(tries <= 2 * refused_rows.len() * depth as usize + 1, "{} tries", tries);
        }
    }
}
