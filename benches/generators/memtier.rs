//! memtier_benchmark, which sends at a rate for each connection and counts the latency of a request from when it was sent. This
//! module reads its result and measures no latency itself.

use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use crate::asked::{Asked, CONNECTIONS, KEYS, Testbed};
use crate::options::Options;
use crate::outcome::{self, Outcome};

const RESULT: &str = "memtier.json";

/// Runs it on the cluster.
pub(crate) fn run(testbed: &Testbed, options: &Options) -> anyhow::Result<Outcome> {
    let node = testbed.stores.redis.cache.first().context("find a node of the cache")?;
    let (_, port) = node.rsplit_once(':').context("find the port of the cache")?;
    let mut command = Command::new("memtier_benchmark");
    command.args(["--server=127.0.0.1", "--cluster-mode", "--ratio=0:1", "--key-pattern=R:R", "--hide-histogram"]);
    command.arg(format!("--port={port}")).arg(format!("--key-prefix={}", testbed.key_prefix()));
    command.args(["--key-minimum=1", "--threads=1", "--print-percentiles=50,95"]);
    command.arg(format!("--key-maximum={KEYS}")).arg(format!("--test-time={}", options.seconds));
    // A client of a cluster has a connection to each of the three primaries, and the rate is that of a connection.
    command.arg(format!("--clients={}", CONNECTIONS / PRIMARIES));
    command.arg(format!("--rate-limiting={}", Asked::Redis.rate() / (CONNECTIONS / PRIMARIES * PRIMARIES)));
    command.arg(format!("--json-out-file={RESULT}"));
    let (_, cpu) = outcome::run(&mut command, &testbed.folder)?;
    let text = std::fs::read_to_string(testbed.folder.join(RESULT)).context("read memtier's result")?;
    let result: Value = serde_json::from_str(&text).context("read memtier's result")?;
    let gets = &result["ALL STATS"]["Gets"];
    let number = |value: &Value| value.as_f64().with_context(|| format!("read memtier's result {gets}"));
    let latency = |name: &str| number(&gets["Percentile Latencies"][name]);
    let answered = number(&gets["Count"])? as u64;
    Ok(Outcome { answered, p50: latency("p50.00")?, p95: latency("p95.00")?, cpu })
}

/// Primaries of the local cache.
const PRIMARIES: u32 = 3;
