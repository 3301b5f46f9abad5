//! Prometheus metrics and health endpoints. It makes no decision.

pub mod health;
pub mod metrics;
