//! The memory budget: how many bytes may be in flight, and which pipelines have to stop.
//! Bytes are acquired when rows are encoded, and released when their batch is dropped. The budget only counts: it is
//! shared by threads, and never pauses a pipeline or blocks.
//!
//! Half of the budget is divided into reserved shares, one per pipeline; the other half is shared. A pipeline has to stop
//! when it has used its own share *and* the shared half is nearly used, and may resume when either has room again. The room
//! above the high mark is for the record that was being decoded when the pressure was detected.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sluice_schemas::records::DeadLetter;

use super::body::Pool;

type Header = (String, Option<Vec<u8>>);

/// The allocator's overhead for each allocation, and the multiple that it rounds to, in bytes.
const ALLOCATION_UNIT: usize = 16;
/// Percentage of the shared half above which pipelines that exceed their own share have to stop.
const HIGH_PERCENT: usize = 80;
/// Percentage of the shared half up to which they resume.
const LOW_PERCENT: usize = 50;

/// The budget of all pipelines.
#[derive(Debug)]
pub struct Budget {
    total: usize,
    reserve: usize,
    used: Vec<AtomicUsize>,
    pool: Arc<Pool>,
}

/// How short memory is for a pipeline, and so what it should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pressure {
    /// Memory is available: resume if paused.
    Low,
    /// Neither pause nor resume.
    Medium,
    /// Accept no more records, and seal the largest open batch if none is waiting or being written.
    High,
}

impl Budget {
    /// Creates a budget of `total` bytes for `pipelines` pipelines.
    pub fn new(total: usize, pipelines: usize) -> Arc<Self> {
        let used = (0..pipelines).map(|_| AtomicUsize::new(0)).collect();
        Arc::new(Self { total, reserve: total / 2 / pipelines.max(1), used, pool: Arc::default() })
    }

    /// Creates a permit for 0 bytes, which can grow.
    pub fn permit(self: &Arc<Self>, pipeline: usize) -> Permit {
        Permit { budget: Arc::clone(self), pipeline, bytes: 0 }
    }

    /// Bytes that one pipeline has in flight.
    pub fn used(&self, pipeline: usize) -> usize {
        self.used[pipeline].load(Ordering::Relaxed)
    }

    /// Frees unused chunks that, together with the bytes in flight, would exceed the budget.
    pub fn trim(&self) {
        let used: usize = (0..self.used.len()).map(|index| self.used(index)).sum();
        self.pool.shrink_to(self.total.saturating_sub(used));
    }

    /// The pressure on `pipeline`.
    pub fn pressure(&self, pipeline: usize) -> Pressure {
        let shared = self.total - self.reserve * self.used.len();
        let beyond: usize = (0..self.used.len()).map(|index| self.used(index).saturating_sub(self.reserve)).sum();
        let own = self.used(pipeline);
        if own > self.reserve && beyond * 100 > shared * HIGH_PERCENT {
            Pressure::High
        } else if own <= self.reserve / 2 || beyond * 100 <= shared * LOW_PERCENT {
            Pressure::Low
        } else {
            Pressure::Medium
        }
    }
}

/// Bytes acquired from a budget; they are released when it is dropped.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    pipeline: usize,
    bytes: usize,
}

impl Permit {
    /// Acquires another `bytes`, even beyond the budget.
    pub fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.budget.used[self.pipeline].fetch_add(bytes, Ordering::Relaxed);
    }

    /// Creates a permit for 0 bytes of the same pipeline.
    #[must_use]
    pub fn sibling(&self) -> Self {
        self.budget.permit(self.pipeline)
    }

    /// The pool that provides the chunks of this budget's bodies.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.budget.pool
    }

    /// Number of bytes it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.used[self.pipeline].fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Memory counted for a buffered dead letter, in bytes: its key, payload and headers, with the allocator's overhead for each
/// header's name and value. Its short texts are not counted.
pub fn letter_bytes(letter: &DeadLetter) -> usize {
    let length = |bytes: Option<&Vec<u8>>| bytes.map_or(0, Vec::len);
    length(letter.key.as_ref())
        + length(letter.payload.as_ref())
        + header_bytes(&letter.headers)
        + size_of::<DeadLetter>()
}

fn header_bytes(headers: &[Header]) -> usize {
    let allocated =
        |bytes: usize| if bytes == 0 { 0 } else { bytes.next_multiple_of(ALLOCATION_UNIT) + ALLOCATION_UNIT };
    let one = |(name, value): &Header| allocated(name.len()) + allocated(value.as_ref().map_or(0, Vec::len));
    headers.iter().map(|header| one(header) + size_of::<Header>()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_overhead_of_each_header_is_counted() {
        let tiny = vec![("a".to_owned(), Some(vec![1])); 1000];
        assert_eq!(header_bytes(&tiny), 1000 * (48 + 32 + 32));
        assert_eq!(header_bytes(&[("a".to_owned(), None)]), 48 + 32);
    }

    #[test]
    fn a_dead_letter_includes_the_overhead_of_its_headers() {
        let headers = vec![("h".to_owned(), Some(vec![0])); 1000];
        let letter = DeadLetter {
            key: None,
            payload: None,
            headers,
            headers_left_out: None,
            reason: String::new(),
            stage: String::new(),
            error_class: String::new(),
            topic: String::new(),
            topic_id: uuid::Uuid::nil(),
            partition: 0,
            offset: 0,
            timestamp_ms: None,
            attempts: 1,
            tenant_id: None,
        };
        assert!(letter_bytes(&letter) >= 100_000, "{}", letter_bytes(&letter));
    }

    #[test]
    fn a_stuck_pipeline_does_not_use_the_share_of_another() {
        let budget = Budget::new(1000, 2);
        let mut stuck = budget.permit(0);
        stuck.grow(660);
        assert_eq!(budget.pressure(0), Pressure::High);
        let mut other = budget.permit(1);
        other.grow(250);
        assert_ne!(budget.pressure(1), Pressure::High);
        drop(stuck);
        assert_eq!(budget.pressure(0), Pressure::Low);
    }

    /// The rule, expressed in fractions: a pipeline beyond its own share stops when more than four fifths of the shared half
    /// are used, and resumes at one half of it, or at one half of its own share.
    fn model(total: usize, used: &[usize], pipeline: usize) -> Pressure {
        let share = total / 2 / used.len();
        let shared = (total - share * used.len()) as f64;
        let beyond = used.iter().map(|used| used.saturating_sub(share)).sum::<usize>() as f64;
        let is_beyond = used[pipeline] > share;
        match () {
            () if is_beyond && beyond / 4.0 > shared / 5.0 => Pressure::High,
            () if used[pipeline] <= share / 2 || beyond <= shared / 2.0 => Pressure::Low,
            () => Pressure::Medium,
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// A permit for this many bytes is created.
        Acquire(usize),
        /// The latest permit grows by this many bytes.
        Grow(usize),
        /// The oldest permit is dropped.
        Release,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => (0_usize..3000).prop_map(Step::Acquire),
            2 => (0_usize..3000).prop_map(Step::Grow),
            2 => Just(Step::Release),
        ]
    }

    proptest! {
        /// Compares with plain sums: the bytes and the pressure of each pipeline are correct after any sequence of steps. No
        /// pipeline within its own share has to stop, and one that has released everything may resume.
        #[test]
        fn bytes_and_pressure_match_plain_sums(
            total in 0_usize..20_000, pipelines in 1_usize..6, steps in proptest::collection::vec((0_usize..6, step()), 1..100)
        ) {
            let budget = Budget::new(total, pipelines);
            let mut held: Vec<Vec<Permit>> = (0..pipelines).map(|_| Vec::new()).collect();
            let mut sums: Vec<Vec<usize>> = vec![Vec::new(); pipelines];
            for (pipeline, step) in steps {
                let own = pipeline % pipelines;
                match step {
                    Step::Acquire(bytes) => {
                        let mut permit = budget.permit(own);
                        permit.grow(bytes);
                        held[own].push(permit);
                        sums[own].push(bytes);
                    }
                    Step::Grow(bytes) => if let Some(permit) = held[own].last_mut() {
                        permit.grow(bytes);
                        *sums[own].last_mut().unwrap() += bytes;
                    },
                    Step::Release => if !held[own].is_empty() {
                        held[own].remove(0);
                        sums[own].remove(0);
                    },
                }
                prop_assert_eq!(held[own].iter().map(Permit::bytes).collect::<Vec<_>>(), sums[own].clone());
                let used: Vec<usize> = sums.iter().map(|sums| sums.iter().sum()).collect();
                for pipeline in 0..pipelines {
                    let pressure = budget.pressure(pipeline);
                    prop_assert_eq!(budget.used(pipeline), used[pipeline]);
                    prop_assert_eq!(pressure, model(total, &used, pipeline), "{} of {:?}", pipeline, used);
                    prop_assert!(pressure != Pressure::High || used[pipeline] > total / 2 / pipelines);
                    prop_assert!(used[pipeline] > 0 || pressure == Pressure::Low);
                }
            }
            held.clear();
            prop_assert!((0..pipelines).all(|pipeline| budget.used(pipeline) == 0));
        }

        /// The budget is never exceeded if pipelines stop when they have to, and no record is larger than its share of the
        /// room above the high mark.
        #[test]
        fn pipelines_that_stop_in_time_stay_within_the_budget(
            total in 1000_usize..20_000, pipelines in 1_usize..6,
            steps in proptest::collection::vec((0_usize..6, 1_usize..101, any::<bool>()), 1..300)
        ) {
            let budget = Budget::new(total, pipelines);
            let largest = total / 2 / 5 / pipelines;
            let mut held: Vec<Vec<Permit>> = (0..pipelines).map(|_| Vec::new()).collect();
            for (pipeline, percent, releases) in steps {
                let own = pipeline % pipelines;
                if releases {
                    held[own].pop();
                } else if budget.pressure(own) != Pressure::High {
                    let mut permit = budget.permit(own);
                    permit.grow(largest * percent / 100);
                    held[own].push(permit);
                }
                let used: usize = (0..pipelines).map(|index| budget.used(index)).sum();
                prop_assert!(used <= total, "{used} in flight");
            }
        }

        /// Threads that acquire and release concurrently: the bytes counted are those held.
        #[test]
        fn concurrent_threads_are_counted_exactly(sizes in proptest::collection::vec(1_usize..1000, 2..20)) {
            let budget = Budget::new(1 << 20, 2);
            let acquire = |pipeline: usize| {
                let permits = sizes.iter().map(|bytes| {
                    let mut permit = budget.permit(pipeline);
                    permit.grow(*bytes);
                    permit
                });
                let mut permits: Vec<_> = permits.collect();
                permits.truncate(sizes.len() / 2);
                permits
            };
            let held: Vec<Permit> = std::thread::scope(|scope| {
                let threads = [0, 1, 0, 1].map(|pipeline| scope.spawn(move || acquire(pipeline)));
                threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
            });
            let half: usize = sizes[..sizes.len() / 2].iter().sum();
            prop_assert_eq!((budget.used(0), budget.used(1)), (2 * half, 2 * half));
            drop(held);
            prop_assert_eq!((budget.used(0), budget.used(1)), (0, 0));
        }
    }
}
