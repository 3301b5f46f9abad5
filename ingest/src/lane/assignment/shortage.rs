//! Whether memory is short for all pipelines that take records in, and for how long. Clocked by the caller; it pauses nobody.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long all records may wait in librdkafka's queue before partitions pause, which throws away what it has fetched.
const PATIENCE: Duration = Duration::from_secs(1);
/// A pipeline that has taken no record in for so long has none waiting.
const IDLE: Duration = Duration::from_secs(1);

/// Memory that is short for all pipelines that take records in.
#[derive(Debug, Default)]
pub(super) struct Shortage {
    taken: BTreeMap<usize, Instant>,
    since: Option<Instant>,
}

impl Shortage {
    /// A pipeline took a record in.
    pub(super) fn consumed(&mut self, pipeline: usize, now: Instant) {
        self.taken.insert(pipeline, now);
    }

    /// Whether no more records should be asked for now: every pipeline that takes some in is short of memory, and that
    /// only since a moment ago.
    pub(super) fn waits(&mut self, now: Instant, is_short: impl Fn(usize) -> bool) -> bool {
        let mut active = self.taken.iter().filter(|(_, at)| now.saturating_duration_since(**at) < IDLE).peekable();
        if active.peek().is_none() || !active.all(|(pipeline, _)| is_short(*pipeline)) {
            self.since = None;
            return false;
        }
        now.saturating_duration_since(*self.since.get_or_insert(now)) < PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_wait_a_moment_while_everybody_who_takes_some_in_is_short() {
        let (start, mut shortage) = (Instant::now(), Shortage::default());
        let at = |millis| start + Duration::from_millis(millis);
        assert!(!shortage.waits(at(0), |_| true), "nobody takes any in");
        shortage.consumed(0, at(0));
        assert!(shortage.waits(at(0), |_| true));
        assert!(!shortage.waits(at(10), |_| false), "there is room again");
        assert!(shortage.waits(at(20), |_| true));
        shortage.consumed(1, at(30));
        assert!(!shortage.waits(at(40), |pipeline| pipeline == 0), "another one has room and must not wait");
        shortage.consumed(0, at(1000));
        assert!(shortage.waits(at(1030), |pipeline| pipeline == 0), "it takes none in any more");
        shortage.consumed(0, at(1900));
        assert!(shortage.waits(at(2029), |_| true));
        assert!(!shortage.waits(at(2030), |_| true), "waiting has not helped");
    }
}
