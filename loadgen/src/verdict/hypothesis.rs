//! The hypothesis that a test of one objective decides about. It holds no samples.

use std::time::Duration;

/// What is tested: at most a share of `allowed` may be bad.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Hypothesis {
    /// Share of bad samples that the objective allows, 0 to 1.
    pub(super) allowed: f64,
    /// Maximum accepted probability of a wrong PASS, and of a wrong FAIL.
    pub(super) alpha: f64,
    /// The verdict must hold for stalls of up to this length.
    pub(super) longest_stall: Option<Duration>,
}
