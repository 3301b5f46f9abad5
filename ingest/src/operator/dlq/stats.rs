//! Counts dead letters by state, topic, reason, stage and tenant. It performs no I/O.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::state::State;
use crate::dead_letter::letter::Letter;

/// Number of letters by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Letters whose records are not in their table.
    pub waiting: u64,
    /// Letters whose records are in their table: replayed.
    pub landed: u64,
    /// Letters of unknown state.
    pub unknown: u64,
}

impl Counts {
    fn add(&mut self, state: State) {
        match state {
            State::Waiting => self.waiting += 1,
            State::Landed => self.landed += 1,
            State::Unknown => self.unknown += 1,
        }
    }
}

/// The contents of the dead-letter topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Counts of all letters.
    pub all: Counts,
    /// Counts by topic, with its namespace.
    pub topics: BTreeMap<String, Counts>,
    /// Counts by reason.
    pub reasons: BTreeMap<String, Counts>,
    /// Counts by stage.
    pub stages: BTreeMap<String, Counts>,
    /// Counts by tenant; `None` if unknown.
    pub tenants: BTreeMap<Option<Uuid>, Counts>,
    /// Times of the first and the last letter, in milliseconds since 1970.
    pub times_ms: Option<(i64, i64)>,
}

impl Stats {
    /// Counts one letter.
    pub fn count(&mut self, letter: &Letter, state: State) {
        self.all.add(state);
        for (map, key) in [
            (&mut self.topics, &letter.source.topic),
            (&mut self.reasons, &letter.reason),
            (&mut self.stages, &letter.stage),
        ] {
            map.entry(key.clone()).or_default().add(state);
        }
        self.tenants.entry(letter.tenant).or_default().add(state);
        let at = letter.at_ms;
        self.times_ms = Some(self.times_ms.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::letter::tests::letter;
    use sluice_schemas::records::dead_letter_header as header;

    #[test]
    fn every_letter_is_counted_by_each_of_its_facts() {
        let mut stats = Stats::default();
        stats.count(&letter(&[]).unwrap(), State::Waiting);
        stats.count(&letter(&[(header::REASON, "tombstone"), (header::TENANT, "")]).unwrap(), State::Landed);
        stats.count(&letter(&[(header::STAGE, "write")]).unwrap(), State::Unknown);
        assert_eq!(stats.all, Counts { waiting: 1, landed: 1, unknown: 1 });
        assert_eq!(stats.topics["ns.events"], stats.all);
        assert_eq!(stats.reasons["tombstone"], Counts { landed: 1, ..Counts::default() });
        assert_eq!(stats.stages["write"], Counts { unknown: 1, ..Counts::default() });
        assert_eq!(stats.tenants[&None], Counts { landed: 1, ..Counts::default() });
        assert_eq!(stats.times_ms, Some((2000, 2000)));
    }
}
