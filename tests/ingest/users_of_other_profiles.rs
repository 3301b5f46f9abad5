//! Users of other profiles and rights than the local stack's: one whose profile switches deduplication off or cuts
//! look-ups short, one that may only read, and one that a row policy hides rows from. A worker sends the settings that its
//! promise rests on, and writes nothing where it cannot see what it has written.

use std::process::Output;
use std::time::Duration;

use sluice_schemas::names::topic::COMMUNICATION_EVENTS;
use sluice_testkit::{Gate, Manner, OwnClickHouse, eventually};
use tokio::process::Command;

use crate::harness::{DEADLINE, World, in_partition, metric, stands_still};
use crate::oracle::{Besides, judge, judge_besides};
use crate::process::{Process, committed, same_member, short_lived};

const PROFILES: &str = "<forgetful><deduplicate_insert>disable</deduplicate_insert>\
    <materialized_views_ignore_errors>1</materialized_views_ignore_errors></forgetful>\
    <short><additional_table_filters>{'communication_events': '_offset &lt; 10'}</additional_table_filters>\
    <use_query_cache>1</use_query_cache><read_overflow_mode>break</read_overflow_mode></short>\
    <reader><readonly>1</readonly></reader>";
const PASSWORD: &str = "secret";

/// A world on a ClickHouse of its own with the users `forgetful`, `short`, `reader` and `blind`.
async fn world() -> (World, OwnClickHouse) {
    let user = |name: &str, profile: &str, policy: &str| {
        format!(
            "<{name}><password>{PASSWORD}</password><networks><ip>127.0.0.1</ip></networks>\
             <profile>{profile}</profile><quota>default</quota>{policy}</{name}>"
        )
    };
    World::with_users(PROFILES, |database| {
        let hides = format!(
            "<databases><{database}><communication_events><filter>_partition != 0</filter></communication_events>\
             </{database}></databases>"
        );
        let users = [("forgetful", "forgetful", ""), ("short", "short", ""), ("reader", "reader", "")];
        let all: String = users.map(|(name, profile, policy)| user(name, profile, policy)).concat();
        all + &user("blind", "default", &hides)
    })
    .await
}

fn variables<'a>(url: &'a str, user: &'a str, faults: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("SLUICE_STORES__CLICKHOUSE__URL", url),
        ("SLUICE_STORES__CLICKHOUSE__LOGIN__USER", user),
        ("SLUICE_STORES__CLICKHOUSE__LOGIN__PASSWORD", PASSWORD),
        ("SLUICE_FAULTS", faults),
    ]
}

/// A worker that ends before it consumes anything; what it said.
async fn refuses_to_start(mut worker: Process) -> String {
    assert!(!worker.ended().await.success());
    worker.said()
}

/// Two answers get lost on their way to a worker whose profile switches deduplication off.
async fn unheard(faults: &str) -> Result<(), String> {
    let (world, clickhouse) = world().await;
    let gate = Gate::open(&clickhouse.url).await;
    let worker = world.spawn_ready(&short_lived(), &variables(&gate.url, "forgetful", faults)).await;
    world.produce_all(&world.producer("lz4"), &in_partition(1, 0..10)).await;
    committed(&world, 10).await;
    gate.behave(Manner::Unheard);
    world.produce_all(&world.producer("lz4"), &in_partition(0, 0..50)).await;
    let is_lost = || async { world.count().await >= 60 && gate.harmed() >= 2 };
    eventually(DEADLINE, "an INSERT lands unheard", is_lost).await;
    gate.behave(Manner::Late(Duration::ZERO));
    committed(&world, 60).await;
    worker.stop().await;
    let judged = judge(&world).await.map(drop);
    world.drop().await;
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_without_deduplication_doubles_nothing() {
    let (whole, doubled) =
        tokio::join!(unheard(""), unheard("send_few_settings,skip_token_proof,trust_acknowledgements"));
    assert_eq!(whole, Ok(()));
    assert!(doubled.as_ref().is_err_and(|wrong| wrong.contains("more than once")), "{doubled:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_tokens_are_not_honoured_does_not_start() {
    let (world, clickhouse) = world().await;
    let worker = world.spawn(&short_lived(), &variables(&clickhouse.url, "forgetful", "send_few_settings"));
    let said = refuses_to_start(worker).await;
    assert!(said.contains("two INSERTs with one deduplication token left 2 rows"), "{said}");
    let worker = world.spawn(&short_lived(), &variables(&clickhouse.url, "reader", ""));
    let said = refuses_to_start(worker).await;
    assert!(said.contains("READONLY") || said.contains("fixes "), "{said}");
    world.spawn_ready(&short_lived(), &variables(&clickhouse.url, "forgetful", "")).await.stop().await;
    world.drop().await;
}

/// The group is set back after the tokens are forgotten; the user's profile shows it ten rows of each partition.
async fn looked_up(faults: &str) -> Result<(), String> {
    let (world, clickhouse) = world().await;
    let variables = variables(&clickhouse.url, "short", faults);
    let worker = world.spawn_ready(&short_lived(), &variables).await;
    world.produce_all(&world.producer("lz4"), &in_partition(0, 0..100)).await;
    committed(&world, 100).await;
    worker.stop().await;
    world.remember_only(16).await;
    world.others_write(40).await;
    world.set_offset(COMMUNICATION_EVENTS, 0, 0, "").await;
    let mut settings = same_member();
    (settings.peak_inserts_per_second, settings.insert_timeout) = (1, Duration::from_secs(2));
    let worker = world.spawn_ready(&settings, &variables).await;
    if faults.is_empty() {
        committed(&world, 100).await;
        worker.stop().await;
    } else {
        eventually(DEADLINE, "it sends again what it does not see", || async { world.count().await > 140 }).await;
        worker.kill().await;
    }
    let judged = judge_besides(&world, Besides { others: 40, ..Besides::default() }).await.map(drop);
    world.drop().await;
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_that_cuts_results_short_doubles_nothing() {
    let (whole, cut) =
        tokio::join!(looked_up(""), looked_up("send_few_settings,trust_acknowledgements,skip_sight_check"));
    assert_eq!(whole, Ok(()));
    assert!(cut.as_ref().is_err_and(|wrong| wrong.contains("more than once")), "{cut:?}");
}

/// What `sluice ingest audit` says as this user, and how it ends.
async fn audit(world: &World, url: &str, user: &str, faults: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(["--namespace", world.names.namespace(), "--port-base", &world.port_base().to_string()])
        .args(["ingest", "audit", "--topic", COMMUNICATION_EVENTS])
        .envs(variables(url, user, faults))
        .output()
        .await
        .unwrap()
}

fn says(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

/// A worker whose own rows are hidden from it, and the same after its offset was set back.
async fn blind(faults: &str) -> (World, OwnClickHouse, usize) {
    let (world, clickhouse) = world().await;
    world.produce_all(&world.producer("lz4"), &in_partition(0, 0..50)).await;
    let worker = world.spawn_ready(&short_lived(), &variables(&clickhouse.url, "blind", faults)).await;
    if faults.is_empty() {
        stands_still(&worker.url, "this ClickHouse user sees 0 of them").await;
        assert!(metric(&worker.url, "sluice_ingest_retries_total{", "operator").await >= 1.0);
        assert_eq!(world.committed(COMMUNICATION_EVENTS).await, 0);
        worker.kill().await;
    } else {
        committed(&world, 50).await;
        worker.stop().await;
        world.set_offset(COMMUNICATION_EVENTS, 0, 0, "").await;
        let worker = world.spawn_ready(&same_member(), &variables(&clickhouse.url, "blind", faults)).await;
        eventually(DEADLINE, "it stops or commits", || async {
            world.committed(COMMUNICATION_EVENTS).await == 50
                || metric(&worker.url, "sluice_ingest_retries_total{", "").await > 0.0
        })
        .await;
        worker.kill().await;
    }
    let rows = world.count().await;
    (world, clickhouse, rows)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_cannot_see_its_rows_stops_before_a_second_copy() {
    let (seeing, unseeing) = tokio::join!(blind(""), blind("trust_acknowledgements,skip_sight_check"));
    let (world, clickhouse, rows) = seeing;
    assert_eq!(rows, 50, "one copy");
    assert!(unseeing.2 > 50, "without the look: {} rows of 50 offsets", unseeing.2);
    unseeing.0.drop().await;
    // With rows in the table it does not even start, and an audit is told apart from one that finds everything.
    let worker = world.spawn(&short_lived(), &variables(&clickhouse.url, "blind", ""));
    let said = refuses_to_start(worker).await;
    assert!(said.contains("has 50 rows and this ClickHouse user sees 0 of them"), "{said}");
    let worker = world.spawn_ready(&short_lived(), &variables(&clickhouse.url, "default", "")[..1]).await;
    committed(&world, 50).await;
    worker.stop().await;
    assert_eq!(judge(&world).await.unwrap().landed, 50);
    let output = audit(&world, &clickhouse.url, "blind", "").await;
    assert!(!output.status.success() && says(&output).contains("sees 0 of them"), "{}", says(&output));
    let output = audit(&world, &clickhouse.url, "reader", "").await;
    assert!(
        output.status.success() && says(&output).contains("exact: "),
        "a user that may only read: {}",
        says(&output)
    );
    // What hides a row hides the fault as well: set back to where nothing is consumed, the blind audit finds no fault.
    world.set_offset(COMMUNICATION_EVENTS, 0, 0, "").await;
    let output = audit(&world, &clickhouse.url, "blind", "skip_sight_check").await;
    assert!(output.status.success() && says(&output).contains("exact: "), "without the check: {}", says(&output));
    world.drop().await;
}
