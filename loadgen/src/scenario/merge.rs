//! Merges the texts of a scenario into one table: the files that it includes, the file itself, and the values that are set
//! on the command line. A later value replaces an earlier one of the same key; tables merge; arrays of tables are replaced
//! as a whole. Every value keeps its position. It never checks what a value means.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::advice::explain;
use super::error::{ScenarioError, one_line};
use super::raw::Raw;
use super::source::{Part, Source};
use super::structure::Structure;
use crate::files;

/// Files that may include one another in a row.
const MAX_DEPTH: usize = 8;

/// What a scenario without a population has in its place. It is never written: such a scenario only asks an existing
/// deployment.
const NO_POPULATION: &str = "
seeds = { data = 0, keys = 0 }
time = { start = 2026-01-01T00:00:00Z, span = \"8 days\" }
population = { tenants = 1, customers = 1 }
past = { communications = 1, span = \"1 day\" }
drive = { communications = 1 }
";

/// The text of a file, read for a scenario.
pub(super) fn read(path: &Path) -> Result<String, ScenarioError> {
    let text = files::open(path)
        .and_then(std::io::read_to_string)
        // Some editors begin a text with a byte order mark.
        .map(|text| text.trim_start_matches('\u{feff}').to_owned())
        .and_then(|text| if text.trim().is_empty() { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(text) });
    text.map_err(|error| {
        let message = match error.kind() {
            std::io::ErrorKind::UnexpectedEof => "it is empty; docs/scenarios.md says what to write".to_owned(),
            _ => files::why_unreadable(&error),
        };
        ScenarioError { file: path.display().to_string(), line: None, message }
    })
}

/// The value of `--set KEY=VALUE` as a text of its own. A value that is not TOML is a string.
pub(super) fn set(assignment: &str) -> Result<Part, ScenarioError> {
    let name = one_line(&format!("--set {assignment}"));
    let Some((key, value)) = assignment.split_once('=') else {
        let message = "it has no value; write KEY=VALUE, such as drive.rate=2x".to_owned();
        return Err(ScenarioError { file: name, line: None, message });
    };
    if key.trim() == "include" {
        let message = "files are included by a scenario's file only; name the file that you want to run".to_owned();
        return Err(ScenarioError { file: name, line: None, message });
    }
    let is_toml = toml::from_str::<toml::Table>(&format!("value = {value}")).is_ok();
    let value = if is_toml { value.to_owned() } else { serde_json::Value::from(value).to_string() };
    Ok(Part { name, text: format!("{} = {value}", key.trim()), has_lines: false })
}

/// The included files of a text, each before those that include it. `folder` is what their paths are relative to.
pub(super) fn includes(part: &Part, folder: Option<&Path>) -> Result<Vec<Part>, ScenarioError> {
    let mut parts = Vec::new();
    let own = folder.map(|folder| folder.join(Path::new(&part.name).file_name().unwrap_or_default()));
    let mut stack: Vec<PathBuf> = own.into_iter().filter_map(|path| path.canonicalize().ok()).collect();
    collect(part, folder, &mut stack, &mut parts)?;
    Ok(parts)
}

fn collect(
    part: &Part,
    folder: Option<&Path>,
    stack: &mut Vec<PathBuf>,
    parts: &mut Vec<Part>,
) -> Result<(), ScenarioError> {
    for (at, name) in included(part)? {
        let wrong = |message: String| part.error(at, format!("`include`: {message}"));
        let Some(folder) = folder else {
            return Err(wrong("only a scenario in a file can include others".to_owned()));
        };
        let path = folder.join(&name);
        let canonical = path.canonicalize().unwrap_or_else(|_| path.clone());
        if stack.contains(&canonical) {
            return Err(wrong(format!("\"{name}\" includes itself; remove one of the two lines")));
        }
        if stack.len() >= MAX_DEPTH {
            return Err(wrong(format!("more than {MAX_DEPTH} files include one another; put them together")));
        }
        let text = read(&path).map_err(|error| wrong(format!("\"{name}\": {}", error.message)))?;
        let included = Part::file(&path.display().to_string(), &text);
        stack.push(canonical);
        collect(&included, path.parent(), stack, parts)?;
        stack.pop();
        parts.push(included);
    }
    Ok(())
}

/// The values of `include`, each with its position.
fn included(part: &Part) -> Result<Vec<(usize, String)>, ScenarioError> {
    let table = DeTable::parse(&part.text).map_err(|error| syntax(part, (0, &part.text), &error))?;
    let Some(include) = table.get_ref().get("include") else { return Ok(Vec::new()) };
    let message = "`include`: it is not a list of files; write include = [\"base.toml\"]";
    let DeValue::Array(files) = include.get_ref() else { return Err(part.error(include.span().start, message)) };
    let file = |file: &Spanned<DeValue<'_>>| match file.get_ref() {
        DeValue::String(name) => Ok((file.span().start, name.to_string())),
        _ => Err(part.error(file.span().start, message)),
    };
    files.iter().map(file).collect()
}

/// The error of a part whose text has blanks before it, up to `start`.
fn syntax(part: &Part, (start, text): (usize, &str), error: &toml::de::Error) -> ScenarioError {
    let at = error.span().unwrap_or_default().start.saturating_sub(start);
    part.error(at, explain(error, text, part.has_lines))
}

/// Parses and merges `source`, whose parts are in the order of `precedence`, and reads the result. Keeps a mistake for each unknown
/// key, which the result lacks; without a result, mistakes of its structure were kept.
pub(super) fn merged(source: &Source, precedence: &[usize]) -> Result<Option<Raw>, ScenarioError> {
    // Blanks before each text give all values different positions.
    let texts: Vec<(usize, String, &Part)> =
        source.parts().map(|(start, part)| (start, " ".repeat(start) + &part.text, part)).collect();
    let mut merged = DeTable::new();
    for (start, text, part) in precedence.iter().map(|&index| &texts[index]) {
        let table = DeTable::parse(text).map_err(|error| syntax(part, (*start, text), &error))?;
        merge(&mut merged, table.into_inner(), source);
    }
    merged.remove("include");
    if merged.is_empty() {
        return Err(source.error(0..0, "it has no keys; docs/scenarios.md says what to write"));
    }
    // A misspelt table describes the population as well.
    let structure = Structure::new();
    structure.known(&mut merged, source);
    let own = texts.first().map_or(0, |(_, text, _)| text.len());
    let describes_population = ["population", "past"].iter().any(|key| merged.get(*key).is_some());
    if !describes_population {
        let filled = DeTable::parse(NO_POPULATION).map_err(|error| source.error(0..0, error))?.into_inner();
        // A key that a table lacks is missing in the scenario's own file, not somewhere in the text that fills it.
        let mut filled: DeTable<'_> =
            filled.into_iter().map(|(key, table)| (key, Spanned::new(0..0, table.into_inner()))).collect();
        merge(&mut filled, merged, source);
        merged = filled;
    }
    if !structure.fits(&mut merged, 0..own, source) {
        return Ok(None);
    }
    let raw = Raw::deserialize(Deserializer::from(Spanned::new(0..own, merged)))
        .map_err(|error| source.error(error.span().unwrap_or_default(), explain(&error, "", true)))?;
    Ok(Some(Raw { describes_population, ..raw }))
}

fn merge<'i>(base: &mut DeTable<'i>, over: DeTable<'i>, source: &Source) {
    for (key, mut value) in over {
        let earlier = base.remove_entry(key.get_ref().as_ref());
        let merged = match (earlier, value.get_mut()) {
            (Some((_, mut earlier)), DeValue::Table(over)) if matches!(earlier.get_ref(), DeValue::Table(_)) => {
                if let DeValue::Table(earlier) = earlier.get_mut() {
                    merge(earlier, std::mem::take(over), source);
                }
                // What a table lacks is missing in a file, not in the values that are set besides.
                let span = if source.is_set(&value.span()) { earlier.span() } else { value.span() };
                Spanned::new(span, earlier.into_inner())
            }
            _ => value,
        };
        base.insert(key, merged);
    }
}
