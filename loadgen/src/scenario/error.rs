//! Why a scenario can't be used.

/// The first mistake in a scenario.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read scenario {file}: {message}")]
pub struct ScenarioError {
    /// The file.
    pub file: String,
    /// The mistake and its remedy.
    pub message: String,
}
