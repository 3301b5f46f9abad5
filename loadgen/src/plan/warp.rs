//! When simulated time is driven: the wall time of each instant of a tenant's simulated time. It never goes back, and
//! without stages it is proportional.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::population::Population;
use crate::population::calendar::{Curve, Region};
use crate::scenario::rates::{Piece, Rates};
use crate::scenario::{Pace, Scenario};

/// The wall time of each instant of one tenant's simulated time.
#[derive(Debug, Clone)]
pub(super) struct Warp {
    /// Wall time in which simulated time is driven, the lead included.
    wall: Duration,
    /// Simulated time that is driven, in milliseconds.
    simulated: u64,
    /// The factor on the writes over wall time; `None` if it is 1 throughout.
    factors: Option<Arc<Rates>>,
    /// Records per millisecond of simulated time, if quiet hours pass faster than busy ones.
    density: Option<Arc<Rates>>,
}

impl Warp {
    /// The warps of all tenants, in order.
    pub(super) fn of_tenants(scenario: &Scenario, population: &Population) -> Vec<Self> {
        let mut factors: BTreeMap<Option<u32>, Option<Arc<Rates>>> = BTreeMap::new();
        let mut densities: BTreeMap<&str, Option<Arc<Rates>>> = BTreeMap::new();
        let tenants = population.tenants().iter();
        let warp = |tenant: &crate::population::Tenant| {
            let index = tenant.index as u32;
            // Tenants without stages of their own share the factors of all.
            let own = Some(index).filter(|_| scenario.stages.iter().any(|stage| stage.tenant == Some(index)));
            let factors = factors
                .entry(own)
                .or_insert_with(|| (!scenario.stages.is_empty()).then(|| Arc::new(scenario.write_factors(index))));
            let density = densities.entry(tenant.region.as_str()).or_insert_with(|| {
                (scenario.pace == Pace::Steady).then(|| Arc::new(density(tenant.region, population)))
            });
            Self {
                wall: scenario.lead() + scenario.duration,
                simulated: scenario.span.as_millis() as u64,
                factors: factors.clone(),
                density: density.clone(),
            }
        };
        tenants.map(warp).collect()
    }

    /// The wall time of a simulated instant, since the first write.
    pub(super) fn wall_time(&self, millis: u64) -> Duration {
        if self.factors.is_none() && self.density.is_none() {
            let nanos = u128::from(millis) * self.wall.as_nanos() / u128::from(self.simulated);
            return Duration::from_nanos(nanos as u64);
        }
        let share = match &self.density {
            Some(density) => density.total_before(millis as f64) / density.total(),
            None => millis as f64 / self.simulated as f64,
        };
        let wall = self.wall.as_secs_f64();
        let second = match &self.factors {
            Some(factors) => factors.second_of(share * factors.total()).unwrap_or(wall),
            None => share * wall,
        };
        Duration::from_secs_f64(second).min(self.wall.saturating_sub(Duration::from_nanos(1)))
    }
}

/// Communications per millisecond of the driven simulated time of a region, up to a factor.
fn density(region: Region, population: &Population) -> Rates {
    let curve = Curve::new(region, population.driven_period());
    Rates::new(curve.hours().map(|(time, intensity)| Piece::constant(time.start as f64..time.end as f64, intensity)))
}
