//! Compares the runs of a scenario before and after a change: what became slower or faster, by how much and how surely, and
//! what else differs. It judges no objective, and reads and writes no file. `docs/compare.md` explains the statistics.
//!
//! # Layout: each module imports only modules above it
//! - `observed`: what one run says about one quantity, with the noise within the run
//! - `effect`: the change of a quantity between two sides, with its interval and its probabilities
//! - `judged`: the verdicts on all quantities together
//! - `differences`: what differs besides the measurements; `error`: why runs can't be compared
//! - `comparison`: the comparison as data; `table`, `markdown`: its forms

mod comparison;
mod differences;
mod effect;
mod error;
mod judged;
mod markdown;
mod observed;
mod table;

pub use comparison::{Compared, Comparison, Outcome, Run, check_baseline, compare};
pub use differences::Difference;
pub use effect::{Effect, Noise};
pub use error::CompareError;
pub use judged::Change;
pub use observed::Quantity;

#[cfg(test)]
mod error_rates;
#[cfg(test)]
mod tests;
