//! The report of a run: tables for the terminal, and JSON with a version; and before a run, what it will do and can
//! decide. It never prints or writes.

mod contents;
mod explain;
mod generator;
mod machine;
mod past;
mod rates;
mod table;
mod timeline;

pub use contents::{Header, QuestionReport, Report, VERSION};
pub use explain::explain;
pub use generator::Generator;
pub use machine::Machine;
pub use past::{Past, past};
pub use rates::{Rate, rates};
pub use table::drive_tables;

#[cfg(test)]
mod tests;
