//! What the shards of one run have in common, and in what two of them differ. It reads no store and no file.

use serde::{Deserialize, Serialize};

use crate::scenario::Scenario;

/// Characters of a digest that tell two apart.
const SHOWN: usize = 16;

/// What is driven and judged, and by how many shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Agreed {
    scenario: String,
    data_seed: u64,
    key_seed: u64,
    tenants: u32,
    customers: u64,
    communications: u64,
    shards: u32,
    /// Digest of the plan.
    plan: String,
    /// Hash of the whole scenario: how its answers are judged is no part of a plan.
    values: String,
}

impl Agreed {
    /// What a shard of `shards` drives by the plan of that digest, and judges by that scenario.
    pub(crate) fn new(scenario: &Scenario, plan: &str, shards: u32) -> Self {
        let values = serde_json::to_vec(scenario).expect("a scenario always serializes");
        Self {
            scenario: scenario.name.clone(),
            data_seed: scenario.seed,
            key_seed: scenario.key_seed,
            tenants: scenario.tenants,
            customers: scenario.customers,
            communications: scenario.communications,
            shards,
            plan: plan.to_owned(),
            values: format!("{:016x}", xxhash_rust::xxh64::xxh64(&values, 0)),
        }
    }

    /// In what this shard differs from the first one, with both values: what a user sets, or else the digests.
    pub(crate) fn difference(&self, first: &Self) -> Option<String> {
        let named = |agreed: &Self| {
            [
                ("scenario", format!("\"{}\"", agreed.scenario)),
                ("`seeds.data`", agreed.data_seed.to_string()),
                ("`seeds.keys`", agreed.key_seed.to_string()),
                ("`population.tenants`", agreed.tenants.to_string()),
                ("`population.customers`", agreed.customers.to_string()),
                ("communications of the drive", agreed.communications.to_string()),
                ("number of shards", agreed.shards.to_string()),
            ]
        };
        let digests = |agreed: &Self| {
            [
                ("plan", agreed.plan.chars().take(SHOWN).collect()),
                ("digest of the scenario's values", agreed.values.clone()),
            ]
        };
        differing(named(self), named(first)).or_else(|| differing(digests(self), digests(first)))
    }
}

fn differing<const N: usize>(own: [(&str, String); N], first: [(&str, String); N]) -> Option<String> {
    let pairs = own.into_iter().zip(first).filter(|((_, own), (_, first))| own != first);
    let texts: Vec<String> = pairs.map(|((what, own), (_, first))| format!("{what} {own}, not {first}")).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_with_both_values() {
        let scenario = Scenario::parse(include_str!("../../../scenarios/smoke.toml"), "smoke.toml").unwrap();
        let first = Agreed::new(&scenario, "0123456789abcdef0123", 2);
        assert_eq!(first.difference(&first.clone()), None);
        let other = Scenario { name: "mine".to_owned(), seed: 43, tenants: 5, ..scenario.clone() };
        let slower = Scenario { slos: Vec::new(), ..scenario.clone() };
        let differences = [
            Agreed::new(&other, "fedcba9876543210fedc", 3),
            Agreed::new(&scenario, "fedcba9876543210fedc", 2),
            Agreed::new(&slower, "0123456789abcdef0123", 2),
        ];
        let mut texts = differences.map(|agreed| agreed.difference(&first).unwrap());
        // A hash of all values changes with every new key.
        texts[2].truncate("digest of the scenario's values".len());
        insta::assert_snapshot!(texts.join("\n"), @r#"
        scenario "mine", not "smoke"; `seeds.data` 43, not 42; `population.tenants` 5, not 3; number of shards 3, not 2
        plan fedcba9876543210, not 0123456789abcdef
        digest of the scenario's values
        "#);
    }
}
