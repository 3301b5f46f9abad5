//! The files in `deploy/` agree with the code: ports, group, topics, deadlines, memory, variables, versions, metrics. It needs
//! no store. For each comparison, a test verifies that a change is detected.

#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

#[path = "deployment_files/ci.rs"]
mod ci;
#[path = "deployment_files/container.rs"]
mod container;
#[path = "deployment_files/kubernetes.rs"]
mod kubernetes;
#[path = "deployment_files/monitoring.rs"]
mod monitoring;
#[path = "deployment_files/pages.rs"]
mod pages;
#[path = "deployment_files/promql.rs"]
mod promql;
#[path = "deployment_files/shards.rs"]
mod shards;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
