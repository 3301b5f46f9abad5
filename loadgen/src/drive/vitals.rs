//! What the generator itself got from its machine during a drive: the shares of the processors that it used and that the
//! hypervisor took, and how far the system clock deviated. It decides nothing; the verdict judges it.

use std::time::Duration;

use sluice_schemas::concurrency::join;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::clock::{Clock, Deviation};
use crate::fault::{Fault, is_injected};
use crate::proc_files::{process_fields, processor_ticks};

/// Interval at which the clocks are compared.
const COMPARE: Duration = Duration::from_millis(100);

/// A running measurement.
pub(super) struct Vitals {
    at_start: Option<Processors>,
    /// Ends the watch.
    watched: DropGuard,
    watching: JoinHandle<Deviation>,
}

/// What was measured.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Measured {
    /// Share of all processors that the generator used, 0 to 1; `None` where the system doesn't tell.
    pub(super) processor_share: Option<f64>,
    /// Share of all processors that the hypervisor took, 0 to 1; `None` where the system doesn't tell.
    pub(super) steal_share: Option<f64>,
    /// The largest deviation of the system clock.
    pub(super) deviation: Deviation,
}

impl Vitals {
    /// Starts to measure, from the start of a drive by `clock`.
    pub(super) fn start(clock: &Clock) -> Self {
        let ended = CancellationToken::new();
        let watching = tokio::spawn(largest_deviation(clock.clone(), ended.clone()));
        Self { at_start: Processors::read(), watched: ended.drop_guard(), watching }
    }

    /// What was measured since the start.
    pub(super) async fn finish(self) -> Measured {
        let shares =
            self.at_start.zip(Processors::read()).and_then(|(start, end)| end.altered(start).shares_since(start));
        let (processor_share, steal_share) = shares.unzip();
        drop(self.watched);
        Measured { processor_share, steal_share, deviation: join(self.watching).await }
    }
}

async fn largest_deviation(clock: Clock, ended: CancellationToken) -> Deviation {
    let mut largest = Deviation::default();
    loop {
        largest = largest.or(clock.deviation());
        if ended.run_until_cancelled(tokio::time::sleep(COMPARE)).await.is_none() {
            return largest.or(clock.deviation());
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

    /// From the contents of `/proc/stat` and `/proc/self/stat`.
    fn parse(machine: &str, process: &str) -> Option<Self> {
        let (ticks, fields) = (processor_ticks(machine)?, process_fields(process)?);
        let own = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        Some(Self { own, stolen: ticks[7], total: ticks.iter().sum() })
    }

    /// With the faults that a test injects: processors that this process used, or the hypervisor.
    fn altered(mut self, start: Self) -> Self {
        let total = self.total.saturating_sub(start.total);
        if is_injected(Fault::UseProcessors) {
            self.own = start.own + total * 9 / 10;
        }
        if is_injected(Fault::LoseProcessors) {
            self.stolen = start.stolen + total / 5;
        }
        self
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
}
