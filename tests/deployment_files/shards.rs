//! The Kubernetes Job of shards: as many pods at once as shards, each with a number of its own, and the image of this release.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::{Value, json};

use crate::{container, yaml};

fn job() -> Value {
    yaml("deploy/kubernetes/shards/job.yaml")
}

fn pod(job: &Value) -> &Value {
    &job["spec"]["template"]["spec"]
}

fn variable<'a>(job: &'a Value, name: &str) -> &'a str {
    let variables = pod(job)["containers"][0]["env"].as_array().unwrap();
    variables.iter().find(|variable| variable["name"] == name).unwrap()["value"].as_str().unwrap()
}

/// What pod `index` runs, as the arguments that `sluice` gets, and the folder of its reports.
fn command(job: &Value, index: u32) -> String {
    let container = &pod(job)["containers"][0];
    assert_eq!(container["command"], json!(["bash", "-c"]));
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("sluice");
    fs::write(&program, "#!/bin/sh\necho \"$SLUICE_VERIFY__RUNS $*\"\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let found = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    shell.arg("-c").arg(container["args"][0].as_str().unwrap()).env("PATH", found);
    shell.env("JOB_COMPLETION_INDEX", index.to_string());
    for name in ["SCENARIO", "SHARDS"] {
        shell.env(name, variable(job, name));
    }
    String::from_utf8(shell.output().unwrap().stdout).unwrap().trim().to_owned()
}

fn differences(job: &Value) -> Vec<&'static str> {
    let (spec, container) = (&job["spec"], &pod(job)["containers"][0]);
    let shards: u64 = variable(job, "SHARDS").parse().unwrap();
    let checks = [
        (spec["completionMode"] == "Indexed", "the pods have no index"),
        (spec["completions"] == shards, "another number of pods than shards"),
        (spec["parallelism"] == shards, "the shards do not run at the same time"),
        (spec["backoffLimitPerIndex"] == 0, "a shard is repeated alone"),
        (spec["backoffLimit"].is_null(), "a shard without a PASS ends the others"),
        (pod(job)["restartPolicy"] == "Never", "a shard is started again"),
        (container["image"] == format!("sluice:{}", env!("CARGO_PKG_VERSION")), "the image is not of this release"),
        (pod(job)["securityContext"]["runAsUser"] == container::user(), "the user is not the image's"),
    ];
    checks.into_iter().filter(|(holds, _)| !holds).map(|(_, what)| what).collect()
}

#[test]
fn each_pod_drives_a_shard_of_its_own() {
    let job = job();
    assert_eq!(differences(&job), [""; 0]);
    let verify = "--config /etc/sluice/sluice.toml verify day --no-up --shard";
    assert_eq!(command(&job, 0), format!("/runs/1 {verify} 1/4"));
    assert_eq!(command(&job, 3), format!("/runs/4 {verify} 4/4"));
}

#[test]
fn a_job_that_does_not_agree_is_noticed() {
    let mut job = job();
    job["spec"]["parallelism"] = json!(3);
    job["spec"]["backoffLimitPerIndex"] = json!(6);
    job["spec"]["backoffLimit"] = json!(0);
    let expected = [
        "the shards do not run at the same time",
        "a shard is repeated alone",
        "a shard without a PASS ends the others",
    ];
    assert_eq!(differences(&job), expected);
}
