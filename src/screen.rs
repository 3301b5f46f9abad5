//! The terminal: results go to standard output, what a person follows goes to standard error.
//! A reader that went away (`sluice status | head -1`) is no error; a full disk behind `>` is one.

use std::io::{self, ErrorKind, Write};

/// Writes a result to standard output.
pub(crate) fn say(text: &str) -> io::Result<()> {
    match write_line(io::stdout().lock(), text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(io::Error::new(error.kind(), format!("write the result to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes what a person follows to standard error; where nobody can read that, nothing is lost.
pub(crate) fn note(text: &str) {
    drop(write_line(io::stderr().lock(), text));
}

fn write_line(mut to: impl Write, text: &str) -> io::Result<()> {
    writeln!(to, "{}", text.trim_end())?;
    to.flush()
}
