//! Coverage-guided fuzzing of everything in ingest that reads bytes from outside.
//! Each target takes any bytes and panics if a promise is broken; `fuzz/run` feeds them, and a test replays the inputs
//! that are kept in `fuzz/corpus`. No target opens a connection.
//!
//! # Layout
//! - [`record`], [`platform`] and [`mod@column`]: records become rows
//! - [`intent`]: what stands beside a committed offset
//! - [`letter`]: dead letters
//! - [`table`], with [`types`], [`rows`] and [`agree`]: what has to hold of a record and its row, and an independent
//!   reader that sees whether it does

pub mod agree;
pub mod column;
pub mod intent;
pub mod letter;
pub mod platform;
pub mod record;
pub mod rows;
pub mod table;
pub mod types;

/// A target: its name, which is that of its folder in the corpus, and what is done with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 5] = [
    ("column", column::check),
    ("intent", intent::check),
    ("letter", letter::check),
    ("platform", platform::check),
    ("record", record::check),
];

/// The program of a target: libFuzzer's where this is built for fuzzing; else one that replays the files it is given.
#[macro_export]
macro_rules! target {
    ($check:path) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|input: &[u8]| $check(input));

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            std::env::args_os().skip(1).try_for_each(|file| std::fs::read(file).map(|input| $check(&input)))
        }
    };
}
