//! How far a replay got: what became of each letter that was meant. Pure.

use std::collections::BTreeMap;

use super::FilteredOut;
use super::block::Entry;

/// Reasons of a replay's own for which a letter stays one.
pub mod stays {
    /// No pipeline has its topic.
    pub const NO_PIPELINE: &str = "no_pipeline";
    /// The letter does not say which topic of its name it comes from.
    pub const NO_TOPIC_ID: &str = "no_topic_id";
    /// The workers have not committed past it and will take it in again themselves.
    pub const NOT_PASSED: &str = "not_passed";
    /// The letter had to leave its payload out, and its record is no longer in its topic.
    pub const PAYLOAD_GONE: &str = "payload_gone";
    /// ClickHouse acknowledged it and does not show it.
    pub const NOT_IN_TABLE: &str = "not_in_table";
}

/// What became of the letters with one reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Landed, or would have.
    pub landed: u64,
    /// Still dead letters.
    pub stays: u64,
}

/// How far a replay got.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// By the reason for which they had become dead letters.
    pub reasons: BTreeMap<String, Tally>,
    /// Those that stay, by the reason that they have now.
    pub stays: BTreeMap<String, u64>,
    /// Those that were in their tables before.
    pub already: u64,
    /// Whether it was told to stop.
    pub is_interrupted: bool,
    /// What the filter left out.
    pub filtered_out: FilteredOut,
}

impl Replayed {
    /// How many landed, or would have.
    pub fn landed(&self) -> u64 {
        self.reasons.values().map(|tally| tally.landed).sum()
    }

    /// How many are still dead letters.
    pub fn staying(&self) -> u64 {
        self.stays.values().sum()
    }

    pub(super) fn land(&mut self, entries: &[&Entry]) {
        for entry in entries {
            self.reasons.entry(entry.reason.clone()).or_default().landed += 1;
        }
    }

    pub(super) fn keeps(&mut self, reason: &str, why: &str) {
        self.reasons.entry(reason.to_owned()).or_default().stays += 1;
        *self.stays.entry(why.to_owned()).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_is_counted_by_what_it_was_and_what_it_is() {
        let mut done = Replayed::default();
        let row = Err("unused");
        done.land(&[&Entry { offset: 1, reason: "wrong_type".to_owned(), is_selected: true, row }]);
        done.keeps("wrong_type", "out_of_range");
        done.keeps("tombstone", "tombstone");
        assert_eq!(done.reasons["wrong_type"], Tally { landed: 1, stays: 1 });
        assert_eq!((done.landed(), done.staying(), done.stays["out_of_range"]), (1, 2, 1));
    }
}
