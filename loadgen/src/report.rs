//! The report of a run: tables for the terminal, and JSON with a version. It never prints or writes.

mod contents;
mod machine;
mod rates;
mod table;

pub use contents::{Header, QuestionReport, Report, VERSION};
pub use machine::Machine;
pub use rates::{Rate, rates};
pub use table::drive_tables;

#[cfg(test)]
mod tests;
