//! The terminal: results go to standard output, what a person follows goes to standard error.
//! A reader that went away (`sluice status | head -1`) is no error.

use std::io::{self, Write};

/// Writes a result to standard output.
pub(crate) fn say(text: &str) {
    write_line(io::stdout().lock(), text);
}

/// Writes what a person follows to standard error.
pub(crate) fn note(text: &str) {
    write_line(io::stderr().lock(), text);
}

fn write_line(mut to: impl Write, text: &str) {
    // The only way this fails is a closed pipe, and then nobody reads what could be said about it.
    drop(writeln!(to, "{}", text.trim_end()));
}
