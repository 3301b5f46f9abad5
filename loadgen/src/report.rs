//! The report of a run: data with a version that is written and read as JSON, and rendered as tables, as a page, and for
//! CI servers; and before a run, what it will do and can decide. It never prints or writes.
//!
//! # Layout: each module imports only modules above it
//! - `generator`, `machine`, `rates`, `series`: parts of a report; `contents`: the report, as its JSON has it
//! - `schema`, `read`, `past`: its JSON schema, a report read back, and what the last one of a scenario measured
//! - `wording`: words and numbers that all forms have in common
//! - `merge`: the reports of all shards of a run as one
//! - `fit`: tables and texts in a number of columns
//! - `table`, `html`, `junit`, `markdown`, `hdr`: the forms; `format`: renders one of them
//! - `explain`: a scenario before its run

mod contents;
mod explain;
pub(crate) mod fit;
mod format;
mod generator;
mod hdr;
pub(crate) mod html;
mod junit;
mod machine;
mod markdown;
mod merge;
mod past;
mod rates;
mod read;
mod schema;
mod series;
pub(crate) mod table;
mod timeline;
pub(crate) mod wording;

pub use contents::{ClassReport, Header, QuestionReport, Report, VERSION};
pub use explain::explain;
pub use fit::wrap;
pub use format::{Format, RenderError};
pub use generator::Generator;
pub use machine::Machine;
pub(crate) use markdown::escaped;
pub use merge::{MergeError, Parts, merge};
pub use past::{Past, past};
pub use rates::{Rate, rates};
pub use read::{FILE_NAME, ReadError, SEARCH_FILE_NAME, is_report, newest, read};
pub use schema::schema;
pub use series::{SeriesReport, SloReport, WriteReport};
pub use table::drive_tables;

#[cfg(test)]
mod tests;
