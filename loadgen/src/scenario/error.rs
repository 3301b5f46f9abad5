//! Why a scenario can't be used.

/// A scenario that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read scenario {file}: {message}")]
pub struct ScenarioError {
    /// The file.
    pub file: String,
    /// What is wrong, and what to do.
    pub message: String,
}
