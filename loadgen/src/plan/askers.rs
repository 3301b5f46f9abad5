//! Who asks when: the tenants by their share of a question's rate over time. Tenants of the same region without stages of
//! their own are one group, whose rates are equal up to their size. It draws only from the stream it is given.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use super::warp::Warp;
use crate::population::calendar::Curve;
use crate::population::{Population, Tenant, rng::KeyedRng};
use crate::scenario::Scenario;
use crate::scenario::rates::{Piece, Rates};

/// The tenants that ask, and the rate of all of them over time.
#[derive(Debug, Clone)]
pub(super) struct Askers {
    groups: Vec<Group>,
    /// The rate of all groups for a question of one per second.
    rate: Rates,
}

#[derive(Debug, Clone)]
struct Group {
    /// The tenants, each with the customers of those before it and its own.
    tenants: Vec<(usize, u64)>,
    /// The rate of the group for a question of one per second.
    rate: Rates,
}

impl Askers {
    /// Those of the drive, whose rates follow the stages, and the calendar too if `by_calendar`.
    pub(super) fn of_drive(scenario: &Scenario, population: &Population, warps: &[Warp], by_calendar: bool) -> Self {
        let rate = |tenant: &Tenant| {
            let factors = scenario.probe_factors(tenant.index as u32);
            if by_calendar {
                factors.times(&calendar(scenario, population, tenant, &warps[tenant.index]))
            } else {
                factors
            }
        };
        let has_stages = |index: u32| scenario.stages.iter().any(|stage| stage.tenant == Some(index));
        let key = |tenant: &Tenant| {
            let region = if by_calendar { tenant.region.as_str() } else { "" };
            (region, Some(tenant.index).filter(|&index| has_stages(index as u32)))
        };
        Self::grouped(population, key, rate)
    }

    /// Those of the warm-up: all tenants, at the same rate throughout.
    pub(super) fn of_warm_up(scenario: &Scenario, population: &Population) -> Self {
        let seconds = scenario.warm_up.as_secs_f64();
        Self::grouped(population, |_| (), |_| Rates::constant(0.0..seconds, 1.0))
    }

    fn grouped<K: Ord>(population: &Population, key: impl Fn(&Tenant) -> K, rate: impl Fn(&Tenant) -> Rates) -> Self {
        let mut members: BTreeMap<K, Vec<&Tenant>> = BTreeMap::new();
        for tenant in population.tenants() {
            members.entry(key(tenant)).or_default().push(tenant);
        }
        let all: u64 = population.tenants().iter().map(|tenant| tenant.customers).sum();
        let group = |tenants: Vec<&Tenant>| {
            let mut customers = 0;
            let cumulative = tenants.iter().map(|tenant| {
                customers += tenant.customers;
                (tenant.index, customers)
            });
            let cumulative = cumulative.collect();
            Group { tenants: cumulative, rate: rate(tenants[0]).scaled(customers as f64 / all as f64) }
        };
        let groups: Vec<Group> = members.into_values().map(group).collect();
        let sum = |rate: Option<Rates>, group: &Group| {
            Some(rate.map_or_else(|| group.rate.clone(), |rate| rate.plus(&group.rate)))
        };
        let rate = groups.iter().fold(None, sum).unwrap_or_default();
        Self { groups, rate }
    }

    /// The expected number of times that a question of one per second is asked.
    pub(super) fn expected(&self) -> f64 {
        self.rate.total()
    }

    /// The expected number of times within a part of the drive.
    pub(super) fn expected_within(&self, seconds: &Range<f64>) -> f64 {
        self.rate.total_before(seconds.end) - self.rate.total_before(seconds.start)
    }

    /// The instant at which that number of questions of one per second is expected; `None` from the end on.
    pub(super) fn instant_of(&self, number: f64) -> Option<Duration> {
        let end = self.rate.pieces().last().map_or(Duration::ZERO, |piece| Duration::from_secs_f64(piece.end));
        // Rounding to nanoseconds may reach the end.
        self.rate.second_of(number).map(Duration::from_secs_f64).filter(|at| *at < end)
    }

    /// Draws the tenant that asks at an instant, by the groups' rates then and the tenants' customers.
    pub(super) fn draw(&self, at: Duration, rng: &mut KeyedRng) -> usize {
        let second = at.as_secs_f64();
        let mut place = rng.unit() * self.groups.iter().map(|group| group.rate.rate_at(second)).sum::<f64>();
        let chosen = self.groups.iter().position(|group| {
            place -= group.rate.rate_at(second);
            place < 0.0
        });
        let tenants = &self.groups[chosen.unwrap_or(self.groups.len() - 1)].tenants;
        let customer = rng.below(tenants.last().map_or(0, |(_, customers)| *customers));
        tenants[tenants.partition_point(|(_, customers)| *customers <= customer)].0
    }
}

/// The calendar of a tenant over the seconds of the drive; 1 on average.
fn calendar(scenario: &Scenario, population: &Population, tenant: &Tenant, warp: &Warp) -> Rates {
    let (lead, seconds) = (scenario.lead().as_secs_f64(), scenario.duration.as_secs_f64());
    let curve = Curve::new(tenant.region, population.driven_period());
    let end = curve.hours().map(|(time, _)| time.end).max();
    // The first and the last hour also cover a pause of the writes at the edge of the drive.
    let second = |millis: u64| match millis {
        0 => 0.0,
        _ if Some(millis) == end => seconds,
        _ => warp.wall_time(millis).as_secs_f64() - lead,
    };
    let hours = curve
        .hours()
        .map(|(time, intensity)| Piece::constant(second(time.start).max(0.0)..second(time.end).max(0.0), intensity));
    let rates = Rates::new(hours);
    rates.scaled(seconds / rates.total())
}
