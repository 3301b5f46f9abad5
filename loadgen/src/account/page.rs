//! One table and origin of the account, tenant by tenant: tallies first; where they differ, tallies of buckets, and the
//! entries of the buckets that differ. It never queries a store itself.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use super::canonical::Canonical;
use super::error::AccountError;
use super::ledger::{Differences, Ledger, Origin};
use super::reconcile::{Entry, Tally, reconcile};
use super::slice::{Kind, Slice};
use crate::parallel;
use crate::plan::{Plan, Totals};
use sluice_schemas::concurrency::{blocking, join, lock};

/// Rows of a bucket, on average.
const BUCKET_ROWS: u64 = 50_000;
/// Rows whose identities are compared at a time: about 200 MB on both sides.
const GROUP_ROWS: u64 = 500_000;

/// One table and origin of the account.
#[derive(Clone, Copy)]
pub(super) struct Page {
    pub(super) store: &'static str,
    pub(super) table: &'static str,
    pub(super) kind: Kind,
    pub(super) origin: Origin,
    pub(super) digest: fn(&str) -> u64,
}

/// A store's rows of one table and origin.
pub(super) trait StoredRows {
    /// A tally of each tenant's rows.
    async fn tallies(&self) -> Result<BTreeMap<Uuid, Tally>, AccountError>;
    /// A tally of each bucket of a tenant's rows. A row's bucket is the digest of its identity, modulo `buckets`, which
    /// is a power of two.
    async fn bucket_tallies(&self, tenant: Uuid, buckets: u64) -> Result<BTreeMap<u64, Tally>, AccountError>;
    /// Identity and digest of each of a tenant's rows in the chosen buckets.
    async fn entries(&self, tenant: Uuid, buckets: u64, chosen: &[u64]) -> Result<Vec<Entry>, AccountError>;
}

impl Page {
    /// Accounts for every tenant. `letters` has the identities of the dead letters by tenant.
    pub(super) async fn ledgers(
        self,
        plan: &Arc<Plan>,
        acknowledged: &[Totals],
        letters: BTreeMap<Uuid, Vec<String>>,
        rows: &impl StoredRows,
    ) -> Result<Vec<Ledger>, AccountError> {
        let letters = Arc::new(letters);
        let (planned, dead) = (Arc::clone(plan), Arc::clone(&letters));
        // The store computes its side meanwhile.
        let expecting = tokio::spawn(blocking(move || self.expected(&planned, &dead)));
        let found = rows.tallies().await?;
        let expected = join(expecting).await;
        let mut ledgers = Vec::new();
        for tenant in tenants(plan, &found, &letters.keys().copied().collect()) {
            let found = found.get(&tenant).copied().unwrap_or_default();
            let dead = letters.get(&tenant).cloned().unwrap_or_default();
            let index = plan.population().tenants().iter().position(|planned| planned.id == tenant);
            let slice = index.map(|tenant| self.slice(tenant));
            let expected = index.map(|index| expected[index]).unwrap_or_default();
            let (planned, dead_lettered) = (expected.landed.rows + expected.dead_lettered, dead.len() as u64);
            let differences = if expected.landed == found && expected.dead_lettered == dead_lettered {
                Differences::default()
            } else {
                let sides = (expected.landed.rows.max(found.rows), dead);
                self.differences(plan, slice, rows, tenant, sides).await?
            };
            ledgers.push(Ledger {
                store: self.store.to_owned(),
                kind: self.table.to_owned(),
                origin: self.origin,
                tenant: tenant.to_string(),
                planned,
                produced: slice.and_then(|slice| slice.acknowledged(acknowledged)).unwrap_or(planned),
                landed: found.rows,
                dead_lettered,
                differences,
            });
        }
        Ok(ledgers)
    }

    fn slice(self, tenant: usize) -> Slice {
        Slice { kind: self.kind, origin: self.origin, tenant }
    }

    /// What the store should contain, by index of the tenant, on all processors.
    fn expected(self, plan: &Plan, letters: &BTreeMap<Uuid, Vec<String>>) -> Vec<Expected> {
        let tenants = plan.population().tenants();
        let dead = |tenant: usize| letters.get(&tenants[tenant].id).into_iter().flatten().map(String::as_str);
        let dead: Vec<HashSet<&str>> = (0..tenants.len()).map(|tenant| dead(tenant).collect()).collect();
        let chunks: Vec<_> = (0..tenants.len()).flat_map(|tenant| self.slice(tenant).chunks(plan)).collect();
        let parts = parallel::map(&chunks, |(slice, range)| {
            let mut part = Expected::default();
            let dead = &dead[slice.tenant];
            slice.each(plan, range.clone(), &mut |record| part.add(self, record, dead));
            (slice.tenant, part)
        });
        let mut expected = vec![Expected::default(); tenants.len()];
        for (tenant, part) in parts {
            expected[tenant].merge(part);
        }
        expected
    }

    /// The differences of a tenant with up to `most` rows on either side. Only buckets that differ are fetched, a limited
    /// number of rows at a time, so the memory does not grow with the table.
    async fn differences(
        self,
        plan: &Arc<Plan>,
        slice: Option<Slice>,
        rows: &impl StoredRows,
        tenant: Uuid,
        (most, dead): (u64, Vec<String>),
    ) -> Result<Differences, AccountError> {
        let buckets = most.div_ceil(BUCKET_ROWS).next_power_of_two();
        let found = rows.bucket_tallies(tenant, buckets).await?;
        let (planned, letters) = (Arc::clone(plan), dead.iter().cloned().collect());
        let expected = blocking(move || self.expected_buckets(&planned, slice, buckets, &letters)).await;
        let mut letters = BTreeMap::<u64, u64>::new();
        for identity in &dead {
            *letters.entry(self.bucket(identity, buckets)).or_default() += 1;
        }
        let differing = (0..buckets).filter_map(|bucket| {
            let expected = expected.get(&bucket).copied().unwrap_or_default();
            let found = found.get(&bucket).copied().unwrap_or_default();
            let letters = letters.get(&bucket).copied().unwrap_or_default();
            let differs = expected.landed != found || expected.dead_lettered != letters;
            differs.then_some((bucket, expected.landed.rows.max(found.rows) + letters))
        });
        let mut differences = Differences::default();
        for chosen in groups(differing) {
            let entries = rows.entries(tenant, buckets, &chosen).await?;
            let is_chosen = |identity: &String| chosen.contains(&self.bucket(identity, buckets));
            let letters = dead.iter().filter(|identity| is_chosen(identity)).cloned().collect();
            let (plan, chosen) = (Arc::clone(plan), chosen.iter().copied().collect());
            differences = blocking(move || {
                let planned = self.planned_entries(&plan, slice, buckets, &chosen);
                reconcile(planned, entries, letters, &mut differences);
                differences
            })
            .await;
        }
        Ok(differences)
    }

    fn bucket(self, identity: &str, buckets: u64) -> u64 {
        (self.digest)(identity) & (buckets - 1)
    }

    fn expected_buckets(
        self,
        plan: &Plan,
        slice: Option<Slice>,
        buckets: u64,
        letters: &HashSet<String>,
    ) -> BTreeMap<u64, Expected> {
        let dead: HashSet<&str> = letters.iter().map(String::as_str).collect();
        let chunks = slice.map(|slice| slice.chunks(plan)).unwrap_or_default();
        // Merged at once, since the parts of all chunks together grow with the table.
        let expected = Mutex::new(BTreeMap::<u64, Expected>::new());
        parallel::map(&chunks, |(slice, range)| {
            let mut part = BTreeMap::<u64, Expected>::new();
            slice.each(plan, range.clone(), &mut |record| {
                let bucket = self.bucket(&record.identity(), buckets);
                part.entry(bucket).or_default().add(self, record, &dead);
            });
            let mut expected = lock(&expected);
            for (bucket, part) in part {
                expected.entry(bucket).or_default().merge(part);
            }
        });
        expected.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn planned_entries(self, plan: &Plan, slice: Option<Slice>, buckets: u64, chosen: &HashSet<u64>) -> Vec<Entry> {
        let chunks = slice.map(|slice| slice.chunks(plan)).unwrap_or_default();
        let parts = parallel::map(&chunks, |(slice, range)| {
            let mut part = Vec::new();
            slice.each(plan, range.clone(), &mut |record| {
                let identity = record.identity();
                if chosen.contains(&self.bucket(&identity, buckets)) {
                    part.push((identity, (self.digest)(&record.text())));
                }
            });
            part
        });
        parts.into_iter().flatten().collect()
    }
}

/// What a store should contain.
#[derive(Debug, Clone, Copy, Default)]
struct Expected {
    /// Planned records that are not in the dead-letter topic.
    landed: Tally,
    /// Planned records that are.
    dead_lettered: u64,
}

impl Expected {
    fn add(&mut self, page: Page, record: &dyn Canonical, dead: &HashSet<&str>) {
        if !dead.is_empty() && dead.contains(record.identity().as_str()) {
            self.dead_lettered += 1;
        } else {
            self.landed.add((page.digest)(&record.text()));
        }
    }

    fn merge(&mut self, other: Self) {
        self.landed.merge(other.landed);
        self.dead_lettered += other.dead_lettered;
    }
}

/// Groups buckets, each with its number of rows, so that a group has about [`GROUP_ROWS`] rows at most.
fn groups(buckets: impl Iterator<Item = (u64, u64)>) -> Vec<Vec<u64>> {
    let (mut groups, mut in_group) = (Vec::<Vec<u64>>::new(), u64::MAX);
    for (bucket, rows) in buckets {
        if in_group.saturating_add(rows) > GROUP_ROWS {
            groups.push(Vec::new());
            in_group = 0;
        }
        in_group += rows;
        groups.last_mut().expect("the first bucket starts a group").push(bucket);
    }
    groups
}

/// The population's tenants in order, followed by unexpected ones from the store.
fn tenants(plan: &Plan, tallies: &BTreeMap<Uuid, Tally>, others: &BTreeSet<Uuid>) -> Vec<Uuid> {
    let mut tenants: Vec<Uuid> = plan.population().tenants().iter().map(|tenant| tenant.id).collect();
    let planned: BTreeSet<Uuid> = tenants.iter().copied().collect();
    let unexpected: BTreeSet<Uuid> = tallies.keys().chain(others).copied().filter(|id| !planned.contains(id)).collect();
    tenants.extend(unexpected);
    tenants
}

pub(super) fn loaded_ledger(
    store: &str,
    kind: &str,
    tenant: String,
    (planned, landed): (u64, u64),
    differences: Differences,
) -> Ledger {
    Ledger {
        store: store.to_owned(),
        kind: kind.to_owned(),
        origin: Origin::Loaded,
        tenant,
        planned,
        produced: planned,
        landed,
        dead_lettered: 0,
        differences,
    }
}

#[cfg(test)]
mod tests {
    use super::super::canonical::clickhouse_digest;
    use super::*;
    use crate::population::Population;
    use crate::scenario::Scenario;

    const SCENARIO: &str = include_str!("../../../scenarios/smoke.toml");

    /// Rows in memory, each with its tenant.
    struct InMemory(Vec<(Uuid, Entry)>);

    impl StoredRows for InMemory {
        async fn tallies(&self) -> Result<BTreeMap<Uuid, Tally>, AccountError> {
            let mut tallies = BTreeMap::<Uuid, Tally>::new();
            for (tenant, (_, digest)) in &self.0 {
                tallies.entry(*tenant).or_default().add(*digest);
            }
            Ok(tallies)
        }

        async fn bucket_tallies(&self, tenant: Uuid, buckets: u64) -> Result<BTreeMap<u64, Tally>, AccountError> {
            let mut tallies = BTreeMap::<u64, Tally>::new();
            for (_, (identity, digest)) in self.0.iter().filter(|(owner, _)| *owner == tenant) {
                tallies.entry(EVENTS.bucket(identity, buckets)).or_default().add(*digest);
            }
            Ok(tallies)
        }

        async fn entries(&self, tenant: Uuid, buckets: u64, chosen: &[u64]) -> Result<Vec<Entry>, AccountError> {
            assert!(chosen.len() < buckets as usize, "buckets without a difference are not fetched");
            let is_chosen = |identity: &str| chosen.contains(&EVENTS.bucket(identity, buckets));
            let rows = self.0.iter().filter(|(owner, (identity, _))| *owner == tenant && is_chosen(identity));
            Ok(rows.map(|(_, entry)| entry.clone()).collect())
        }
    }

    const EVENTS: Page = Page {
        store: "ClickHouse",
        table: "communication_events",
        kind: Kind::Events,
        origin: Origin::Driven,
        digest: clickhouse_digest,
    };

    #[tokio::test]
    async fn buckets_find_every_difference_among_many_rows_and_dead_letters() {
        let mut scenario = Scenario::parse(SCENARIO, "smoke.toml").unwrap();
        (scenario.tenants, scenario.communications) = (1, 25_000);
        let plan = Arc::new(Plan::new(&scenario, &Population::new(&scenario)));
        let tenant = plan.population().tenants()[0].id;
        let planned = EVENTS.planned_entries(&plan, Some(EVENTS.slice(0)), 1, &HashSet::from([0]));
        assert!(planned.len() as u64 > BUCKET_ROWS, "several buckets");
        let mut rows: Vec<(Uuid, Entry)> = planned.into_iter().map(|entry| (tenant, entry)).collect();
        let letters: Vec<String> = rows.drain(..10_000).map(|(_, (identity, _))| identity).collect();
        let differences = async |rows: Vec<(Uuid, Entry)>, letters: &[String]| {
            let letters = BTreeMap::from([(tenant, letters.to_vec())]);
            let ledgers = EVENTS.ledgers(&plan, &[], letters, &InMemory(rows)).await.unwrap();
            let Differences { missing, duplicate, wrong, unexpected, .. } = ledgers[0].differences;
            [missing, duplicate, wrong, unexpected]
        };
        assert_eq!(differences(rows.clone(), &letters).await, [0; 4]);
        let altered = |alter: fn(&mut Vec<(Uuid, Entry)>)| {
            let mut rows = rows.clone();
            alter(&mut rows);
            rows
        };
        assert_eq!(differences(altered(|rows| drop(rows.drain(7..9))), &letters).await, [2, 0, 0, 0]);
        assert_eq!(differences(altered(|rows| rows.push(rows[5].clone())), &letters).await, [0, 1, 0, 0]);
        assert_eq!(differences(altered(|rows| rows[99].1.1 ^= 1), &letters).await, [0, 0, 1, 0]);
        let other_identity = altered(|rows| rows[99].1 = ("another".to_owned(), 5));
        assert_eq!(differences(other_identity, &letters).await, [1, 0, 0, 1]);
        let landed_too = letters.iter().cloned().chain([rows[3].1.0.clone()]).collect::<Vec<_>>();
        assert_eq!(differences(rows.clone(), &landed_too).await, [0, 1, 0, 0]);
        let unexpected_letter = letters.iter().cloned().chain(["another".to_owned()]).collect::<Vec<_>>();
        assert_eq!(differences(rows.clone(), &unexpected_letter).await, [0, 0, 0, 1]);
    }

    #[test]
    fn groups_keep_to_their_limit_and_lose_no_bucket() {
        let sizes = [(0, 300_000), (2, 200_000), (3, 1), (7, 600_000), (8, 10)];
        assert_eq!(groups(sizes.into_iter()), [vec![0, 2], vec![3], vec![7], vec![8]]);
        assert!(groups(std::iter::empty()).is_empty());
    }
}
