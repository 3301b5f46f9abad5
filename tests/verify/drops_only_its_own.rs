//! A run drops only objects that have its namespace's mark: objects that others created in that namespace survive every verb,
//! interrupted or not. A namespace that was not created for runs is refused with exit code 4. Negative control: the sweep by
//! prefix at the end of each test removes everything, and the same check must detect it.

use std::time::Duration;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sluice_schemas::{ReserveError, Store, check::check, connect, reserve};
use sluice_testkit::{eventually, fresh_names};

use crate::foreign_objects::{ForeignObjects, Kind};
use crate::program::{Program, SCENARIO, World};

const WAIT: Duration = Duration::from_mins(1);

fn foreign(world: &World) -> ForeignObjects<'_> {
    ForeignObjects { stores: &world.stores, names: &world.names }
}

async fn assert_none_missing(world: &World, kinds: &[Kind], what: &str) {
    assert_eq!(foreign(world).missing(kinds).await, [], "{what}");
}

/// Sweeps the namespace by prefix, which removes everything; the check must detect it.
async fn sweep_and_check(world: World, kinds: &[Kind]) {
    let (stores, names) = (world.stores.clone(), world.names.clone());
    let stack = world.sweep_and_drop().await;
    // The sweep also removes consumer groups of the namespace.
    assert_eq!(
        ForeignObjects { stores: &stores, names: &names }.missing(kinds).await,
        kinds,
        "the check does not detect missing objects"
    );
    drop(stack);
}

#[tokio::test]
async fn a_namespace_that_was_not_created_for_runs_is_refused_and_unchanged() {
    let world = World::new().await;
    foreign(&world).create(&Kind::ALL).await;
    for verb in ["verify", "load"] {
        let (code, output) = world.run(&[verb, "scenario.toml", "--no-up"], SCENARIO).wait_for_exit().await;
        assert_eq!(code, 4, "{output}");
        for (store, object) in [
            ("PostgreSQL", format!("database {}", world.names.database())),
            ("Kafka", format!("topic {}.theirs, group {}.theirs", world.names.namespace(), world.names.namespace())),
            ("ClickHouse", format!("database {}", world.names.database())),
            ("Elasticsearch", format!("index {}-theirs", world.names.namespace())),
            ("Redis", format!("key {}:theirs", world.names.namespace())),
        ] {
            let expected = format!("{store} has no run marker, but has {object}");
            assert!(output.contains(&expected), "{expected:?} is not in {output}");
        }
        assert!(output.contains("Nothing was changed or dropped"), "{output}");
        assert_none_missing(&world, &Kind::ALL, verb).await;
    }
    sweep_and_check(world, &Kind::ALL).await;
}

#[tokio::test]
async fn one_foreign_object_in_one_store_is_refused() {
    let mut world = World::new().await;
    for kind in Kind::ALL {
        foreign(&world).create(&[kind]).await;
        let (code, output) = world.verify(SCENARIO).wait_for_exit().await;
        assert_eq!(code, 4, "{kind:?}: {output}");
        assert_none_missing(&world, &[kind], "after a refusal").await;
        world.sweep().await;
        world.names = fresh_names("v");
        world.stores.namespace = world.names.clone();
    }
    world.sweep_and_drop().await;
}

#[tokio::test]
async fn foreign_objects_in_a_runs_namespace_survive_later_runs() {
    let world = World::new().await;
    let (code, output) = world.verify(SCENARIO).wait_for_exit().await;
    assert_eq!(code, 0, "{output}");
    foreign(&world).create(&Kind::ALL).await;
    // A copy has the comment of the table that it was created from.
    world.clickhouse("CREATE TABLE copied AS agent_metrics").await;
    world.clickhouse("INSERT INTO copied SELECT * FROM agent_metrics LIMIT 3").await;
    let (code, output) = world.verify(SCENARIO).wait_for_exit().await;
    assert_eq!(code, 0, "{output}");
    assert_none_missing(&world, &Kind::ALL, "after a complete run").await;
    assert_eq!(foreign(&world).rows("copied").await, Some(3));
    for (signal, line) in [
        (Signal::SIGKILL, "applying the schemas"),
        (Signal::SIGINT, "schema objects applied"),
        (Signal::SIGKILL, "records loaded"),
        (Signal::SIGKILL, "ingest worker ready"),
    ] {
        let mut run = world.verify(SCENARIO);
        run.wait_for_line(line).await;
        signal_and_wait(&world, run, signal).await;
        assert_none_missing(&world, &Kind::ALL, line).await;
    }
    let (code, output) = world.verify(SCENARIO).wait_for_exit().await;
    assert_eq!(code, 0, "{output}");
    assert_none_missing(&world, &Kind::ALL, "after a run that followed interrupted ones").await;
    assert_eq!(foreign(&world).rows("copied").await, Some(3));
    sweep_and_check(world, &Kind::ALL).await;
}

/// A step of the creation of a namespace, as seen in the stores.
#[derive(Debug, Clone, Copy)]
enum Step {
    Role,
    Topic,
    Database,
    Tables,
}

async fn is_reached(world: &World, step: Step) -> bool {
    let foreign = foreign(world);
    let mut postgres = foreign.postgres("postgres").await.unwrap();
    let (sql, name) = match step {
        Step::Role => ("SELECT 1 FROM pg_roles WHERE rolname = $1", format!("sluice_run_{}", world.names.namespace())),
        Step::Database => ("SELECT 1 FROM pg_database WHERE datname = $1", world.names.database()),
        Step::Topic => {
            let prefix = world.names.topic("sluice-run.");
            return foreign.topics().iter().any(|topic| topic.starts_with(&prefix));
        }
        Step::Tables => return foreign.rows("communication_events").await.is_some(),
    };
    sqlx::query(sql).bind(name).fetch_optional(&mut postgres).await.unwrap().is_some()
}

#[tokio::test]
async fn a_namespace_whose_creation_was_interrupted_is_created_by_the_next_run() {
    let world = World::new().await;
    for step in [Step::Role, Step::Topic, Step::Database, Step::Tables] {
        let run = world.verify(SCENARIO);
        eventually(WAIT, "the namespace is being created", || is_reached(&world, step)).await;
        signal_and_wait(&world, run, Signal::SIGKILL).await;
    }
    let (code, output) = world.verify(SCENARIO).wait_for_exit().await;
    assert_eq!(code, 0, "{output}");
    world.sweep_and_drop().await;
}

/// Sends a signal to a run and waits until its namespace is free again.
async fn signal_and_wait(world: &World, run: Program, signal: Signal) {
    kill(Pid::from_raw(run.pid()), signal).unwrap();
    run.wait_until_exited().await;
    let free = || async {
        let Ok(reservation) = reserve(&world.stores, &world.names).await else { return false };
        reservation.release().await;
        true
    };
    eventually(WAIT, "the namespace is free again", free).await;
}

#[tokio::test]
async fn a_foreign_table_with_a_runs_name_is_refused() {
    let world = World::new().await;
    let mut run = world.verify(SCENARIO);
    run.wait_for_line("schema objects applied").await;
    signal_and_wait(&world, run, Signal::SIGKILL).await;
    world.clickhouse("RENAME TABLE agent_metrics TO renamed").await;
    world.clickhouse("CREATE TABLE agent_metrics ENGINE = MergeTree ORDER BY a AS SELECT 1 AS a").await;
    let mut postgres = foreign(&world).postgres(&world.names.database()).await.unwrap();
    let sql = "DROP TABLE campaigns CASCADE; CREATE TABLE campaigns AS SELECT 1 AS a";
    sqlx::raw_sql(sql).execute(&mut postgres).await.unwrap();
    let (code, output) = world.verify(SCENARIO).wait_for_exit().await;
    assert_eq!(code, 4, "{output}");
    assert!(output.contains("PostgreSQL has, under names that a run needs, table campaigns"), "{output}");
    let table = format!("ClickHouse has, under names that a run needs, table {}.agent_metrics", world.names.database());
    assert!(output.contains(&table), "{output}");
    assert_eq!(foreign(&world).rows("agent_metrics").await, Some(1));
    // Once the names are free, the run proceeds and the renamed tables stay.
    world.clickhouse("DROP TABLE agent_metrics").await;
    let sql = "ALTER TABLE campaigns RENAME TO theirs; CREATE VIEW dependent AS SELECT id FROM customers";
    sqlx::raw_sql(sql).execute(&mut postgres).await.unwrap();
    let (code, output) = world.verify(SCENARIO).wait_for_exit().await;
    // The foreign view depends on a run's table, so the run does not drop it.
    assert_eq!(code, 4, "{output}");
    assert!(output.contains("depends on a run's table"), "{output}");
    sqlx::raw_sql("DROP VIEW dependent").execute(&mut postgres).await.unwrap();
    let (code, output) = world.verify(SCENARIO).wait_for_exit().await;
    assert_eq!(code, 0, "{output}");
    let remaining: i32 = sqlx::query_scalar("SELECT a FROM theirs").fetch_one(&mut postgres).await.unwrap();
    assert_eq!(remaining, 1);
    assert!(foreign(&world).rows("renamed").await.is_some());
    world.sweep_and_drop().await;
}

#[tokio::test]
async fn permanent_schemas_and_runs_refuse_each_others_namespaces() {
    let mut world = World::new().await;
    let (code, output) = world.run(&["schemas", "apply"], SCENARIO).wait_for_exit().await;
    assert_eq!(code, 0, "{output}");
    let (code, output) = world.verify(SCENARIO).wait_for_exit().await;
    assert_eq!(code, 4, "{output}");
    assert_eq!(check(&world.stores, &world.names, Store::ALL).await.unwrap(), []);
    world.sweep().await;
    world.names = fresh_names("v");
    world.stores.namespace = world.names.clone();

    let mut run = world.verify(SCENARIO);
    run.wait_for_line("schema objects applied").await;
    signal_and_wait(&world, run, Signal::SIGKILL).await;
    let (code, output) = world.run(&["schemas", "apply"], SCENARIO).wait_for_exit().await;
    assert_eq!(code, 4, "{output}");
    assert!(output.contains("it was created for runs"), "{output}");
    let (code, output) = world.run(&["schemas", "check"], SCENARIO).wait_for_exit().await;
    assert_eq!(code, 0, "{output}");
    world.sweep_and_drop().await;
}

/// Ends the connection of whoever has reserved the namespace, as a restart of PostgreSQL does.
async fn end_reserving_connection(world: &World) {
    let mut admin = connect::postgres_admin(&world.stores).await.unwrap();
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks
               WHERE locktype = 'advisory' AND ((classid::bigint << 32) | objid::bigint) = hashtextextended($1, 0)";
    let name = format!("sluice run {}", world.names.database());
    let ended: i64 = sqlx::query_scalar(end).bind(name).fetch_one(&mut admin).await.unwrap();
    assert_eq!(ended, 1);
}

#[tokio::test]
async fn a_reservation_outlives_its_connection_and_knows_when_another_run_was_faster() {
    let world = World::new().await;
    let reserve = || reserve(&world.stores, &world.names);
    let first = reserve().await.unwrap();
    end_reserving_connection(&world).await;
    let is_taken = || async {
        match reserve().await {
            Err(ReserveError::Taken(_)) => true,
            Ok(too_early) => {
                too_early.release().await;
                false
            }
            Err(error) => panic!("{error}"),
        }
    };
    eventually(WAIT, "the namespace is reserved again", is_taken).await;
    eventually(WAIT, "it is the first one's", || async { !first.is_lost() }).await;
    end_reserving_connection(&world).await;
    let faster = reserve().await.unwrap();
    eventually(WAIT, "the first one knows", || async { first.is_lost() }).await;
    faster.release().await;
    first.release().await;
    world.sweep_and_drop().await;
}
