//! The phase of a drive in words, with its time. It never reads a clock.

use std::time::Duration;

use sluice_loadgen::drive::{Phase, Progress};

use super::pace::clock;

/// The phase and its time.
pub(super) fn phase(now: &Progress) -> String {
    // Whole seconds that have passed; `clock` rounds up.
    let time = |time: Duration| clock(Duration::from_secs(time.as_secs()));
    let name = now.phase.as_str();
    match now.phase {
        Phase::Preparing => name.to_owned(),
        Phase::WarmUp | Phase::Driving => format!("{name}, {} of {}", time(now.elapsed), time(now.length)),
        Phase::AwaitingAnswers | Phase::AwaitingEvents => format!("{name}, {}", time(now.elapsed)),
    }
}
