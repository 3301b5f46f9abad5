//! Population, plan, open-loop drive, measurement, verdict and account.
//!
//! # Layout, in the order a run uses it
//! - [`scenario`]: what is driven and what is judged, as one readable file
//! - [`population`]: who exists, a pure function of the seed
//! - [`plan`]: who does what when, a pure function of the seed
//! - [`load`]: the population and its past go into the stores, in bulk
//! - [`drive`]: writes and probes, each at its intended start
//! - [`target`]: the questions with their exact texts, and the clients that send them
//! - [`measure`]: latencies, exceedances, errors and send lag
//! - [`account`]: produced = landed + dead-lettered, to the record
//! - [`verdict`]: PASS, FAIL, INCONCLUSIVE or INVALID
//! - [`report`]: the table in the terminal and the JSON report

pub mod account;
mod concurrency;
pub mod drive;
pub mod load;
pub mod measure;
pub mod plan;
pub mod population;
pub mod question;
pub mod report;
pub mod run_context;
pub mod scenario;
pub mod target;
pub mod verdict;
