//! Scenarios without mistakes, and the error of each mistake.

use std::fmt::Write as _;

use std::time::Duration;

use super::*;
use crate::question::{Question, Store};

mod files;
mod openslo;
mod questions;
mod shape;

const SMOKE: &str = include_str!("../../../scenarios/smoke.toml");

fn smoke() -> Scenario {
    Scenario::parse(SMOKE, "smoke.toml").unwrap()
}

/// The smoke scenario, edited.
fn edited(from: &str, to: &str) -> String {
    assert!(SMOKE.contains(from), "{from}");
    SMOKE.replacen(from, to, 1)
}

#[test]
fn every_scenario_in_the_repository_is_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 10);
    for file in files {
        let scenario = Scenario::read(&file).unwrap();
        assert_eq!(file.file_stem().unwrap().to_str(), Some(scenario.name.as_str()));
    }
}

#[test]
fn the_smoke_scenario_has_its_documented_sizes() {
    let smoke = smoke();
    assert_eq!((smoke.tenants, smoke.customers, smoke.communications), (3, 20_000, 100_000));
    assert_eq!(smoke.duration, Duration::from_secs(75));
    assert!((smoke.compression() - 1152.0).abs() < 1e-9);
    let limits: Vec<u128> = smoke.slos.iter().map(|slo| slo.within.as_millis()).collect();
    assert_eq!(limits, [100, 100, 200, 2_000]);
    assert!(Question::ALL.iter().all(|&question| smoke.slos_of(question, None).next().is_some()));
}

#[test]
fn optional_keys_have_defaults() {
    let (before, after) = SMOKE.split_once("# The availability of each store.").unwrap();
    let slos = after.split_once("# The SLOs of ADR-003").unwrap().1.split("# Time-outs of answers").next().unwrap();
    let text = format!("{before}#{slos}");
    let text = ["warm_up", "settle", "skew", "customers_per", "metric_interval", "arrivals", "alpha"].iter().fold(
        text,
        |text, key| {
            text.lines().filter(|line| !line.starts_with(key)).fold(String::new(), |text, line| text + line + "\n")
        },
    );
    let scenario = Scenario::parse(&text, "short.toml").unwrap();
    assert_eq!((scenario.warm_up, scenario.settle), (Duration::ZERO, Duration::from_mins(1)));
    assert_eq!((scenario.availability, scenario.slos[0].alpha), (Availability::default(), 0.05));
    assert_eq!(scenario.slos[0].longest_stall, None);
    assert_eq!(scenario.time_outs.for_store(Store::Clickhouse), Duration::from_secs(10));
    assert_eq!(scenario.metric_interval, Duration::from_mins(15));
}

#[test]
fn an_slo_may_have_several_objectives() {
    let text =
        edited("within = \"200 ms\"", "within = \"200 ms\"\nalso = [{ objective = \"99 %\", within = \"1 s\" }]");
    let scenario = Scenario::parse(&text, "several.toml").unwrap();
    let of_search: Vec<_> = scenario.slos.iter().filter(|slo| slo.name.starts_with("search")).collect();
    let [first, second] = of_search[..] else { panic!("{of_search:?}") };
    assert_eq!((first.name.as_str(), first.within, first.objective), ("search", Duration::from_millis(200), 0.95));
    let further = Slo { name: "search-2".to_owned(), within: Duration::from_secs(1), objective: 0.99, ..first.clone() };
    assert_eq!(*second, further);
    assert!(Scenario::parse(&text.replace("within = \"1 s\" }", "within = \"1\" }"), "unit.toml").is_err());
}

#[test]
fn a_drive_that_outlasts_the_cache_is_refused() {
    let longer = edited("span = \"1 day\"", "span = \"2 days\"");
    let text = longer.replace("replayed_in = \"75 s\"", "replayed_in = \"40 min\"");
    let error = Scenario::parse(&text, "long.toml").unwrap_err().to_string();
    assert!(
        error.contains("long.toml:16: `time.replayed_in`: the warm-up and the drive take longer than 30 min"),
        "{error}"
    );
    let unasked = text.replace("cached_profiles = \"4/s\"\n", "").replace("\"cached_profiles\", ", "");
    assert!(Scenario::parse(&unasked, "long.toml").is_ok());
}

#[test]
fn each_mistake_gets_one_sentence_with_its_line_and_the_remedy() {
    let mistakes = [
        ("an unknown question", edited("search = \"8/s\"", "serach = \"8/s\"")),
        ("an unknown question in an SLO", edited("questions = [\"search\"]", "questions = [\"fulltext\"]")),
        ("an unknown store", edited("redis = \"2 s\"", "mongodb = \"2 s\"")),
        ("an outage that no drive excludes", edited("undecided = \"allow\"", "longest_outage = \"1 s\"")),
        ("an unknown key", edited("skew = 1.0", "skwe = 1.0")),
        ("an unknown table", format!("{SMOKE}\n[chaos]\nkill = true\n")),
        ("a missing key", edited("data = 42\n", "")),
        ("a missing table", edited("[seeds]\ndata = 42\nkeys = 7\n", "")),
        ("a duration without unit", edited("replayed_in = \"75 s\"", "replayed_in = \"75\"")),
        ("a number for a duration", edited("replayed_in = \"75 s\"", "replayed_in = 60")),
        ("a number beyond all", edited("data = 42", "data = 99999999999999999999")),
        (
            "a list for a table",
            edited("[seeds]\ndata = 42\nkeys = 7\n", "").replace("description", "seeds = [1]\ndescription"),
        ),
        ("text for a flag", edited("warm_up = \"30 s\"", "warm_up_writes = \"yes\"")),
        ("a number for an instant", edited("start = 2026-11-16T00:00:00Z", "start = 2026")),
        ("an objective twice", edited("alpha = \"5 %\"", "also = [{ objective = \"95.0 %\", within = \"1 s\" }]")),
        (
            "a further objective twice",
            edited(
                "alpha = \"5 %\"",
                "also = [{ objective = \"99 %\", within = \"1 s\" }, { objective = \"99%\", within = \"2 s\" }]",
            ),
        ),
    ];
    insta::assert_snapshot!(sentences(&mistakes));
}

#[test]
fn each_value_that_is_out_of_range_or_contradicts_another_is_named() {
    let slo = "[[slo]]\nname = \"search\"\nobjective = \"95 %\"\nwithin = \"1 s\"\nquestions = [\"search\"]\n";
    let mistakes = [
        ("a rate of zero", edited("search = \"8/s\"", "search = \"0/s\"")),
        ("a rate with a wrong unit", edited("search = \"8/s\"", "search = \"25 per second\"")),
        ("a number for a rate", edited("search = \"8/s\"", "search = 25")),
        ("a percentage out of range", edited("objective = \"95 %\"", "objective = \"105 %\"")),
        ("a percentage without its sign", edited("objective = \"95 %\"", "objective = \"0.95\"")),
        ("a negative count", edited("customers = 20_000", "customers = -5")),
        ("fewer customers than tenants", edited("customers = 20_000", "customers = 2")),
        ("text for a count", edited("tenants = 3", "tenants = \"three\"")),
        ("a start within an hour", edited("2026-11-16T00:00:00Z", "2026-11-16T00:30:00Z")),
        ("a start without zone", edited("2026-11-16T00:00:00Z", "2026-11-16")),
        ("a replay slower than life", edited("span = \"1 day\"", "span = \"30 s\"")),
        ("a past of half a day", edited("span = \"28 days\"", "span = \"36 h\"")),
        ("an SLO twice", format!("{SMOKE}\n{slo}")),
        ("a question named twice", edited("questions = [\"search\"]", "questions = [\"search\", \"search\"]")),
        ("a window longer than half of the drive", edited("alpha = \"5 %\"", "in_every = \"1 min\"")),
        ("a window that is far too short", edited("alpha = \"5 %\"", "in_every = \"1 ms\"")),
        ("an unknown class of tenants", edited("alpha = \"5 %\"", "tenants = \"huge\"")),
        (
            "a class without tenants",
            edited("alpha = \"5 %\"", "tenants = \"small\"").replace("tenants = 3", "tenants = 2"),
        ),
        ("a question judged and not asked", edited("search = \"8/s\"\n", "")),
        ("a time-out below the limit", edited("elasticsearch = \"2 s\"", "elasticsearch = \"100 ms\"")),
        ("a key twice", edited("keys = 7\n", "keys = 7\nkeys = 8\n")),
        ("a name that is no file's", edited("name = \"smoke\"", "name = \"Smoke Test\"")),
        ("an SLO without questions", edited("questions = [\"search\"]", "questions = []")),
        ("an unknown arrival process", edited("\"poisson\"", "\"random\"")),
        ("an unknown choice", edited("undecided = \"allow\"", "undecided = \"maybe\"")),
        ("too few samples for any PASS", edited("search = \"8/s\"", "search = \"0.7/s\"")),
        ("a stall that the drive is too short to exclude", edited("alpha = \"5 %\"", "longest_stall = \"5 s\"")),
        ("another limit without unit", edited("alpha = \"5 %\"", "also = [{ objective = \"99 %\", within = \"1\" }]")),
        ("an outage without unit", edited("undecided = \"allow\"", "longest_outage = \"1\"")),
        ("a stall without unit", edited("alpha = \"5 %\"", "longest_stall = \"5\"")),
        ("availability as a single value", edited("[availability]\n", "availability = \"99.99 %\"\n[seeds2]\n")),
        ("a broken line", edited("keys = 7", "keys = ")),
    ];
    insta::assert_snapshot!(sentences(&mistakes));
}

#[test]
fn each_mistake_of_an_slo_that_is_not_of_questions_is_named() {
    let of = |of: &str, more: &str| {
        format!("{SMOKE}\n[[slo]]\nname = \"more\"\nof = \"{of}\"\nobjective = \"95 %\"\nwithin = \"1 s\"\n{more}\n")
    };
    let mistakes = [
        ("an SLO of nothing", edited("questions = [\"search\"]", "")),
        ("an unknown operation", of("writes", "")),
        ("commits and questions", of("commits", "questions = [\"search\"]")),
        ("commits and users", of("commits", "users = \"agents\"")),
        ("a rate of commits", of("commits", "at_least = \"10/s\"")),
        ("a rate of questions", edited("alpha = \"5 %\"", "at_least = \"10/s\"")),
        ("a rate without unit", of("events", "at_least = \"10000\"")),
        ("a rate that the drive does not produce", of("events", "at_least = \"100000/s\"")),
    ];
    insta::assert_snapshot!(sentences(&mistakes));
}

/// What each scenario is refused with, a sentence each.
fn sentences(mistakes: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (what, scenario) in mistakes {
        let error = Scenario::parse(scenario, "bad.toml").expect_err(what).to_string();
        assert!(!error.contains('\n'), "{error}");
        writeln!(text, "{what}:\n  {error}").unwrap();
    }
    text
}

#[test]
fn a_missing_file_and_a_folder_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Scenario::read(&folder.path().join("none.toml")).unwrap_err().to_string();
    assert!(missing.ends_with("No such file or directory (os error 2); name an existing file"), "{missing}");
    let not_a_file = Scenario::read(folder.path()).unwrap_err().to_string();
    assert!(not_a_file.ends_with("it is a folder; name a file in it"), "{not_a_file}");
}
