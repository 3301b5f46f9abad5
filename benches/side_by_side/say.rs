//! What the bench tells its user: results on standard output, what it is doing on standard error.

use std::sync::OnceLock;
use std::time::Instant;

/// A line about what is being done, with the time since the first one.
#[expect(clippy::print_stderr, reason = "a bench talks to whoever runs it")]
pub(crate) fn say(line: &str) {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    let since = BEGUN.get_or_init(Instant::now).elapsed().as_secs_f64();
    eprintln!("{since:7.1} s  {line}");
}

/// A result.
#[expect(clippy::print_stdout, reason = "results go to standard output")]
pub(crate) fn show(text: &str) {
    println!("{text}");
}
