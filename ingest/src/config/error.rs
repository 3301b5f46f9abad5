//! Settings that cannot work, each named with what it must be. No value of a setting is repeated: it may be a secret.

use std::time::Duration;

/// Longest of all times that can be set: an instant this far ahead is still a valid one.
pub(super) const LONGEST: Duration = Duration::from_hours(24);

/// A setting that can not work.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingsError {
    /// A number outside its range.
    #[error("use ingest.{name}: {wish}")]
    Range {
        /// Path of the setting.
        name: String,
        /// What it must be.
        wish: &'static str,
    },
    /// A Kafka setting on which the promise of ingest rests.
    #[error("use ingest.kafka.\"{0}\": ingest sets it itself; remove it")]
    Reserved(String),
    /// A Kafka setting that librdkafka does not take. What it was set to may be a secret, and is not repeated.
    #[error(
        "use ingest.kafka.\"{0}\": librdkafka has no such setting, or does not take this value; its CONFIGURATION.md lists both"
    )]
    Unknown(String),
    /// A Kafka setting of which ingest itself needs the number, too.
    #[error("use ingest.kafka.\"{0}\": write its number in decimal digits alone, such as \"6000\"")]
    NoNumber(String),
    /// Nothing to do.
    #[error("use ingest.pipelines: none is enabled, so there is nothing to do; enable one")]
    NoPipeline,
}

/// Refuses the setting of that name unless it is as it must be.
pub(super) fn range(is_right: bool, name: &str, wish: &'static str) -> Result<(), SettingsError> {
    if is_right { Ok(()) } else { Err(SettingsError::Range { name: name.to_owned(), wish }) }
}
