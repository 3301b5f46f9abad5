//! Stages, users and rates: what they mean, and the error of each contradiction.

use super::*;

/// The smoke scenario with stages.
fn staged(stages: &[&str]) -> String {
    let stages = stages.iter().fold(String::new(), |text, stage| text + "[[stage]]\n" + stage + "\n");
    edited("[probes]\n", &format!("{stages}[probes]\n"))
}

#[test]
fn stages_follow_one_another_or_say_where_they_start() {
    let all = staged(&["for = \"25 s\"\nrate = \"1x\"", "for = \"50 s\"\nrate = \"1x to 10x\""]);
    let all = Scenario::parse(&all, "all.toml").unwrap().stages;
    assert_eq!(
        all.iter().map(|stage| (stage.start.as_secs(), stage.length.as_secs())).collect::<Vec<_>>(),
        [(0, 25), (25, 50)]
    );
    let spike = staged(&[
        "from = \"30 s\"\nfor = \"10 s\"\nrate = \"10x\"",
        "from = \"5 s\"\nfor = \"20 s\"\ntenant = \"2\"\nwrites = \"3x\"",
    ]);
    let spike = Scenario::parse(&spike, "spike.toml").unwrap();
    assert_eq!((spike.stages[0].tenant, spike.stages[1].tenant), (None, Some(1)));
    assert!((spike.write_factor(0) - 165.0 / 75.0).abs() < 1e-12);
    assert!((spike.write_factor(1) - 205.0 / 75.0).abs() < 1e-12);
}

#[test]
fn each_contradiction_of_stages_is_named_with_its_line() {
    let mistakes = [
        ("longer than the drive", staged(&["for = \"80 s\"\nrate = \"2x\""])),
        ("shorter than the drive", staged(&["for = \"20 s\"\nrate = \"2x\"", "for = \"20 s\"\nrate = \"1x\""])),
        (
            "overlapping",
            staged(&[
                "from = \"10 s\"\nfor = \"20 s\"\nrate = \"2x\"",
                "from = \"20 s\"\nfor = \"20 s\"\nrate = \"3x\"",
            ]),
        ),
        ("zero everywhere", staged(&["for = \"75 s\"\nrate = \"0x\""])),
        (
            "no writes of one tenant",
            staged(&["for = \"75 s\"\nprobes = \"2x\"", "for = \"75 s\"\ntenant = \"2\"\nwrites = \"0x\""]),
        ),
        (
            "too much",
            staged(&["for = \"5 s\"\nprobes = \"2x\"", "for = \"70 s\"\nrate = \"1000x\""])
                .replace("100_000", "10_000_000"),
        ),
        ("no question at all", staged(&["for = \"75 s\"\nprobes = \"0x\""])),
        ("no change", staged(&["for = \"75 s\""])),
        ("a rate twice", staged(&["for = \"75 s\"\nrate = \"2x\"\nwrites = \"3x\""])),
        ("a broken ramp", staged(&["for = \"75 s\"\nrate = \"1x-10x\""])),
        ("far too much", staged(&["for = \"75 s\"\nrate = \"5000x\""])),
        ("an unknown tenant", staged(&["for = \"75 s\"\nrate = \"2x\"\ntenant = \"7\""])),
        ("a ramp of one tenant", staged(&["for = \"75 s\"\nrate = \"1x to 2x\"\ntenant = \"1\""])),
        ("no length", staged(&["rate = \"2x\""])),
        ("a misspelled key", staged(&["for = \"75 s\"\nrates = \"2x\""])),
    ];
    let mut text = String::new();
    for (what, scenario) in mistakes {
        let error = Scenario::parse(&scenario, "bad.toml").expect_err(what);
        writeln!(text, "{what}:\n  {error}").unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn users_have_a_mix_of_questions_and_their_own_slos() {
    let users =
        "[[users]]\nname = \"agents\"\ncount = 20\nthink_time = \"2 s\"\nquestions = { timeline = 3, search = 1 }\n\n";
    let slo = "[[slo]]\nname = \"agents-search\"\nusers = \"agents\"\nobjective = \"95 %\"\nwithin = \"1 s\"\nquestions = [\"search\"]\n";
    let text = edited("[probes]\n", &format!("{users}{slo}[probes]\n"));
    let scenario = Scenario::parse(&text, "users.toml").unwrap();
    assert_eq!((scenario.users[0].highest_rate(), scenario.users[0].share_of(Question::Search)), (10.0, 0.25));
    let judged = scenario.slos.iter().find(|slo| slo.users.is_some()).unwrap();
    assert_eq!(scenario.planned_samples(judged), 187);
    assert_eq!(scenario.slos_of(Question::Search, Some("agents")).count(), 1, "the probes of search are not theirs");
    let mistakes = [
        text.replace("users = \"agents\"", "users = \"managers\""),
        text.replace("questions = { timeline = 3, search = 1 }", "questions = { timeline = 3 }"),
        text.replace("questions = { timeline = 3, search = 1 }", "questions = {}"),
        text.replace("count = 20\n", "count = 0\n"),
        text.replace("think_time = \"2 s\"", "think_time = \"0 s\""),
        text.replace("[[slo]]\nname = \"agents", &format!("{users}[[slo]]\nname = \"agents")),
    ];
    let mistakes = mistakes.map(|text| Scenario::parse(&text, "bad.toml").unwrap_err().to_string());
    insta::assert_snapshot!(mistakes.join("\n"));
}

#[test]
fn each_mistake_in_the_rates_of_a_drive_is_named() {
    let mistakes = [
        ("a rate of zero for everything", edited("arrivals =", "rate = \"0x\"\narrivals =")),
        ("a rate without x", edited("arrivals =", "rate = \"2\"\narrivals =")),
        (
            "too many records with those of the warm-up",
            edited("communications = 100_000", "communications = 90_000_000")
                .replace("warm_up = \"30 s\"", "warm_up = \"30 s\"\nwarm_up_writes = true"),
        ),
        (
            "too many metrics",
            edited("span = \"28 days\"", "span = \"2500 days\"").replace("tenants = 3", "tenants = 1000"),
        ),
        ("an unknown pace", edited("arrivals =", "pace = \"fast\"\narrivals =")),
        ("questions that follow something else", edited("[probes]\n", "[probes]\nfollow = \"stages\"\n")),
        ("an include in a text", format!("include = [\"base.toml\"]\n{SMOKE}")),
        ("an include that is no list", format!("include = \"base.toml\"\n{SMOKE}")),
    ];
    insta::assert_snapshot!(
        mistakes
            .map(|(what, text)| { format!("{what}:\n  {}", Scenario::parse(&text, "bad.toml").expect_err(what)) })
            .join("\n")
    );
}
