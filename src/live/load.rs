//! The progress of a load: records by kind, with their rate and the time left. It never prints.

use std::{collections::BTreeMap, time::Duration};

use sluice_loadgen::number::separated;

use super::pace::{Pace, clock};

/// Records that a load has written.
#[derive(Debug, Default)]
pub(super) struct LoadCounts {
    expected: BTreeMap<String, u64>,
    loaded: BTreeMap<String, (u64, Pace)>,
}

impl LoadCounts {
    /// A load that starts now, of that many records by kind.
    pub(super) fn expecting(expected: &BTreeMap<String, u64>) -> Self {
        let loaded = expected.keys().map(|kind| (kind.clone(), (0, Pace::starting()))).collect();
        Self { expected: expected.clone(), loaded }
    }

    /// Records of a kind that an earlier load has left are not loaded again.
    pub(super) fn keep(&mut self, kind: &str, count: u64) {
        if let Some(expected) = self.expected.get_mut(kind) {
            *expected = expected.saturating_sub(count);
        }
    }

    /// Counts more records of a kind, `at` that time since the start of the load.
    pub(super) fn add(&mut self, at: Duration, kind: &str, more: u64) {
        let (count, pace) = self.loaded.entry(kind.to_owned()).or_insert_with(|| (0, Pace::starting()));
        *count += more;
        pace.mark(at, *count);
    }

    /// Records loaded, and records to load.
    pub(super) fn totals(&self) -> (u64, u64) {
        let loaded = self.loaded.values().map(|(count, _)| count).sum();
        let expected = self.loaded.iter().map(|(kind, (count, _))| self.expected(kind).max(*count)).sum();
        (loaded, expected)
    }

    fn expected(&self, kind: &str) -> u64 {
        self.expected.get(kind).copied().unwrap_or_default()
    }

    /// Records per second, and the time that the slowest store still takes. A store's kinds are loaded in sequence, at one rate.
    /// That is a lower bound while a store has not begun.
    fn pace(&self, at: Duration) -> (f64, Option<Duration>) {
        let mut stores: BTreeMap<&str, (u64, f64)> = BTreeMap::new();
        // Of a kind whose number is not known, nobody knows how much is left.
        for (kind, (count, pace)) in self.loaded.iter().filter(|(kind, _)| self.expected.contains_key(*kind)) {
            let (rest, rate) = stores.entry(store(kind)).or_default();
            *rest += self.expected(kind).saturating_sub(*count);
            *rate += pace.rate(at, *count).unwrap_or_default();
        }
        let all = self.loaded.values().filter_map(|(count, pace)| pace.rate(at, *count)).sum();
        let left =
            |(rest, rate): &(u64, f64)| (*rest > 0).then(|| Duration::try_from_secs_f64(*rest as f64 / rate).ok())?;
        (all, stores.values().filter_map(left).max())
    }

    /// One line: how much is loaded, how fast, and the time left.
    pub(super) fn summary(&self, at: Duration) -> String {
        let (loaded, expected) = self.totals();
        let (rate, left) = self.pace(at);
        let left = left.map_or_else(String::new, |left| format!(", {} left", clock(left)));
        format!("{} of about {} records, {}/s{left}", separated(loaded), separated(expected), separated(rate as u64))
    }

    /// A line for each kind.
    pub(super) fn lines(&self, at: Duration) -> String {
        let line = |(kind, (count, pace)): (&String, &(u64, Pace))| {
            let rate = match pace.rate(at, *count) {
                _ if *count >= self.expected(kind) => "done".to_owned(),
                Some(rate) => format!("{}/s", separated(rate as u64)),
                None => String::new(),
            };
            format!("{:>14} {kind:<34} {rate:>12}", separated(*count))
        };
        self.loaded.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// The store of a kind: its first word.
fn store(kind: &str) -> &str {
    kind.split(' ').next().unwrap_or(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_shows_its_rate_and_the_time_of_its_slowest_kind() {
        let expected = BTreeMap::from([("PostgreSQL customers".to_owned(), 1_000), ("Redis contexts".to_owned(), 500)]);
        let mut load = LoadCounts::expecting(&expected);
        for second in 1..=5 {
            load.add(Duration::from_secs(second), "PostgreSQL customers", 100);
            load.add(Duration::from_secs(second), "Redis contexts", 100);
        }
        let now = Duration::from_secs(5);
        insta::assert_snapshot!(format!("{}\n{}", load.summary(now), load.lines(now)), @r"
        1,000 of about 1,500 records, 200/s, 0:05 left
                   500 PostgreSQL customers                      100/s
                   500 Redis contexts                             done
        ");
    }

    #[test]
    fn kinds_of_one_store_take_turns_and_those_kept_are_not_loaded() {
        let expected = [("ClickHouse events", 5_000), ("ClickHouse metrics", 4_000), ("PostgreSQL customers", 1_000)];
        let mut load = LoadCounts::expecting(&expected.map(|(kind, count)| (kind.to_owned(), count)).into());
        load.keep("ClickHouse events", 2_000);
        load.keep("PostgreSQL customers", 1_000);
        // Events stand still while the metrics of a tenant are loaded.
        load.add(Duration::from_secs(1), "ClickHouse events", 1_000);
        for second in 2..=12 {
            load.add(Duration::from_secs(second), "ClickHouse metrics", 100);
        }
        assert_eq!(load.summary(Duration::from_secs(12)), "2,100 of about 7,000 records, 100/s, 0:49 left");
    }

    #[test]
    fn more_records_than_expected_are_no_negative_rest() {
        let mut load = LoadCounts::expecting(&BTreeMap::from([("a".to_owned(), 5)]));
        load.add(Duration::from_secs(1), "a", 7);
        load.add(Duration::from_secs(2), "b", 1);
        assert_eq!(load.totals(), (8, 8));
        assert_eq!(load.summary(Duration::from_secs(2)), "8 of about 8 records, 4/s");
    }
}
