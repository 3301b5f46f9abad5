//! oha, which sends HTTP requests at a rate and corrects latencies for the time at which each was due. This module
//! reads the percentiles from its output and computes none.

use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use crate::asked::{Asked, CONNECTIONS, Testbed};
use crate::options::Options;
use crate::outcome::{self, Outcome};
use crate::sluice::SEARCH;

/// Runs it on Elasticsearch.
pub(crate) fn run(testbed: &Testbed, options: &Options) -> anyhow::Result<Outcome> {
    let mut command = Command::new("oha");
    command.args(["--no-tui", "--output-format=json", "--latency-correction", "-m", "POST"]);
    command.args(["-H", "content-type: application/json", "-d", &SEARCH.replace("$word", "w7")]);
    command.arg(format!("-c={CONNECTIONS}")).arg(format!("-q={}", Asked::Elasticsearch.rate()));
    command.arg(format!("-z={}s", options.seconds)).arg(format!("{}/_search", testbed.index()));
    let (output, cpu) = outcome::run(&mut command, &testbed.folder)?;
    let result: Value = serde_json::from_str(&output).context("read oha's result")?;
    let percentile = |name: &str| {
        let seconds = result["latencyPercentiles"][name].as_f64();
        seconds.map(|seconds| seconds * 1e3).with_context(|| format!("read oha's result {output}"))
    };
    let statuses = result["statusCodeDistribution"]["200"].as_u64();
    let answered = statuses.with_context(|| format!("read oha's result {output}"))?;
    Ok(Outcome { answered, p50: percentile("p50")?, p95: percentile("p95")?, cpu })
}
