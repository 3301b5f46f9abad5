//! Scales of charts, with ticks at round numbers. They measure nothing.

use std::time::Duration;

use crate::number::{rate, separated};

/// The kind of the only logarithmic scale.
const LATENCY: &str = "latency";

/// A scale from values to the fraction, 0 to 1, of a chart's width or height.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    kind: &'static str,
    from: f64,
    to: f64,
    /// Values with their labels.
    pub(crate) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Latencies in microseconds, by their logarithm.
    pub(crate) fn latency(values: impl Iterator<Item = u64>) -> Self {
        let (mut shortest, mut longest) = (u64::MAX, 0);
        for value in values.map(|value| value.max(1)) {
            (shortest, longest) = (shortest.min(value), longest.max(value));
        }
        if longest == 0 {
            (shortest, longest) = (1_000, 1_000_000);
        }
        let round = |steps: &[f64]| -> Vec<f64> {
            let decades = (0..10).map(|power| 10_f64.powi(power));
            decades.flat_map(|decade| steps.iter().map(move |step| step * decade)).collect()
        };
        let fine = round(&[1.0, 2.0, 5.0]);
        let from = fine.iter().rev().find(|&&tick| tick <= shortest as f64).copied().unwrap_or(1.0);
        let to = fine.iter().find(|&&tick| tick > longest as f64).copied().unwrap_or(1e10);
        let few = if to / from <= 60.0 { fine } else { round(&[1.0]) };
        let ticks = few.into_iter().filter(|tick| (from..=to).contains(tick)).map(|tick| (tick, brief(tick))).collect();
        Self { kind: LATENCY, from, to, ticks }
    }

    /// Percentiles up to what `count` samples can show, by the logarithm of the share above them.
    pub(crate) fn percentiles(count: u64) -> Self {
        let to = (count.max(100) as f64).log10();
        let shares = [("0 %", 1.0), ("50 %", 2.0), ("90 %", 1e1), ("99 %", 1e2), ("99.9 %", 1e3), ("99.99 %", 1e4)];
        let more = [("99.999 %", 1e5), ("99.9999 %", 1e6)];
        let shown = shares.into_iter().chain(more).map(|(label, share): (&str, f64)| (share.log10(), label.to_owned()));
        Self { kind: "share", from: 0.0, to, ticks: shown.filter(|(at, _)| *at <= to).collect() }
    }

    /// Seconds from the start of a drive.
    pub(crate) fn time(drive: Duration) -> Self {
        let to = drive.as_secs_f64();
        let (unit, length) = match to {
            0.0..=300.0 => ("s", 1.0),
            0.0..=10_800.0 => ("min", 60.0),
            _ => ("h", 3_600.0),
        };
        let step = round_step(to / length / 4.0) * length;
        let label = |at: f64| if at == 0.0 { "0".to_owned() } else { format!("{} {unit}", at / length) };
        Self { kind: "time", from: 0.0, to, ticks: every(step, to).map(|at| (at, label(at))).collect() }
    }

    /// Rates per second, from zero.
    pub(crate) fn rates(highest: f64) -> Self {
        let step = round_step(highest.max(1.0) / 3.0);
        let to = step * (highest.max(1.0) * 1.02 / step).ceil();
        let label = |at: f64| if at.fract() == 0.0 { separated(at as u64) } else { rate(at) };
        Self { kind: "rate", from: 0.0, to, ticks: every(step, to).map(|at| (at, label(at))).collect() }
    }

    /// The kind and the ends of the scale, for the page's script.
    pub(crate) fn description(&self) -> String {
        format!("{} {} {}", self.kind, self.from, self.to)
    }

    /// The place of a value, 0 to 1.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let place = if self.kind == LATENCY {
            (value.max(self.from) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        place.clamp(0.0, 1.0)
    }
}

/// The next of 1, 2, 2.5 and 5 with a power of ten.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|step| step * power).find(|step| *step >= least).unwrap_or(power * 10.0)
}

fn every(step: f64, to: f64) -> impl Iterator<Item = f64> {
    (0..).map(move |n| f64::from(n) * step).take_while(move |at| *at <= to * 1.000_001)
}

/// Microseconds in the unit that needs no decimals.
fn brief(micros: f64) -> String {
    match micros {
        0.0..1e3 => format!("{micros} µs"),
        0.0..1e6 => format!("{} ms", micros / 1e3),
        _ => format!("{} s", micros / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(labels(&Axis::latency([1_300, 9_000].into_iter())), ["1 ms", "2 ms", "5 ms", "10 ms"]);
        assert_eq!(labels(&Axis::latency([300, 3_000_000].into_iter())), ["1 ms", "10 ms", "100 ms", "1 s"]);
        assert_eq!(labels(&Axis::time(Duration::from_secs(75))), ["0", "20 s", "40 s", "60 s"]);
        assert_eq!(labels(&Axis::time(Duration::from_mins(10))), ["0", "2.5 min", "5 min", "7.5 min", "10 min"]);
        assert_eq!(labels(&Axis::rates(70.0)), ["0", "25", "50", "75"]);
        assert_eq!(labels(&Axis::percentiles(4_000)), ["0 %", "50 %", "90 %", "99 %", "99.9 %"]);
    }

    #[test]
    fn nothing_measured_and_nothing_asked_still_have_a_scale() {
        assert!(Axis::latency(std::iter::empty()).ticks.len() > 2);
        assert_eq!(Axis::rates(0.0).place(0.0).to_bits(), 0.0_f64.to_bits());
        assert_eq!(labels(&Axis::percentiles(0)), ["0 %", "50 %", "90 %", "99 %"]);
    }

    #[test]
    fn equal_latencies_have_room_on_both_sides() {
        let axis = Axis::latency([1_000, 1_000].into_iter());
        assert!(axis.place(1_000.0) < axis.place(2_000.0));
    }
}
