//! Chooses the scenario of a run: one that ships with this program, by name from any folder, or a file.
//!
//! A name that contains a path separator or ends in `.toml` is always a file. Any other name is a shipped scenario or,
//! if there is none of that name, a file. It never guesses: an unknown name is an error that lists the available ones.

use std::path::{MAIN_SEPARATOR, Path};

use anyhow::{anyhow, bail};
use clap::{Args, ValueHint};
use sluice_loadgen::scenario::{Access, Scenario, ScenarioError};

/// The scenarios of `scenarios/`, by file name; a test checks that none is missing.
const SHIPPED: [(&str, &str); 11] = [
    ("burst", include_str!("../scenarios/burst.toml")),
    ("ci", include_str!("../scenarios/ci.toml")),
    ("day", include_str!("../scenarios/day.toml")),
    ("day_10m", include_str!("../scenarios/day_10m.toml")),
    ("deployment", include_str!("../scenarios/deployment.toml")),
    ("ingest_10k", include_str!("../scenarios/ingest_10k.toml")),
    ("month_end", include_str!("../scenarios/month_end.toml")),
    ("noisy_neighbour", include_str!("../scenarios/noisy_neighbour.toml")),
    ("regional", include_str!("../scenarios/regional.toml")),
    ("smoke", include_str!("../scenarios/smoke.toml")),
    ("soak", include_str!("../scenarios/soak.toml")),
];

/// The scenario of the README's first command.
const DEFAULT: &str = "smoke";

/// A scenario, and values that replace its own.
#[derive(Debug, Args)]
pub(crate) struct Choice {
    /// The scenario: smoke (the default), burst, ci, day, day_10m, deployment, ingest_10k, month_end, noisy_neighbour, regional
    /// or soak, which ship with this program, or the path of a file. A name that contains a path separator or ends in .toml is
    /// always a file
    #[arg(value_name = "SCENARIO", value_hint = ValueHint::FilePath)]
    pub(crate) scenario: Option<String>,
    /// Replace a value of the scenario, such as `drive.rate=2x` or `time.replayed_in="5 min"`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// Similarity, 0 to 1, from which on a name may be a misspelling of another.
const MIN_SIMILARITY: f64 = 0.75;

/// A scenario, and a warning about its choice, if any.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) scenario: Scenario,
    pub(crate) warning: Option<String>,
}

/// Reads and checks the chosen scenario, or the default one, for a run with that access if there is one. The first mistake
/// is the error.
pub(crate) fn choose(choice: &Choice, access: Option<Access>) -> anyhow::Result<Chosen> {
    check(choice, access)?
        .map_err(|mistakes| mistakes.into_iter().next().map_or_else(|| anyhow!("read the scenario"), Into::into))
}

/// Reads and checks the chosen scenario as [`choose`] does; yields every mistake in it.
pub(crate) fn check(choice: &Choice, access: Option<Access>) -> anyhow::Result<Result<Chosen, Vec<ScenarioError>>> {
    let named = choice.scenario.as_deref().unwrap_or(DEFAULT);
    let path = Path::new(named);
    let shipped = SHIPPED.iter().find(|(name, _)| *name == named);
    Ok(match shipped.filter(|_| !is_path(named)) {
        Some((name, text)) => {
            let warning = path.is_file().then(|| {
                format!("{name} is the scenario that ships with this program; write .{MAIN_SEPARATOR}{name} to use the file of that name")
            });
            let read = Scenario::parse_with(text, &format!("{name} (shipped)"), &choice.set, access);
            read.map(|scenario| Chosen { scenario, warning })
        }
        // A link that leads nowhere is read as well: the system says why it can't be.
        None if path.exists() || path.is_symlink() => {
            Scenario::read_with(path, &choice.set, access).map(|scenario| Chosen { scenario, warning: None })
        }
        None => bail!("{}", unknown(named)),
    })
}

/// The scenarios that ship with this program, one a line, each with its description.
pub(crate) fn list() -> String {
    let width = SHIPPED.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let line = |(name, text): &(&str, &str)| {
        let description =
            Scenario::parse(text, name).map_or_else(|error| error.to_string(), |scenario| scenario.description);
        format!("{name:width$}  {description}")
    };
    SHIPPED.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn is_path(named: &str) -> bool {
    named.contains(['/', MAIN_SEPARATOR]) || Path::new(named).extension().is_some_and(|end| end == "toml")
}

/// The error for a name that is neither a scenario nor a file: it lists the shipped ones and suggests a similar one.
fn unknown(named: &str) -> String {
    let shipped = SHIPPED.map(|(name, _)| name).join(", ");
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

    fn named(name: &str) -> Choice {
        Choice { scenario: Some(name.to_owned()), set: Vec::new() }
    }

    #[test]
    fn every_scenario_of_the_folder_ships_and_is_valid() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == "toml"))
            .map(|path| {
                (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap())
            })
            .collect();
        files.sort();
        let shipped = SHIPPED.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(files, shipped, "each file of scenarios/ is in SHIPPED, in order");
        for (name, _) in SHIPPED {
            assert_eq!(
                choose(&named(name), None).unwrap().scenario.name,
                name,
                "its name in reports is the one it is found by"
            );
        }
        assert_eq!(choose(&Choice { scenario: None, set: Vec::new() }, None).unwrap().scenario.name, DEFAULT);
    }

    #[test]
    fn every_shipped_scenario_is_documented_and_introduces_itself() {
        let page = include_str!("../docs/scenarios.md");
        for (name, text) in SHIPPED {
            assert!(
                page.contains(&format!("[`{name}`](../scenarios/{name}.toml)")),
                "{name} is not in docs/scenarios.md"
            );
            let mut lines = text.lines();
            assert_eq!(lines.next(), Some("#:schema ../docs/scenario.schema.json"), "{name}");
            assert!(lines.next().is_some_and(|line| line.starts_with("# ")), "{name} begins with a comment");
        }
        assert_eq!(list().lines().count(), SHIPPED.len());
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
        insta::assert_snapshot!(choose(&named("smkoe"), None).unwrap_err(), @"read scenario smkoe: no scenario and no file has this name; did you mean smoke? burst, ci, day, day_10m, deployment, ingest_10k, month_end, noisy_neighbour, regional, smoke, soak ship with this program, anything else is a file");
        insta::assert_snapshot!(choose(&named("Days"), None).unwrap_err(), @"read scenario Days: no scenario and no file has this name; did you mean day? burst, ci, day, day_10m, deployment, ingest_10k, month_end, noisy_neighbour, regional, smoke, soak ship with this program, anything else is a file");
        insta::assert_snapshot!(choose(&named("weekend"), None).unwrap_err(), @"read scenario weekend: no scenario and no file has this name; burst, ci, day, day_10m, deployment, ingest_10k, month_end, noisy_neighbour, regional, smoke, soak ship with this program, anything else is a file");
        insta::assert_snapshot!(choose(&named("scenarios/smok.toml"), None).unwrap_err(), @"read scenario scenarios/smok.toml: there is no such file; did you mean smoke? burst, ci, day, day_10m, deployment, ingest_10k, month_end, noisy_neighbour, regional, smoke, soak ship with this program, anything else is a file");
    }
}
