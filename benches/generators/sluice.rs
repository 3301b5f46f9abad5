//! Sluice, which asks a question of a scenario's own and counts its latency from the time at which it was due. The run
//! is read-only and never starts a worker.

use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use crate::asked::{Asked, CONNECTIONS, SLUICE, Testbed};
use crate::options::Options;
use crate::outcome::{self, Outcome};

/// The search of Elasticsearch.
pub(crate) const SEARCH: &str = r#"{"size": 10, "query": {"term": {"word": "$word"}}}"#;

/// Runs `sluice verify --read-only`.
pub(crate) fn run(testbed: &Testbed, options: &Options, asked: Asked) -> anyhow::Result<Outcome> {
    let scenario = scenario(testbed, options, asked);
    std::fs::write(testbed.folder.join("scenario.toml"), scenario).context("write the scenario")?;
    let runs = testbed.folder.join("runs");
    std::fs::remove_dir_all(&runs).ok();
    let mut command = Command::new(SLUICE);
    command.args(["verify", "scenario.toml", "--read-only", "--namespace", testbed.names.namespace()]);
    command.arg("--port-base").arg(testbed.port_base.to_string());
    let (_, cpu) = outcome::run(&mut command, &testbed.folder)?;
    let mut folders = std::fs::read_dir(&runs).context("find the report")?;
    let folder = folders.next().context("find the report")?.context("find the report")?;
    let text = std::fs::read_to_string(folder.path().join("report.json")).context("read the report")?;
    let report: Value = serde_json::from_str(&text).context("read the report")?;
    let question = &report["questions"][0];
    let milliseconds = |name: &str| {
        let micros = question["latency"][name].as_f64();
        micros.map(|micros| micros / 1e3).with_context(|| format!("find {name} in the report"))
    };
    let answered = question["counts"]["samples"].as_u64().context("find the samples in the report")?;
    Ok(Outcome { answered, p50: milliseconds("p50_us")?, p95: milliseconds("p95_us")?, cpu })
}

fn scenario(testbed: &Testbed, options: &Options, asked: Asked) -> String {
    let question = match asked {
        Asked::Postgres => "text = \"SELECT value FROM asked WHERE id = $id\"".to_owned(),
        Asked::Redis => format!("text = \"GET {}$id\"", testbed.key_prefix()),
        Asked::Elasticsearch => format!("index = \"{}\"\ntext = '{SEARCH}'", testbed.index_name()),
    };
    let parameters = match asked {
        Asked::Elasticsearch => "word = { values = [\"w7\"] }",
        Asked::Postgres | Asked::Redis => "id = { csv = \"ids.csv\", column = \"id\" }",
    };
    let (store, rate, seconds) = (asked.store(), asked.rate(), options.length().as_secs());
    format!(
        "name = \"generators\"\ndescription = \"One question, as other generators ask it\"\n\
         [time]\nreplayed_in = \"{seconds} s\"\nwarm_up = \"1 s\"\n\
         [probes]\nasked = \"{rate}/s\"\n\
         [availability]\nundecided = \"allow\"\n[connections]\npostgres = {CONNECTIONS}\n\
         [[slo]]\nname = \"asked\"\nobjective = \"95 %\"\nwithin = \"1 s\"\nquestions = [\"asked\"]\n\
         [question.asked]\nstore = \"{store}\"\n{question}\nparameters = {{ {parameters} }}\n"
    )
}
