//! What the generator itself got from its machine during a drive: how long its tasks waited for a thread, and the shares of
//! the processors that it used and that the hypervisor took. It decides nothing; the verdict judges it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::measure::DurationHistogram;
use sluice_schemas::concurrency::{join, lock};

/// Interval at which the delay of a task is measured.
const INTERVAL: Duration = Duration::from_millis(5);

/// A running measurement.
pub(super) struct Vitals {
    delays: Arc<Mutex<DurationHistogram>>,
    ended: Arc<AtomicBool>,
    pulses: JoinHandle<()>,
    at_start: Option<Processors>,
}

/// What was measured.
#[derive(Debug, Clone, Default)]
pub(super) struct Measured {
    /// Time that a task waited for a thread.
    pub(super) task_delay: DurationHistogram,
    /// Share of all processors that the generator used, 0 to 1; `None` where the system doesn't tell.
    pub(super) processor_share: Option<f64>,
    /// Share of all processors that the hypervisor took, 0 to 1; `None` where the system doesn't tell.
    pub(super) steal_share: Option<f64>,
}

impl Vitals {
    /// Starts to measure, on a thread of its own.
    pub(super) fn start() -> Self {
        let (delays, ended): (Arc<Mutex<DurationHistogram>>, Arc<AtomicBool>) = Default::default();
        let (pulse_delays, pulse_ended, runtime) = (Arc::clone(&delays), Arc::clone(&ended), Handle::current());
        let pulses = tokio::task::spawn_blocking(move || {
            let mut intended = Instant::now();
            while !pulse_ended.load(Ordering::Relaxed) {
                let delays = Arc::clone(&pulse_delays);
                // From the intended start: after a pause of the whole process, every pulse that it delayed counts.
                drop(runtime.spawn(async move { lock(&delays).record(intended.elapsed()) }));
                intended += INTERVAL;
                std::thread::park_timeout(intended.saturating_duration_since(Instant::now()));
            }
        });
        Self { delays, ended, pulses, at_start: Processors::read() }
    }

    /// Stops and returns what was measured since the start.
    pub(super) async fn finish(self) -> Measured {
        self.ended.store(true, Ordering::Relaxed);
        join(self.pulses).await;
        // The last pulses may still wait for a thread; this one waits behind them.
        join(tokio::spawn(async {})).await;
        let shares = self.at_start.zip(Processors::read()).and_then(|(start, end)| end.shares_since(start));
        let task_delay = lock(&self.delays).clone();
        Measured {
            task_delay,
            processor_share: shares.map(|(own, _)| own),
            steal_share: shares.map(|(_, steal)| steal),
        }
    }
}

/// Processor time since the machine started, in clock ticks of all processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Processors {
    own: u64,
    stolen: u64,
    total: u64,
}

impl Processors {
    fn read() -> Option<Self> {
        let file = |path| std::fs::read_to_string(path).ok();
        Self::parse(&file("/proc/stat")?, &file("/proc/self/stat")?)
    }

    /// From the contents of `/proc/stat` and `/proc/self/stat` (proc(5)).
    fn parse(machine: &str, process: &str) -> Option<Self> {
        let ticks: Vec<u64> =
            machine.lines().next()?.split_whitespace().skip(1).take(8).map_while(|tick| tick.parse().ok()).collect();
        // The command's name is in parentheses and may contain anything; the fields count from after it.
        let fields: Vec<&str> = process.rsplit_once(')')?.1.split_whitespace().collect();
        let own = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        Some(Self { own, stolen: *ticks.get(7)?, total: ticks.iter().sum() })
    }

    /// Own share and stolen share of all processors since `start`.
    fn shares_since(self, start: Self) -> Option<(f64, f64)> {
        let total = self.total.checked_sub(start.total).filter(|total| *total > 0)? as f64;
        let share = |now: u64, then: u64| now.saturating_sub(then) as f64 / total;
        Some((share(self.own, start.own), share(self.stolen, start.stolen)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_from_the_fields_that_the_kernel_documents() {
        let process = |ticks: u64| format!("7 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 {ticks} 5 0 0");
        let start = Processors::parse("cpu 100 0 100 700 0 0 0 100 9 9\ncpu0 1", &process(10)).unwrap();
        assert_eq!(start, Processors { own: 15, stolen: 100, total: 1_000 });
        let end = Processors::parse("cpu 200 0 200 1400 0 0 0 200 9 9\n", &process(210)).unwrap();
        assert_eq!(end.shares_since(start), Some((0.2, 0.1)));
        assert_eq!(start.shares_since(start), None);
        assert_eq!(Processors::parse("cpu 1 2", &process(1)), None);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_blocked_thread_delays_tasks_and_is_measured() {
        let vitals = Vitals::start();
        // Blocks the only thread of the runtime, as a starved one would be.
        let block = |started: Instant| while started.elapsed() < Duration::from_millis(60) {};
        tokio::spawn(async move { block(Instant::now()) }).await.unwrap();
        let measured = vitals.finish().await;
        assert!(measured.task_delay.max().unwrap() >= Duration::from_millis(40), "{measured:?}");
    }
}
