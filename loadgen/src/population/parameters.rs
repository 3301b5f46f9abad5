//! What a population is computed from: sizes, times and a seed, and nothing else.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// Everything that decides who exists and what happens. Two populations of equal parameters are equal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameters {
    /// Seed of all random values.
    pub seed: u64,
    /// First instant of the simulated time that is driven.
    pub start: DateTime<Utc>,
    /// Simulated time that is driven.
    pub span: Duration,
    /// Simulated time before `start` that is loaded.
    pub history_span: Duration,
    /// Number of tenants.
    pub tenants: u32,
    /// Zipf exponent of the tenants' sizes.
    pub tenant_skew: f64,
    /// Customers of all tenants.
    pub customers: u64,
    /// Customers per campaign.
    pub customers_per_campaign: u64,
    /// Customers per agent.
    pub customers_per_agent: u64,
    /// Loaded communications of all tenants.
    pub history: u64,
    /// Driven communications of all tenants.
    pub communications: u64,
    /// Simulated time between two measurements of an agent.
    pub metric_interval: Duration,
}
