//! Coverage-guided fuzzing of the parts of ingest that parse untrusted bytes. Each target accepts any bytes and panics if an
//! invariant is violated; `fuzz/run` fuzzes the targets, and a test replays the inputs in `fuzz/corpus`. No target opens a
//! connection.
//!
//! # Layout
//! - [`record`], [`platform`] and [`mod@column`]: records become rows
//! - [`intent`]: the metadata of a committed offset
//! - [`letter`]: dead letters
//! - [`table`], with [`types`], [`rows`] and [`agree`]: the invariants of a record and its row, and an independent reader that
//!   checks them

pub mod agree;
pub mod column;
pub mod intent;
pub mod letter;
pub mod platform;
pub mod record;
pub mod rows;
pub mod table;
pub mod types;

/// A target: its name, which is also its folder in the corpus, and the function that checks an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 5] = [
    ("column", column::check),
    ("intent", intent::check),
    ("letter", letter::check),
    ("platform", platform::check),
    ("record", record::check),
];

/// Defines a target's program: libFuzzer's in a fuzzing build, otherwise one that replays the files in its arguments.
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
