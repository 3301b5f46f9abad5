//! What a drive of a scenario is expected to ask and to write: rates and samples, on average. It plans no single operation.

use std::time::Duration;

use super::slo::{Operation, Slo};
use super::stages::factors;
use super::types::{Scenario, Users};
use crate::population::{TenantClass, customers_of_tenants};
use crate::question::{Question, Store};

/// A tenant's communications within this time are committed in one transaction.
pub(crate) const TRANSACTION_WINDOW: Duration = Duration::from_millis(50);

/// Events of a communication, about.
const EVENTS_PER_COMMUNICATION: f64 = 4.0;
/// Events that are watched each second until they are visible, about.
const WATCHED_PER_SECOND: f64 = 20.0;

impl Scenario {
    /// Share of all customers whose tenants are of a class, 0 to 1.
    fn share_of(&self, class: Option<TenantClass>) -> f64 {
        let Some(class) = class else { return 1.0 };
        let customers = customers_of_tenants(&self.into());
        let of_class = |(index, _): &(usize, &u64)| TenantClass::of(*index, customers.len()) == class;
        customers.iter().enumerate().filter(of_class).map(|(_, count)| *count as f64).sum::<f64>()
            / self.customers as f64
    }

    /// The average rate of a question over the drive, per second, asked by the tenants of a class, or by all.
    pub fn mean_rate(&self, question: Question, class: Option<TenantClass>) -> f64 {
        let rate = self.probes.get(&question).copied().unwrap_or(0.0);
        if self.stages.is_empty() && class.is_none() {
            return rate;
        }
        let customers = customers_of_tenants(&self.into());
        let (tenants, seconds) = (customers.len(), self.duration.as_secs_f64());
        let of_class = |&(index, _): &(usize, &u64)| class.is_none_or(|class| TenantClass::of(index, tenants) == class);
        // The tenants without stages of their own share one factor.
        let common = factors(&self.stages, None, self.duration, |stage| stage.probes).total() / seconds;
        let has_stages = |tenant: u32| self.stages.iter().any(|stage| stage.tenant == Some(tenant));
        let factor = |tenant: u32| {
            if has_stages(tenant) { self.probe_factors(tenant).total() / seconds } else { common }
        };
        let asked = customers.iter().enumerate().filter(of_class);
        let share = asked.map(|(index, &count)| count as f64 * factor(index as u32)).sum::<f64>();
        rate * share / self.customers as f64
    }

    /// Samples that an SLO will have, on average; those of users are at most as many.
    pub fn planned_samples(&self, slo: &Slo) -> u64 {
        if let Some(users) = &slo.users {
            let users = self.users_named(users);
            let share = |users: &Users| slo.questions.iter().map(|&question| users.share_of(question)).sum::<f64>();
            let rate = users.map_or(0.0, |users| users.highest_rate() * share(users)) * self.share_of(slo.tenants);
            return (rate * self.duration.as_secs_f64()) as u64;
        }
        let rate: f64 = match slo.of {
            Operation::Questions => slo.questions.iter().map(|&question| self.mean_rate(question, slo.tenants)).sum(),
            Operation::Commits => self.transaction_rate(slo.tenants),
            Operation::Events => self.event_rate(slo.tenants) / self.watched_event_in() as f64,
        };
        (rate * self.duration.as_secs_f64()) as u64
    }

    /// About the questions to a store, and the transactions that are committed to it.
    pub(crate) fn planned_operations(&self, store: Store) -> u64 {
        let of_store = |question: &&Question| question.store() == store;
        let asked: f64 = self.probes.keys().filter(of_store).map(|&question| self.mean_rate(question, None)).sum();
        let of_users = self.users.iter().map(|users| {
            let shares = users.questions.keys().filter(of_store).map(|&question| users.share_of(question));
            users.highest_rate() * shares.sum::<f64>()
        });
        let writes = store == Store::Postgres && self.describes_population;
        let committed = if writes { self.transaction_rate(None) } else { 0.0 };
        ((asked + of_users.sum::<f64>() + committed) * self.duration.as_secs_f64()) as u64
    }

    /// Those of each window, if it must hold in every one.
    pub(crate) fn planned_samples_of_window(&self, slo: &Slo) -> u64 {
        (self.planned_samples(slo) as f64 * self.judged_over(slo).div_duration_f64(self.duration)) as u64
    }

    /// Events per second that a drive is expected to produce, of those that an SLO judges.
    pub(crate) fn planned_event_rate(&self, slo: &Slo) -> f64 {
        self.planned_samples(slo) as f64 * self.watched_event_in() as f64 / self.duration.as_secs_f64()
    }

    /// One in so many events is watched until it is visible, if an SLO judges that: about [`WATCHED_PER_SECOND`].
    pub(crate) fn watched_event_in(&self) -> u64 {
        (self.event_rate(None) / WATCHED_PER_SECOND).ceil().max(1.0) as u64
    }

    /// About the average rate of events, per second, of the tenants of a class, or of all.
    fn event_rate(&self, class: Option<TenantClass>) -> f64 {
        let customers = customers_of_tenants(&self.into());
        let of_class =
            |&(index, _): &(usize, &u64)| class.is_none_or(|class| TenantClass::of(index, customers.len()) == class);
        let written = |(index, &count): (usize, &u64)| count as f64 * self.write_factor(index as u32);
        let share: f64 =
            customers.iter().enumerate().filter(of_class).map(written).sum::<f64>() / self.customers as f64;
        self.communications as f64 * share * EVENTS_PER_COMMUNICATION / self.duration.as_secs_f64()
    }

    /// The average rate of transactions, per second, of the tenants of a class, or of all: each commits what a tenant
    /// writes within [`TRANSACTION_WINDOW`], so a tenant never has more than one in that time.
    fn transaction_rate(&self, class: Option<TenantClass>) -> f64 {
        let customers = customers_of_tenants(&self.into());
        let window = TRANSACTION_WINDOW.as_secs_f64();
        let all = self.communications as f64 / self.duration.as_secs_f64();
        let of_class =
            |&(index, _): &(usize, &u64)| class.is_none_or(|class| TenantClass::of(index, customers.len()) == class);
        let rate = |(index, &count): (usize, &u64)| {
            let written = all * self.write_factor(index as u32) * count as f64 / self.customers as f64;
            // The share of windows that are not empty, of independent writes.
            (1.0 - (-written * window).exp()) / window
        };
        customers.iter().enumerate().filter(of_class).map(rate).sum()
    }
}
