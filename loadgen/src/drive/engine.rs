//! The loop of one thread: starts calls at their intended starts, measures how late it was and when they ended, and hands
//! them over in batches. It never waits for a call before it starts the next one, never checks an answer, and shares
//! nothing with the loops of other threads.

use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::poll;
use futures::stream::{FuturesUnordered, LocalBoxStream, SelectAll, StreamExt as _};
use tokio::sync::oneshot;

use super::clock::Clock;
use super::outbox::{Admission, Finished, Outbox};
use super::shared::{ProbeCounts, add};
use super::timer::Timer;
use crate::measure::DurationHistogram;
use crate::plan::Probe;
use crate::target::call;

/// How long after its time-out an answer is still awaited, so that its latency is known in full.
const MAX_LATE: Duration = Duration::from_secs(30);
/// Interval at which the loop measures how late it runs.
const PULSE: Duration = Duration::from_millis(5);
/// Calls started before those in flight are served again.
const STARTS: usize = 64;
/// Replies taken before those that are due are started: a burst of them must not delay the starts.
const REPLIES: usize = 16;

/// How a loop asks.
pub(super) trait Caller {
    /// What comes back.
    type Reply;

    /// Asks, and reads the reply.
    async fn call(&self, probe: &Probe) -> Self::Reply;

    /// How long a user waits.
    fn time_out(&self, probe: &Probe) -> Duration;

    /// The shortest limit that judges the reply, if there is one.
    fn limit(&self, probe: &Probe) -> Option<Duration>;

    /// Whether a fault injected for a test skips the probe of that index.
    fn is_skipped(&self, index: usize) -> bool;
}

/// What one user asks, answer by answer.
pub(super) type Users<'a, R> = LocalBoxStream<'a, Finished<R>>;

/// Starts every probe at its intended start and waits for the last reply, or until the drive is stopped. Sends to
/// `all_started` when the last one is started. Returns how late the loop ran at regular instants.
pub(super) async fn run<C: Caller>(
    caller: &C,
    clock: &Clock,
    (probes, users): (impl Iterator<Item = Probe>, SelectAll<Users<'_, C::Reply>>),
    mut outbox: Outbox<C::Reply>,
    (counts, all_started): (&ProbeCounts, oneshot::Sender<()>),
) -> io::Result<DurationHistogram> {
    let (mut timer, mut delays, mut calls) = (Timer::new()?, DurationHistogram::default(), FuturesUnordered::new());
    let (mut probes, mut users) = (probes.peekable(), users);
    let (mut pulse, mut index, mut all_started) = (Duration::ZERO, 0, Some(all_started));
    while !clock.is_stopped() && (probes.peek().is_some() || !calls.is_empty() || !users.is_empty()) {
        for _ in 0..STARTS {
            let Some(probe) = probes.next_if(|probe| probe.at <= clock.elapsed()) else { break };
            counts.offer(probe.question.store());
            index += 1;
            if caller.is_skipped(index) {
                continue;
            }
            match outbox.admit(probe.question.store()) {
                Admission::Admitted => {
                    add(&counts.sent, 1);
                    start(Box::pin(call(caller, clock, probe)), &calls, &mut outbox).await;
                }
                Admission::HeldBack => {
                    add(&counts.held_back, 1);
                    let time_out = caller.time_out(&probe);
                    outbox.take(Finished::held_back(probe, time_out));
                }
                // Neither sent nor held back by a store, so the run is invalid if they are many.
                Admission::ChecksBehind => {}
            }
        }
        if probes.peek().is_none() {
            all_started.take().map(|all_started| all_started.send(()).ok());
        }
        let now = clock.elapsed();
        if pulse <= now {
            delays.record(now.saturating_sub(pulse));
            pulse = next_pulse(pulse + PULSE, now);
            outbox.hand_over();
        }
        let wake = clock.instant(probes.peek().map_or(pulse, |probe| probe.at.min(pulse)));
        if wake <= Instant::now() {
            // More is due than was started: the replies that are there come before the rest.
            take_ready((&mut calls, &mut users), &mut outbox).await;
        } else {
            take_next((&mut timer, wake), (&mut calls, &mut users), &mut outbox).await?;
        }
        outbox.hand_over_batch();
    }
    outbox.finish().await;
    Ok(delays)
}

/// Starts a call at once: in the queue of all calls, it would start after the replies that are there.
async fn start<R, F: Future<Output = Finished<R>>>(
    mut call: Pin<Box<F>>,
    calls: &FuturesUnordered<Pin<Box<F>>>,
    outbox: &mut Outbox<R>,
) {
    match poll!(call.as_mut()) {
        Poll::Ready(done) => outbox.take_reply(done),
        Poll::Pending => calls.push(call),
    }
}

/// Takes the replies that are there.
async fn take_ready<R>(
    (calls, users): (&mut FuturesUnordered<impl Future<Output = Finished<R>>>, &mut SelectAll<Users<'_, R>>),
    outbox: &mut Outbox<R>,
) {
    // tokio reads from sockets only while its tasks wait.
    tokio::task::yield_now().await;
    for _ in 0..REPLIES {
        let Poll::Ready(Some(done)) = poll!(calls.next()) else { break };
        outbox.take_reply(done);
    }
    for _ in 0..REPLIES {
        let Poll::Ready(Some(done)) = poll!(users.next()) else { break };
        outbox.take(done);
    }
}

/// Waits for a reply and takes it, at most until `wake`.
async fn take_next<R>(
    (timer, wake): (&mut Timer, Instant),
    (calls, users): (&mut FuturesUnordered<impl Future<Output = Finished<R>>>, &mut SelectAll<Users<'_, R>>),
    outbox: &mut Outbox<R>,
) -> io::Result<()> {
    tokio::select! {
        biased;
        waited = timer.wait_until(wake) => waited?,
        Some(done) = calls.next(), if !calls.is_empty() => outbox.take_reply(done),
        Some(done) = users.next(), if !users.is_empty() => outbox.take(done),
    }
    Ok(())
}

/// After a pause of the whole process, every pulse that it delayed counts, up to a second.
pub(super) fn next_pulse(pulse: Duration, now: Duration) -> Duration {
    pulse.max(now.saturating_sub(Duration::from_secs(1)))
}

/// Asks one question, and measures from its intended start.
pub(super) async fn call<C: Caller>(caller: &C, clock: &Clock, probe: Probe) -> Finished<C::Reply> {
    let intended = clock.instant(probe.at);
    let lag = intended.elapsed();
    // A user has left when the time-out is over; the answer still shows how long the stall was.
    let last = intended + caller.time_out(&probe) + MAX_LATE;
    let calling = tokio::time::timeout_at(last.into(), caller.call(&probe));
    let (reply, spent) = call::measure(caller.limit(&probe), calling).await;
    let (reply, latency) = (reply.ok(), intended.elapsed());
    Finished { reply, lag, latency, spent, probe, users: None, is_held_back: false }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Instant;

    use tokio_util::sync::CancellationToken;

    use tokio::sync::mpsc;

    use super::super::outbox::{BATCHES, InFlight, MAX_IN_FLIGHT};
    use super::*;
    use crate::question::{Key, Question};

    const MILLI: Duration = Duration::from_millis(1);

    /// Answers when `stall` is over; the first call blocks the loop for `block`.
    struct Stalling {
        started: Instant,
        stall: Duration,
        block: Cell<Duration>,
    }

    impl Caller for Stalling {
        type Reply = ();

        async fn call(&self, _: &Probe) {
            let blocked = Instant::now();
            let block = self.block.take();
            while blocked.elapsed() < block {}
            tokio::time::sleep_until((self.started + self.stall).into()).await;
        }

        fn time_out(&self, _: &Probe) -> Duration {
            Duration::from_secs(2)
        }

        fn limit(&self, _: &Probe) -> Option<Duration> {
            None
        }

        fn is_skipped(&self, _: usize) -> bool {
            false
        }
    }

    async fn run_probes(
        (count, every): (u64, Duration),
        stall: Duration,
        block: Duration,
    ) -> (Vec<Finished<()>>, DurationHistogram) {
        let clock = Clock::start(&CancellationToken::new());
        let caller = Stalling { started: clock.instant(Duration::ZERO), stall, block: Cell::new(block) };
        let probe = |index| Probe {
            at: every * index as u32,
            question: Question::LookupById,
            tenant: 0,
            key: Key::Customer(index),
        };
        let (checks, mut batches) = mpsc::channel(BATCHES);
        let in_flight = InFlight::default();
        let outbox = Outbox::new(Some(checks), in_flight.clone());
        let (counts, (all_started, started)) = (ProbeCounts::default(), oneshot::channel());
        let collecting = async {
            let mut all = Vec::new();
            while let Some(batch) = batches.recv().await {
                in_flight.end(batch.len());
                all.extend(batch);
            }
            all
        };
        let asking = async {
            let probes = (0..count).map(probe);
            run(&caller, &clock, (probes, SelectAll::new()), outbox, (&counts, all_started)).await.unwrap()
        };
        let (delays, all) = tokio::join!(asking, collecting);
        started.await.unwrap();
        (all, delays)
    }

    #[tokio::test]
    async fn a_loop_that_is_behind_reads_replies_before_it_starts_more() {
        let count = 3 * MAX_IN_FLIGHT;
        let (finished, _) = run_probes((count as u64, Duration::ZERO), Duration::ZERO, Duration::ZERO).await;
        assert_eq!(finished.iter().filter(|one| one.reply.is_some()).count(), count, "none is held back");
    }

    #[tokio::test]
    async fn a_stall_delays_no_start_and_shows_in_every_latency() {
        let (finished, _) = run_probes((40, MILLI), Duration::from_millis(200), Duration::ZERO).await;
        let mut keys: Vec<Key> = finished.iter().map(|one| one.probe.key.clone()).collect();
        keys.sort_by_key(|key| match key {
            Key::Customer(index) => *index,
            other => panic!("{other:?}"),
        });
        assert_eq!(keys, (0..40).map(Key::Customer).collect::<Vec<_>>(), "none is lost, none comes twice");
        for Finished { probe, latency, reply, .. } in finished {
            assert!(reply.is_some() && latency >= Duration::from_millis(200).saturating_sub(probe.at), "{latency:?}");
        }
    }

    #[tokio::test]
    async fn a_blocked_loop_is_measured_and_charged_to_the_generator() {
        let (finished, delays) = run_probes((40, MILLI), Duration::ZERO, Duration::from_millis(60)).await;
        assert!(delays.max().unwrap() >= Duration::from_millis(40), "{delays:?}");
        assert!(finished.iter().any(|one| one.lag >= Duration::from_millis(20)));
    }
}
