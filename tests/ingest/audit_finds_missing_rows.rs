//! The audit is exact after a normal run. It names partition and count for missing rows, duplicate rows and deleted dead
//! letters, and distinguishes offsets that never had a record from losses.

use rdkafka::admin::AdminOptions;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sluice_ingest::config::Settings;
use sluice_ingest::operator::audit::{Account, Audit, Options};
use sluice_schemas::names::topic::{CLICKHOUSE_ERRORS, COMMUNICATION_EVENTS};
use sluice_testkit::eventually;

use crate::gaps_in_the_log::{transaction, transactional};
use crate::harness::{DEADLINE, Record, World, november_records, quick_settings};
use crate::obeys_the_operator::sluice;

const FAST: Options = Options { exact: false, scan: false };
const EXACT: Options = Options { exact: true, scan: false };
const SCAN: Options = Options { exact: false, scan: true };

/// Audits `communication-events`.
async fn audit(world: &World, options: Options) -> Vec<Account> {
    let audit = Audit::new(Settings::default(), world.stores.clone(), world.names.clone(), options).unwrap();
    audit.run(Some(&world.names.topic(COMMUNICATION_EVENTS))).await.unwrap()
}

/// Partitions that are not exact: partition, missing and duplicate rows.
async fn discrepancies(world: &World, options: Options) -> Vec<(i32, u64, u64)> {
    let accounts = audit(world, options).await;
    for account in &accounts {
        assert_eq!(account.consumed, account.inserted + account.dead_lettered + account.missing, "{account:?}");
    }
    let discrepancies = accounts.iter().filter(|account| !account.is_exact());
    discrepancies.map(|account| (account.partition, account.missing, account.duplicates)).collect()
}

/// A world with records and poison in partitions 0 to 2, all landed or dead-lettered, and committed.
async fn world_with_processed_records() -> World {
    let world = World::new().await;
    let poison = |n: i32| Record { payload: Some(b"?".to_vec()), partition: Some(n), ..Record::default() };
    let producer = world.producer("lz4");
    for partition in 0..3 {
        world.produce_all(&producer, &november_records(partition, 0..40)).await;
        world.produce_all(&producer, &[poison(partition), poison(partition)]).await;
        world.produce_all(&producer, &november_records(partition, 40..60)).await;
    }
    let worker = world.start(quick_settings()).await;
    eventually(DEADLINE, "everything is committed", || async {
        world.committed_sum(COMMUNICATION_EVENTS).await == 186
    })
    .await;
    worker.stop().await;
    world
}

/// Deletes the records of a topic below these offsets.
async fn delete_below(world: &World, topic: &str, ends: impl Iterator<Item = (i32, Offset)>) {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in ends {
        list.add_partition_offset(&world.names.topic(topic), partition, offset).unwrap();
    }
    world.admin().delete_records(&list, &AdminOptions::new()).await.unwrap();
}

const DUPLICATE: &str =
    "INSERT INTO communication_events SELECT * FROM communication_events WHERE _partition = 1 AND _offset = 7";
const DELETE: &str =
    "ALTER TABLE communication_events DELETE WHERE _partition = 1 AND _offset = 9 SETTINGS mutations_sync = 2";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_is_accounted_for_after_a_normal_run() {
    let world = world_with_processed_records().await;
    for options in [FAST, EXACT, SCAN] {
        let accounts = audit(&world, options).await;
        let sum = |count: fn(&Account) -> u64| accounts.iter().map(count).sum::<u64>();
        assert!(accounts.iter().all(Account::is_exact), "{accounts:?}");
        assert_eq!((sum(|a| a.consumed), sum(|a| a.inserted), sum(|a| a.dead_lettered)), (186, 180, 6));
    }
    let (code, output) = sluice(&world, &["audit"]).await;
    assert!(code == 0 && output.ends_with("exact: 186 consumed = 180 inserted + 6 dead-lettered"), "{code}: {output}");
    delete_below(&world, COMMUNICATION_EVENTS, (0..3).map(|partition| (partition, Offset::Offset(30)))).await;
    assert_eq!(discrepancies(&world, FAST).await, [], "records that expired from the log are still accounted for");
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_or_duplicate_row_is_named() {
    let world = world_with_processed_records().await;
    world.execute(DUPLICATE).await;
    for options in [FAST, EXACT] {
        assert_eq!(discrepancies(&world, options).await, [(1, 0, 1)]);
    }
    world.execute(DELETE).await;
    for options in [FAST, EXACT, SCAN] {
        assert_eq!(discrepancies(&world, options).await, [(1, 1, 1)], "although the number of rows is correct");
    }
    let (code, output) = sluice(&world, &["audit", "--topic", COMMUNICATION_EVENTS]).await;
    assert_eq!(code, 1, "{output}");
    for sentence in [
        "communication-events 1: 1 consumed but neither inserted nor dead-lettered, at offset 9",
        "communication-events 1: 1 duplicate row, at offset 7",
        "not exact in 1 of 6 partitions",
    ] {
        assert!(output.contains(sentence), "{output}");
    }
    delete_below(&world, COMMUNICATION_EVENTS, [(1, Offset::Offset(30))].into_iter()).await;
    assert_eq!(discrepancies(&world, SCAN).await, [(1, 1, 1)], "also after they expired from the log");
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_dead_letter_counts_as_missing() {
    let world = world_with_processed_records().await;
    let letters = world.read_all(CLICKHOUSE_ERRORS).await;
    let partition = rdkafka::message::Message::partition(&letters[0]);
    let deleted = letters.iter().filter(|letter| rdkafka::message::Message::partition(*letter) == partition);
    let deleted =
        deleted.map(|letter| crate::harness::header(letter, "sluice.partition").unwrap().parse::<i32>().unwrap());
    let mut expected = std::collections::BTreeMap::new();
    deleted.for_each(|partition| *expected.entry(partition).or_insert(0) += 1);
    delete_below(&world, CLICKHOUSE_ERRORS, [(partition, Offset::End)].into_iter()).await;
    let expected: Vec<_> = expected.into_iter().map(|(partition, count)| (partition, count, 0)).collect();
    assert_eq!(discrepancies(&world, FAST).await, expected);
    delete_below(&world, COMMUNICATION_EVENTS, (0..3).map(|partition| (partition, Offset::Offset(50)))).await;
    assert_eq!(discrepancies(&world, FAST).await, [], "a dead letter that may have expired is not counted as missing");
    assert!(audit(&world, FAST).await.iter().any(|account| account.older > 0), "and the audit reports that");
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_without_a_record_are_not_reported_as_losses() {
    let world = World::new().await;
    let producer = transactional(&world);
    for (numbers, is_committed) in [(0..30, true), (30..60, false), (60..100, true)] {
        transaction(&world, &producer, &november_records(1, numbers), is_committed).await;
    }
    let worker = world.start(quick_settings()).await;
    eventually(DEADLINE, "everything is committed", || async {
        world.committed_sum(COMMUNICATION_EVENTS).await == 102
    })
    .await;
    worker.stop().await;
    assert_eq!(discrepancies(&world, FAST).await, [(1, 32, 0)], "30 aborted records and two markers");
    assert_eq!(discrepancies(&world, SCAN).await, []);
    assert_eq!(audit(&world, SCAN).await[1].empty, 32);
    world.execute(DELETE).await;
    assert_eq!(discrepancies(&world, SCAN).await, [(1, 1, 0)]);
    world.drop_namespace().await;
}

/// 0, 4 and 5 have the same count, sum and sum of squares as 1, 2 and 6: only the exact form detects the difference.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exact_audit_finds_differences_that_cancel_out() {
    let world = world_with_processed_records().await;
    for (offsets, statement) in [
        (
            "0, 4, 5",
            "ALTER TABLE communication_events DELETE WHERE _partition = 1 AND _offset IN ({}) SETTINGS mutations_sync = 2",
        ),
        (
            "1, 2, 6",
            "INSERT INTO communication_events SELECT * FROM communication_events WHERE _partition = 1 AND _offset IN ({})",
        ),
    ] {
        world.execute(&statement.replace("{}", offsets)).await;
    }
    assert_eq!(discrepancies(&world, FAST).await, [], "the documented limit of the fast form");
    assert_eq!(discrepancies(&world, EXACT).await, [(1, 3, 3)]);
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_unread_records_and_rows_without_a_committed_offset_fail_the_audit() {
    let world = world_with_processed_records().await;
    world.produce_all(&world.producer("lz4"), &november_records(1, 60..70)).await;
    assert_eq!(discrepancies(&world, FAST).await, [], "unconsumed records are not a discrepancy");
    delete_below(&world, COMMUNICATION_EVENTS, [(1, Offset::End)].into_iter()).await;
    let (code, output) = sluice(&world, &["audit", "--topic", COMMUNICATION_EVENTS]).await;
    assert!(
        code == 1 && output.contains("communication-events 1: 10 offsets were deleted from the log"),
        "{code}: {output}"
    );
    assert_eq!(audit(&world, FAST).await.iter().map(|account| account.unread).collect::<Vec<_>>(), [0, 10, 0, 0, 0, 0]);
    let group = world.names.group(&Settings::default().group);
    let deleted = world.admin().delete_groups(&[&group], &AdminOptions::new()).await.unwrap();
    deleted[0].as_ref().unwrap();
    let (code, output) = sluice(&world, &["audit", "--topic", COMMUNICATION_EVENTS]).await;
    assert!(code == 1 && output.contains("rows, but the group has no offset"), "{code}: {output}");
    world.drop_namespace().await;
}
