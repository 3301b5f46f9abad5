//! The users: each thinks, asks, waits for the answer and thinks again, until the drive is over. A slow store is asked less
//! often, so their latencies are service times; they are recorded apart from those of the probes. Nothing is drawn here: the
//! plan says what they ask and how long they think.

use futures::stream::{self, SelectAll, StreamExt as _};

use super::checks::Reply;
use super::clock::Clock;
use super::engine::{self, Users};
use super::outbox::Finished;
use super::probes::Questions;
use super::shared::{ProbeCounts, add};
use crate::plan::{Plan, Probe, Shard, Step};
use crate::scenario::Scenario;

/// The users of a shard and of loop `index` of `loops`: every `loops`-th of each group.
pub(super) fn of_loop<'a>(
    questions: &'a Questions<'a>,
    (plan, shard, scenario): (&'a Plan, Shard, &'a Scenario),
    clock: &'a Clock,
    counts: &'a ProbeCounts,
    (index, loops): (usize, usize),
) -> SelectAll<Users<'a, Reply>> {
    let mut all = SelectAll::new();
    for (group, users) in scenario.users.iter().enumerate() {
        for number in (0..users.count).filter(move |&number| shard.has_user(group, number)).skip(index).step_by(loops) {
            let answers = stream::unfold(plan.steps(group, number), move |mut steps| async move {
                let Step { think, question, tenant, key } = steps.next()?;
                if clock.elapsed() + think >= scenario.duration {
                    return None;
                }
                tokio::time::sleep(think).await;
                counts.offer(question.store());
                add(&counts.sent, 1);
                let probe = Probe { at: clock.elapsed(), question, tenant, key };
                let finished = engine::call(questions, clock, probe).await;
                Some((Finished { users: Some(group), ..finished }, steps))
            });
            all.push(answers.boxed_local());
        }
    }
    all
}
