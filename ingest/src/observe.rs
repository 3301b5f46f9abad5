//! What a worker shows of itself: Prometheus metrics and health endpoints. It decides nothing.

pub mod health;
pub mod metrics;
