//! PASS, FAIL, INCONCLUSIVE or INVALID: what a run proves about each SLO and as a whole.
//! The verdict never reads a store or a clock; the statistics are explained in `docs/verdicts.md`.

mod availability;
mod binomial;
mod findings;
mod latency;
mod slo;
mod validity;
mod warnings;

pub use availability::{Availability, availability};
pub use binomial::Verdict;
pub use findings::{Findings, Overall};
pub use latency::Latency;
pub use slo::{Judged, judge};
pub use validity::{Validity, validity};
pub use warnings::warnings;

#[cfg(test)]
mod tests;
