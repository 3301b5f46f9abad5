//! The texts that a scenario is read from: its file, the files that it includes, and the values that are set on the command
//! line. It finds the file and the line of a position, and never reads a file.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::error::{ScenarioError, one_line};
use super::raw::{Count, Text};
use super::units;
use crate::number::separated;

/// One text.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// The file, or `--set KEY=VALUE`.
    pub(super) name: String,
    pub(super) text: String,
    /// Whether positions have a line: those of a value on the command line don't.
    pub(super) has_lines: bool,
}

impl Part {
    pub(super) fn file(name: &str, text: &str) -> Self {
        Self { name: name.to_owned(), text: text.to_owned(), has_lines: true }
    }

    /// An error about the text at `at`.
    pub(super) fn error(&self, at: usize, message: impl std::fmt::Display) -> ScenarioError {
        let line = self.text[..at.min(self.text.len())].matches('\n').count() + 1;
        let line = Some(line).filter(|_| self.has_lines);
        ScenarioError { file: self.name.clone(), line, message: one_line(&message.to_string()) }
    }
}

/// All texts, as if one followed the other, and the mistakes found in them.
#[derive(Debug)]
pub(super) struct Source {
    parts: Vec<Part>,
    mistakes: RefCell<Vec<ScenarioError>>,
}

impl Source {
    /// The scenario's own file is the first part.
    pub(super) fn new(parts: Vec<Part>) -> Self {
        Self { parts, mistakes: RefCell::default() }
    }

    /// Adds a part at the end, and returns the position of its first byte.
    pub(super) fn push(&mut self, part: Part) -> usize {
        let start = self.parts.iter().map(|part| part.text.len() + 1).sum();
        self.parts.push(part);
        start
    }

    /// The folder of the file that contains a position; the current one for a text that is set on the command line.
    pub(super) fn folder_of(&self, position: usize) -> Option<PathBuf> {
        let (_, part) = self.part_at(position)?;
        let folder = Path::new(&part.name).parent().filter(|_| part.has_lines);
        Some(folder.map_or_else(PathBuf::new, Path::to_path_buf))
    }

    /// Whether what is at `span` is set on the command line.
    pub(super) fn is_set(&self, span: &Range<usize>) -> bool {
        self.part_at(span.start).is_some_and(|(_, part)| !part.has_lines)
    }

    /// The part that contains a position, with the position of its first byte.
    fn part_at(&self, position: usize) -> Option<(usize, &Part)> {
        self.parts().take_while(|(start, _)| *start <= position).last()
    }

    /// Each part with the position of its first byte.
    pub(super) fn parts(&self) -> impl Iterator<Item = (usize, &Part)> {
        let mut start = 0;
        self.parts.iter().map(move |part| {
            let this = start;
            // One more, so that the end of a part is not the start of the next one.
            start += part.text.len() + 1;
            (this, part)
        })
    }

    /// An error about the text at `span`.
    pub(super) fn error(&self, span: Range<usize>, message: impl std::fmt::Display) -> ScenarioError {
        self.part_at(span.start).map_or_else(
            || ScenarioError { file: String::new(), line: None, message: message.to_string() },
            |(start, part)| part.error(span.start - start, &message),
        )
    }

    /// The file and line of a position, as `FILE:LINE`.
    pub(super) fn place(&self, span: Range<usize>) -> String {
        let ScenarioError { file, line, .. } = self.error(span, "");
        line.map_or_else(|| file.clone(), |line| format!("{file}:{line}"))
    }

    /// A path that a text at a position names, relative to its file.
    pub(super) fn path(&self, span: Range<usize>, path: &str) -> PathBuf {
        self.folder_of(span.start).unwrap_or_default().join(path)
    }

    /// Keeps a mistake for [`Source::mistakes`], so that the next ones are found too.
    pub(super) fn keep<T>(&self, checked: Result<T, ScenarioError>) -> Option<T> {
        checked.map_err(|mistake| self.mistakes.borrow_mut().push(mistake)).ok()
    }

    /// Keeps mistakes; `None` if there is any.
    pub(super) fn keep_all(&self, mistakes: impl IntoIterator<Item = ScenarioError>) -> Option<()> {
        let before = self.mistakes.borrow().len();
        self.mistakes.borrow_mut().extend(mistakes);
        (self.mistakes.borrow().len() == before).then_some(())
    }

    /// Whether a mistake was kept.
    pub(super) fn has_mistakes(&self) -> bool {
        !self.mistakes.borrow().is_empty()
    }

    /// The mistakes that were kept, in the order of the files and of their lines, each once: several objectives of an SLO share
    /// the rest of it.
    pub(super) fn mistakes(&self) -> Vec<ScenarioError> {
        let mut mistakes: Vec<ScenarioError> = Vec::new();
        for mistake in self.mistakes.take() {
            if !mistakes.contains(&mistake) {
                mistakes.push(mistake);
            }
        }
        let file = |mistake: &ScenarioError| self.parts.iter().position(|part| part.name == mistake.file);
        mistakes.sort_by_key(|mistake| (file(mistake), mistake.line));
        mistakes
    }

    pub(super) fn wrong<T>(&self, at: &Spanned<T>, key: &str, message: impl std::fmt::Display) -> ScenarioError {
        self.error(at.span(), format!("`{key}`: {message}"))
    }

    pub(super) fn unit<T>(
        &self,
        at: &Text,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ScenarioError> {
        parse(at.as_ref()).map_err(|message| self.wrong(at, key, message))
    }

    pub(super) fn duration(
        &self,
        at: &Text,
        key: &str,
        range: RangeInclusive<Duration>,
    ) -> Result<Duration, ScenarioError> {
        let value = self.unit(at, key, units::duration)?;
        if range.contains(&value) {
            return Ok(value);
        }
        let [low, high] = [range.start(), range.end()].map(|end| units::exact_duration(*end));
        Err(self.wrong(at, key, format!("\"{}\" is out of range; write {low} to {high}", at.as_ref())))
    }

    pub(super) fn optional(
        &self,
        at: Option<&Text>,
        key: &str,
        range: RangeInclusive<Duration>,
        default: Duration,
    ) -> Result<Duration, ScenarioError> {
        at.map_or(Ok(default), |at| self.duration(at, key, range))
    }

    pub(super) fn count(&self, at: &Count, key: &str, range: Range<u64>) -> Result<u64, ScenarioError> {
        let value = *at.as_ref();
        if range.contains(&value) {
            return Ok(value);
        }
        let [low, high] = [range.start, range.end - 1].map(separated);
        Err(self.wrong(at, key, format!("{value} is out of range; write {low} to {high}")))
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, at: &Text, key: &str, known: &[(&str, T)]) -> Result<T, ScenarioError> {
        let found = known.iter().find(|(word, _)| word == at.as_ref());
        found.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<String> = known.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            let (last, others) = words.split_last().map_or(("", &[][..]), |(last, others)| (last.as_str(), others));
            self.wrong(at, key, format!("unknown choice \"{}\"; use {} or {last}", at.as_ref(), others.join(", ")))
        })
    }
}
