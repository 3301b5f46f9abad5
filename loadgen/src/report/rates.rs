//! Rates at which records of each kind were produced and landed. They are averages over a whole drive, never by
//! interval.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sluice_schemas::names::topic;

use crate::{drive::Driven, plan::Totals};

/// Rates at which records of one kind were produced and landed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rate {
    /// The kind of record, such as `communication-events`.
    pub kind: String,
    /// Number of planned records.
    pub planned: u64,
    /// Number of records that their store or broker acknowledged.
    pub produced: u64,
    /// Seconds from the first write, which may be in the warm-up, to the end of the drive.
    pub produced_in: f64,
    /// Seconds from the first write until all had landed, if that was observed.
    pub landed_in: Option<f64>,
}

/// The rates of a drive. `landed_after` is the time from its end until the last record landed, if that was observed.
pub fn rates(driven: &Driven, landed_after: Option<Duration>) -> Vec<Rate> {
    let (planned, produced): (_, Totals) = (driven.planned, driven.acknowledged.iter().copied().sum());
    let produced_in = driven.written_in.as_secs_f64();
    let landed_in = landed_after.map(|after| produced_in + after.as_secs_f64());
    let rate = |kind: &str, count: fn(&Totals) -> u64, landed_in| Rate {
        kind: kind.to_owned(),
        planned: count(&planned),
        produced: count(&produced),
        produced_in,
        landed_in,
    };
    vec![
        rate("communications", |totals| totals.communications, None),
        rate(topic::COMMUNICATION_EVENTS, |totals| totals.events, landed_in),
        rate(topic::CUSTOMER_INTERACTIONS, |totals| totals.interactions, landed_in),
        rate(topic::AGENT_METRICS, |totals| totals.metrics, landed_in),
    ]
}
