//! The probes: which tenant asks which question about which key, and when. They never depend on an answer.

use std::time::Duration;

use super::{Plan, Probe};
use crate::{
    population::{Tenant, rng::KeyedRng},
    question::Question,
    scenario::Arrivals,
};

impl Plan {
    /// Probes of one question during the drive, in order of `at`.
    pub fn probes(&self, question: Question) -> impl Iterator<Item = Probe> + Send + '_ {
        Probes::new(self, question, "probes", self.scenario.duration)
    }

    /// Probes of one question during the warm-up, with other keys; `at` counts from the start of the warm-up.
    pub fn warm_up_probes(&self, question: Question) -> impl Iterator<Item = Probe> + Send + '_ {
        Probes::new(self, question, "warm-up", self.scenario.warm_up)
    }
}

/// The schedule of one question.
struct Probes<'a> {
    plan: &'a Plan,
    question: Question,
    /// Mean seconds between starts.
    gap: Option<f64>,
    rng: KeyedRng,
    seconds: f64,
    end: Duration,
}

impl<'a> Probes<'a> {
    fn new(plan: &'a Plan, question: Question, domain: &str, end: Duration) -> Self {
        let rng = KeyedRng::new(plan.scenario.key_seed, domain, [question as u64, 0]);
        let gap = plan.scenario.probes.get(&question).map(|rate| 1.0 / rate);
        Self { plan, question, gap, rng, seconds: 0.0, end }
    }
}

impl Iterator for Probes<'_> {
    type Item = Probe;

    fn next(&mut self) -> Option<Probe> {
        let gap = self.gap?;
        let at = self.seconds;
        self.seconds += match self.plan.scenario.arrivals {
            Arrivals::Poisson => self.rng.exponential(gap),
            Arrivals::Constant => gap,
        };
        // The first Poisson start is one gap after the beginning.
        let at = if self.plan.scenario.arrivals == Arrivals::Poisson { self.seconds } else { at };
        let at = Duration::from_secs_f64(at);
        if at >= self.end {
            return None;
        }
        let tenants = self.plan.population.tenants();
        let tenant = pick_tenant(tenants, &mut self.rng);
        let key = self.question.draw_key(&self.plan.population, &tenants[tenant], &mut self.rng);
        Some(Probe { at, question: self.question, tenant, key })
    }
}

/// Picks a tenant, weighted by its customers.
fn pick_tenant(tenants: &[Tenant], rng: &mut KeyedRng) -> usize {
    let mut customer = rng.below(tenants.iter().map(|tenant| tenant.customers).sum());
    let owner = tenants.iter().position(|tenant| {
        let is_owner = customer < tenant.customers;
        customer = customer.wrapping_sub(tenant.customers);
        is_owner
    });
    owner.unwrap_or(0)
}
