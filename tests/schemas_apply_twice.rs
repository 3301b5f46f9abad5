//! `schemas apply` is idempotent: a second run changes nothing and reports that, two concurrent runs have the effect of
//! one, a changed file is refused, and a dropped namespace can be recreated at once.

use sluice_schemas::apply::apply;
use sluice_schemas::connect::{self, Role};
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;
use sluice_schemas::{AppliedObject, Outcome, SchemaError, Store, drop_namespace};
use sluice_testkit::{Service, Stack, fresh_names};

async fn stack() -> Stack {
    Stack::up(env!("CARGO_BIN_EXE_sluice"), Service::DEFAULT).await
}

fn changed(applied: &[AppliedObject]) -> Vec<String> {
    let is_unchanged = |outcome: &Outcome| matches!(outcome, Outcome::Unchanged | Outcome::Skipped(_));
    let changed = applied.iter().filter(|applied| !is_unchanged(&applied.outcome));
    changed.map(|applied| format!("{} {} {}", applied.store, applied.object, applied.outcome)).collect()
}

async fn apply_all(stores: &Stores, names: &Names) -> Vec<AppliedObject> {
    apply(stores, names, Store::ALL).await.unwrap_or_else(|error| panic!("failed to {error}"))
}

#[tokio::test]
async fn a_second_run_changes_nothing_and_a_dropped_namespace_can_be_recreated() {
    let stack = stack().await;
    let names = fresh_names("twice");
    let stores = stack.stores(&names);
    let first = apply_all(&stores, &names).await;
    assert!(changed(&first).len() >= 20, "{first:?}");
    assert_eq!(changed(&apply_all(&stores, &names).await), Vec::<String>::new());

    drop_namespace(&stores, &names, Store::ALL).await.expect("drop the namespace");
    drop_namespace(&stores, &names, Store::ALL).await.expect("drop a missing namespace");
    // Everything in the namespace is recreated; roles belong to the server and stay.
    let again = changed(&apply_all(&stores, &names).await);
    let created_first = changed(&first).into_iter().filter(|created| !created.contains("0001_roles.sql"));
    assert_eq!(again, created_first.collect::<Vec<_>>());
    drop_namespace(&stores, &names, Store::ALL).await.expect("drop the namespace");
}

#[tokio::test]
async fn two_concurrent_runs_create_everything_exactly_once() {
    let stack = stack().await;
    let names = fresh_names("twice");
    let stores = stack.stores(&names);
    let (one, other) = tokio::join!(apply_all(&stores, &names), apply_all(&stores, &names));
    let created = [changed(&one), changed(&other)];
    assert_eq!(
        created.iter().filter(|created| created.is_empty()).count(),
        1,
        "exactly one of the runs creates objects: {created:?}"
    );
    drop_namespace(&stores, &names, Store::ALL).await.expect("drop the namespace");
}

#[tokio::test]
async fn an_applied_file_with_different_text_is_refused() {
    let stack = stack().await;
    let names = fresh_names("twice");
    let stores = stack.stores(&names);
    apply_all(&stores, &names).await;
    let owner = connect::postgres(&stores, &names, Role::Owner).await.expect("connect");
    let edit = "UPDATE schema_migrations SET sha256 = 'another' WHERE file = '0003_indexes.sql'";
    sqlx::query(edit).execute(&owner).await.expect("edit the record");
    let refused = apply(&stores, &names, &[Store::Postgres]).await.expect_err("an edited file");
    assert!(matches!(&refused, SchemaError::MigrationChanged { file, .. } if file == "0003_indexes.sql"), "{refused}");
    owner.close().await;
    drop_namespace(&stores, &names, Store::ALL).await.expect("drop the namespace");
}
