//! Tenants of unequal size: totals are split by a Zipf law into shares that add up exactly.

use uuid::Uuid;

use super::{calendar::Region, era::Era, parameters::Parameters, rng::KeyedRng};

/// Names of agent metrics. An agent reports all of them at once.
pub(crate) const METRIC_NAMES: [&str; 4] = ["calls_handled", "occupancy", "promise_rate", "talk_seconds"];
/// Metrics that an agent reports at once.
pub(super) const METRICS: u64 = METRIC_NAMES.len() as u64;

/// A tenant and its sizes.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    /// Index, from 0; the largest tenant comes first.
    pub index: usize,
    /// Identifier.
    pub id: Uuid,
    /// Display name.
    pub name: String,
    /// Region.
    pub region: Region,
    /// Customers.
    pub customers: u64,
    /// Campaigns.
    pub campaigns: u64,
    /// Agents.
    pub agents: u64,
    /// Past communications, loaded before the drive.
    pub history: u64,
    /// Past agent metrics, loaded before the drive.
    pub history_metrics: u64,
    /// Communications that are driven.
    pub communications: u64,
    /// Agent metrics that are driven.
    pub metrics: u64,
}

impl Tenant {
    /// Communications of an era.
    pub(super) fn communications_in(&self, era: Era) -> u64 {
        match era {
            Era::Past => self.history,
            Era::Drive => self.communications,
        }
    }
}

/// All tenants, largest first.
pub(super) fn generate(parameters: &Parameters) -> Vec<Tenant> {
    let share = |total| shares(total, parameters.tenants as usize, parameters.tenant_skew);
    let (customers, history, communications) =
        (share(parameters.customers), share(parameters.history), share(parameters.communications));
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
                history: history[index],
                history_metrics: agents * METRICS * ticks(parameters.history_span),
                communications: communications[index],
                metrics: agents * METRICS * ticks(parameters.span),
            }
        })
        .collect()
}

/// Shares of `total` as 1/k^skew (Zipf), by largest remainder, so that they add up; each is at least 1 where `total`
/// is at least `count`.
fn shares(total: u64, count: usize, skew: f64) -> Vec<u64> {
    let weights: Vec<f64> = (1..=count).map(|k| (k as f64).powf(-skew)).collect();
    let sum: f64 = weights.iter().sum();
    let ones = u64::from(total >= count as u64);
    let rest = total - ones * count as u64;
    let ideal: Vec<f64> = weights.iter().map(|weight| weight / sum * rest as f64).collect();
    let mut shares: Vec<u64> = ideal.iter().map(|share| share.floor() as u64).collect();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| ideal[b].fract().total_cmp(&ideal[a].fract()).then(a.cmp(&b)));
    let left = rest.saturating_sub(shares.iter().sum());
    for &place in order.iter().take(left as usize) {
        shares[place] += 1;
    }
    shares.iter().map(|share| share + ones).collect()
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
        fn shares_add_up_and_the_largest_comes_first(total in 0_u64..10_000_000, count in 1_usize..200, skew in 0.0..3.0_f64) {
            let shares = shares(total, count, skew);
            prop_assert_eq!(shares.iter().sum::<u64>(), total);
            prop_assert!(shares.windows(2).all(|pair| pair[0] + 1 >= pair[1]));
            prop_assert!(total < count as u64 || shares.iter().all(|&share| share > 0));
        }
    }
}
