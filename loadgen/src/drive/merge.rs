//! Merges sequences of probes that are each in order of time. It holds one item per sequence and never sorts or
//! collects.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::plan::Probe;

/// One sequence in order of time.
pub(super) struct MergeByTime<'a> {
    sources: Vec<Box<dyn Iterator<Item = Probe> + 'a>>,
    heads: Vec<Option<Probe>>,
    next: BinaryHeap<Reverse<(Duration, usize)>>,
}

impl<'a> MergeByTime<'a> {
    pub(super) fn new(mut sources: Vec<Box<dyn Iterator<Item = Probe> + 'a>>) -> Self {
        let heads: Vec<Option<Probe>> = sources.iter_mut().map(Iterator::next).collect();
        let first = heads.iter().enumerate().filter_map(|(source, head)| Some(Reverse((head.as_ref()?.at, source))));
        Self { next: first.collect(), sources, heads }
    }
}

impl Iterator for MergeByTime<'_> {
    type Item = Probe;

    fn next(&mut self) -> Option<Probe> {
        let Reverse((_, source)) = self.next.pop()?;
        let following = self.sources[source].next();
        if let Some(probe) = &following {
            self.next.push(Reverse((probe.at, source)));
        }
        std::mem::replace(&mut self.heads[source], following)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::question::{Key, Question};

    fn probes(times: &'static [u64]) -> Box<dyn Iterator<Item = Probe>> {
        Box::new(times.iter().map(|at| Probe {
            at: Duration::from_millis(*at),
            question: Question::LookupById,
            tenant: 0,
            key: Key::Customer(0),
        }))
    }

    #[test]
    fn merged_probes_come_in_order_and_none_is_lost() {
        let merged = MergeByTime::new(vec![probes(&[1, 4, 9]), probes(&[]), probes(&[2, 2, 10])]);
        let times: Vec<u128> = merged.map(|probe| probe.at.as_millis()).collect();
        assert_eq!(times, [1, 2, 2, 4, 9, 10]);
    }
}
