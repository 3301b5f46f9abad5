//! Wrong input gets one sentence that names the file, the line or key and what to do, and exit code 4; nothing is touched.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{path::Path, process::Command};

use tempfile::TempDir;

/// Runs `sluice` in a folder of its own; gives the exit code and standard error, with the folder's path taken out.
fn sluice(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sluice")).current_dir(folder).args(arguments).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap().replace(&folder.display().to_string(), "FOLDER");
    (output.status.code().unwrap(), said)
}

fn with(file: &str, text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(file), text).unwrap();
    folder
}

/// What `sluice config check` says about a configuration.
fn refused(config: &str) -> String {
    let folder = with("sluice.toml", config);
    let (code, said) = sluice(folder.path(), &["config", "check"]);
    assert_eq!(code, 4, "{said}");
    said
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    insta::assert_snapshot!(refused("[stack]\nport_bass = 1\n"));
}

#[test]
fn a_wrong_unit_is_named_with_its_line() {
    insta::assert_snapshot!(refused("[ingest]\ndrain_deadline = \"25 parsecs\"\n"));
}

#[test]
fn a_wrong_size_is_named_with_its_line() {
    insta::assert_snapshot!(refused("[ingest]\nmemory_budget = \"256 elephants\"\n"));
}

#[test]
fn toml_that_is_none_is_named_with_its_line() {
    insta::assert_snapshot!(refused("[stack\n"));
}

#[test]
fn a_namespace_that_a_store_would_refuse_is_refused_first() {
    insta::assert_snapshot!(refused("[stores]\nnamespace = \"My Team\"\n"));
}

#[test]
fn a_run_never_uses_the_platforms_own_namespace() {
    insta::assert_snapshot!(refused("[verify]\nnamespace = \"\"\n"));
}

#[test]
fn a_port_base_out_of_range_is_refused() {
    insta::assert_snapshot!(refused("[stack]\nport_base = 80\n"));
}

#[test]
fn a_configuration_that_is_a_folder_is_said_to_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = sluice(folder.path(), &["--config", ".", "config", "check"]);
    assert_eq!(code, 4);
    insta::assert_snapshot!(said);
}

#[test]
fn a_configuration_that_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = sluice(folder.path(), &["--config", "nowhere.toml", "config", "check"]);
    assert_eq!(code, 4);
    insta::assert_snapshot!(said);
}

#[test]
fn a_wrong_variable_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .current_dir(folder.path())
        .env("SLUICE_STORES__POSTGRES__PORT", "many")
        .args(["config", "check"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
    insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap());
}

#[test]
fn a_store_that_nobody_knows_is_refused_with_those_that_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = sluice(folder.path(), &["up", "--only", "mysql"]);
    assert_eq!(code, 4);
    insta::assert_snapshot!(said);
}

#[test]
fn a_scenario_that_asks_an_unknown_question_is_refused_with_those_that_are_known() {
    let scenario = include_str!("verify/small.toml").replace("search = \"30/s\"", "serch = \"30/s\"");
    let folder = with("mine.toml", &scenario);
    let (code, said) = sluice(folder.path(), &["verify", "mine.toml"]);
    assert_eq!(code, 4);
    insta::assert_snapshot!(said);
}

#[test]
fn a_scenario_that_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = sluice(folder.path(), &["verify", "nowhere.toml"]);
    assert_eq!(code, 4);
    insta::assert_snapshot!(said);
}

#[test]
fn a_verb_with_a_typing_error_is_answered_with_the_right_one() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = sluice(folder.path(), &["verfy"]);
    assert_eq!(code, 4);
    insta::assert_snapshot!(said);
}

#[test]
fn the_help_is_what_a_newcomer_learns_the_tool_from() {
    let output = Command::new(env!("CARGO_BIN_EXE_sluice")).arg("--help").output().unwrap();
    assert!(output.status.success());
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap());
}

#[test]
fn what_is_in_force_is_printed_without_a_secret() {
    let folder = with("sluice.toml", "[stores.postgres.app]\nuser = \"app\"\npassword = \"hunter2\"\n");
    let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .current_dir(folder.path())
        .args(["config", "check"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("user = \"app\"") && !printed.contains("hunter2"), "{printed}");
}

#[test]
fn stores_that_are_not_there_are_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = sluice(folder.path(), &["--port-base", "61000", "schemas", "check", "--only", "postgres"]);
    assert_eq!(code, 3, "{said}");
    insta::assert_snapshot!(said);
}
