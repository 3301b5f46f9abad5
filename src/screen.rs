//! Output: results go to standard output, progress and notes to standard error.
//! A closed pipe (`sluice status | head -1`) is not an error; a full disk that output is redirected to is.

use std::io::{self, ErrorKind, Write};

/// Writes a result to standard output.
pub(crate) fn print(text: &str) -> io::Result<()> {
    match write_line(io::stdout().lock(), text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(io::Error::new(error.kind(), format!("write the result to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a note to standard error; a failure to write is ignored.
pub(crate) fn note(text: &str) {
    drop(write_line(io::stderr().lock(), text));
}

fn write_line(mut to: impl Write, text: &str) -> io::Result<()> {
    writeln!(to, "{}", text.trim_end())?;
    to.flush()
}
