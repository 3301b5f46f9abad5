//! The ClickHouse store: everything that depends on its HTTP interface, error codes and SQL. It never decides when a
//! batch is written or how often it is retried.
//!
//! # Layout
//! - [`client`], with [`response`], [`servers`] and [`settings`]: one request and its response
//! - [`codes`] and [`failures`]: ClickHouse's error codes, and the texts of failures
//! - [`quoting`]: quoted identifiers and string literals
//! - [`types`] and [`shape`]: column types and the layout of a table
//! - [`row_binary`]: values in the format of rows and results
//! - [`insert`]: the INSERT statement of a pipeline
//! - [`name`]: a table or view with its database
//! - [`demand`], [`engine`], [`view_graph`] and [`view_changes`]: how long a repeated INSERT must be recognized, and
//!   whether every table that it reaches through views does so
//! - [`lookup`], [`coverage`] and [`visibility`]: which rows are in a table, and whether this user sees all of them
//! - [`token_check`]: checks before the first record that deduplication tokens work
//! - [`bisect`]: finds the rows at fault in a refused part
//! - [`rebuild`]: recomputes aggregates from the raw rows

pub mod bisect;
pub mod client;
pub(crate) mod codes;
pub mod coverage;
pub mod demand;
pub mod engine;
pub(crate) mod failures;
pub mod insert;
pub mod lookup;
pub mod name;
pub mod quoting;
pub mod rebuild;
mod response;
pub(crate) mod row_binary;
mod servers;
pub mod settings;
pub mod shape;
pub mod token_check;
pub mod types;
pub mod view_changes;
pub mod view_graph;
pub mod visibility;
