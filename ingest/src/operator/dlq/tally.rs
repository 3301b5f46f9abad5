//! The progress of a replay: the outcome of each selected letter. It performs no I/O.

use std::collections::BTreeMap;

use super::FilteredOut;
use super::block::Entry;

/// Reasons specific to replays for which a letter remains.
pub mod remaining_reason {
    /// No pipeline has its topic.
    pub const NO_PIPELINE: &str = "no_pipeline";
    /// The letter lacks the ID of its topic.
    pub const NO_TOPIC_ID: &str = "no_topic_id";
    /// The workers have not committed past its record and will consume it again.
    pub const NOT_PASSED: &str = "not_passed";
    /// The letter has no payload, and its record is no longer in its topic.
    pub const PAYLOAD_GONE: &str = "payload_gone";
    /// ClickHouse acknowledged it but does not show it.
    pub const NOT_IN_TABLE: &str = "not_in_table";
}

/// Outcomes of the letters with one reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Letters that landed, or would land in a dry run.
    pub landed: u64,
    /// Letters that remain.
    pub remaining: u64,
}

/// The progress of a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Outcomes by the original reason of the letters.
    pub reasons: BTreeMap<String, Tally>,
    /// Number of remaining letters by their current reason.
    pub remaining: BTreeMap<String, u64>,
    /// Number of letters whose records had landed before.
    pub landed_before: u64,
    /// Whether the replay was stopped.
    pub is_interrupted: bool,
    /// Topics and reasons of letters that the filter excluded.
    pub filtered_out: FilteredOut,
}

impl Replayed {
    /// Number of records that landed, or would in a dry run.
    pub fn landed(&self) -> u64 {
        self.reasons.values().map(|tally| tally.landed).sum()
    }

    /// Number of remaining dead letters.
    pub fn remaining(&self) -> u64 {
        self.remaining.values().sum()
    }

    pub(super) fn record_landed(&mut self, entries: &[&Entry]) {
        for entry in entries {
            self.reasons.entry(entry.reason.clone()).or_default().landed += 1;
        }
    }

    pub(super) fn record_remaining(&mut self, reason: &str, why: &str) {
        self.reasons.entry(reason.to_owned()).or_default().remaining += 1;
        *self.remaining.entry(why.to_owned()).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_counted_by_original_and_current_reason() {
        let mut done = Replayed::default();
        let row = Err("unused");
        done.record_landed(&[&Entry { offset: 1, reason: "wrong_type".to_owned(), is_selected: true, row }]);
        done.record_remaining("wrong_type", "out_of_range");
        done.record_remaining("tombstone", "tombstone");
        assert_eq!(done.reasons["wrong_type"], Tally { landed: 1, remaining: 1 });
        assert_eq!((done.landed(), done.remaining(), done.remaining["out_of_range"]), (1, 2, 1));
    }
}
