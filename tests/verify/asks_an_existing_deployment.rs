//! `sluice verify --read-only` asks a deployment that Sluice did not make, with questions of the scenario's own, and judges it. The
//! statement logs of all stores show its reads and not one write. Negative control: the same logs show each write that follows.

use serde_json::json;
use sluice_schemas::connect::{self, Role};
use sqlx::{AssertSqlSafe, Connection as _};

use crate::foreign_objects::ForeignObjects;
use crate::program::{self, World};
use crate::statement_logs::StatementLogs;

const STORES: [&str; 4] = ["postgres", "clickhouse", "elasticsearch", "redis"];
/// One question of each store; `NAMESPACE` is replaced.
const SCENARIO: &str = r#"
name = "deployed"
description = "Questions to a deployment that Sluice did not make"
include = ["questions.toml"]

[time]
replayed_in = "4 s"
warm_up = "1 s"

[probes]
open_invoices = "40/s"
calls_by_agent = "20/s"
notes = "20/s"
greeting = "40/s"

[availability]
undecided = "allow"

[[slo]]
name = "all"
objective = "95 %"
within = "8 s"
questions = ["open_invoices", "calls_by_agent", "notes", "greeting"]

[time_outs]
postgres = "9 s"
redis = "9 s"
elasticsearch = "9 s"
clickhouse = "9 s"
"#;

const QUESTIONS: &str = r#"
[question.open_invoices]
store = "postgres"
text = """
SELECT sum(amount)::bigint
FROM invoices -- of one customer
WHERE customer_id = $customer AND state <> 'paid'
"""
expect = { rows = "1", value = "$total" }
[question.open_invoices.parameters]
customer = { csv = "customers.csv", column = "id" }
total = { csv = "customers.csv", column = "open" }

[question.calls_by_agent]
store = "clickhouse"
text = "SELECT agent, count() FROM calls WHERE agent = {agent:String} GROUP BY agent"
parameters = { agent = { table = "calls", column = "agent" } }
expect = { rows = "1", value = "$agent" }

[question.notes]
store = "elasticsearch"
index = "notes"
text = '{"size": 1, "query": {"match": {"text": "$word"}}}'
parameters = { word = { values = ["invoice", "reminder"] } }
expect = { rows = "at least 1" }

[question.greeting]
store = "redis"
text = "GET NAMESPACE:greeting:$customer"
parameters = { customer = { store = "postgres", query = "SELECT DISTINCT customer_id FROM invoices", column = "customer_id" } }
expect = { value = "hello" }
"#;

async fn deploy(world: &World) {
    let (code, output) = world.run(&["schemas", "apply"], "").wait_for_exit().await;
    assert_eq!(code, 0, "{output}");
    let foreign = ForeignObjects { stores: &world.stores, names: &world.names };
    let mut admin = foreign.postgres(&world.names.database()).await.unwrap();
    let reader = &Role::Reader.login(&world.stores).user;
    let sql = format!(
        "CREATE TABLE invoices (customer_id bigint, amount bigint, state text);
         INSERT INTO invoices VALUES (1, 10, 'open'), (1, 5, 'sent'), (2, 7, 'open'), (2, 9, 'paid');
         GRANT SELECT ON invoices TO {reader}"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
    admin.close().await.unwrap();
    world.clickhouse("CREATE TABLE calls (agent String) ENGINE = MergeTree ORDER BY agent").await;
    world.clickhouse("INSERT INTO calls VALUES ('ann'), ('ann'), ('bob')").await;
    let note = json!({"text": "a reminder of an invoice"});
    foreign.elasticsearch(&format!("{}/_doc/1?refresh=true", world.names.index("notes")), &note).await;
    let mut cache = connect::redis_cache(&world.stores).await.unwrap();
    for customer in 1..=2 {
        let key = world.names.key(&format!("greeting:{customer}"));
        redis::cmd("SET").arg(key).arg("hello").query_async::<()>(&mut cache).await.unwrap();
    }
    let questions = QUESTIONS.replace("NAMESPACE", world.names.namespace());
    std::fs::write(world.folder.path().join("questions.toml"), questions).unwrap();
    std::fs::write(world.folder.path().join("customers.csv"), "id,open\n1,15\n2,7\n").unwrap();
}

#[tokio::test]
async fn every_store_is_asked_and_none_executes_a_write() {
    let world = World::new().await;
    deploy(&world).await;
    let mut logs = StatementLogs::watch(&world).await;
    let verify = ["verify", "scenario.toml", "--read-only"];
    let (code, output) = world.run_against(logs.clickhouse_url(), &verify, SCENARIO).wait_for_exit().await;
    assert_eq!(code, 0, "{output}");
    let seen = logs.read().await;
    assert_eq!(seen.writes, [""; 0], "{output}");
    for store in STORES {
        assert!(seen.reads.contains(&store), "the log of {store} does not show its questions: {:?}", seen.reads);
    }
    let report = world.report();
    assert_eq!((&report["verdict"], &report["account"]), (&json!("PASS"), &json!(null)));
    for question in report["questions"].as_array().unwrap() {
        let counts = &question["counts"];
        assert!(counts["samples"].as_u64() > Some(20), "{question}");
        assert_eq!((&counts["wrong"], &counts["errors"]), (&json!(0), &json!(0)), "{question}");
    }

    // Negative control.
    logs.write(&world).await;
    let seen = logs.read().await;
    let stores: Vec<&str> = seen.writes.iter().map(|write| write.split(':').next().unwrap_or_default()).collect();
    for store in STORES {
        assert!(stores.contains(&store), "the log of {store} does not show a write: {:?}", seen.writes);
    }
    world.sweep().await;
}

/// The questions of Sluice's own that write.
const WRITING: [&str; 5] = ["lookup_cached", "session", "agent_state", "agent_queue", "rate_limit"];

/// The scenario of runs, without them.
fn reading() -> String {
    let is_kept = |line: &&str| !WRITING.iter().any(|name| line.starts_with(&format!("{name} = ")));
    let reading: Vec<&str> = program::SCENARIO.lines().filter(is_kept).collect();
    reading.join("\n").replace(", \"lookup_cached\"", "")
}

#[tokio::test]
async fn sluices_own_questions_read_a_loaded_population_without_the_administrator() {
    let world = World::new().await;
    let (code, output) = world.run(&["load", "scenario.toml", "--no-up"], program::SCENARIO).wait_for_exit().await;
    assert_eq!(code, 0, "{output}");
    let reading = reading();
    let mut logs = StatementLogs::watch(&world).await;
    let verify = ["verify", "scenario.toml", "--read-only"];
    let (code, output) = world.run_without_admin(logs.clickhouse_url(), &verify, &reading).wait_for_exit().await;
    assert_eq!(code, 0, "{output}");
    let seen = logs.read().await;
    assert_eq!(seen.writes, [""; 0], "{output}");
    for store in STORES {
        assert!(seen.reads.contains(&store), "the log of {store} does not show its questions: {:?}", seen.reads);
    }
    for question in world.report()["questions"].as_array().unwrap() {
        let counts = &question["counts"];
        assert!(counts["samples"].as_u64() > Some(0), "{question}");
        assert_eq!((&counts["wrong"], &counts["errors"]), (&json!(0), &json!(0)), "{question}");
    }

    // Negative controls: the administrator's login is really wrong, and a run that writes shows in the logs.
    let verify = ["verify", "scenario.toml", "--no-up"];
    let (code, output) = world.run_without_admin(logs.clickhouse_url(), &verify, &reading).wait_for_exit().await;
    assert_ne!(code, 0, "{output}");
    assert_eq!(logs.read().await.writes, [""; 0], "nothing is written without the administrator");
    let (code, output) = world.run_against(logs.clickhouse_url(), &verify, program::SCENARIO).wait_for_exit().await;
    assert_eq!(code, 0, "{output}");
    let writes = logs.read().await.writes;
    for store in ["postgres", "clickhouse", "redis"] {
        assert!(writes.iter().any(|write| write.starts_with(store)), "the log of {store} shows no write: {output}");
    }
    world.sweep().await;
}

/// The shipped scenario of questions to a deployment.
const DEPLOYMENT: &str = include_str!("../../scenarios/deployment.toml");

#[tokio::test]
async fn the_shipped_questions_sample_their_values_from_a_deployment() {
    let world = World::new().await;
    let (code, output) = world.run(&["load", "scenario.toml", "--no-up"], program::SCENARIO).wait_for_exit().await;
    assert_eq!(code, 0, "{output}");
    // Limits that a busy machine meets.
    let scenario = DEPLOYMENT.replace("\"100 ms\"", "\"2 s\"").replace("\"200 ms\"", "\"2 s\"");
    assert!(!scenario.contains("00 ms"));
    let short = ["--set", "time.replayed_in=5 s", "--set", "time.warm_up=1 s", "--set", "drive.rate=4x"];
    let verify = [&["verify", "scenario.toml", "--read-only"][..], &short[..]].concat();
    let (code, output) = world.run(&verify, &scenario).wait_for_exit().await;
    // In five seconds, not everything is decided.
    assert!([0, 2].contains(&code), "{output}");
    for question in world.report()["questions"].as_array().unwrap() {
        let counts = &question["counts"];
        assert!(counts["samples"].as_u64() > Some(0), "{question}");
        assert_eq!((&counts["wrong"], &counts["errors"]), (&json!(0), &json!(0)), "{output} {question}");
    }

    // Negative control: on a day with results there is at least one.
    let none = scenario.replace("AND hour >= {day:Date} AND", "AND hour > {day:Date} + INTERVAL 9 YEAR AND");
    assert_ne!(none, scenario);
    let (code, output) = world.run(&verify, &none).wait_for_exit().await;
    assert_eq!(code, 1, "{output}");
    world.sweep().await;
}

/// Answers of more rows than arrive at once.
const MANY_ROWS: &str = r#"
[question.rows_of_postgres]
store = "postgres"
text = "SELECT 'a' || n FROM generate_series(1, 20000) AS n"
expect = { rows = "20000", value = "a1" }

[question.rows_of_clickhouse]
store = "clickhouse"
text = "SELECT concat('a', toString(number + 1)) FROM numbers(20000)"
expect = { rows = "20000", value = "a1" }
"#;

#[tokio::test]
async fn an_answer_of_many_rows_is_counted_to_the_last() {
    let world = World::new().await;
    deploy(&world).await;
    let questions = world.folder.path().join("questions.toml");
    let text = std::fs::read_to_string(&questions).unwrap();
    std::fs::write(&questions, text + MANY_ROWS).unwrap();
    let asked = "rows_of_postgres = \"2/s\"\nrows_of_clickhouse = \"2/s\"\n\n[availability]";
    let scenario = SCENARIO.replace("[availability]", asked);
    let (code, output) =
        world.run(&["verify", "scenario.toml", "--read-only", "--no-up"], &scenario).wait_for_exit().await;
    assert_eq!(code, 0, "{output}");
    let report = world.report();
    let questions = report["questions"].as_array().unwrap().iter();
    let many: Vec<_> = questions.filter(|one| one["question"].as_str().unwrap().contains("rows_of")).collect();
    assert_eq!(many.len(), 2, "{output}");
    for question in many {
        let counts = &question["counts"];
        assert!(counts["samples"].as_u64() > Some(0), "{question}");
        assert_eq!((&counts["wrong"], &counts["errors"]), (&json!(0), &json!(0)), "{question}");
    }
    world.sweep().await;
}

#[tokio::test]
async fn a_wrong_answer_fails_the_run() {
    let world = World::new().await;
    deploy(&world).await;
    std::fs::write(world.folder.path().join("customers.csv"), "id,open\n1,16\n2,7\n").unwrap();
    let (code, output) = world.run(&["verify", "scenario.toml", "--existing"], SCENARIO).wait_for_exit().await;
    assert_eq!(code, 1, "{output}");
    let report = world.report();
    let wrong = |name: &str| {
        let questions = report["questions"].as_array().unwrap().iter();
        questions.filter(|one| one["question"] == name).filter_map(|one| one["counts"]["wrong"].as_u64()).sum::<u64>()
    };
    assert!(wrong("postgres/open_invoices") > 0 && wrong("redis/greeting") == 0, "{output}");
    world.sweep().await;
}

#[tokio::test]
async fn a_namespace_that_the_stores_do_not_have_is_named_before_anything_is_asked() {
    let world = World::new().await;
    // The roles of PostgreSQL belong to no namespace: without them, it says nothing of its databases.
    deploy(&world).await;
    let namespace = format!("{}x", world.names.namespace());
    let no_databases = format!(
        "failed to find namespace \"{namespace}\" in the stores: PostgreSQL has no database sluice_{namespace}, ClickHouse has no \
         database sluice_{namespace}"
    );
    let verify = ["verify", "scenario.toml", "--read-only", "--namespace", &namespace];
    let (code, output) = world.run(&verify, DEPLOYMENT).wait_for_exit().await;
    assert!(code == 4 && output.contains(&no_databases) && output.contains("with --namespace"), "{output}");
    let (code, output) = world.run(&verify, &reading()).wait_for_exit().await;
    assert!(code == 4 && output.contains(&no_databases), "{output}");
    for missing in ["Elasticsearch has no index", "Redis has no search index"] {
        assert!(output.contains(missing), "{output}");
    }
    assert!(!world.folder.path().join("runs").exists(), "{output}");
    world.sweep().await;
}

#[tokio::test]
async fn what_a_store_refuses_is_named_with_file_and_line_before_anything_is_asked() {
    let world = World::new().await;
    deploy(&world).await;
    let questions = QUESTIONS.replace("NAMESPACE", world.names.namespace());
    let cases = [
        (
            "FROM invoices",
            "FROM invoice",
            "questions.toml:4): PostgreSQL says: relation \"invoice\" does not exist; correct `text`, or name the `database` that has it",
        ),
        (
            "store = \"postgres\"\ntext",
            "store = \"postgres\"\ndatabase = \"nowhere\"\ntext",
            "questions.toml:5): PostgreSQL has no database nowhere; correct `database`",
        ),
        ("FROM calls WHERE", "FROM other WHERE", "questions.toml:16): query ClickHouse: "),
        ("= \"notes\"", "= \"note\"", "questions.toml:23): query Elasticsearch: "),
        ("\"GET ", "\"SETEX ", "questions.toml:29): SETEX is not a read by what COMMAND INFO says"),
        ("\"GET ", "\"PFCOUNT ", "questions.toml:29): PFCOUNT is not a read by what COMMAND INFO says"),
        ("\"GET ", "\"XREAD STREAMS ", "questions.toml:29): XREAD may block the connection"),
        ("\"GET ", "\"GAT ", "questions.toml:29): Redis knows no command GAT"),
        (
            "column = \"agent\"",
            "column = \"agents\"",
            "questions.toml:16): read the values of its parameter \"agent\": query ClickHouse: ",
        ),
        (
            "$customer\"\nparameters = { customer = { store",
            "$customer x\"\nparameters = { customer = { store",
            "questions.toml:29): query Redis: ",
        ),
    ];
    for (from, to, expected) in cases {
        assert!(questions.contains(from), "{from}");
        std::fs::write(world.folder.path().join("questions.toml"), questions.replacen(from, to, 1)).unwrap();
        let (code, output) = world.run(&["verify", "scenario.toml", "--read-only"], SCENARIO).wait_for_exit().await;
        assert_eq!(code, 4, "{output}");
        assert!(output.contains(expected), "{expected:?} is not in {output}");
        assert!(!world.folder.path().join("runs").exists(), "{output}");
    }
    world.sweep().await;
}
