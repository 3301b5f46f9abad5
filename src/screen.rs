//! Output: results go to standard output, progress and notes to standard error.
//! A closed pipe (`sluice status | head -1`) is not an error; a full disk that output is redirected to is. It never
//! renders a result.
//!
//! - `cover`: takes over the whole terminal for a view, and gives it back

mod cover;

use std::io::{self, ErrorKind, IsTerminal, Write};

use ratatui::crossterm::terminal;
use sluice_loadgen::report::wrap;

pub(crate) use cover::{MIN_SIZE, cover, is_available, is_dumb, uncover, uncover_on_panic};

/// Columns of the smallest terminal that notes are wrapped for.
const MIN_WIDTH: usize = 40;

/// Writes a result to standard output.
pub(crate) fn print(text: &str) -> io::Result<()> {
    match write_line(io::stdout().lock(), text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(io::Error::new(error.kind(), format!("write the result to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a note to standard error, or keeps it until a view gives the terminal back; a failure to write is ignored. On a
/// terminal, its lines break between words.
pub(crate) fn note(text: &str) {
    if !cover::keep(text) {
        write_note(text);
    }
}

fn write_note(text: &str) {
    let stderr = io::stderr().lock();
    let columns = if stderr.is_terminal() { terminal::size().ok() } else { None };
    let text = columns.map_or_else(|| text.to_owned(), |(columns, _)| wrap(text, usize::from(columns).max(MIN_WIDTH)));
    drop(write_line(stderr, &text));
}

/// Writes what the log writes, as notes.
#[derive(Debug)]
pub(crate) struct Notes;

impl Write for Notes {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        note(&String::from_utf8_lossy(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_line(mut to: impl Write, text: &str) -> io::Result<()> {
    writeln!(to, "{}", text.trim_end())?;
    to.flush()
}
