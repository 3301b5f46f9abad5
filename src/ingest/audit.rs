//! `sluice ingest audit`: shows that inserted + dead-lettered = consumed, or which partitions differ and by how much.
//! It repairs nothing.

use std::ops::Range;

use clap::Args;
use sluice_ingest::operator::audit::{self, Account, Audit, Error};
use sluice_loadgen::number::counted;

use super::topic::{full, short};
use crate::{
    exit::{Exit, Failure},
    screen,
    settings::Settings,
    table::{or_dash, table, text},
};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only this topic
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Also count distinct offsets: takes longer and more of ClickHouse's memory, and rules out errors that cancel out
    #[arg(long)]
    exact: bool,
    /// Read missing offsets from Kafka, to distinguish lost records from gaps left by aborted transactions and
    /// compaction
    #[arg(long)]
    scan: bool,
}

/// Prints the accounts; exit code 1 if one of them is not exact.
pub(super) async fn run(options: &Options, settings: Settings) -> Result<Exit, Failure> {
    let topic = options.topic.as_ref().map(|topic| full(&settings, topic));
    let scope = audit::Options { exact: options.exact, scan: options.scan };
    let audit = Audit::new(settings.ingest.clone(), settings.stores.clone(), settings.names(), scope)?;
    let accounts = audit.run(topic.as_deref()).await.map_err(failure)?;
    screen::print(&accounts_table(&accounts, &settings))?;
    for account in &accounts {
        let name = format!("{} {}", short(&settings, &account.topic), account.partition);
        for finding in findings(account, options.scan) {
            screen::print(&format!("{name}: {finding}"))?;
        }
    }
    screen::print(&verdict(&accounts))?;
    Ok(if accounts.iter().all(Account::is_exact) { Exit::Pass } else { Exit::Fail })
}

fn failure(error: Error) -> Failure {
    let exit = if matches!(error, Error::NoPipeline(_)) { Exit::Usage } else { Exit::Invalid };
    Failure { exit, error: error.into() }
}

fn accounts_table(accounts: &[Account], settings: &Settings) -> String {
    let header = [
        "TOPIC",
        "PARTITION",
        "FROM",
        "COMMITTED",
        "CONSUMED",
        "INSERTED",
        "DEAD-LETTERED",
        "REPLAYED",
        "MISSING",
        "DUPLICATES",
        "UNCOMMITTED",
    ];
    let mut table = table(&header, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    for account in accounts {
        let numbers = [
            account.consumed,
            account.inserted,
            account.dead_lettered,
            account.replayed,
            account.missing,
            account.duplicates,
            account.ahead,
        ];
        let mut row = vec![
            short(settings, &account.topic).to_owned(),
            account.partition.to_string(),
            account.from.to_string(),
            or_dash(account.committed),
        ];
        row.extend(numbers.iter().map(u64::to_string));
        table.add_row(row);
    }
    text(&table)
}

/// Findings about a partition, one sentence each.
fn findings(account: &Account, has_scanned: bool) -> Vec<String> {
    let mut findings = Vec::new();
    let Account { missing, duplicates, unread, older, ahead, empty, .. } = *account;
    if missing > 0 {
        let gaps = if has_scanned { "" } else { "; --scan distinguishes lost records from gaps" };
        findings.push(format!(
            "{missing} consumed but neither inserted nor dead-lettered, {}{gaps}",
            describe_ranges(&account.missing_at, missing)
        ));
    }
    if duplicates > 0 {
        let offsets: Vec<_> = account.duplicates_at.iter().map(i64::to_string).collect();
        let at = if offsets.len() == 1 { "at offset" } else { "at offsets" };
        findings.push(format!("{}, {at} {}", counted(duplicates, "duplicate row"), offsets.join(", ")));
    }
    if unread > 0 {
        let were = if unread == 1 { "was" } else { "were" };
        findings.push(format!("{} {were} deleted from the log before being consumed", counted(unread, "offset")));
    }
    if account.committed.is_none() && ahead > 0 {
        let rows = counted(ahead, "row");
        findings.push(format!("{rows}, but the group has no offset; see `sluice ingest offsets show`"));
    }
    if empty > 0 {
        let have = if empty == 1 { "has" } else { "have" };
        findings.push(format!("{} {have} no record: aborted transactions or compaction", counted(empty, "offset")));
    }
    if older > 0 {
        let (rows, were) = (counted(older, "older row"), if older == 1 { "was" } else { "were" });
        findings.push(format!("{rows} {were} not checked, since dead letters of that time have expired"));
    }
    findings
}

/// The first missing offsets, as ranges.
fn describe_ranges(ranges: &[Range<i64>], total: u64) -> String {
    let describe = |range: &Range<i64>| match range.end - range.start {
        1 => range.start.to_string(),
        _ => format!("{} to {}", range.start, range.end - 1),
    };
    let listed: u64 = ranges.iter().map(|range| (range.end - range.start).cast_unsigned()).sum();
    let list = ranges.iter().map(describe).collect::<Vec<_>>().join(", ");
    let (at, more) = (if total == 1 { "offset" } else { "offsets" }, if listed < total { " and more" } else { "" });
    format!("at {at} {list}{more}")
}

fn verdict(accounts: &[Account]) -> String {
    let sum = |field: fn(&Account) -> u64| accounts.iter().map(field).sum::<u64>();
    let (consumed, inserted, dead) = (sum(|a| a.consumed), sum(|a| a.inserted), sum(|a| a.dead_lettered));
    if accounts.iter().all(Account::is_exact) {
        return format!("exact: {consumed} consumed = {inserted} inserted + {dead} dead-lettered");
    }
    let (missing, duplicates, wrong) =
        (sum(|a| a.missing), sum(|a| a.duplicates), accounts.iter().filter(|account| !account.is_exact()).count());
    format!(
        "not exact in {wrong} of {}: {consumed} consumed, {inserted} inserted, {dead} dead-lettered, {missing} missing, {}",
        counted(accounts.len() as u64, "partition"),
        counted(duplicates, "duplicate")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_account_is_one_sentence_and_differences_are_named() {
        let exact = Account {
            topic: "events".to_owned(),
            committed: Some(12),
            consumed: 12,
            inserted: 10,
            dead_lettered: 2,
            ..Account::default()
        };
        assert_eq!(findings(&exact, false), Vec::<String>::new());
        insta::assert_snapshot!(verdict(std::slice::from_ref(&exact)), @"exact: 12 consumed = 10 inserted + 2 dead-lettered");
        let wrong = Account {
            inserted: 7,
            missing: 3,
            missing_at: vec![1..2, 5..7],
            duplicates: 1,
            duplicates_at: vec![9],
            ..exact.clone()
        };
        insta::assert_snapshot!(findings(&wrong, false).join("\n"), @r"
        3 consumed but neither inserted nor dead-lettered, at offsets 1, 5 to 6; --scan distinguishes lost records from gaps
        1 duplicate row, at offset 9
        ");
        insta::assert_snapshot!(verdict(&[exact.clone(), wrong]), @"not exact in 1 of 2 partitions: 24 consumed, 17 inserted, 4 dead-lettered, 3 missing, 1 duplicate");
        insta::assert_snapshot!(accounts_table(&[exact], &Settings::default()), @r"
        TOPIC   PARTITION  FROM  COMMITTED  CONSUMED  INSERTED  DEAD-LETTERED  REPLAYED  MISSING  DUPLICATES  UNCOMMITTED
        events          0     0         12        12        10              2         0        0           0            0
        ");
    }
}
