//! A report is read as it was written; anything else is refused with what to do. The published schema is current.

use std::path::{Path, PathBuf};

use super::*;

fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn refusal(text: &str) -> String {
    let (folder, path) = written(text);
    read(&path).unwrap_err().to_string().replace(&folder.path().display().to_string(), "FOLDER")
}

fn json(report: &Report) -> String {
    report.render(Format::Json).unwrap()
}

#[test]
fn a_report_is_read_as_it_was_written() {
    for report in [report(1_000, 0), report(12, 3), report_of(silent(&scenario()), 0, None)] {
        let text = json(&report);
        let (folder, path) = written(&text);
        assert_eq!(json(&read(&path).unwrap()), text);
        let read = read(folder.path()).unwrap();
        assert_eq!(read.table(), report.table(), "a folder stands for its report");
        for (before, after) in report.questions.iter().zip(&read.questions) {
            let quantiles =
                |one: &QuestionReport| [0.0, 0.5, 0.95, 1.0].map(|quantile| one.histogram.quantile(quantile));
            assert_eq!(quantiles(before), quantiles(after));
        }
    }
}

#[test]
fn fields_of_a_later_program_are_ignored_in_the_same_version() {
    let text = json(&report(1_000, 0)).replacen('{', "{\n\"mood\": \"good\",", 1);
    read(&written(&text).1).unwrap();
}

#[test]
fn other_versions_and_other_files_are_refused_with_what_to_do() {
    let mistyped = json(&report(1_000, 0)).replace("\"verdict\": \"PASS\"", "\"verdict\": \"GOOD\"");
    let whole = json(&report(1_000, 0));
    let begun: Vec<&str> = whole.lines().take(100).collect();
    let begun = begun.join("\n");
    let refusals = [
        "{ \"version\": 99, \"all\": \"new\" }",
        "{ \"version\": 4 }",
        "# Report",
        "{ \"name\": \"x\" }",
        &mistyped,
        &begun,
        "",
        "{ \"version\": 1, \"run\": {}, \"searches\": [] }",
    ];
    let missing = [
        read(Path::new("/nowhere/report.json")).unwrap_err(),
        read(Path::new("/proc/self")).unwrap_err(),
        newest(Path::new("/nowhere")).unwrap_err(),
    ];
    let all: Vec<String> = refusals.map(refusal).into_iter().chain(missing.map(|error| error.to_string())).collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn a_report_of_any_version_is_known_as_one() {
    assert!(is_report(json(&report(1_000, 0)).as_bytes()));
    for report in ["{\"version\": 99, \"run\": {}}", "{\"version\": 1, \"run\": {}, \"searches\": []}"] {
        assert!(is_report(report.as_bytes()), "{report}");
    }
    for other in ["", "{}", "# Report", "{\"version\": 3, \"run\": 1}", "{\"outcome\": \"worse\", \"a\": []}"] {
        assert!(!is_report(other.as_bytes()), "{other}");
    }
}

#[test]
fn a_report_whose_intervals_have_no_length_is_refused() {
    let mut report = report(1_000, 0);
    report.questions[0].series.interval_s = -1.0;
    assert!(refusal(&json(&report)).contains("`interval_s` is no length of time"));
}

#[test]
fn the_newest_report_is_the_one_written_last() {
    let runs = tempfile::tempdir().unwrap();
    for (folder, hour) in [("b", 1), ("a", 3), ("c", 2)] {
        let folder = runs.path().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        let file = std::fs::File::create(folder.join(FILE_NAME)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_hours(hour)).unwrap();
    }
    std::fs::create_dir(runs.path().join("d")).unwrap();
    assert_eq!(newest(runs.path()).unwrap(), runs.path().join("a"));
}

#[test]
fn the_published_schema_is_current_and_describes_reports() {
    let published = include_str!("../../../../docs/report.schema.json");
    assert!(published == schema().unwrap(), "run: sluice report schema > docs/report.schema.json");
    let validator = jsonschema::validator_for(&serde_json::from_str(published).unwrap()).unwrap();
    for report in [report(12, 3), report_of(silent(&scenario()), 0, None)] {
        let json = serde_json::to_value(&report).unwrap();
        let errors: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert_eq!(errors, [""; 0]);
        let mut broken = json;
        broken["questions"][0]["series"]["offered"] = "many".into();
        assert!(!validator.is_valid(&broken), "the schema refuses what is no report");
    }
}
