//! The ClickHouse store: everything that knows its HTTP interface, error codes and SQL.
//!
//! # Layout
//! - [`client`], with [`answer`], [`servers`] and [`settings`]: one request and its answer
//! - [`literal`]: quoted identifiers and string literals
//! - [`types`]: column types
//! - [`insert`]: the INSERT statement of a pipeline
//! - [`dependants`] and [`engine`]: what an INSERT reaches through views, and how long it is recognised
//! - [`lookup`] and [`sight`]: which rows are in a table, and whether this user sees all of them
//! - [`proof`]: whether deduplication tokens work, checked before the first record
//! - [`judge`]: which rows of a refused part are at fault
//! - [`rebuild`]: aggregates recomputed from the raw rows

pub mod answer;
pub mod client;
pub mod dependants;
pub mod engine;
pub mod insert;
pub mod judge;
pub mod literal;
pub mod lookup;
pub mod proof;
pub mod rebuild;
pub mod servers;
pub mod settings;
pub mod sight;
pub mod types;
