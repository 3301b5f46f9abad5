//! What a run showed, for people and for machines. Findings, measurements and the account go in; a table for the
//! terminal and a JSON value of a stated version come out. Pure: prints and writes nothing itself.

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
