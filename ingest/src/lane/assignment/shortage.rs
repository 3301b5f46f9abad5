//! Whether memory is short for every active pipeline, and for how long. The caller passes the time; it pauses nothing itself.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Maximum time that records wait in librdkafka's queue before partitions pause, which discards that queue.
const TIMEOUT: Duration = Duration::from_secs(1);
/// A pipeline that has consumed no record for this long is not active.
const IDLE: Duration = Duration::from_secs(1);

/// Tracks whether memory is short for every active pipeline.
#[derive(Debug, Default)]
pub(super) struct Shortage {
    last_consumed: BTreeMap<usize, Instant>,
    since: Option<Instant>,
}

impl Shortage {
    /// Records that a pipeline consumed a record.
    pub(super) fn record_consumed(&mut self, pipeline: usize, now: Instant) {
        self.last_consumed.insert(pipeline, now);
    }

    /// Whether polling should wait: every active pipeline is short of memory, and has been for less than [`TIMEOUT`].
    pub(super) fn should_wait(&mut self, now: Instant, is_short: impl Fn(usize) -> bool) -> bool {
        let mut active =
            self.last_consumed.iter().filter(|(_, at)| now.saturating_duration_since(**at) < IDLE).peekable();
        if active.peek().is_none() || !active.all(|(pipeline, _)| is_short(*pipeline)) {
            self.since = None;
            return false;
        }
        now.saturating_duration_since(*self.since.get_or_insert(now)) < TIMEOUT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polling_waits_briefly_while_every_active_pipeline_is_short() {
        let (start, mut shortage) = (Instant::now(), Shortage::default());
        let at = |millis| start + Duration::from_millis(millis);
        assert!(!shortage.should_wait(at(0), |_| true), "no pipeline is active");
        shortage.record_consumed(0, at(0));
        assert!(shortage.should_wait(at(0), |_| true));
        assert!(!shortage.should_wait(at(10), |_| false), "memory is free again");
        assert!(shortage.should_wait(at(20), |_| true));
        shortage.record_consumed(1, at(30));
        assert!(
            !shortage.should_wait(at(40), |pipeline| pipeline == 0),
            "the other pipeline has memory and must not wait"
        );
        shortage.record_consumed(0, at(1000));
        assert!(shortage.should_wait(at(1030), |pipeline| pipeline == 0), "the other pipeline is idle");
        shortage.record_consumed(0, at(1900));
        assert!(shortage.should_wait(at(2029), |_| true));
        assert!(!shortage.should_wait(at(2030), |_| true), "waiting has not helped");
    }
}
