//! What earlier answers about a tenant's events have shown. Rows are never deleted during a drive, so a later answer shows at
//! least as much. It keeps a few dozen answers and judges none.

use std::collections::VecDeque;
use std::time::Duration;

use crate::question::LiveGroup;

/// Answers that are remembered. Forgetting one only loosens a bound.
const ANSWERS: usize = 32;

/// Earlier right answers, each with the time since which it is known.
#[derive(Debug, Default)]
pub(super) struct Seen(VecDeque<(Duration, Vec<LiveGroup>)>);

impl Seen {
    /// Adds a right answer that came `at` the latest.
    pub(super) fn add(&mut self, groups: Vec<LiveGroup>, at: Duration) {
        if self.0.len() == ANSWERS {
            self.0.pop_front();
        }
        self.0.push_back((at, groups));
    }

    /// The least of each group that a question from `asked` on must find: the settled events, and what was seen before.
    pub(super) fn before(&self, asked: Duration, settled: &[LiveGroup]) -> Vec<LiveGroup> {
        let mut least = settled.to_vec();
        for group in self.0.iter().filter(|(at, _)| *at <= asked).flat_map(|(_, groups)| groups) {
            match least.iter_mut().find(|known| known.key == group.key) {
                Some(known) => raise(known, group),
                None => least.push(group.clone()),
            }
        }
        least
    }
}

/// The greater of both in each number.
fn raise(known: &mut LiveGroup, group: &LiveGroup) {
    let LiveGroup { events, succeeded, newest, .. } = known;
    let (more, more_succeeded) =
        (*events.start().max(group.events.start()), *succeeded.start().max(group.succeeded.start()));
    let newer = *newest.start().max(group.newest.start());
    (*events, *succeeded, *newest) = (more..=more, more_succeeded..=more_succeeded, newer..=newer);
}
