//! Rates and latencies as a running drive shows them. Nothing is measured here.

use std::time::Duration;

use sluice_loadgen::number::separated;

/// A rate per second: one decimal below a hundred.
pub(super) fn rate(rate: f64) -> String {
    if rate < 100.0 { format!("{rate:.1}") } else { separated(rate.round() as u64) }
}

/// A latency with three digits, or a dash.
pub(super) fn millis(time: Option<Duration>) -> String {
    let Some(millis) = time.map(|time| time.as_secs_f64() * 1_000.0) else { return "-".to_owned() };
    match millis {
        ..10.0 => format!("{millis:.2} ms"),
        ..100.0 => format!("{millis:.1} ms"),
        ..10_000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.1} s", millis / 1_000.0),
    }
}
