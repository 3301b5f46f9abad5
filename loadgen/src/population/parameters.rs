//! The inputs that a population is computed from: only sizes, times and a seed.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// Everything that determines a population. Two populations of equal parameters are equal.
#[derive(Debug, Clone, PartialEq)]
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
    /// Number of customers of all tenants.
    pub customers: u64,
    /// Number of customers per campaign.
    pub customers_per_campaign: u64,
    /// Number of customers per agent.
    pub customers_per_agent: u64,
    /// Number of loaded communications of all tenants.
    pub history: u64,
    /// Number of driven communications of all tenants, before `driven_factors`.
    pub communications: u64,
    /// The factor on each tenant's driven communications, by index; 1 for a tenant without an entry.
    pub driven_factors: Vec<f64>,
    /// Simulated time between two measurements of an agent.
    pub metric_interval: Duration,
}
