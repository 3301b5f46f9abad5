//! Why a scenario can't be used. Nothing is checked here.

/// A mistake in a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioError {
    /// The file, or the value that was set on the command line.
    pub file: String,
    /// The line in the file, from 1, if the mistake has one.
    pub line: Option<usize>,
    /// The mistake and its remedy.
    pub message: String,
}

impl ScenarioError {
    /// The mistake as `FILE:LINE: message`, the form that editors and CI systems link.
    pub fn at_its_place(&self) -> String {
        let Self { file, line, message } = self;
        line.map_or_else(|| format!("{file}: {message}"), |line| format!("{file}:{line}: {message}"))
    }
}

impl std::fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "read scenario {}", self.at_its_place())
    }
}

impl std::error::Error for ScenarioError {}

/// A text with its control characters as escapes: an error has one line, also where it quotes what a file has.
pub(super) fn one_line(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}
