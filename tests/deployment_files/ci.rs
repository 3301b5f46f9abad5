//! The recipe for CI servers, with a stand-in for `sluice` that ends with given exit codes: what it reports, keeps and compares.
//! And the workflow that calls it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::{path, yaml};

/// Writes a report for `verify` and a comparison for `compare`; each ends with the next code of its file.
const STAND_IN: &str = r#"#!/usr/bin/env bash
verb=$1
echo "$*" >> "$FOLDER/calls"
code=$(head -n 1 "$FOLDER/$verb"); sed -i 1d "$FOLDER/$verb"
if [ "$verb" = verify ]; then
  mkdir -p "$SLUICE_VERIFY__RUNS/run"
  [ "$code" = 3 ] || echo "{}" > "$SLUICE_VERIFY__RUNS/run/report.json"
  echo "the summary" > "$SLUICE_VERIFY__RUNS/run/summary.md"
else
  while [ $# -gt 1 ]; do shift; [ "$1" = --output ] && printf '## WORSE\n\nsearch p95 +30 %%\n' > "$2"; done
fi
exit "$code"
"#;

/// A CI server that keeps one folder.
struct Server(TempDir);

impl Server {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("sluice");
        fs::write(&program, STAND_IN).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Runs the recipe with the exit codes of the calls to come; returns its exit code and its output.
    fn run(&self, verify: &str, compare: &str) -> (i32, String) {
        fs::write(self.folder().join("verify"), verify).unwrap();
        fs::write(self.folder().join("compare"), compare).unwrap();
        let output = Command::new("bash")
            .arg(path("deploy/ci/verify.sh"))
            .current_dir(self.folder())
            .env("FOLDER", self.folder())
            .env("SLUICE", self.folder().join("sluice"))
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_STEP_SUMMARY", self.folder().join("page"))
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }

    fn good_runs(&self) -> usize {
        fs::read_dir(self.folder().join("ci-runs/good")).unwrap().count()
    }
}

#[test]
fn a_good_run_is_kept_and_the_next_one_is_compared_with_it() {
    let server = Server::new();
    assert_eq!(server.run("0", "").0, 0);
    assert_eq!((server.run("0", "0").0, server.good_runs()), (0, 2));
    let (code, output) = server.run("0", "1");
    assert_eq!((code, server.good_runs()), (1, 2), "a worse run is no good one");
    assert!(output.contains("::error title=sluice ci::worse than the last good runs: search p95 +30 %25"), "{output}");
    let page = fs::read_to_string(server.folder().join("page")).unwrap();
    assert_eq!((page.matches("the summary").count(), page.matches("## WORSE").count()), (3, 2));
    assert!(server.folder().join("ci-runs/last/report.json").exists());
    let calls = fs::read_to_string(server.folder().join("calls")).unwrap();
    assert!(calls.contains("verify ci\ncompare ci-runs/good ci-runs/last"), "{calls}");
    for _ in 0..5 {
        assert_eq!(server.run("0", "2").0, 0);
    }
    assert_eq!(server.good_runs(), 5);
}

#[test]
fn each_exit_code_of_the_run_has_its_own_outcome() {
    let outcome = |verify: &str| {
        let server = Server::new();
        let (code, output) = server.run(verify, "");
        (code, output.matches("::error").count(), output.matches("::warning").count(), server.good_runs())
    };
    assert_eq!(outcome("1"), (1, 1, 0, 0), "a missed objective");
    assert_eq!(outcome("2"), (0, 0, 1, 0), "undecided");
    assert_eq!(outcome("3\n0"), (0, 0, 1, 1), "an invalid run is repeated");
    assert_eq!(outcome("3\n3"), (3, 1, 1, 0), "once");
    assert_eq!(outcome("4"), (4, 1, 0, 0), "wrong usage");
}

#[test]
fn good_runs_that_cannot_be_compared_are_replaced() {
    let server = Server::new();
    server.run("0", "");
    server.run("0", "0");
    let (code, output) = server.run("0", "4");
    assert_eq!((code, server.good_runs(), output.matches("::warning").count()), (0, 1, 1));
}

#[test]
fn the_workflow_calls_the_recipe_and_keeps_its_folder() {
    let workflow = yaml("deploy/ci/github-actions.yml");
    let steps = workflow["jobs"]["verify"]["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["run"] == "deploy/ci/verify.sh ci" && step["env"]["SLUICE"].is_string()));
    let kept = |action: &str| steps.iter().any(|step| step["uses"] == action && step["with"]["path"] == "ci-runs");
    assert!(kept("actions/cache/restore@v4") && kept("actions/cache/save@v4"));
    assert!(steps.iter().any(|step| step["with"]["path"] == "ci-runs/last"), "the report is not kept");
}
