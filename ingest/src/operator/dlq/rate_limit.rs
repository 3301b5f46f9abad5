//! The pace of a replay's INSERTs, so that running workers keep most of ClickHouse's. It never inserts.

use std::time::Duration;

use tokio::time::Instant;

/// A replay uses `peak_inserts_per_second` divided by this: every INSERT shortens the time for which the workers'
/// tokens are remembered.
const RATE_DIVISOR: u32 = 4;

/// Limits the rate of a replay's INSERTs.
pub(super) struct RateLimit {
    interval: Duration,
    next: Instant,
}

impl RateLimit {
    pub(super) fn new(peak_inserts_per_second: u32) -> Self {
        let interval = Duration::from_secs(u64::from(RATE_DIVISOR)) / peak_inserts_per_second.max(1);
        Self { interval, next: Instant::now() }
    }

    pub(super) async fn wait(&self) {
        tokio::time::sleep_until(self.next).await;
    }

    pub(super) fn record_insert(&mut self) {
        self.next = Instant::now() + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inserts_stay_below_their_rate() {
        let mut limit = RateLimit::new(40);
        assert_eq!(limit.interval, Duration::from_millis(100));
        let before = limit.next;
        limit.record_insert();
        assert!(limit.next >= before + limit.interval);
    }
}
