//! What the generator itself got from its machine during a drive: the shares of the processors that it used and that the
//! hypervisor took. It decides nothing; the verdict judges it.

use crate::fault::{Fault, is_injected};

/// A running measurement.
pub(super) struct Vitals {
    at_start: Option<Processors>,
}

/// What was measured.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Measured {
    /// Share of all processors that the generator used, 0 to 1; `None` where the system doesn't tell.
    pub(super) processor_share: Option<f64>,
    /// Share of all processors that the hypervisor took, 0 to 1; `None` where the system doesn't tell.
    pub(super) steal_share: Option<f64>,
}

impl Vitals {
    /// Starts to measure.
    pub(super) fn start() -> Self {
        Self { at_start: Processors::read() }
    }

    /// What was measured since the start.
    pub(super) fn finish(self) -> Measured {
        let shares = self.at_start.zip(Processors::read()).and_then(|(start, end)| end.shares_since(start));
        let own = if is_injected(Fault::UseProcessors) { Some(0.9) } else { shares.map(|(own, _)| own) };
        let steal = if is_injected(Fault::LoseProcessors) { Some(0.2) } else { shares.map(|(_, steal)| steal) };
        Measured { processor_share: own, steal_share: steal }
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
}
