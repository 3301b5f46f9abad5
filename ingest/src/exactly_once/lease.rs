//! The lease: how long a worker may trust that a partition is still its own.
//! An acknowledged commit proves it, since the broker refuses one from an earlier generation of the group; the proof holds
//! from the moment the commit was sent, for less than the session timeout. A worker that was asleep (SIGSTOP, a suspended
//! machine) finds its lease expired and sends nothing more until Kafka has answered again. Pure but for the wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Moment;
use crate::fault::{Fault, is_injected};

/// How often an expired lease is looked at again.
const LOOK: Duration = Duration::from_millis(20);

/// The lease on one assigned partition.
#[derive(Debug)]
pub struct Lease {
    begun: Moment,
    /// Milliseconds from `begun` to the last proof.
    proven: AtomicU64,
    length: Duration,
}

impl Lease {
    /// A lease that begins with a proof: the group has just handed the partition out.
    pub fn new(now: Moment, length: Duration) -> Self {
        Self { begun: now, proven: AtomicU64::new(0), length }
    }

    /// Kafka acknowledged a commit that was sent at `sent`.
    pub fn prove(&self, sent: Moment) {
        let millis = u64::try_from(sent.since(self.begun).as_millis()).unwrap_or(u64::MAX);
        self.proven.fetch_max(millis, Ordering::Relaxed);
    }

    /// Whether the partition is still ours beyond doubt.
    pub fn is_valid(&self, now: Moment) -> bool {
        self.age(now) < self.length
    }

    /// Whether a new proof should be fetched while there is work.
    pub fn is_aging(&self, now: Moment) -> bool {
        self.age(now) * 3 >= self.length
    }

    fn age(&self, now: Moment) -> Duration {
        let proven = self.begun + Duration::from_millis(self.proven.load(Ordering::Relaxed));
        now.since(proven)
    }

    /// Waits until the lease is valid.
    pub async fn held(&self) {
        while !self.is_held() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether it is valid now.
    pub fn is_held(&self) -> bool {
        self.is_valid(Moment::now()) || is_injected(Fault::NeverExpireLease)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_counts_from_when_it_was_asked_for() {
        let start = Moment::now();
        let second = Duration::from_secs(1);
        let lease = Lease::new(start, 9 * second);
        assert!(lease.is_valid(start + 8 * second) && !lease.is_valid(start + 9 * second));
        assert!(!lease.is_aging(start + 2 * second) && lease.is_aging(start + 3 * second));
        lease.prove(start + 5 * second);
        lease.prove(start + 4 * second);
        assert!(lease.is_valid(start + 13 * second) && !lease.is_valid(start + 14 * second));
    }
}
