//! Output of the bench: results on standard output, progress on standard error. It writes no file.

use std::sync::OnceLock;
use std::time::Instant;

/// Prints a progress line with the time since the first one.
#[expect(clippy::print_stderr, reason = "progress goes to standard error")]
pub(crate) fn progress(line: &str) {
    static START: OnceLock<Instant> = OnceLock::new();
    let since = START.get_or_init(Instant::now).elapsed().as_secs_f64();
    eprintln!("{since:7.1} s  {line}");
}

/// Prints a result.
#[expect(clippy::print_stdout, reason = "results go to standard output")]
pub(crate) fn print(text: &str) {
    println!("{text}");
}
