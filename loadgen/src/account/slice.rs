//! A slice of what should be in the stores: the records of one kind, one origin and one tenant, recomputed from the
//! seed. It never keeps records.

use std::ops::Range;

use super::canonical::Canonical;
use super::ledger::Origin;
use crate::plan::{Plan, Totals};

/// Items of a part that one thread computes at a time.
const CHUNK: u64 = 4_096;

/// A kind of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Events,
    Metrics,
    Interactions,
    Communications,
    Customers,
    Campaigns,
}

/// The records of one kind, one origin and one tenant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slice {
    pub(super) kind: Kind,
    pub(super) origin: Origin,
    pub(super) tenant: usize,
}

impl Slice {
    /// Number of items from which the records are computed: communications, measurements, customers or campaigns.
    fn items(self, plan: &Plan) -> u64 {
        let counts = &plan.population().tenants()[self.tenant];
        let loaded = self.origin == Origin::Loaded;
        match self.kind {
            Kind::Events | Kind::Interactions | Kind::Communications if loaded => counts.past_communications,
            Kind::Events | Kind::Interactions | Kind::Communications => counts.driven_communications,
            Kind::Metrics if loaded => counts.past_metrics,
            Kind::Metrics => counts.driven_metrics,
            Kind::Customers if loaded => counts.customers,
            Kind::Campaigns if loaded => counts.campaigns,
            // The drive creates no customers and no campaigns.
            Kind::Customers | Kind::Campaigns => 0,
        }
    }

    /// The slice in parts of at most [`CHUNK`] items, in order.
    pub(super) fn chunks(self, plan: &Plan) -> Vec<(Self, Range<u64>)> {
        let items = self.items(plan);
        (0..items).step_by(CHUNK as usize).map(|from| (self, from..items.min(from + CHUNK))).collect()
    }

    /// Calls `visit` with every record of a range of items, in order.
    pub(super) fn each(self, plan: &Plan, range: Range<u64>, visit: &mut dyn FnMut(&dyn Canonical)) {
        match self.origin {
            Origin::Loaded => self.each_loaded(plan, range, visit),
            Origin::Driven => self.each_driven(plan, range, visit),
        }
    }

    fn each_loaded(self, plan: &Plan, range: Range<u64>, visit: &mut dyn FnMut(&dyn Canonical)) {
        let (population, tenant) = (plan.population(), self.tenant);
        match self.kind {
            Kind::Events => range.flat_map(|i| population.past_events(tenant, i)).for_each(|r| visit(&r)),
            Kind::Interactions => range.flat_map(|i| population.past_interactions(tenant, i)).for_each(|r| visit(&r)),
            Kind::Metrics => range.for_each(|i| visit(&population.past_metric(tenant, i))),
            Kind::Communications => range.for_each(|i| visit(&population.past_communication(tenant, i))),
            Kind::Customers => range.for_each(|i| visit(&population.customer(tenant, i))),
            Kind::Campaigns => range.for_each(|i| visit(&population.campaign(tenant, i))),
        }
    }

    fn each_driven(self, plan: &Plan, range: Range<u64>, visit: &mut dyn FnMut(&dyn Canonical)) {
        let tenant = self.tenant;
        match self.kind {
            Kind::Events => range.flat_map(|i| plan.events(tenant, i)).for_each(|r| visit(&r.record)),
            Kind::Interactions => range.flat_map(|i| plan.interactions(tenant, i)).for_each(|r| visit(&r.record)),
            Kind::Metrics => range.for_each(|i| visit(&plan.metric(tenant, i).record)),
            Kind::Communications => range.for_each(|i| visit(&plan.communication(tenant, i).record)),
            Kind::Customers | Kind::Campaigns => {}
        }
    }

    /// Number of these records that were acknowledged; `None` if the drive writes none.
    pub(super) fn acknowledged(self, by_tenant: &[Totals]) -> Option<u64> {
        let totals = by_tenant.get(self.tenant).filter(|_| self.origin == Origin::Driven)?;
        match self.kind {
            Kind::Events => Some(totals.events),
            Kind::Metrics => Some(totals.metrics),
            Kind::Interactions => Some(totals.interactions),
            Kind::Communications => Some(totals.communications),
            Kind::Customers | Kind::Campaigns => None,
        }
    }
}
