//! `cached_profiles`: active customers of a portfolio and a risk class whose contexts are cached: a search on each master
//! of the Redis cache, merged. Look-ups fill the cache meanwhile, so the number has bounds: the customers that the load
//! cached, and all. The search never returns the contexts themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use sluice_schemas::keyspace::CONTEXT_TTL;

use super::answer::{Answer, PAGE};
use super::definition::{Definition, Reply};
use super::key::Key;
use super::profile_contains::draw_profile;
use super::store::Store;
use super::subject::Subject;
use super::tally::{PastCustomer, Tally};
use crate::population::{Population, Tenant, Traits, rng::KeyedRng};
use crate::target::Targets;

/// Searches one master. `$index` is `idx:customers:{tag}` under the namespace, with the tag of that master.
const SEARCH: &str = "\
FT.SEARCH $index @tenant_id:{$tenant}@portfolio:{$portfolio}@risk:{$risk}@is_active:{true}
PARAMS 6 tenant $tenant_id portfolio $portfolio_name risk $risk_name
NOCONTENT
LIMIT 0 20
TIMEOUT 600000
DIALECT 2";

/// The load caches the context of one in this many of a tenant's customers.
const CUSTOMERS_PER_CACHED_CONTEXT: u64 = 5;

/// Number of a tenant's customers whose context the load caches: those with the lowest indices.
pub(crate) fn cached_customers(tenant: &Tenant) -> u64 {
    tenant.customers.div_ceil(CUSTOMERS_PER_CACHED_CONTEXT)
}

#[derive(Debug)]
pub(super) struct CachedProfiles;

impl Definition for CachedProfiles {
    fn name(&self) -> &'static str {
        "cached_profiles"
    }

    fn store(&self) -> Store {
        Store::Redis
    }

    fn texts(&self) -> &'static [&'static str] {
        &[SEARCH]
    }

    fn draw_key(&self, _population: &Population, _tenant: &Tenant, rng: &mut KeyedRng) -> Key {
        draw_profile(rng)
    }

    fn ask<'a>(&self, targets: &'a Targets, subject: Subject<'a>) -> Reply<'a> {
        Box::pin(async move {
            let tenant = subject.tenant_id().to_string();
            let field = |name: &str| subject.document()[name].as_str().unwrap_or_default();
            let values = [
                ("$tenant_id", tenant.as_str()),
                ("$portfolio_name", field("portfolio")),
                ("$risk_name", field("risk")),
            ];
            let found = targets.profiles.search(SEARCH, &values).await?;
            let ids = found.hits.into_iter().map(|(id, _)| id).take(PAGE as usize).collect();
            Ok(Answer::Cached { total: found.total..=found.total, ids })
        })
    }

    fn cached_for(&self) -> Option<Duration> {
        Some(*CONTEXT_TTL)
    }

    fn tally(&self, _days: usize) -> Box<dyn Tally> {
        Box::new(Customers::default())
    }
}

/// Indices of active customers, in order, by portfolio and risk.
#[derive(Debug, Default)]
struct Customers(BTreeMap<(u64, usize), Vec<u32>>);

impl Tally for Customers {
    fn count_customer(&mut self, customer: PastCustomer<'_>) {
        let PastCustomer { index, traits } = customer;
        // A scenario has at most 100 million customers.
        self.0.entry((traits.portfolio, traits.risk)).or_default().push(index as u32);
    }

    fn expected(&self, subject: Subject<'_>) -> Answer {
        let (population, tenant) = (subject.population, subject.tenant);
        let matches =
            |&(&(portfolio, risk), _): &(&(u64, usize), _)| Traits::profile(portfolio, risk) == *subject.document();
        let indices = self.0.iter().find(matches).map_or(&[][..], |(_, indices)| indices.as_slice());
        // Contexts expire while further trials of a session are driven.
        let is_first = population.trial() == 0;
        let loaded = if is_first { cached_customers(&population.tenants()[tenant]) } else { 0 };
        let fewest = indices.partition_point(|&index| u64::from(index) < loaded) as u64;
        let ids = indices.iter().map(|&index| population.customer_id(tenant, u64::from(index)));
        Answer::Cached { total: fewest..=indices.len() as u64, ids: ids.collect() }
    }
}
