//! Wrong input yields exit code 4 and one sentence that names the file, the line or key, and what to do; no store is touched.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

use std::{path::Path, process::Command};

use tempfile::TempDir;

/// Runs `sluice` in this folder; returns the exit code and standard error, with the folder's path masked.
fn sluice(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sluice")).current_dir(folder).args(arguments).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap().replace(&folder.display().to_string(), "FOLDER");
    (output.status.code().unwrap(), message)
}

fn folder_with(file: &str, text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(file), text).unwrap();
    folder
}

/// The error message of a command that must end with exit code 4.
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let (code, message) = sluice(folder, arguments);
    assert_eq!(code, 4, "{message}");
    message
}

/// The error message of `sluice config check` for an invalid configuration.
fn config_error(config: &str) -> String {
    let folder = folder_with("sluice.toml", config);
    refused(folder.path(), &["config", "check"])
}

#[test]
fn a_report_of_a_newer_version_and_a_missing_one_are_refused() {
    let folder = folder_with("report.json", "{ \"version\": 99 }");
    let message = refused(folder.path(), &["report", "show", "."]);
    insta::assert_snapshot!(message.trim(), @"error: failed to read ./report.json: it is of version 99, and this program reads version 6; read it with a newer sluice");
    let message = refused(folder.path(), &["report", "show"]);
    insta::assert_snapshot!(message.trim(), @"error: failed to find a report in runs: no run has one; run `sluice verify` first, or name a report.json");
}

#[test]
fn reports_that_cannot_be_compared_are_refused() {
    let folder = folder_with("new.json", "{ \"version\": 99 }");
    std::fs::write(folder.path().join("empty.json"), "{ \"version\": 6 }").unwrap();
    let refused = |arguments: &[&str]| refused(folder.path(), arguments).trim().to_owned();
    insta::assert_snapshot!(refused(&["compare", "new.json", "new.json"]), @"error: failed to read new.json: it is of version 99, and this program reads version 6; read it with a newer sluice");
    insta::assert_snapshot!(refused(&["compare", "empty.json", "new.json"]), @"error: failed to read empty.json: it is not a report of sluice (missing field `run` at line 1 column 16); name a report.json that `sluice verify` wrote");
    insta::assert_snapshot!(refused(&["compare", "a.json,b.json", "new.json"]), @"error: failed to read a.json: No such file or directory (os error 2); name a report.json, or the folder of a run");
    insta::assert_snapshot!(refused(&["verify", "--baseline", "old", "smoke"]), @"error: failed to read old: No such file or directory (os error 2); name a report.json, or the folder of a run");
    assert!(
        refused(&["compare", "a", "b", "--margin", "5"])
            .contains("write a percentage above 0 and up to 1000, as in 10%")
    );
}

#[test]
fn a_shard_that_does_not_exist_is_refused_and_so_is_a_report_that_is_none() {
    let folder = folder_with("empty.json", "{ \"version\": 6 }");
    for shard in ["5/4", "0/4", "2", "a/b"] {
        let message = refused(folder.path(), &["verify", "--shard", shard]);
        assert!(message.contains("write the number of the shard and of all shards, as in 2/4"), "{message}");
    }
    let message = refused(folder.path(), &["report", "merge", "empty.json"]);
    assert!(message.contains("read empty.json: it is not a report of sluice"), "{message}");
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    insta::assert_snapshot!(config_error("[stack]\nport_bass = 1\n"));
}

#[test]
fn a_wrong_unit_is_named_with_its_line() {
    insta::assert_snapshot!(config_error("[ingest]\ndrain_deadline = \"25 parsecs\"\n"));
}

#[test]
fn a_wrong_size_is_named_with_its_line() {
    insta::assert_snapshot!(config_error("[ingest]\nmemory_budget = \"256 elephants\"\n"));
}

#[test]
fn malformed_toml_is_named_with_its_line() {
    insta::assert_snapshot!(config_error("[stack\n"));
}

#[test]
fn a_namespace_that_a_store_would_refuse_is_refused() {
    insta::assert_snapshot!(config_error("[stores]\nnamespace = \"My Team\"\n"));
}

#[test]
fn a_run_never_uses_the_platforms_own_namespace() {
    insta::assert_snapshot!(config_error("[verify]\nnamespace = \"\"\n"));
}

#[test]
fn a_port_base_out_of_range_is_refused() {
    insta::assert_snapshot!(config_error("[stack]\nport_base = 80\n"));
}

#[test]
fn a_configuration_path_that_is_a_folder_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let (code, message) = sluice(folder.path(), &["--config", ".", "config", "check"]);
    assert_eq!(code, 4);
    insta::assert_snapshot!(message);
}

#[test]
fn a_missing_configuration_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (code, message) = sluice(folder.path(), &["--config", "nowhere.toml", "config", "check"]);
    assert_eq!(code, 4);
    insta::assert_snapshot!(message);
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
fn a_configuration_file_that_is_not_text_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("sluice.toml"), [0x7f, b'E', b'L', b'F', 0xff]).unwrap();
    let (code, message) = sluice(folder.path(), &["config", "check"]);
    assert_eq!(code, 4);
    insta::assert_snapshot!(message);
}

#[test]
fn an_argument_of_the_wrong_form_is_refused_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let command_lines = [
        &["logs", "-n", "x", "kafka"][..],
        &["dlq", "show", "t", "x", "1"],
        &["dlq", "list", "--tenant", "abc"],
        &["up", "--until-idle", "5"],
        &["verify", "--namespace", ""],
    ];
    let message = command_lines.map(|arguments| sluice(folder.path(), arguments));
    assert!(message.iter().all(|(code, _)| *code == 4), "{message:?}");
    insta::assert_snapshot!(message.map(|(_, message)| message).concat());
}

#[test]
fn correct_arguments_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let command_lines = [
        "logs -n 5 kafka",
        "dlq show t 0 7",
        "dlq list --limit 5 --tenant 6f2d8a4e-0d0c-4f0e-9a3b-0c1d2e3f4a5b",
        "dlq replay --limit 5",
        "ingest status --topic t --partition 0",
        "ingest offsets set t 0 7",
        "ingest offsets skip t 0 7",
        "ingest offsets accept t 0 --at 7",
        "up --until-idle 60s",
    ];
    for line in command_lines {
        let arguments: Vec<_> = ["--config", "nowhere.toml"].into_iter().chain(line.split(' ')).collect();
        let (code, message) = sluice(folder.path(), &arguments);
        assert!(code == 4 && message.contains("read nowhere.toml"), "{line}: {code}, {message}");
    }
}

#[test]
fn an_unknown_store_is_refused_with_a_list_of_stores() {
    let folder = tempfile::tempdir().unwrap();
    let (code, message) = sluice(folder.path(), &["up", "--only", "mysql"]);
    assert_eq!(code, 4);
    insta::assert_snapshot!(message);
}

#[test]
fn an_unknown_question_is_refused_with_a_list_of_questions() {
    let scenario = include_str!("verify/small.toml").replace("search = \"30/s\"", "serch = \"30/s\"");
    let folder = folder_with("mine.toml", &scenario);
    let (code, message) = sluice(folder.path(), &["verify", "mine.toml"]);
    assert_eq!(code, 4);
    insta::assert_snapshot!(message);
}

/// The error message of `sluice config check` for an invalid variable.
fn variable_error(name: &str, value: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    let output = command.current_dir(folder.path()).env(name, value).args(["config", "check"]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{name}={value}: {message}");
    message
}

#[test]
fn an_invalid_value_is_refused_with_a_remedy() {
    let values = [
        "[ingest]\nlisten = \"localhost:9090\"\n",
        "[ingest]\ninserts_in_flight = 99999999999999999999\n",
        "[ingest]\npeak_inserts_per_second = -1\n",
        "[ingest]\nmemory_budget = -5\n",
        "[stores.postgres]\nport = 70000\n",
        "[ingest.breaker]\nenabled = \"yes\"\n",
        "[stores]\nnamespace = 5\n",
        "[ingest.pipelines.x]\ntable = \"t\"\ncolumns = { a = \"b..c\" }\n",
        "[ingest.pipelines.x]\ntable = \"t\"\nmax_bytes = \"5 GiB\"\n",
        "[ingest.kafka]\n\"session.timeout.ms\" = \"0x1770\"\n",
        "ingest = 3\n",
        "[ingest]\npipelines = 3\n",
    ];
    let message: Vec<_> = values.iter().map(|config| config_error(config)).collect();
    insta::assert_snapshot!(message.join("\n"));
}

#[test]
fn a_secret_of_another_type_is_refused_without_being_shown() {
    let message = config_error("[stores.postgres.app]\nuser = \"app\"\npassword = 271828\n");
    assert!(message.contains("password") && !message.contains("271828"), "{message}");
    let message = config_error("[stores.postgres.app]\nuser = \"app\"\npassword = hunter2\n");
    assert!(message.contains("password") && !message.contains("hunter2"), "{message}");
    let message = variable_error("SLUICE_STORES__POSTGRES__APP__PASSWORD", "271828");
    assert!(message.contains("SLUICE_STORES__POSTGRES__APP__PASSWORD") && !message.contains("271828"), "{message}");
}

#[test]
fn a_misspelled_variable_is_refused_with_its_correct_name() {
    let message = [
        variable_error("SLUICE_STACK_PORT_BASE", "22000"),
        variable_error("SLUICE_NAMESPACE", "mine"),
        variable_error("SLUICE_STORES_CLICKHOUSE_LOGIN_USER", "me"),
        variable_error("SLUICE_STORES__POSTGRES_PORT", "5432"),
        variable_error("SLUICE_INGEST_GRUOP", "g"),
        variable_error("SLUICE_INGEST__LISTEN", "localhost:9090"),
        variable_error("SLUICE_STORES__NAMESPACE", "My Team"),
        variable_error("SLUICE_STACKS__PORT_BASE", "22000"),
        variable_error("SLUICE_STORES__KAFKA__BROKER", "localhost:9092"),
        variable_error("SLUICE_LOGS", "info"),
    ];
    insta::assert_snapshot!(message.concat());
}

#[test]
fn an_invalid_namespace_is_an_error_and_never_falls_back_to_the_default() {
    let folder = tempfile::tempdir().unwrap();
    for verb in [&["schemas", "check"][..], &["ingest"], &["dlq", "list"], &["ingest", "audit"], &["verify"]] {
        let (code, message) =
            sluice(folder.path(), &[&["--port-base", "61000", "--namespace", "Prod 1"], verb].concat());
        assert!(code == 4 && message.contains("\"Prod 1\" is not a namespace"), "{verb:?}: {code}, {message}");
    }
}

#[test]
fn a_shipped_scenario_is_found_by_name_from_any_folder() {
    let folder = tempfile::tempdir().unwrap();
    for (verb, name) in [("verify", "smoke"), ("load", "day")] {
        let (code, message) = sluice(folder.path(), &["--port-base", "61000", verb, name, "--no-up"]);
        assert!(code == 3 && message.starts_with(&format!("scenario {name}: ")), "{code}: {message}");
    }
    // A name selects the shipped scenario, a path selects the file; if both exist, the output mentions it.
    let folder = folder_with("smoke", "name = 1\n");
    let (code, message) = sluice(folder.path(), &["--port-base", "61000", "verify", "smoke", "--no-up"]);
    assert!(code == 3 && message.contains("write ./smoke to use the file of that name"), "{code}: {message}");
    let (code, message) = sluice(folder.path(), &["--port-base", "61000", "verify", "./smoke", "--no-up"]);
    assert!(code == 4 && message.contains("read scenario ./smoke:1: "), "{code}: {message}");
}

#[test]
fn an_unknown_scenario_is_refused_with_a_list_of_scenarios() {
    let folder = tempfile::tempdir().unwrap();
    let message = ["smkoe", "weekend"].map(|name| sluice(folder.path(), &["verify", name]));
    assert!(message.iter().all(|(code, _)| *code == 4), "{message:?}");
    insta::assert_snapshot!(message.map(|(_, message)| message).concat());
}

#[test]
fn the_help_of_a_run_names_every_shipped_scenario() {
    let output = Command::new(env!("CARGO_BIN_EXE_sluice")).args(["verify", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    for file in std::fs::read_dir(folder).unwrap() {
        let name = file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
        assert!(help.contains(&name), "{name} is not in: {help}");
    }
}

#[test]
fn a_past_that_clickhouse_would_delete_is_refused_before_anything_starts() {
    let folder = folder_with("empty.txt", "");
    let message = refused(folder.path(), &["verify", "--set", "time.start=2018-01-01T00:00:00Z"]);
    insta::assert_snapshot!(message.trim(), @"error: failed to load the population: its past begins on 2017-12-04, and ClickHouse deletes what is older than 7 years; move `time.start`, or shorten `past.span`");
}

#[test]
fn a_search_for_the_capacity_is_refused_before_anything_starts() {
    let small = include_str!("verify/small.toml");
    let folder = folder_with("mine.toml", small);
    let refused = |arguments: &[&str], remedy: &str| {
        let (code, message) = sluice(folder.path(), &[&["capacity"], arguments].concat());
        assert!(code == 4 && message.contains(remedy), "{arguments:?}: {code}, {message}");
    };
    for (option, value, remedy) in [
        ("--growth", "0 %/month", "write a growth above 0 and its period, as in \"3 %/month\""),
        ("--growth", "3 %", "write a growth above 0 and its period, as in \"3 %/month\""),
        ("--of", "kafka", "write mix, postgres, redis, elasticsearch, clickhouse or writes"),
        ("--hold", "0s", "write a time from 1s to 24h"),
        ("--from", "0", "write a factor from 0.0625 to 256"),
        ("--confirm", "1s", "failed to confirm a rate that is held for 4 s in only 1 s; choose a longer --confirm"),
    ] {
        refused(&["mine.toml", option, value], remedy);
    }
    refused(&["weekend"], "weekend");
    let users = "\n[[users]]\nname = \"agents\"\ncount = 3\nthink_time = \"2 s\"\nquestions = { search = 1 }\n";
    let without_slo = small.split("[[slo]]").next().unwrap();
    let without_search =
        small.replace("search = \"30/s\"\n", "").replace("questions = [\"search\"]", "questions = [\"lookup_by_id\"]");
    for (scenario, of, remedy) in [
        (format!("{small}{users}"), "mix", "its users (agents) ask one question at a time"),
        (without_slo.to_owned(), "mix", "it has no SLO, so no rate can fail; add an [[slo]]"),
        (without_search, "elasticsearch", "it asks elasticsearch nothing; choose another --of"),
    ] {
        std::fs::write(folder.path().join("other.toml"), scenario).unwrap();
        refused(&["other.toml", "--of", of], remedy);
    }
    assert!(!folder.path().join("runs").exists(), "a refused search left a folder behind");
}

#[test]
fn a_missing_scenario_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (code, message) = sluice(folder.path(), &["verify", "nowhere.toml"]);
    assert_eq!(code, 4);
    insta::assert_snapshot!(message);
}

#[test]
fn a_misspelled_verb_gets_a_suggestion() {
    let folder = tempfile::tempdir().unwrap();
    let (code, message) = sluice(folder.path(), &["verfy"]);
    assert_eq!(code, 4);
    insta::assert_snapshot!(message);
}

#[test]
fn the_help_introduces_the_tool() {
    let output = Command::new(env!("CARGO_BIN_EXE_sluice")).arg("--help").output().unwrap();
    assert!(output.status.success());
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap());
}

#[test]
fn the_effective_settings_are_printed_without_secrets() {
    let folder = folder_with("sluice.toml", "[stores.postgres.app]\nuser = \"app\"\npassword = \"hunter2\"\n");
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
fn unreachable_stores_are_named_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let (code, message) = sluice(folder.path(), &["--port-base", "61000", "schemas", "check", "--only", "postgres"]);
    assert_eq!(code, 3, "{message}");
    insta::assert_snapshot!(message);
}

/// The mistakes in a scenario with this question, which the check prints.
fn question_error(question: &str) -> String {
    let scenario = "name = \"mine\"\n[time]\nreplayed_in = \"1 min\"\n[probes]\nmine = \"1/s\"\n[question.mine]\n";
    let folder = folder_with("mine.toml", &format!("{scenario}{question}"));
    std::fs::write(folder.path().join("ids.csv"), "id,name\n1,a\n").unwrap();
    refused(folder.path(), &["scenario", "check", "mine.toml"])
}

#[test]
fn a_question_that_cannot_be_asked_is_named_with_its_line() {
    let errors: Vec<String> = [
        "store = \"postgres\"\ntext = \"DELETE FROM t\"",
        "store = \"postgres\"\ntext = \"SELECT 1; DELETE FROM t\"",
        "store = \"postgres\"\ntext = \"SELECT 1 WHERE 1 = $id\"",
        "store = \"postgres\"\ntext = \"SELECT $id\"\nparameters = { id = { csv = \"ids.csv\", column = \"idd\" } }",
        "store = \"postgres\"\ntext = \"SELECT $id\"\nparameters = { id = { csv = \"none.csv\", column = \"id\" } }",
        "store = \"redis\"\ntext = \"GET $id\"\nparameters = { id = { table = \"t\", column = \"id\" } }",
        "store = \"postgres\"\ntext = \"SELECT 1\"\nexpected = 1",
        "store = \"elasticsearch\"\nindex = \"a/_doc\"\ntext = \"{}\"",
        "store = \"mongo\"\ntext = \"{}\"",
    ]
    .map(question_error)
    .into();
    insta::assert_snapshot!(errors.concat());
}

#[test]
fn a_scenario_that_does_not_fit_the_run_is_refused_with_its_line() {
    let scenario = "name = \"mine\"\n[time]\nreplayed_in = \"1 min\"\n[probes]\nmine = \"1/s\"\n[question.mine]\nstore = \"postgres\"\ntext = \"SELECT 1\"\n";
    let folder = folder_with("mine.toml", scenario);
    let refused = |folder: &TempDir, arguments: &[&str]| refused(folder.path(), arguments);
    let mut messages =
        ["verify", "load", "capacity"].map(|verb| refused(&folder, &[verb, "mine.toml", "--no-up"])).to_vec();
    let folder = folder_with("mine.toml", &scenario.replace("mine = \"1/s\"", "search = \"1/s\""));
    messages.push(refused(&folder, &["scenario", "check", "mine.toml"]));
    messages.push(refused(&folder, &["verify", "smoke", "--read-only"]));
    messages.push(refused(&folder, &["verify", "ci", "--existing"]));
    insta::assert_snapshot!(messages.concat(), @r#"
    error: failed to read scenario mine.toml:1: `name`: nothing can be written without a population: describe it with [population], [past] and [drive], or ask an existing deployment with `sluice verify --read-only`
    error: failed to read scenario mine.toml:1: `name`: nothing can be written without a population: describe it with [population], [past] and [drive], or ask an existing deployment with `sluice verify --read-only`
    error: failed to read scenario mine.toml:1: `name`: nothing can be written without a population: describe it with [population], [past] and [drive], or ask an existing deployment with `sluice verify --read-only`
    mine.toml:5: `probes.search`: it is about a population; describe it with [population], [past] and [drive], or ask questions of your own
    error: failed to read scenario smoke (shipped):43: `probes`: only a run that writes can ask "lookup_cached", "session", "agent_state", "agent_queue", "rate_limit", "live_timeline", "live_dashboard", and this run only reads; use a scenario that asks none of these
    error: failed to read scenario ci (shipped):37: `probes`: only a run that writes can ask "lookup_cached", "session", "agent_state", "agent_queue", "rate_limit", "live_timeline", "live_dashboard", and this run only reads; use a scenario that asks none of these
    "#);
}

#[test]
fn a_past_that_clickhouse_would_delete_is_a_warning_of_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let old = ["scenario", "check", "smoke", "--set", "time.start=2015-01-06T00:00:00Z"];
    let (code, warned) = sluice(folder.path(), &old);
    let warning = "warning: a run is refused today: load the population: its past begins on 2014-";
    assert!(code == 0 && warned.contains(warning), "{warned}");
}
