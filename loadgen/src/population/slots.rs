//! Maps communications to customers and customers to communications, without a table.
//!
//! Communications follow a cycle in which every customer has one slot, and a tenth of the customers, debtors who are
//! contacted often, have five. An affine map permutes the customers.

/// One customer in this many is contacted often.
const HOT_DIVISOR: u64 = 10;
/// Additional slots of a customer who is contacted often.
const EXTRA_SLOTS: u64 = 4;

/// One tenant's cycle.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    customers: u64,
    /// Number of customers who are contacted often: those with the lowest ranks.
    hot: u64,
    /// Factor of the affine map from ranks to customers; coprime to `customers`.
    factor: u64,
    /// Multiplicative inverse of `factor` modulo `customers`.
    inverse: u64,
    /// Offset of the affine map.
    shift: u64,
}

impl Slots {
    /// The cycle of `customers` customers (at least 1), permuted by an affine map with offset `shift`.
    pub(crate) fn new(customers: u64, shift: u64) -> Self {
        let mut factor = (customers as f64 * 0.618_033_988_749) as u64;
        while gcd(factor.max(1), customers) != 1 {
            factor += 1;
        }
        let factor = factor.max(1) % customers.max(2);
        Self {
            customers,
            hot: customers / HOT_DIVISOR,
            factor,
            inverse: inverse(factor, customers),
            shift: shift % customers,
        }
    }

    /// The customer that communication `index` goes to.
    pub(crate) fn customer(&self, index: u64) -> u64 {
        let slot = index % self.cycle();
        let customer_rank = if slot < self.customers { slot } else { (slot - self.customers) % self.hot };
        (multiply(customer_rank, self.factor, self.customers) + self.shift) % self.customers
    }

    /// The communications among `0..count` that go to a customer, in order.
    pub(crate) fn communications(&self, customer: u64, count: u64) -> Vec<u64> {
        let rank = multiply(customer + self.customers - self.shift, self.inverse, self.customers);
        let extra = if rank < self.hot { EXTRA_SLOTS } else { 0 };
        let slots = std::iter::once(rank).chain((0..extra).map(|slot| self.customers + slot * self.hot + rank));
        let step = self.cycle() as usize;
        let mut indices: Vec<u64> = slots.flat_map(|slot| (slot..count).step_by(step)).collect();
        indices.sort_unstable();
        indices
    }

    /// Number of slots.
    fn cycle(&self) -> u64 {
        self.customers + EXTRA_SLOTS * self.hot
    }
}

fn multiply(a: u64, b: u64, modulus: u64) -> u64 {
    (u128::from(a) * u128::from(b) % u128::from(modulus)) as u64
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The multiplicative inverse of `a` (extended Euclid); `a` and `modulus` are coprime.
fn inverse(a: u64, modulus: u64) -> u64 {
    let (mut old, mut new) = ((i128::from(a), 1_i128), (i128::from(modulus), 0_i128));
    while new.0 != 0 {
        let quotient = old.0 / new.0;
        (old, new) = (new, (old.0 - quotient * new.0, old.1 - quotient * new.1));
    }
    old.1.rem_euclid(i128::from(modulus)) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_communication_is_listed_for_exactly_its_customer(customers in 1_u64..400, shift in any::<u64>(), count in 0_u64..1_500) {
            let slots = Slots::new(customers, shift);
            let mut seen = 0;
            for customer in 0..customers {
                let indices = slots.communications(customer, count);
                prop_assert!(indices.is_sorted() && indices.iter().all(|&index| slots.customer(index) == customer));
                seen += indices.len() as u64;
            }
            prop_assert_eq!(seen, count);
        }
    }

    #[test]
    fn a_tenth_of_the_customers_is_contacted_five_times_as_often() {
        let slots = Slots::new(1_000, 5);
        let counts: Vec<usize> = (0..1_000).map(|customer| slots.communications(customer, 1_400).len()).collect();
        assert_eq!(counts.iter().filter(|&&count| count == 5).count(), 100);
        assert_eq!(counts.iter().filter(|&&count| count == 1).count(), 900);
    }
}
