//! Questions of a scenario's own, in a scenario without a population.

use super::*;
use crate::question::custom::{Rows, Source};
use crate::scenario::Access;

const DEPLOYED: &str = r#"
name = "deployed"
include = ["questions/all.toml"]
[time]
replayed_in = "1 min"
[probes]
open_invoices = "40/s"
[[users]]
name = "agents"
count = 2
think_time = "1 s"
questions = { open_invoices = 1 }
[[slo]]
name = "invoices"
objective = "95 %"
within = "100 ms"
questions = ["open_invoices"]
"#;

const QUESTIONS: &str = r#"
[question.open_invoices]
store = "postgres"
text = "SELECT 1 WHERE $id = '1'"
parameters = { id = { csv = "ids.csv", column = "id" } }
expect = { rows = "at least 1" }
"#;

fn read(scenario: &str, questions: &str) -> Result<Scenario, ScenarioError> {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    std::fs::create_dir(folder.path().join("questions")).unwrap();
    write("deployed.toml", scenario);
    write("questions/all.toml", questions);
    write("questions/ids.csv", "id\n1\n");
    Scenario::read(&folder.path().join("deployed.toml"))
}

#[test]
fn a_question_is_read_with_its_file_and_is_asked_judged_and_reported_by_its_name() {
    let scenario = read(DEPLOYED, QUESTIONS).unwrap();
    let own = &scenario.questions[0];
    let question = Question::Custom(own.question);
    assert_eq!(
        (question.as_str(), question.store(), own.expected.rows),
        ("open_invoices", Store::Postgres, Some(Rows::AtLeast(1)))
    );
    assert!(own.place.ends_with("questions/all.toml:4"), "{}", own.place);
    assert!(matches!(&own.parameters["id"], Source::Csv { file, .. } if file.ends_with("questions/ids.csv")));
    assert_eq!(scenario.probes.keys().chain(scenario.users[0].questions.keys()).collect::<Vec<_>>(), [&question; 2]);
    assert_eq!(scenario.slos[0].questions, [question]);
    assert!(!scenario.describes_population);
    let json = serde_json::to_value(&scenario).unwrap();
    assert_eq!(json["probes"]["postgres/open_invoices"], 40.0);
    let reported = serde_json::from_value::<Scenario>(json).unwrap();
    assert_eq!(serde_json::to_value(&reported).unwrap(), serde_json::to_value(&scenario).unwrap());
    let own = &reported.questions[0];
    assert!(own.place.is_empty(), "a folder is that of one machine");
    assert!(matches!(&own.parameters["id"], Source::Csv { file, .. } if file == "ids.csv"));
}

#[test]
fn a_mistake_of_a_question_hides_none_of_its_others() {
    let folder = tempfile::tempdir().unwrap();
    let mistakes = |questions: &str| {
        let path = folder.path().join("deployed.toml");
        std::fs::write(&path, DEPLOYED.replace("include = [\"questions/all.toml\"]", "") + questions).unwrap();
        let mistakes = Scenario::read_with(&path, &[], None).unwrap_err();
        mistakes.iter().map(|mistake| mistake.message.split('`').nth(1).unwrap().to_owned()).collect::<Vec<_>>()
    };
    let unknown_store = "[question.open_invoices]\nstore = \"oracle\"\ntext = \"SELECT $id\"\nindex = \"A B\"\n\
        expect = { rows = \"some\", value = \"$name\" }\n\
        [question.open_invoices.parameters]\nid = { csv = \"none.csv\", column = \"id\" }\nlist = { values = [] }\n\
        of = { table = \"t\", column = \"c\" }\n";
    let of = |keys: &[&str]| keys.iter().map(|key| format!("question.open_invoices.{key}")).collect::<Vec<_>>();
    let keys = ["store", "index", "expect.rows", "expect.value", "parameters.id", "parameters.list"];
    assert_eq!(mistakes(unknown_store), of(&keys));
    let search = "[question.open_invoices]\nstore = \"elasticsearch\"\ndatabase = \"d\"\n\
        text = '{ \"query\": { \"term\": { \"a\": \"$a\", \"b\": \"$b\" } } }'\nexpect = { rows = \"some\" }\n\
        parameters = { c = { values = [\"1\"] } }\n";
    assert_eq!(mistakes(search), of(&["index", "database", "text", "text", "expect.rows", "parameters.c"]));
}

#[test]
fn a_population_is_described_as_a_whole_or_not_at_all() {
    let half = DEPLOYED.replace("[probes]", "[population]\ntenants = 1\ncustomers = 5\n[probes]");
    let error = read(&half, QUESTIONS).unwrap_err().to_string();
    assert!(error.contains("missing key"), "{error}");
}

#[test]
fn a_key_that_a_table_lacks_is_named_with_the_line_of_the_table() {
    let missing = |from: &str, to: &str| read(&DEPLOYED.replace(from, to), QUESTIONS).unwrap_err().to_string();
    let error = missing("replayed_in = \"1 min\"", "warm_up = \"1 s\"");
    assert!(error.contains("deployed.toml:4: missing key `time.replayed_in`"), "{error}");
    let error = missing("[time]\nreplayed_in = \"1 min\"", "");
    assert!(error.contains("deployed.toml:1: missing key `time.replayed_in`"), "{error}");
}

#[test]
fn a_read_only_run_refuses_each_question_and_slo_that_writes_with_its_line() {
    let commits = "[[slo]]\nname = \"written\"\nof = \"commits\"\nobjective = \"95 %\"\nwithin = \"1 s\"\n";
    let text = format!("{SMOKE}\n{commits}");
    let read = |access| Scenario::parse_with(&text, "smoke.toml", &[], access);
    assert!(read(None).is_ok() && read(Some(Access::ReadWrite)).is_ok());
    let mistakes = read(Some(Access::ReadOnly)).unwrap_err();
    let mistakes: Vec<String> = mistakes.iter().map(ScenarioError::at_its_place).collect();
    insta::assert_snapshot!(mistakes.join("\n"), @r#"
    smoke.toml:43: `probes`: only a run that writes can ask "lookup_cached", "session", "agent_state", "agent_queue", "rate_limit", "live_timeline", "live_dashboard", and this run only reads; use a scenario that asks none of these
    smoke.toml:107: `slo`: "written" is about records that are written, and this run only reads; use a scenario without it
    "#);
}

#[test]
fn a_scenario_fits_the_accesses_that_it_can_be_read_for() {
    let smoke = smoke();
    assert!(smoke.fits(Access::ReadWrite) && !smoke.fits(Access::ReadOnly));
    let reads = |question: &Question| !question.needs_writes();
    let asked = smoke.probes.clone().into_iter().filter(|(question, _)| reads(question)).collect();
    assert!(Scenario { probes: asked, ..smoke }.fits(Access::ReadOnly));
    let deployed = read(DEPLOYED, QUESTIONS).unwrap();
    assert!(deployed.fits(Access::ReadOnly) && !deployed.fits(Access::ReadWrite));
}
