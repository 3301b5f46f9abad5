//! ClickHouse users with other profiles and rights than the local stack's: profiles that disable deduplication or truncate
//! lookups, a read-only user, and one from whom a row policy hides rows. A worker sends the settings on which its guarantees
//! depend, and writes nothing if it cannot see the rows that it has written.

use std::process::Output;
use std::time::Duration;

use sluice_schemas::names::topic::COMMUNICATION_EVENTS;
use sluice_testkit::{OwnClickHouse, ProxyMode, TcpProxy, eventually};
use tokio::process::Command;

use crate::harness::{DEADLINE, World, metric, november_records, wait_for_stall};
use crate::oracle::{Allowed, judge, judge_allowing};
use crate::process::{Process, short_lived, static_member, wait_for_commit};

const PROFILES: &str = "<forgetful><deduplicate_insert>disable</deduplicate_insert>\
    <materialized_views_ignore_errors>1</materialized_views_ignore_errors></forgetful>\
    <short><additional_table_filters>{'communication_events': '_offset &lt; 10'}</additional_table_filters>\
    <use_query_cache>1</use_query_cache><read_overflow_mode>break</read_overflow_mode></short>\
    <reader><readonly>1</readonly></reader>";
const PASSWORD: &str = "secret";

/// A world on a separate ClickHouse with the users `forgetful`, `short`, `reader` and `blind`.
async fn world() -> (World, OwnClickHouse) {
    let user = |name: &str, profile: &str, policy: &str| {
        format!(
            "<{name}><password>{PASSWORD}</password><networks><ip>127.0.0.1</ip></networks>\
             <profile>{profile}</profile><quota>default</quota>{policy}</{name}>"
        )
    };
    World::with_users(PROFILES, |database| {
        let hiding_policy = format!(
            "<databases><{database}><communication_events><filter>_partition != 0</filter></communication_events>\
             </{database}></databases>"
        );
        let users = [("forgetful", "forgetful", ""), ("short", "short", ""), ("reader", "reader", "")];
        let all: String = users.map(|(name, profile, policy)| user(name, profile, policy)).concat();
        all + &user("blind", "default", &hiding_policy)
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

/// The log of a worker that exits instead of starting.
async fn log_of_refused_start(mut worker: Process) -> String {
    assert!(!worker.wait_for_exit().await.success());
    worker.log()
}

/// Loses two responses to a worker whose profile disables deduplication.
async fn judge_lost_responses(faults: &str) -> Result<(), String> {
    let (world, clickhouse) = world().await;
    let proxy = TcpProxy::start(&clickhouse.url).await;
    let worker = world.spawn_ready(&short_lived(), &variables(&proxy.url, "forgetful", faults)).await;
    world.wait_until_tables_are_old().await;
    world.produce_all(&world.producer("lz4"), &november_records(1, 0..10)).await;
    wait_for_commit(&world, 10).await;
    proxy.set_mode(ProxyMode::ResetInResponse);
    world.produce_all(&world.producer("lz4"), &november_records(0, 0..50)).await;
    let has_lost_responses = || async { world.count().await >= 60 && proxy.disrupted_connections() >= 2 };
    eventually(DEADLINE, "an INSERT lands and its response is lost", has_lost_responses).await;
    proxy.set_mode(ProxyMode::Delayed(Duration::ZERO));
    wait_for_commit(&world, 60).await;
    worker.stop().await;
    let judged = judge(&world).await.map(drop);
    world.drop_namespace().await;
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_without_deduplication_duplicates_nothing() {
    let (normal, faulty) = tokio::join!(
        judge_lost_responses(""),
        judge_lost_responses("send_few_settings,skip_token_check,trust_acknowledgements")
    );
    assert_eq!(normal, Ok(()));
    assert!(faulty.as_ref().is_err_and(|wrong| wrong.contains("more than once")), "{faulty:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_does_not_start_if_tokens_are_not_honored() {
    let (world, clickhouse) = world().await;
    let worker = world.spawn(&short_lived(), &variables(&clickhouse.url, "forgetful", "send_few_settings"));
    let printed = log_of_refused_start(worker).await;
    assert!(printed.contains("two INSERTs with one deduplication token left 2 rows"), "{printed}");
    let worker = world.spawn(&short_lived(), &variables(&clickhouse.url, "reader", ""));
    let printed = log_of_refused_start(worker).await;
    assert!(printed.contains("READONLY") || printed.contains("fixes "), "{printed}");
    world.spawn_ready(&short_lived(), &variables(&clickhouse.url, "forgetful", "")).await.stop().await;
    world.drop_namespace().await;
}

/// Sets the group's offset back after the tokens are forgotten; the user's profile shows only ten rows of each partition.
async fn judge_truncated_lookups(faults: &str) -> Result<(), String> {
    let (world, clickhouse) = world().await;
    let variables = variables(&clickhouse.url, "short", faults);
    let worker = world.spawn_ready(&short_lived(), &variables).await;
    world.produce_all(&world.producer("lz4"), &november_records(0, 0..100)).await;
    wait_for_commit(&world, 100).await;
    worker.stop().await;
    world.shrink_window(16).await;
    world.write_foreign_rows(40).await;
    world.set_offset(COMMUNICATION_EVENTS, 0, 0, "").await;
    let mut settings = static_member();
    (settings.peak_inserts_per_second, settings.insert_timeout) = (1, Duration::from_secs(2));
    let worker = world.spawn_ready(&settings, &variables).await;
    if faults.is_empty() {
        wait_for_commit(&world, 100).await;
        worker.stop().await;
    } else {
        eventually(DEADLINE, "the worker sends the rows that it cannot see again", || async {
            world.count().await > 140
        })
        .await;
        worker.kill().await;
    }
    let judged = judge_allowing(&world, Allowed { foreign: 40, ..Allowed::default() }).await.map(drop);
    world.drop_namespace().await;
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_that_truncates_results_duplicates_nothing() {
    let (normal, faulty) = tokio::join!(
        judge_truncated_lookups(""),
        judge_truncated_lookups("send_few_settings,trust_acknowledgements,skip_visibility_check")
    );
    assert_eq!(normal, Ok(()));
    assert!(faulty.as_ref().is_err_and(|wrong| wrong.contains("more than once")), "{faulty:?}");
}

/// Runs `sluice ingest audit` as this user.
async fn audit(world: &World, url: &str, user: &str, faults: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(["--namespace", world.names.namespace(), "--port-base", &world.port_base().to_string()])
        .args(["ingest", "audit", "--topic", COMMUNICATION_EVENTS])
        .envs(variables(url, user, faults))
        .output()
        .await
        .unwrap()
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

/// Runs a worker whose user cannot see its own rows; with faults, again after its offset is set back. Returns the number of
/// rows.
async fn run_blind_worker(faults: &str) -> (World, OwnClickHouse, usize) {
    let (world, clickhouse) = world().await;
    world.produce_all(&world.producer("lz4"), &november_records(0, 0..50)).await;
    let worker = world.spawn_ready(&short_lived(), &variables(&clickhouse.url, "blind", faults)).await;
    if faults.is_empty() {
        wait_for_stall(&worker.url, "this ClickHouse user sees 0 of them").await;
        assert!(metric(&worker.url, "sluice_ingest_retries_total{", "operator").await >= 1.0);
        assert_eq!(world.committed_sum(COMMUNICATION_EVENTS).await, 0);
        worker.kill().await;
    } else {
        wait_for_commit(&world, 50).await;
        worker.stop().await;
        world.set_offset(COMMUNICATION_EVENTS, 0, 0, "").await;
        let worker = world.spawn_ready(&static_member(), &variables(&clickhouse.url, "blind", faults)).await;
        eventually(DEADLINE, "the worker stops or commits", || async {
            world.committed_sum(COMMUNICATION_EVENTS).await == 50
                || metric(&worker.url, "sluice_ingest_retries_total{", "").await > 0.0
        })
        .await;
        worker.kill().await;
    }
    let rows = world.count().await;
    (world, clickhouse, rows)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_cannot_see_its_rows_stops_before_duplicating_them() {
    let (normal, faulty) =
        tokio::join!(run_blind_worker(""), run_blind_worker("trust_acknowledgements,skip_visibility_check"));
    let (world, clickhouse, rows) = normal;
    assert_eq!(rows, 50, "each row once");
    assert!(faulty.2 > 50, "without the check: {} rows of 50 offsets", faulty.2);
    faulty.0.drop_namespace().await;
    // With rows in the table, the worker does not start, and an audit fails instead of reporting missing rows.
    let worker = world.spawn(&short_lived(), &variables(&clickhouse.url, "blind", ""));
    let printed = log_of_refused_start(worker).await;
    assert!(printed.contains("has 50 rows and this ClickHouse user sees 0 of them"), "{printed}");
    let worker = world.spawn_ready(&short_lived(), &variables(&clickhouse.url, "default", "")[..1]).await;
    wait_for_commit(&world, 50).await;
    worker.stop().await;
    assert_eq!(judge(&world).await.unwrap().landed, 50);
    let output = audit(&world, &clickhouse.url, "blind", "").await;
    assert!(!output.status.success() && text(&output).contains("sees 0 of them"), "{}", text(&output));
    let output = audit(&world, &clickhouse.url, "reader", "").await;
    assert!(output.status.success() && text(&output).contains("exact: "), "a read-only user: {}", text(&output));
    // With the offset set back to the start, an audit that does not see the rows finds no fault.
    world.set_offset(COMMUNICATION_EVENTS, 0, 0, "").await;
    let output = audit(&world, &clickhouse.url, "blind", "skip_visibility_check").await;
    assert!(output.status.success() && text(&output).contains("exact: "), "without the check: {}", text(&output));
    world.drop_namespace().await;
}
