//! The search for the highest rate at which every SLO still holds: trial after trial at another rate, each decided.
//! It never starts or stops a process.
//!
//! # Layout: each module imports only modules above it
//! - `growth`: when growth uses up the headroom
//! - `scaling`: the universal scalability law, fitted to the steps
//! - [`search`]: which rate comes next, from the outcomes so far
//! - [`subject`]: what a search scales: everything, one store's questions, or the writes
//! - `usage`, [`monitor`]: what the stores and the machine were busy with, and the resource that gave way
//! - [`step`]: one trial at one rate, with its outcome
//! - [`report`], `table`, `html`: the result as data, as tables and as a page
//! - [`run`]: a whole search, step by step

pub mod growth;
mod html;
pub mod monitor;
pub mod report;
pub mod run;
pub mod scaling;
pub mod search;
pub mod step;
pub mod subject;
mod table;
mod usage;
