//! Tenants of unequal size: totals are split by a Zipf law into shares that add up exactly. It holds no records.

use uuid::Uuid;

use super::{calendar::Region, era::Era, parameters::Parameters, rng::KeyedRng};

/// Names of agent metrics. An agent reports all of them at once.
pub(crate) const METRIC_NAMES: [&str; 4] = ["calls_handled", "occupancy", "promise_rate", "talk_seconds"];
/// Number of metrics that an agent reports at once.
pub(super) const METRICS: u64 = METRIC_NAMES.len() as u64;

/// A class of tenants by size: a third of them each, the largest tenants first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TenantClass {
    /// The largest third.
    Large,
    /// The middle third.
    Middle,
    /// The smallest third.
    Small,
}

impl TenantClass {
    /// Every class.
    pub const ALL: [Self; 3] = [Self::Large, Self::Middle, Self::Small];

    /// The name in scenarios and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Large => "large",
            Self::Middle => "middle",
            Self::Small => "small",
        }
    }

    /// The class of tenant `index`, from 0, of `tenants`.
    pub fn of(index: usize, tenants: usize) -> Self {
        Self::ALL[(index * Self::ALL.len() / tenants.max(1)).min(Self::ALL.len() - 1)]
    }
}

/// A tenant and its sizes.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    /// Index, from 0; tenants decrease in size, except for rounding.
    pub index: usize,
    /// Identifier.
    pub id: Uuid,
    /// Display name.
    pub name: String,
    /// Region.
    pub region: Region,
    /// Number of customers.
    pub customers: u64,
    /// Number of campaigns.
    pub campaigns: u64,
    /// Number of agents.
    pub agents: u64,
    /// Number of past communications, loaded before the drive.
    pub past_communications: u64,
    /// Number of past agent metrics, loaded before the drive.
    pub past_metrics: u64,
    /// Number of communications that the drive writes.
    pub driven_communications: u64,
    /// Number of agent metrics that the drive writes.
    pub driven_metrics: u64,
}

impl Tenant {
    /// Number of communications of an era.
    pub(super) fn communications_in(&self, era: Era) -> u64 {
        match era {
            Era::Past => self.past_communications,
            Era::Drive => self.driven_communications,
        }
    }
}

/// All tenants in decreasing size, except for rounding.
pub(super) fn generate(parameters: &Parameters) -> Vec<Tenant> {
    let share = |total| shares(total, parameters.tenants as usize, parameters.tenant_skew);
    let (customers, past_communications, driven_communications) =
        (share(parameters.customers), share(parameters.history), share(parameters.communications));
    let factor = |index: usize| parameters.driven_factors.get(index).copied().unwrap_or(1.0);
    let driven = |index: usize| match driven_communications[index] {
        0 => 0,
        count => ((count as f64 * factor(index)).round() as u64).max(1),
    };
    let ticks = |span: std::time::Duration| (span.as_millis() / parameters.metric_interval.as_millis()) as u64;
    (0..parameters.tenants as usize)
        .map(|index| {
            let region = Region::ALL[index % Region::ALL.len()];
            let agents = customers[index].div_ceil(parameters.customers_per_agent).max(2);
            Tenant {
                index,
                id: KeyedRng::new(parameters.seed, "tenant", [index as u64, 0]).uuid(),
                name: format!("Collections {} {}", region.as_str(), index + 1),
                region,
                customers: customers[index],
                campaigns: customers[index].div_ceil(parameters.customers_per_campaign).max(2),
                agents,
                past_communications: past_communications[index],
                past_metrics: agents * METRICS * ticks(parameters.history_span),
                driven_communications: driven(index),
                driven_metrics: agents * METRICS * ticks(parameters.span),
            }
        })
        .collect()
}

/// Number of customers of each tenant.
pub(super) fn customers(parameters: &Parameters) -> Vec<u64> {
    shares(parameters.customers, parameters.tenants as usize, parameters.tenant_skew)
}

/// Splits `total` in proportion to 1/k^skew (Zipf); largest-remainder rounding makes the sum exact. Each share is at
/// least 1 if `total` is at least `count`.
fn shares(total: u64, count: usize, skew: f64) -> Vec<u64> {
    let weights: Vec<f64> = (1..=count).map(|k| (k as f64).powf(-skew)).collect();
    let sum: f64 = weights.iter().sum();
    let minimum = u64::from(total >= count as u64);
    let remainder = total - minimum * count as u64;
    let ideal: Vec<f64> = weights.iter().map(|weight| weight / sum * remainder as f64).collect();
    let mut shares: Vec<u64> = ideal.iter().map(|share| share.floor() as u64).collect();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| ideal[b].fract().total_cmp(&ideal[a].fract()).then(a.cmp(&b)));
    let unassigned = remainder.saturating_sub(shares.iter().sum());
    for &index in order.iter().take(unassigned as usize) {
        shares[index] += 1;
    }
    shares.iter().map(|share| share + minimum).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn three_zipf_shares_are_one_a_half_and_a_third() {
        assert_eq!(shares(20_000, 3, 1.0), [10_908, 5_455, 3_637]);
        assert_eq!(shares(9, 3, 0.0), [3, 3, 3]);
    }

    proptest! {
        #[test]
        fn shares_add_up_and_decrease_except_for_rounding(total in 0_u64..10_000_000, count in 1_usize..200, skew in 0.0..3.0_f64) {
            let shares = shares(total, count, skew);
            prop_assert_eq!(shares.iter().sum::<u64>(), total);
            prop_assert!(shares.windows(2).all(|pair| pair[0] + 1 >= pair[1]));
            prop_assert!(total < count as u64 || shares.iter().all(|&share| share > 0));
        }
    }
}
