//! Measurements by time, in the form of the report: columns of equal length, one value for each interval of the drive.
//! It interpolates nothing: an interval without samples has no latency.

use std::time::Duration;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use sluice_schemas::Store;

use crate::measure::{DurationHistogram, Point, Series, SloRecorder, WriteRecorder};
use crate::verdict::Latency;

/// Reads a number of seconds above 0. Without it, a report that was changed by hand would have intervals that no page can show.
fn length_of_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    let is_length = seconds > 0.0 && Duration::try_from_secs_f64(seconds).is_ok();
    if is_length { Ok(seconds) } else { Err(D::Error::custom("`interval_s` is no length of time")) }
}

/// Counts and latencies by interval of the drive: one for each second, and at most 600. Latencies are up to 12.5 % too
/// high, except for the longest; the histogram beside a series has the exact ones of the whole drive.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeriesReport {
    /// Length of an interval in seconds.
    #[serde(deserialize_with = "length_of_time")]
    #[schemars(with = "f64")]
    pub interval_s: f64,
    /// Questions with their intended start in each interval.
    pub offered: Vec<u64>,
    /// Answers that came in each interval, whenever they were due.
    pub answered: Vec<u64>,
    /// Answers that came after the end of the drive, which no interval contains.
    pub answered_late: u64,
    /// Errors and time-outs, by intended start.
    pub failed: Vec<u64>,
    /// Median latency by intended start, in microseconds; `null` where nothing was measured.
    pub p50_us: Vec<Option<u64>>,
    /// 95th percentile, in microseconds.
    pub p95_us: Vec<Option<u64>>,
    /// 99th percentile, in microseconds.
    pub p99_us: Vec<Option<u64>>,
    /// Longest, in microseconds.
    pub max_us: Vec<Option<u64>>,
}

impl From<&Series> for SeriesReport {
    fn from(series: &Series) -> Self {
        let (interval_s, answered_late) = (series.interval().as_secs_f64(), series.answered_late());
        let mut report = Self { interval_s, answered_late, ..Self::default() };
        for Point { offered, answered, failed, p50_us, p95_us, p99_us, max_us } in series.points() {
            report.offered.push(offered);
            report.answered.push(answered);
            report.failed.push(failed);
            report.p50_us.push(p50_us);
            report.p95_us.push(p95_us);
            report.p99_us.push(p99_us);
            report.max_us.push(max_us);
        }
        report
    }
}

/// Measurements of one SLO that its verdict does not need.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SloReport {
    /// Name of the SLO.
    pub name: String,
    /// Latencies of answers and time-outs.
    pub histogram: DurationHistogram,
    /// Samples by time.
    pub series: SeriesReport,
}

impl From<&SloRecorder> for SloReport {
    fn from(recorder: &SloRecorder) -> Self {
        let measured = recorder.measured();
        Self {
            name: recorder.slo().name.clone(),
            histogram: measured.latency.clone(),
            series: (&measured.series).into(),
        }
    }
}

/// Writes to one store by time: PostgreSQL's transactions or Kafka's records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WriteReport {
    /// The store.
    #[schemars(with = "String")]
    pub store: Store,
    /// Length of an interval in seconds.
    #[serde(deserialize_with = "length_of_time")]
    #[schemars(with = "f64")]
    pub interval_s: f64,
    /// Writes with their intended start in each interval.
    pub offered: Vec<u64>,
    /// Writes that were acknowledged in each interval, whenever they were due.
    pub answered: Vec<u64>,
    /// Writes that failed for good, by intended start.
    pub failed: Vec<u64>,
    /// Latencies of the acknowledged ones, from their intended starts.
    #[serde(default)]
    pub latency: Latency,
    /// 95th percentile of the wait for a connection of the generator, which is part of the latency, in microseconds; `None` if its
    /// client shares one.
    #[serde(default)]
    pub waited_p95_us: Option<u64>,
}

impl From<&WriteRecorder> for WriteReport {
    fn from(recorder: &WriteRecorder) -> Self {
        let outcomes = recorder.outcomes();
        let (offered, failed) = outcomes.counts().unzip();
        let answered = recorder.answered().counts().map(|(answered, _)| answered).collect();
        let interval_s = outcomes.length().as_secs_f64();
        let latency = Latency::from(recorder.latency());
        let waited_p95_us = recorder.waited().quantile(0.95).map(|waited| waited.as_micros() as u64);
        Self { store: recorder.store(), interval_s, offered, answered, failed, latency, waited_p95_us }
    }
}

impl WriteReport {
    /// What is written to the store.
    pub fn unit(&self) -> &'static str {
        if self.store == Store::Kafka { "records" } else { "transactions" }
    }

    /// Writes that were due, and those that failed for good.
    pub fn totals(&self) -> [u64; 2] {
        [&self.offered, &self.failed].map(|counts| counts.iter().sum())
    }
}
