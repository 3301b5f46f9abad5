//! Errors of invalid settings, each with the setting's name and the requirement. They never contain a value, which may
//! be a secret.

use std::time::Duration;

/// Maximum of every duration setting: an instant this far ahead is still valid.
pub(super) const MAX_DURATION: Duration = Duration::from_hours(24);

/// An invalid setting.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingsError {
    /// A value outside its range.
    #[error("use ingest.{name}: it must be {requirement}")]
    Range {
        /// Path of the setting.
        name: String,
        /// The requirement, as a noun phrase.
        requirement: &'static str,
    },
    /// A Kafka setting that delivery depends on.
    #[error("use ingest.kafka.\"{0}\": ingest sets it itself; remove it")]
    Reserved(String),
    /// A Kafka setting that librdkafka rejects. Its value may be a secret, so it is not repeated.
    #[error("use ingest.kafka.\"{0}\": librdkafka has no such setting or rejects this value; see its CONFIGURATION.md")]
    Unknown(String),
    /// A Kafka setting whose number ingest itself also reads.
    #[error("use ingest.kafka.\"{0}\": write it in decimal digits only, such as \"6000\"")]
    NoNumber(String),
    /// No pipeline is enabled.
    #[error("use ingest.pipelines: none is enabled, so there is nothing to do; enable one")]
    NoPipeline,
}

/// Returns an error about the named setting unless `is_valid`; `requirement` fits after "it must be".
pub(super) fn require(is_valid: bool, name: &str, requirement: &'static str) -> Result<(), SettingsError> {
    if is_valid { Ok(()) } else { Err(SettingsError::Range { name: name.to_owned(), requirement }) }
}
