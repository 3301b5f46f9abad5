//! A slice of what should be in the stores: the records of one kind, one origin and one tenant, recomputed from the
//! seed. It never keeps records.

use super::canonical::Canonical;
use super::ledger::Origin;
use super::reconcile::Tally;
use crate::plan::{Plan, Totals};

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
    /// Calls `visit` with every record.
    pub(super) fn each(self, plan: &Plan, visit: &mut dyn FnMut(&dyn Canonical)) {
        match self.origin {
            Origin::Loaded => self.each_loaded(plan, visit),
            Origin::Driven => self.each_driven(plan, visit),
        }
    }

    fn each_loaded(self, plan: &Plan, visit: &mut dyn FnMut(&dyn Canonical)) {
        let (population, tenant) = (plan.population(), self.tenant);
        let counts = &population.tenants()[tenant];
        match self.kind {
            Kind::Events => {
                (0..counts.past_communications).flat_map(|i| population.past_events(tenant, i)).for_each(|r| visit(&r));
            }
            Kind::Interactions => {
                (0..counts.past_communications)
                    .flat_map(|i| population.past_interactions(tenant, i))
                    .for_each(|r| visit(&r));
            }
            Kind::Metrics => {
                (0..counts.past_metrics).for_each(|i| visit(&population.past_metric(tenant, i)));
            }
            Kind::Communications => {
                (0..counts.past_communications).for_each(|i| visit(&population.past_communication(tenant, i)));
            }
            Kind::Customers => (0..counts.customers).for_each(|i| visit(&population.customer(tenant, i))),
            Kind::Campaigns => (0..counts.campaigns).for_each(|i| visit(&population.campaign(tenant, i))),
        }
    }

    fn each_driven(self, plan: &Plan, visit: &mut dyn FnMut(&dyn Canonical)) {
        let tenant = self.tenant;
        let counts = &plan.population().tenants()[tenant];
        match self.kind {
            Kind::Events => {
                (0..counts.driven_communications).flat_map(|i| plan.events(tenant, i)).for_each(|r| visit(&r.record));
            }
            Kind::Interactions => {
                (0..counts.driven_communications)
                    .flat_map(|i| plan.interactions(tenant, i))
                    .for_each(|r| visit(&r.record));
            }
            Kind::Metrics => (0..counts.driven_metrics).for_each(|i| visit(&plan.metric(tenant, i).record)),
            Kind::Communications => {
                (0..counts.driven_communications).for_each(|i| visit(&plan.communication(tenant, i).record));
            }
            // The drive creates no customers and no campaigns.
            Kind::Customers | Kind::Campaigns => {}
        }
    }

    /// The tally that the store should return, by its own digest.
    pub(super) fn tally(self, plan: &Plan, digest: fn(&str) -> u64) -> Tally {
        let mut tally = Tally::default();
        self.each(plan, &mut |record| {
            tally.rows += 1;
            tally.distinct += 1;
            tally.digest ^= digest(&record.text());
        });
        tally
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
