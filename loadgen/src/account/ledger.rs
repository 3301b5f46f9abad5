//! The account as a value: records produced, landed and dead-lettered, and every difference between them.
//! Part of the report. It never reads a store.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::target::postgres::STORE;

/// Maximum number of examples of each kind of difference.
pub const EXAMPLES: usize = 5;

/// The tenant of records whose tenant cannot be read.
pub const NO_TENANT: &str = "(unreadable)";

/// Where records came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Bulk-loaded before the drive.
    Loaded,
    /// Written or produced by the drive.
    Driven,
}

/// One line of the account: the records of one kind, of one tenant, in one store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ledger {
    /// The store's name.
    pub store: String,
    /// Table, topic or index, by its ADR name.
    pub kind: String,
    /// Where the records came from.
    pub origin: Origin,
    /// The tenant's identifier, or [`NO_TENANT`].
    pub tenant: String,
    /// Records in the plan or the population.
    pub planned: u64,
    /// Records that a store or broker acknowledged; equals `planned` unless the drive stopped early or failed.
    pub produced: u64,
    /// Rows in the store.
    pub landed: u64,
    /// Records in the dead-letter topic, each identity counted once.
    pub dead_lettered: u64,
    /// Every difference, counted exactly.
    pub differences: Differences,
}

/// Differences, counted exactly, with up to [`EXAMPLES`] examples of each kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Differences {
    /// Planned records that neither landed nor were dead-lettered.
    pub missing: u64,
    /// Rows beyond the first of one identity, and records that both landed and were dead-lettered.
    pub duplicate: u64,
    /// Rows with a planned identity and another value in some column.
    pub wrong: u64,
    /// Rows and dead letters that are not planned.
    pub unexpected: u64,
    /// Examples, such as `missing 0190…`.
    pub examples: Vec<String>,
}

impl Differences {
    /// Whether there are no differences.
    pub fn is_none(&self) -> bool {
        self.missing + self.duplicate + self.wrong + self.unexpected == 0
    }

    pub(crate) fn note(&mut self, kind: DifferenceKind, identity: &str) {
        let count = match kind {
            DifferenceKind::Missing => &mut self.missing,
            DifferenceKind::Duplicate => &mut self.duplicate,
            DifferenceKind::Wrong => &mut self.wrong,
            DifferenceKind::Unexpected => &mut self.unexpected,
        };
        *count += 1;
        if *count <= EXAMPLES as u64 {
            self.examples.push(format!("{} {identity}", kind.as_str()));
        }
    }
}

/// A kind of difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DifferenceKind {
    Missing,
    Duplicate,
    Wrong,
    Unexpected,
}

impl DifferenceKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Duplicate => "duplicate",
            Self::Wrong => "wrong",
            Self::Unexpected => "unexpected",
        }
    }
}

impl Ledger {
    /// Whether everything planned was produced, and produced = landed + dead-lettered with nothing missing, duplicate,
    /// wrong or unexpected.
    pub fn balances(&self) -> bool {
        self.differences.is_none() && self.planned == self.produced && self.produced == self.landed + self.dead_lettered
    }
}

/// The offsets that the rows of one ingested table came from, counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Provenance {
    /// The table.
    pub table: String,
    /// Rows that came through Kafka.
    pub rows: u64,
    /// Distinct (topic, partition, offset) of these rows.
    pub distinct: u64,
    /// Records in the topic's partitions, by their watermarks.
    pub offsets: u64,
    /// Dead letters of the topic, each identity counted once.
    pub dead_lettered: u64,
}

impl Provenance {
    /// Whether each offset is exactly once in the table or in the dead-letter topic.
    pub fn balances(&self) -> bool {
        self.rows == self.distinct && self.offsets == self.distinct + self.dead_lettered
    }
}

/// Whether an aggregate table equals its recomputation from the raw rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recomputed {
    /// The aggregate table.
    pub table: String,
    /// Number of groups, from the recomputation.
    pub groups: u64,
    /// Groups that differ or exist on one side only.
    pub differing: u64,
}

/// Records of a store that were all counted, and of which a sample was compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sampled {
    /// The store.
    pub store: String,
    /// The records.
    pub records: String,
    /// How many were compared.
    pub compared: u64,
    /// How many there should be.
    pub of: u64,
}

/// The whole account of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Account {
    /// One ledger per store, kind, origin and tenant.
    pub ledgers: Vec<Ledger>,
    /// One entry per ingested table.
    pub provenance: Vec<Provenance>,
    /// One entry per aggregate table.
    pub recomputed: Vec<Recomputed>,
    /// Records that were counted, and compared by a sample.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sampled: Vec<Sampled>,
    /// Why a store's part is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unaccounted: Vec<String>,
}

impl Account {
    /// Whether the account balances to the record.
    pub fn is_balanced(&self) -> bool {
        self.unaccounted.is_empty()
            && self.ledgers.iter().all(Ledger::balances)
            && self.provenance.iter().all(Provenance::balances)
            && self.recomputed.iter().all(|table| table.differing == 0)
    }

    /// Of [`Account::discrepancies`], those of records that were never committed to PostgreSQL, while nothing else is wrong with the others.
    pub fn uncommitted(&self) -> Vec<String> {
        let uncommitted = |ledger: &&Ledger| ledger.store == STORE && ledger.is_only_unproduced();
        self.ledgers.iter().filter(uncommitted).map(Ledger::discrepancy).collect()
    }

    /// One sentence for each ledger or table that does not balance.
    pub fn discrepancies(&self) -> Vec<String> {
        let ledgers = self.ledgers.iter().filter(|ledger| !ledger.balances()).map(Ledger::discrepancy);
        let provenance = self.provenance.iter().filter(|table| !table.balances()).map(|table| {
            format!(
                "{}: {} rows from Kafka with {} distinct offsets and {} dead letters, of {} offsets in the topic",
                table.table, table.rows, table.distinct, table.dead_lettered, table.offsets
            )
        });
        let recomputed = self.recomputed.iter().filter(|table| table.differing > 0).map(|table| {
            format!("{}: {} of {} groups differ from the raw rows", table.table, table.differing, table.groups)
        });
        let unaccounted = self
            .unaccounted
            .iter()
            .map(|why| format!("{why}; `sluice status` shows which store does not respond, `sluice logs STORE` why"));
        unaccounted.chain(ledgers).chain(provenance).chain(recomputed).collect()
    }
}

impl Ledger {
    /// Whether it would balance if the records that were never produced had not been planned. One that was given up may have landed all
    /// the same.
    fn is_only_unproduced(&self) -> bool {
        let Differences { missing, duplicate, wrong, unexpected, .. } = self.differences;
        let landed = self.landed + self.dead_lettered;
        self.produced < self.planned
            && landed >= self.produced
            && landed + missing == self.planned
            && duplicate + wrong + unexpected == 0
    }

    fn discrepancy(&self) -> String {
        let Self { store, kind, tenant, planned, produced, landed, dead_lettered, differences, origin } = self;
        let Differences { missing, duplicate, wrong, unexpected, examples } = differences;
        format!(
            "{store} {kind}, tenant {tenant}: planned {planned}, produced {produced}, landed {landed}, \
             dead-lettered {dead_lettered}; {missing} missing, {duplicate} duplicate, {wrong} wrong, {unexpected} unexpected{}{}{}",
            if examples.is_empty() { "" } else { ": " },
            examples.join(", "),
            // The next run would keep it as it is.
            if *origin == Origin::Loaded { "; --reload loads it again" } else { "" }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact() -> Ledger {
        Ledger {
            store: "ClickHouse".to_owned(),
            kind: "communication_events".to_owned(),
            origin: Origin::Driven,
            tenant: "t".to_owned(),
            planned: 10,
            produced: 10,
            landed: 9,
            dead_lettered: 1,
            differences: Differences::default(),
        }
    }

    #[test]
    fn produced_equals_landed_plus_dead_lettered() {
        assert!(exact().balances());
        assert!(!Ledger { landed: 10, ..exact() }.balances());
        assert!(!Ledger { dead_lettered: 0, ..exact() }.balances());
        assert!(!Ledger { planned: 11, ..exact() }.balances());
    }

    #[test]
    fn what_was_never_produced_is_told_from_what_was_lost() {
        let missing = |count| Differences { missing: count, ..Differences::default() };
        let store = STORE.to_owned();
        let ledger = Ledger { store, planned: 13, differences: missing(3), ..exact() };
        let uncommitted = |ledger| Account { ledgers: vec![ledger], ..Account::default() }.uncommitted().len();
        assert!(!ledger.balances());
        assert_eq!(uncommitted(ledger.clone()), 1);
        let differences = missing(2);
        assert_eq!(uncommitted(Ledger { landed: 10, differences, ..ledger.clone() }), 1, "one was given up and landed");
        assert_eq!(uncommitted(exact()), 0, "it balances");
        assert_eq!(uncommitted(Ledger { landed: 8, ..ledger.clone() }), 0, "one that was produced is lost");
        assert_eq!(uncommitted(Ledger { differences: missing(4), ..ledger.clone() }), 0, "one more is missing");
        let differences = Differences { wrong: 1, ..missing(3) };
        assert_eq!(uncommitted(Ledger { differences, ..ledger.clone() }), 0, "one is wrong");
        assert_eq!(uncommitted(Ledger { store: "ClickHouse".to_owned(), ..ledger }), 0, "another store");
    }

    #[test]
    fn a_difference_unbalances_even_equal_counts() {
        let mut ledger = exact();
        ledger.differences.note(DifferenceKind::Missing, "a");
        ledger.differences.note(DifferenceKind::Unexpected, "b");
        assert!(!ledger.balances());
        let account = Account { ledgers: vec![ledger], ..Account::default() };
        assert!(!account.is_balanced());
        insta::assert_snapshot!(account.discrepancies().join("\n"), @"ClickHouse communication_events, tenant t: planned 10, produced 10, landed 9, dead-lettered 1; 1 missing, 0 duplicate, 0 wrong, 1 unexpected: missing a, unexpected b");
    }

    #[test]
    fn every_difference_is_counted_and_a_few_are_examples() {
        let mut differences = Differences::default();
        for i in 0..20 {
            differences.note(DifferenceKind::Duplicate, &i.to_string());
        }
        assert_eq!((differences.duplicate, differences.examples.len()), (20, EXAMPLES));
    }

    #[test]
    fn a_lost_offset_unbalances_the_provenance() {
        let table = Provenance { table: "t".to_owned(), rows: 5, distinct: 5, offsets: 6, dead_lettered: 1 };
        assert!(table.balances());
        assert!(!Provenance { offsets: 7, ..table.clone() }.balances());
        assert!(!Provenance { rows: 6, ..table }.balances());
    }
}
