//! Publishes snapshots of a drive's progress while it runs. It measures nothing itself.

use std::sync::Arc;
use std::time::Duration;

use sluice_schemas::concurrency::blocking;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::progress::{Phase, Progress};
use super::shared::Shared;

/// Interval between two snapshots.
const SNAPSHOT: Duration = Duration::from_secs(1);

/// Publishes snapshots while `work` runs.
pub(super) async fn with_progress<T>(
    shared: &Arc<Shared>,
    clock: &Clock,
    (phase, progress): (Phase, &watch::Sender<Arc<Progress>>),
    work: impl Future<Output = T>,
) -> T {
    tokio::pin!(work);
    let mut ticks = tokio::time::interval(SNAPSHOT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => {
                publish(shared, phase, clock.elapsed(), progress).await;
            }
        }
    }
}

/// Publishes snapshots while `finishing` awaits the last answers and `watching`, if anything is watched, the last events, and
/// one of everything after that.
pub(super) async fn with_last_progress<T>(
    shared: &Arc<Shared>,
    stop: &CancellationToken,
    progress: &watch::Sender<Arc<Progress>>,
    finishing: impl Future<Output = T>,
    watching: Option<impl Future<Output = ()>>,
) -> T {
    let (mut phase, mut clock) = (Phase::AwaitingAnswers, Clock::start(stop));
    let finished = with_progress(shared, &clock, (phase, progress), finishing).await;
    if let Some(watching) = watching {
        (phase, clock) = (Phase::AwaitingEvents, Clock::start(stop));
        with_progress(shared, &clock, (phase, progress), watching).await;
    }
    publish(shared, phase, clock.elapsed(), progress).await;
    finished
}

async fn publish(shared: &Arc<Shared>, phase: Phase, elapsed: Duration, progress: &watch::Sender<Arc<Progress>>) {
    let shared = Arc::clone(shared);
    progress.send_replace(Arc::new(blocking(move || shared.snapshot(phase, elapsed)).await));
}
