//! The lease: how long a worker may assume that a partition is still assigned to it.
//! An acknowledged commit proves the assignment, since the broker refuses commits of an earlier generation of the group. The
//! proof is valid from the time the commit was sent, for less than the session timeout. A worker that was suspended (SIGSTOP,
//! a sleeping machine) finds its lease expired, and sends nothing until Kafka has acknowledged another commit. It performs
//! no I/O.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Moment;
use crate::fault::{Fault, is_injected};

/// Time between two checks of an expired lease.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The lease on one assigned partition.
#[derive(Debug)]
pub struct Lease {
    created: Moment,
    /// Milliseconds from `created` to the last proof.
    proven: AtomicU64,
    length: Duration,
}

impl Lease {
    /// Creates a lease that is valid from `now`, when the group assigned the partition.
    pub fn new(now: Moment, length: Duration) -> Self {
        Self { created: now, proven: AtomicU64::new(0), length }
    }

    /// Renews the lease: Kafka acknowledged a commit that was sent at `sent`.
    pub fn renew(&self, sent: Moment) {
        let millis = u64::try_from(sent.since(self.created).as_millis()).unwrap_or(u64::MAX);
        self.proven.fetch_max(millis, Ordering::Relaxed);
    }

    /// Whether the lease is valid at `now`.
    pub fn is_valid(&self, now: Moment) -> bool {
        self.age(now) < self.length
    }

    /// Whether the lease should be renewed while there is work.
    pub fn needs_renewal(&self, now: Moment) -> bool {
        self.age(now) * 3 >= self.length
    }

    fn age(&self, now: Moment) -> Duration {
        let proven = self.created + Duration::from_millis(self.proven.load(Ordering::Relaxed));
        now.since(proven)
    }

    /// Waits until the lease is valid.
    pub async fn wait_until_held(&self) {
        while !self.is_held() {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Whether the lease is valid now.
    pub fn is_held(&self) -> bool {
        self.is_valid(Moment::now()) || is_injected(Fault::NeverExpireLease)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_counts_from_when_its_commit_was_sent() {
        let start = Moment::now();
        let second = Duration::from_secs(1);
        let lease = Lease::new(start, 9 * second);
        assert!(lease.is_valid(start + 8 * second) && !lease.is_valid(start + 9 * second));
        assert!(!lease.needs_renewal(start + 2 * second) && lease.needs_renewal(start + 3 * second));
        lease.renew(start + 5 * second);
        lease.renew(start + 4 * second);
        assert!(lease.is_valid(start + 13 * second) && !lease.is_valid(start + 14 * second));
    }
}
