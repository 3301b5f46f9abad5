//! The account of what ingest writes: ClickHouse's tables, dead letters, and provenance.
//! It never repairs anything.

use std::collections::{BTreeMap, HashSet};

use sluice_schemas::connect;
use uuid::Uuid;

use super::canonical::clickhouse_digest;
use super::clickhouse;
use super::dead_letters::{self, DeadLetters};
use super::error::AccountError;
use super::ledger::{Account, DifferenceKind, Differences, Ledger, NO_TENANT, Origin, Provenance};
use super::page::{Page, loaded_ledger};
use super::reconcile::Tally;
use super::time_limit::TimeLimit;
use crate::plan::Totals;
use crate::population::Tenant;
use crate::run_context::RunContext;
use sluice_schemas::concurrency::blocking;

/// Everything in the dead-letter topic.
pub(super) async fn dead_letters(context: RunContext<'_>) -> Result<DeadLetters, AccountError> {
    let (reader, names) = (dead_letters::reader(context.stores, context.names)?, context.names.clone());
    let since = context.plan.since();
    Ok(blocking(move || dead_letters::read_all(&reader, &names, since)).await?)
}

/// Accounts for every table that ingest fills.
pub(super) async fn account(
    context: RunContext<'_>,
    acknowledged: &[Totals],
    letters: &DeadLetters,
    account: &mut Account,
) -> Result<(), AccountError> {
    let client = connect::clickhouse(context.stores, context.names);
    for table in clickhouse::TABLES {
        let origins = [Origin::Loaded, Origin::Driven];
        for origin in origins.into_iter().filter(|origin| *origin == Origin::Loaded || !acknowledged.is_empty()) {
            let clickhouse::Table { kind, expressions, .. } = table;
            // Loaded rows never went through Kafka.
            let letters = if origin == Origin::Driven { letters.identities(kind) } else { BTreeMap::new() };
            let page = Page { store: "ClickHouse", table: expressions.table, kind, origin, digest: clickhouse_digest };
            let time_limit = time_limit(context);
            let since = context.plan.since();
            let rows = clickhouse::IngestedRows { client: &client, expressions, origin, since, time_limit };
            account.ledgers.extend(page.ledgers(context.plan, acknowledged, letters, &rows).await?);
        }
        account.provenance.push(provenance(context, &client, table, letters).await?);
    }
    account.recomputed.push(clickhouse::compare_aggregate(&client, time_limit(context)).await?);
    Ok(())
}

/// Each communication has up to a dozen events and interactions.
fn time_limit(context: RunContext<'_>) -> TimeLimit {
    let communications = |tenant: &Tenant| tenant.past_communications + tenant.driven_communications;
    let metrics = |tenant: &Tenant| tenant.past_metrics + tenant.driven_metrics;
    let rows = |tenant: &Tenant| 12 * communications(tenant) + metrics(tenant);
    TimeLimit::for_rows(context.plan.population().tenants().iter().map(rows).sum())
}

/// Compares the offsets of a table's rows with the topic's: by a digest for each partition; if one differs, the distinct
/// offsets are counted.
async fn provenance(
    context: RunContext<'_>,
    client: &::clickhouse::Client,
    table: clickhouse::Table,
    letters: &DeadLetters,
) -> Result<Provenance, AccountError> {
    let topic = context.names.topic(table.topic);
    let table = table.expressions.table;
    let time_limit = time_limit(context);
    let partitions = clickhouse::partitions(client, table, time_limit).await?;
    let reader = dead_letters::reader(context.stores, context.names)?;
    let marks = {
        let topic = topic.clone();
        blocking(move || dead_letters::watermarks(&reader, &topic)).await?
    };
    let mut dead = letters.offsets_from(&topic);
    // Those before the low watermark are of trials whose records were removed.
    dead.retain(|(at, offset)| marks.iter().any(|(partition, low, _)| partition == at && low <= offset));
    let (rows, dead_lettered) = (partitions.iter().map(|partition| partition.rows).sum(), dead.len() as u64);
    let offsets = marks.iter().map(|(_, low, high)| (high - low).unsigned_abs()).sum();
    let is_complete = blocking(move || has_every_offset(&partitions, &marks, &dead)).await;
    let distinct = if is_complete { rows } else { clickhouse::count_offsets(client, table, time_limit).await? };
    Ok(Provenance { table: table.to_owned(), rows, distinct, offsets, dead_lettered })
}

/// Whether a table's rows have each offset between the watermarks once, except those of dead letters.
fn has_every_offset(
    found: &[clickhouse::PartitionRows],
    marks: &[(i32, i64, i64)],
    dead: &HashSet<(i32, i64)>,
) -> bool {
    let expected = marks.iter().map(|&(partition, low, high)| {
        let mut tally = Tally::default();
        let landed = (low..high).filter(|offset| !dead.contains(&(partition, *offset)));
        landed.for_each(|offset| tally.add(clickhouse::offset_digest(offset)));
        (partition, tally)
    });
    let expected: BTreeMap<i32, Tally> = expected.filter(|(_, tally)| tally.rows > 0).collect();
    // A topic that was created again has another identifier, and partitions of the same numbers.
    let topics: HashSet<Uuid> = found.iter().map(|partition| partition.topic_id).collect();
    let tally = |partition: &clickhouse::PartitionRows| Tally { rows: partition.rows, digest: partition.digest };
    let found: BTreeMap<i32, Tally> = found.iter().map(|partition| (partition.partition, tally(partition))).collect();
    topics.len() <= 1 && found == expected
}

/// Accounts for dead letters without a readable record; no plan contains any.
pub(super) fn unreadable(letters: &DeadLetters, account: &mut Account) {
    if letters.unreadable.is_empty() {
        return;
    }
    let mut differences = Differences::default();
    for place in &letters.unreadable {
        differences.note(DifferenceKind::Unexpected, place);
    }
    let ledger = loaded_ledger("Kafka", "clickhouse-errors", NO_TENANT.to_owned(), (0, 0), differences);
    let dead_lettered = letters.unreadable.len() as u64;
    account.ledgers.push(Ledger { origin: Origin::Driven, dead_lettered, ..ledger });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(partition: i32, offsets: &[i64]) -> clickhouse::PartitionRows {
        let mut tally = Tally::default();
        for offset in offsets {
            tally.add(clickhouse::offset_digest(*offset));
        }
        let Tally { rows, digest } = tally;
        clickhouse::PartitionRows { topic_id: Uuid::nil(), partition, rows, digest }
    }

    #[test]
    fn each_offset_is_expected_once_unless_it_is_a_dead_letters() {
        let (marks, dead) = ([(0, 0, 3), (1, 5, 7), (2, 4, 4)], HashSet::from([(1, 6)]));
        assert!(has_every_offset(&[rows(0, &[2, 0, 1]), rows(1, &[5])], &marks, &dead));
        for other in [vec![2, 0, 0], vec![0, 1], vec![0, 1, 2, 2], vec![0, 1, 3]] {
            assert!(!has_every_offset(&[rows(0, &other), rows(1, &[5])], &marks, &dead), "{other:?}");
        }
        assert!(!has_every_offset(&[rows(0, &[2, 0, 1]), rows(1, &[5, 6])], &marks, &dead), "landed and dead-lettered");
        let mut again = rows(1, &[5]);
        again.topic_id = Uuid::max();
        assert!(!has_every_offset(&[rows(0, &[2, 0, 1]), again], &marks, &dead), "another topic of that name");
    }
}
