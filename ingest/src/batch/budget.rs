//! The byte budget: how much may be on its way, and who has to wait.
//! Bytes are taken as rows are encoded and given back when the batch that holds them is dropped; out comes the pressure
//! on each pipeline. Pure counting, shared by threads; it pauses nobody itself and never blocks.
//!
//! Half of the budget is divided into reserved shares, one per pipeline; the other half is shared. A pipeline is told
//! to stop when its own share is used up *and* the shared half is nearly so, and may go on when either has room again.
//! What is left above the high mark takes the record that was already in hand when the pressure was noticed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sluice_schemas::records::DeadLetter;

use super::body::Pool;

type Header = (String, Option<Vec<u8>>);

/// What the allocator adds to each block, and the multiple it rounds to.
const BLOCK: usize = 16;
/// Part of the shared half that may be used before pipelines beyond their own share stop, in percent.
const HIGH_PERCENT: usize = 80;
/// Part of the shared half below which they go on, in percent.
const LOW_PERCENT: usize = 50;

/// The budget of all pipelines.
#[derive(Debug)]
pub struct Budget {
    total: usize,
    reserve: usize,
    used: Vec<AtomicUsize>,
    pool: Arc<Pool>,
}

/// What a pipeline should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pressure {
    /// There is room: a paused pipeline resumes.
    Low,
    /// Go on as before.
    Between,
    /// Seal the largest batch and take nothing more.
    High,
}

impl Budget {
    /// A budget of `total` bytes for `pipelines` pipelines.
    pub fn new(total: usize, pipelines: usize) -> Arc<Self> {
        let used = (0..pipelines).map(|_| AtomicUsize::new(0)).collect();
        Arc::new(Self { total, reserve: total / 2 / pipelines.max(1), used, pool: Arc::default() })
    }

    /// An empty permit that can grow.
    pub fn permit(self: &Arc<Self>, pipeline: usize) -> Permit {
        Permit { budget: Arc::clone(self), pipeline, bytes: 0 }
    }

    /// Bytes on their way in one pipeline.
    pub fn used(&self, pipeline: usize) -> usize {
        self.used[pipeline].load(Ordering::Relaxed)
    }

    /// Lets go of chunks that wait for their next use where, with what is on its way, they would exceed the budget.
    pub fn trim(&self) {
        let used: usize = (0..self.used.len()).map(|index| self.used(index)).sum();
        self.pool.shrink_to(self.total.saturating_sub(used));
    }

    /// What `pipeline` should do now.
    pub fn pressure(&self, pipeline: usize) -> Pressure {
        let shared = self.total - self.reserve * self.used.len();
        let beyond: usize = (0..self.used.len()).map(|index| self.used(index).saturating_sub(self.reserve)).sum();
        let own = self.used(pipeline);
        if own > self.reserve && beyond * 100 > shared * HIGH_PERCENT {
            Pressure::High
        } else if own <= self.reserve / 2 || beyond * 100 <= shared * LOW_PERCENT {
            Pressure::Low
        } else {
            Pressure::Between
        }
    }
}

/// Bytes taken from a budget; dropping it gives them back.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    pipeline: usize,
    bytes: usize,
}

impl Permit {
    /// Takes `bytes` more.
    pub fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.budget.used[self.pipeline].fetch_add(bytes, Ordering::Relaxed);
    }

    /// An empty one of the same pipeline.
    #[must_use]
    pub fn sibling(&self) -> Self {
        self.budget.permit(self.pipeline)
    }

    /// Where bodies of this budget take their chunks from.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.budget.pool
    }

    /// How many bytes it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.used[self.pipeline].fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Memory that a dead letter takes while it waits, with what the allocator needs for each header's name and value.
pub fn letter_bytes(letter: &DeadLetter) -> usize {
    let length = |bytes: Option<&Vec<u8>>| bytes.map_or(0, Vec::len);
    length(letter.key.as_ref())
        + length(letter.payload.as_ref())
        + header_bytes(&letter.headers)
        + size_of::<DeadLetter>()
}

fn header_bytes(headers: &[Header]) -> usize {
    let block = |bytes: usize| if bytes == 0 { 0 } else { bytes.next_multiple_of(BLOCK) + BLOCK };
    let one = |(name, value): &Header| block(name.len()) + block(value.as_ref().map_or(0, Vec::len));
    headers.iter().map(|header| one(header) + size_of::<Header>()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_header_counts_with_what_its_blocks_take() {
        let tiny = vec![("a".to_owned(), Some(vec![1])); 1000];
        assert_eq!(header_bytes(&tiny), 1000 * (48 + 32 + 32));
        assert_eq!(header_bytes(&[("a".to_owned(), None)]), 48 + 32);
    }

    #[test]
    fn a_thousand_headers_count_with_their_blocks() {
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
    fn one_stuck_pipeline_leaves_the_others_their_share() {
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

    /// What a pipeline is told, said with fractions: beyond its own share, it waits once four fifths of the shared half
    /// are used, and goes on at one half of it, or at one half of its own share.
    fn model(total: usize, used: &[usize], pipeline: usize) -> Pressure {
        let share = total / 2 / used.len();
        let shared = (total - share * used.len()) as f64;
        let beyond = used.iter().map(|used| used.saturating_sub(share)).sum::<usize>() as f64;
        let is_beyond = used[pipeline] > share;
        match () {
            () if is_beyond && beyond / 4.0 > shared / 5.0 => Pressure::High,
            () if used[pipeline] <= share / 2 || beyond <= shared / 2.0 => Pressure::Low,
            () => Pressure::Between,
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// A permit of so many bytes.
        Take(usize),
        /// The latest permit grows.
        Grow(usize),
        /// The oldest permit is dropped.
        GiveBack,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => (0_usize..3000).prop_map(Step::Take),
            2 => (0_usize..3000).prop_map(Step::Grow),
            2 => Just(Step::GiveBack),
        ]
    }

    proptest! {
        /// Against plain sums: whatever is taken, grown and given back by whomever, each pipeline's bytes and pressure
        /// are what they should be; nobody within its own share is ever stopped, and who gives all back goes on.
        #[test]
        fn the_pressure_is_that_of_a_plain_count(
            total in 0_usize..20_000, pipelines in 1_usize..6, steps in proptest::collection::vec((0_usize..6, step()), 1..100)
        ) {
            let budget = Budget::new(total, pipelines);
            let mut held: Vec<Vec<Permit>> = (0..pipelines).map(|_| Vec::new()).collect();
            let mut sums: Vec<Vec<usize>> = vec![Vec::new(); pipelines];
            for (pipeline, step) in steps {
                let own = pipeline % pipelines;
                match step {
                    Step::Take(bytes) => {
                        let mut permit = budget.permit(own);
                        permit.grow(bytes);
                        held[own].push(permit);
                        sums[own].push(bytes);
                    }
                    Step::Grow(bytes) => if let Some(permit) = held[own].last_mut() {
                        permit.grow(bytes);
                        *sums[own].last_mut().unwrap() += bytes;
                    },
                    Step::GiveBack => if !held[own].is_empty() {
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

        /// While everyone obeys and takes no more at once than what is left above the high mark has room for: never more
        /// than the budget.
        #[test]
        fn obedient_pipelines_stay_below_the_budget(
            total in 1000_usize..20_000, pipelines in 1_usize..6,
            steps in proptest::collection::vec((0_usize..6, 1_usize..101, any::<bool>()), 1..300)
        ) {
            let budget = Budget::new(total, pipelines);
            let most = total / 2 / 5 / pipelines;
            let mut held: Vec<Vec<Permit>> = (0..pipelines).map(|_| Vec::new()).collect();
            for (pipeline, percent, give_back) in steps {
                let own = pipeline % pipelines;
                if give_back {
                    held[own].pop();
                } else if budget.pressure(own) != Pressure::High {
                    let mut permit = budget.permit(own);
                    permit.grow(most * percent / 100);
                    held[own].push(permit);
                }
                let used: usize = (0..pipelines).map(|index| budget.used(index)).sum();
                prop_assert!(used <= total, "{used} in flight");
            }
        }

        /// The same from several threads at once: what is counted is what is held.
        #[test]
        fn threads_lose_no_byte(sizes in proptest::collection::vec(1_usize..1000, 2..20)) {
            let budget = Budget::new(1 << 20, 2);
            let take = |pipeline: usize| {
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
                let threads = [0, 1, 0, 1].map(|pipeline| scope.spawn(move || take(pipeline)));
                threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
            });
            let half: usize = sizes[..sizes.len() / 2].iter().sum();
            prop_assert_eq!((budget.used(0), budget.used(1)), (2 * half, 2 * half));
            drop(held);
            prop_assert_eq!((budget.used(0), budget.used(1)), (0, 0));
        }
    }
}
