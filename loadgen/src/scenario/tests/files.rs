//! Included files, set values, and where their mistakes are reported.

use super::*;

#[test]
fn every_mistake_is_found_at_once() {
    let text = SMOKE
        .replace("span = \"1 day\"", "span = \"1 dya\"")
        .replace("tenants = 3", "tenants = 0")
        .replace("search = \"8/s\"", "serach = \"8/s\"")
        .replace("redis = \"2 s\"", "redis = \"2\"")
        .replace("within = \"2 s\"", "within = \"2 parsecs\"");
    let mistakes = Scenario::parse_with(&text, "bad.toml", &[], None).unwrap_err();
    insta::assert_snapshot!(mistakes.iter().map(ScenarioError::at_its_place).collect::<Vec<_>>().join("\n"));
}

#[test]
fn every_mistake_of_a_table_is_found_at_once() {
    let stage = "[[stage]]\nfor = \"75\"\nrates = \"2\"\ntenant = \"9\"\n";
    let text = format!("{SMOKE}\n{stage}")
        .replace("skew = 1.0", "skew = 4.0")
        .replace("customers_per_agent = 500", "customers_per_agent = 0")
        .replace("tenants = 3", "tenants = 1_001")
        .replace("span = \"1 day\"", "span = \"500 days\"")
        .replace("replayed_in = \"75 s\"", "replayed_in = \"7 days\"")
        .replace("arrivals = \"poisson\"", "arrivals = \"random\"\nrate = \"0x\"")
        .replace("undecided = \"allow\"", "undecided = \"maybe\"\nlongest_outage = \"2 h\"")
        .replace("within = \"2 s\"", "within = \"2 h\"")
        .replace("alpha = \"5 %\"", "alpha = \"50 %\"");
    let mistakes = Scenario::parse_with(&text, "bad.toml", &[], None).unwrap_err();
    insta::assert_snapshot!(mistakes.iter().map(ScenarioError::at_its_place).collect::<Vec<_>>().join("\n"));
}

#[test]
fn every_mistake_of_the_structure_is_found_at_once() {
    let text = SMOKE
        .replace("skew = 1.0", "skew = \"1.0\"")
        .replace("tenants = 3\n", "")
        .replace("span = \"1 day\"", "span = 1")
        .replace("[time]", "[time]\nlength = 3")
        .replace("within = \"2 s\"", "wihtin = \"2 s\"");
    let mistakes = Scenario::parse_with(&text, "bad.toml", &[], None).unwrap_err();
    insta::assert_snapshot!(mistakes.iter().map(ScenarioError::at_its_place).collect::<Vec<_>>().join("\n"));
}

/// The key of each mistake in a scenario.
fn keys(text: &str) -> Vec<String> {
    let mistakes = Scenario::parse_with(text, "bad.toml", &[], None).unwrap_err();
    mistakes.iter().map(|mistake| mistake.message.split('`').nth(1).unwrap().to_owned()).collect()
}

#[test]
fn a_wrong_name_hides_no_mistake_of_the_whole() {
    let text = edited("name = \"smoke\"", "name = \"Smoke Test\"")
        .replace("communications = 100_000", "communications = 90_000_000\nrate = \"2x\"")
        .replace("redis = \"2 s\"", "redis = \"2\"");
    assert_eq!(keys(&text), ["name", "drive.rate", "time_outs.redis"]);
}

#[test]
fn a_mistake_of_an_slo_hides_none_of_its_others() {
    let slo = "[[slo]]\nname = \"search\"\nobjective = \"95 %\"\nwithin = \"1 s\"\n";
    let questions =
        "questions = [\"search\", \"search\"]\ntenants = \"huge\"\nin_every = \"1 min\"\nat_least = \"1/s\"\n";
    let text = format!("{SMOKE}\n{slo}{questions}");
    assert_eq!(keys(&text), ["slo.name", "slo.questions", "slo.tenants", "slo.in_every", "slo.at_least"]);
    let commits =
        format!("{SMOKE}\n{slo}of = \"commits\"\nquestions = []\nusers = \"agents\"\n").replace("1 s\"\nof", "1\"\nof");
    assert_eq!(keys(&commits), ["slo.name", "slo.within", "slo.questions", "slo.users"]);
    let unasked = SMOKE.replace("lookup_by_id = \"14/s\"\n", "").replace("lookup_by_email = \"14/s\"\n", "");
    assert_eq!(keys(&unasked), ["slo.questions"; 2]);
}

#[test]
fn the_name_of_a_further_objective_is_no_mistake_that_nobody_wrote() {
    let named = |name: &str| {
        format!(
            "{SMOKE}\n[[slo]]\nname = \"{name}\"\nobjective = \"95 %\"\nwithin = \"1 s\"\nquestions = [\"search\"]\nalso = [{{ \
             objective = \"99 %\", within = \"2 s\" }}]\n"
        )
    };
    let mistakes = |text: &str| {
        let mistakes = Scenario::parse_with(text, "bad.toml", &[], None).unwrap_err();
        mistakes.into_iter().map(|mistake| mistake.message).collect::<Vec<_>>().join("\n")
    };
    let again = named("twice").replace(SMOKE, "");
    let long = "s".repeat(39);
    insta::assert_snapshot!(
        [
            mistakes(&named("Two Words")),
            mistakes(&named(&long)),
            mistakes(&format!("{}{again}", named("twice"))),
            mistakes(&format!("{}{}", named("twice"), again.replace("\"twice\"", "\"twice-2\""))),
        ]
        .join("\n"),
        @r#"
        `slo.name`: "Two Words" is not a valid name; use 1 to 40 lowercase letters, digits, hyphens or underscores
        `slo.name`: "sssssssssssssssssssssssssssssssssssssss" is too long, since its further objectives in `also` are named "sssssssssssssssssssssssssssssssssssssss-2" and so on; use at most 38 characters
        `slo.name`: duplicate SLO "twice"; give each SLO a name of its own
        `slo.name`: duplicate SLO "twice-2", as a further objective in `also` is named; give one of the two SLOs another name
        "#
    );
    let key = |from: &str, to: &str| keys(&named("twice").replace(from, to));
    assert_eq!(key("\"2 s\" }", "\"2\" }"), ["slo.also.within"]);
    assert_eq!(key("\"99 %\"", "\"99\""), ["slo.also.objective"]);
}

#[test]
fn groups_of_users_with_mistakes_are_compared_by_name() {
    let users = "[[users]]\nname = \"agents\"\ncount = 0\nthink_time = \"1 s\"\nquestions = { serach = 1 }\n";
    let text = format!("{SMOKE}\n{users}{users}");
    let own = ["users.count", "users.questions.serach"];
    assert_eq!(keys(&text), [&own[..], &["users.name"], &own].concat());
}

#[test]
fn each_value_of_a_wrong_type_says_what_to_write() {
    let mistakes = |from: &str, to: &str| {
        let mistakes = Scenario::parse_with(&edited(from, to), "bad.toml", &[], None).unwrap_err();
        mistakes.iter().map(ScenarioError::at_its_place).collect::<Vec<_>>().join("\n")
    };
    let digits = format!("skew = {}", "9".repeat(44));
    insta::assert_snapshot!(
        [
            mistakes("alpha = \"5 %\"", "also = [3]"),
            mistakes("description", "stage = [1]\ndescription"),
            mistakes("skew = 1.0", &digits),
            mistakes("skew = 1.0", "skew = -1"),
            mistakes("keys = 7", "kyes = \"7\""),
            mistakes("customers = 20_000", "customers = 200_000_000"),
            mistakes("name = \"smoke\"\n", ""),
            mistakes("[population]", "[populaton]"),
        ]
        .join("\n"),
        @r#"
        bad.toml:74: `slo.also`: it is the number 3; write it as a table [[slo.also]], or as one in braces
        bad.toml:6: `stage`: it is the number 1; write it as a table [[stage]], or as one in braces
        bad.toml:22: `population.skew`: 99999999999999999999999999999999999999999999 is out of range; write 0 to 3
        bad.toml:22: `population.skew`: -1 is out of range; write 0 (equal tenants) to 3
        bad.toml:11: unknown key `seeds.kyes`; did you mean `keys`? use data, keys
        bad.toml:11: `seeds.keys`: it is the text "7"; write a whole number from 0 to 18,446,744,073,709,551,615, without quotes
        bad.toml:23: `population.customers`: 200000000 is out of range; write 3 to 100,000,000
        bad.toml:1: missing key `name`; write text in quotes, such as "checkout"
        bad.toml:20: unknown key `populaton`; did you mean `population`? use availability, connections, description, drive, include, name, past, population, probes, question, seeds, slo, slo_files, stage, time, time_outs, users
        "#
    );
    let both = SMOKE.replace("[population]", "[populaton]").replace("[past]", "[psat]");
    assert_eq!(keys(&both), ["populaton", "psat"]);
}

#[test]
fn a_set_value_replaces_the_one_of_the_file() {
    let set = |values: &[&str]| {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        Scenario::parse_with(SMOKE, "smoke.toml", &values, None)
    };
    let faster =
        set(&["drive.rate=2x", "time.replayed_in=5 min", "seeds.keys = 9", "availability.undecided=\"block\""])
            .unwrap();
    assert_eq!((faster.communications, faster.key_seed, faster.duration), (200_000, 9, Duration::from_mins(5)));
    assert!((faster.probes[&Question::Search] - 16.0).abs() < 1e-9);
    let mistakes =
        ["drive.ratee=2x", "drive.rate=2", "drive", "time.replayed_in=5", "drive.rate=0x", "slo=1", "=", "a b=c"];
    let text: Vec<String> = mistakes.map(|value| set(&[value]).unwrap_err()[0].to_string()).into();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn what_a_table_lacks_is_missing_in_the_file_and_not_in_a_set_value() {
    let set = |text: &str, value: &str| {
        let mistakes = Scenario::parse_with(text, "smoke.toml", &[value.to_owned()], None).unwrap_err();
        mistakes.iter().map(ScenarioError::at_its_place).collect::<Vec<_>>()
    };
    let missing = "missing key `time.replayed_in`; write text in quotes, such as \"60 s\"";
    let without_key = edited("replayed_in = \"75 s\"\n", "");
    assert_eq!(set(&without_key, "time.span=1 day"), [format!("smoke.toml:13: {missing}")]);
    let without_table = "name = \"own\"\n[probes]\n";
    assert_eq!(set(without_table, "time.span=1 day"), [format!("smoke.toml:1: {missing}")]);
    let whole = set(SMOKE, "stage=[{ rate = \"2x\" }]");
    assert!(whole[0].starts_with("--set stage=[{ rate = \"2x\" }]: missing key `stage.for`"), "{whole:?}");
}

#[test]
fn what_is_written_twice_is_named() {
    let mistake = |text: String| Scenario::parse(&text, "bad.toml").unwrap_err().at_its_place();
    insta::assert_snapshot!(
        [
            mistake(edited("keys = 7\n", "keys = 7\nkeys = 8\n")),
            mistake(format!("{SMOKE}[slo]\nname = \"more\"\n")),
            mistake(format!("{SMOKE}[population]\ntenants = 4\n")),
        ]
        .join("\n"),
        @r#"
        bad.toml:12: duplicate key `keys`; write each key once
        bad.toml:105: duplicate table `slo`; write each one as [[slo]]
        bad.toml:105: duplicate table `population`; write each table once, with all its keys
        "#
    );
}

#[test]
fn control_characters_of_a_file_are_escaped_in_errors() {
    let text = edited("name = \"smoke\"", "name = \"smo\\nke\\u001b[1m\"");
    let error = Scenario::parse(&text, "bad.toml").unwrap_err().message;
    assert!(error.starts_with(r#"`name`: "smo\nke\u{1b}[1m" is not a valid name"#), "{error}");
}

/// Writes files into a folder and reads the first one.
fn read_files(files: &[(&str, &str)]) -> Result<Scenario, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let read = Scenario::read(&folder.path().join(files[0].0));
    read.map_err(|error| error.to_string().replace(&folder.path().display().to_string(), "FOLDER"))
}

#[test]
fn included_values_apply_where_the_file_has_none() {
    let own = "include = [\"base/base.toml\", \"base/faster.toml\"]\nname = \"own\"\n[population]\ntenants = 5\n[probes]\nsearch = \"3/s\"\n";
    let faster = "[time]\nreplayed_in = \"60 s\"\n[population]\ntenants = 4\ncustomers = 30_000\n";
    let scenario = read_files(&[("own.toml", own), ("base/base.toml", SMOKE), ("base/faster.toml", faster)]).unwrap();
    assert_eq!((scenario.name.as_str(), scenario.tenants, scenario.customers), ("own", 5, 30_000));
    assert!((scenario.probes[&Question::Search] - 3.0).abs() < 1e-9);
    assert_eq!((scenario.duration.as_secs(), scenario.slos.len()), (60, 4));
    assert!((scenario.probes[&Question::Timeline] - 8.0).abs() < 1e-9, "tables merge");
    let one_slo = "include = [\"base.toml\"]\n[[slo]]\nname = \"only\"\nobjective = \"95 %\"\nwithin = \"1 s\"\nquestions = [\"search\"]\n";
    assert_eq!(
        read_files(&[("a.toml", one_slo), ("base.toml", SMOKE)]).unwrap().slos.len(),
        1,
        "arrays of tables don't"
    );
}

#[test]
fn a_mistake_is_named_in_the_file_that_has_it() {
    let include = "include = [\"base.toml\"]\n";
    let base = SMOKE.replace("span = \"28 days\"", "span = \"28 dyas\"");
    let mistakes = [
        read_files(&[("own.toml", include), ("base.toml", &base)]),
        read_files(&[("own.toml", include), ("base.toml", &SMOKE.replace("skew = ", "skwe = "))]),
        read_files(&[("own.toml", include), ("base.toml", &SMOKE.replace("keys = 7", "keys = "))]),
        read_files(&[("own.toml", &format!("{include}[past]\nspan = \"36 h\"\n")), ("base.toml", SMOKE)]),
        read_files(&[("own.toml", include), ("base.toml", &SMOKE.replace("name = \"smoke\"\n", ""))]),
        read_files(&[("own.toml", include)]),
        read_files(&[("own.toml", include), ("base.toml", "include = [\"own.toml\"]\n")]),
        read_files(&[("own.toml", "\ninclude = [\"own.toml\"]\n")]),
    ];
    insta::assert_snapshot!(mistakes.map(|read| read.unwrap_err()).join("\n"));
}

#[test]
fn includes_are_followed_to_a_depth() {
    let chain: Vec<(String, String)> =
        (0..12).map(|i| (format!("{i}.toml"), format!("include = [\"{}.toml\"]\n", i + 1))).collect();
    let files: Vec<(&str, &str)> = chain.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let error = read_files(&files).unwrap_err();
    assert!(
        error.ends_with("7.toml:1: `include`: more than 8 files include one another; put them together"),
        "{error}"
    );
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_file() {
    let mark = |text: &str| format!("\u{feff}{text}");
    let own = mark("include = [\"base.toml\"]\nname = \"own\"\n");
    assert_eq!(read_files(&[("own.toml", &own), ("base.toml", &mark(SMOKE))]).unwrap().name, "own");
}

#[test]
fn a_file_without_a_key_has_one_mistake() {
    let error = read_files(&[("own.toml", "# later\n")]).unwrap_err();
    assert_eq!(error, "read scenario FOLDER/own.toml:1: it has no keys; docs/scenarios.md says what to write");
}

#[test]
fn a_device_is_no_file() {
    let error = Scenario::read(std::path::Path::new("/dev/zero")).unwrap_err();
    assert_eq!(error.to_string(), "read scenario /dev/zero: it is a device; name a file");
}
