//! Chooses the scenario of a run: one that ships with this program, by name from any folder, or a file.
//!
//! A name that contains a path separator or ends in `.toml` is always a file. Any other name is a shipped scenario or,
//! if there is none of that name, a file. It never guesses: an unknown name is an error that lists the available ones.

use std::path::{MAIN_SEPARATOR, Path};

use anyhow::bail;
use sluice_loadgen::scenario::Scenario;

/// The scenarios of `scenarios/`, by file name; a test checks that none is missing.
const SHIPPED: [(&str, &str); 2] =
    [("day", include_str!("../scenarios/day.toml")), ("smoke", include_str!("../scenarios/smoke.toml"))];

/// The scenario of the README's first command.
const DEFAULT: &str = "smoke";

/// Similarity, 0 to 1, from which on a name may be a misspelling of another.
const MIN_SIMILARITY: f64 = 0.75;

/// Reads and checks the named scenario, or the default one. The second value is a warning about the choice, if any.
pub(crate) fn choose(named: Option<&str>) -> anyhow::Result<(Scenario, Option<String>)> {
    let named = named.unwrap_or(DEFAULT);
    let path = Path::new(named);
    let shipped = SHIPPED.iter().find(|(name, _)| *name == named);
    match shipped.filter(|_| !is_path(named)) {
        Some((name, text)) => {
            let warning = path.is_file().then(|| {
                format!("{name} is the scenario that ships with this program; write .{MAIN_SEPARATOR}{name} to use the file of that name")
            });
            Ok((Scenario::parse(text, &format!("{name} (shipped)"))?, warning))
        }
        None if path.exists() => Ok((Scenario::read(path)?, None)),
        None => bail!("{}", unknown(named)),
    }
}

fn is_path(named: &str) -> bool {
    named.contains(['/', MAIN_SEPARATOR]) || Path::new(named).extension().is_some_and(|end| end == "toml")
}

/// The error for a name that is neither a scenario nor a file: it lists the shipped ones and suggests a similar one.
fn unknown(named: &str) -> String {
    let shipped = SHIPPED.map(|(name, _)| name).join(" and ");
    let stem = Path::new(named).file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().to_lowercase());
    let is_similar = |name: &&str| strsim::jaro_winkler(name, &stem) >= MIN_SIMILARITY;
    let similar = SHIPPED.iter().map(|(name, _)| *name).find(is_similar);
    let suggestion = similar.map_or_else(String::new, |name| format!("did you mean {name}? "));
    let cause = if is_path(named) { "there is no such file" } else { "no scenario and no file has this name" };
    format!("read scenario {named}: {cause}; {suggestion}{shipped} ship with this program, anything else is a file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_of_the_folder_ships_and_is_valid() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().path())
            .map(|path| {
                (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap())
            })
            .collect();
        files.sort();
        let shipped = SHIPPED.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(files, shipped, "each file of scenarios/ is in SHIPPED, in order");
        for (name, _) in SHIPPED {
            assert_eq!(choose(Some(name)).unwrap().0.name, name, "its name in reports is the one it is found by");
        }
        assert_eq!(choose(None).unwrap().0.name, DEFAULT);
    }

    #[test]
    fn a_name_that_looks_like_a_path_is_one() {
        for path in ["./smoke", "smoke.toml", "scenarios/smoke", "/smoke"] {
            assert!(is_path(path), "{path}");
        }
        assert!(!is_path("smoke") && !is_path("smoke.tml"));
    }

    #[test]
    fn an_unknown_name_lists_the_scenarios_and_suggests_a_similar_one() {
        insta::assert_snapshot!(choose(Some("smkoe")).unwrap_err(), @"read scenario smkoe: no scenario and no file has this name; did you mean smoke? day and smoke ship with this program, anything else is a file");
        insta::assert_snapshot!(choose(Some("Days")).unwrap_err(), @"read scenario Days: no scenario and no file has this name; did you mean day? day and smoke ship with this program, anything else is a file");
        insta::assert_snapshot!(choose(Some("weekend")).unwrap_err(), @"read scenario weekend: no scenario and no file has this name; day and smoke ship with this program, anything else is a file");
        insta::assert_snapshot!(choose(Some("scenarios/smok.toml")).unwrap_err(), @"read scenario scenarios/smok.toml: there is no such file; did you mean smoke? day and smoke ship with this program, anything else is a file");
    }
}
