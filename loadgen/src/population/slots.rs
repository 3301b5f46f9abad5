//! Maps numbers of cases or messages to customers and back, with a heavy tail and without a table of customers.
//!
//! Numbers run through a cycle of slots. A customer has `(contacted / rank) ^ (2/3)` slots, so the share of customers
//! with at least `x` of them falls as `x ^ -1.5` (Pareto). The slots lie in layers: the first has one slot of each
//! contacted customer, the next one of each customer with at least two, and so on.

use std::ops::Range;

use super::affine::Affine;

/// Most slots of one customer in a cycle.
const MAX_LAYERS: u64 = 200;
/// Share of inactive customers, in hundredths.
const INACTIVE_PERCENT: u64 = 8;

/// One tenant's cycle.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    /// From ranks to customers; the last ranks are the inactive customers.
    customers: Affine,
    /// Customers that are active, and so have slots.
    active: u64,
    /// First slot of each layer, and the number of all slots.
    layers: Vec<u64>,
    /// From numbers to slots.
    order: Affine,
}

impl Slots {
    /// The cycle of `customers` customers (at least 1) whose ranks are permuted with `seed`. Numbers start at slot `start`.
    pub(super) fn new(customers: u64, seed: u64, start: u64) -> Self {
        let active = (customers - customers * INACTIVE_PERCENT / 100).max(1);
        let sizes = (1..=MAX_LAYERS).map(|layer| (active * active / layer.pow(3)).isqrt()).take_while(|&size| size > 0);
        let mut layers = vec![0];
        layers.extend(sizes.scan(0, |sum, size| {
            *sum += size;
            Some(*sum)
        }));
        let cycle = layers[layers.len() - 1];
        Self { customers: Affine::new(customers, seed), active, layers, order: Affine::new(cycle, start) }
    }

    /// Whether a customer is active. The others are never contacted.
    pub(super) fn is_active(&self, customer: u64) -> bool {
        self.customers.invert(customer) < self.active
    }

    /// The customer of number `number`.
    pub(super) fn customer(&self, number: u64) -> u64 {
        let slot = self.order.apply(number % self.order.len());
        let layer = self.layers.partition_point(|&first| first <= slot) - 1;
        self.customers.apply(slot - self.layers[layer])
    }

    /// The numbers of a range that are a customer's, in order.
    pub(super) fn numbers(&self, customer: u64, range: Range<u64>) -> Vec<u64> {
        let (rank, cycle) = (self.customers.invert(customer), self.order.len());
        let layers = self.layers.windows(2).take_while(|layer| layer[0] + rank < layer[1]);
        let first = layers.map(|layer| self.order.invert(layer[0] + rank));
        let first = first.map(|first| first + range.start.saturating_sub(first).div_ceil(cycle) * cycle);
        let mut numbers: Vec<u64> = first.flat_map(|first| (first..range.end).step_by(cycle as usize)).collect();
        numbers.sort_unstable();
        numbers
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_number_is_listed_for_exactly_its_customer(customers in 1_u64..400, seed in any::<u64>(), start in any::<u64>(), from in 0_u64..1_500, count in 0_u64..1_500) {
            let slots = Slots::new(customers, seed, start);
            let mut seen = 0;
            for customer in 0..customers {
                let numbers = slots.numbers(customer, from..from + count);
                prop_assert!(numbers.iter().all(|number| (from..from + count).contains(number)));
                prop_assert!(numbers.is_sorted() && numbers.iter().all(|&number| slots.customer(number) == customer));
                prop_assert!(numbers.is_empty() || slots.is_active(customer));
                seen += numbers.len() as u64;
            }
            prop_assert_eq!(seen, count);
        }
    }

    #[test]
    fn the_share_of_customers_with_many_slots_falls_as_a_power() {
        let slots = Slots::new(100_000, 5, 7);
        let cycle = slots.order.len();
        let counts: Vec<usize> = (0..100_000).map(|customer| slots.numbers(customer, 0..cycle).len()).collect();
        let at_least = |slots: usize| counts.iter().filter(|&&count| count >= slots).count();
        assert_eq!([0, 1, 4, 25, 100, 201].map(at_least), [100_000, 92_000, 11_500, 736, 92, 0]);
        // Half a cycle is about half of it for everyone: the order mixes the layers.
        let most = (0..100_000).map(|customer| slots.numbers(customer, 0..cycle / 2).len()).max();
        assert!((80..=120).contains(&most.unwrap()), "{most:?}");
    }

    #[test]
    fn eight_percent_of_the_customers_are_inactive() {
        let slots = Slots::new(5_000, 3, 0);
        assert_eq!((0..5_000).filter(|&customer| !slots.is_active(customer)).count(), 400);
        assert!(Slots::new(1, 3, 0).is_active(0));
    }
}
