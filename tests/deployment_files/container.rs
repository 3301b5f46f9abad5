//! The Containerfile uses the workspace's toolchain, an unprivileged user and no registry name, and its health check passes only
//! for a healthy worker.

use std::process::{Command, Stdio};
use std::time::Duration;

use sluice_ingest::config::Settings;
use sluice_testkit::{eventually, free_address};

use crate::read;

const FILE: &str = "deploy/Containerfile";

/// Arguments of every instruction with this name.
fn instructions(file: &str, name: &str) -> Vec<String> {
    let lines = file.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    lines.map(str::to_owned).collect()
}

/// The image's environment variables.
pub(crate) fn environment() -> Vec<(String, String)> {
    let file = read(FILE);
    let last_stage = file.rsplit("\nFROM ").next().unwrap();
    let pairs = instructions(last_stage, "ENV");
    pairs.iter().map(|pair| pair.split_once('=').unwrap()).map(|(name, value)| (name.into(), value.into())).collect()
}

/// Numeric ID of the image's user.
pub(crate) fn user() -> u64 {
    instructions(&read(FILE), "USER")[0].split(':').next().unwrap().parse().unwrap()
}

/// Every difference between the file and the workspace, one line each.
fn differences(file: &str) -> Vec<String> {
    let toolchain: toml::Table = toml::from_str(&read("rust-toolchain.toml")).unwrap();
    let channel = format!("RUST_VERSION={}", toolchain["toolchain"]["channel"].as_str().unwrap());
    let port = Settings::default().listen.port().to_string();
    let mut differences = Vec::new();
    let mut expect = |holds: bool, what: &str| differences.extend((!holds).then(|| what.to_owned()));
    expect(instructions(file, "ARG").contains(&channel), "the toolchain is not the workspace's");
    expect(instructions(file, "EXPOSE") == [port.clone()], "the port is not the worker's");
    expect(
        file.contains(&format!("SLUICE_INGEST__LISTEN=0.0.0.0:{port}\n")),
        "the worker does not listen on that port",
    );
    expect(file.contains(&format!("/dev/tcp/127.0.0.1/{port} ")), "the health check uses another port");
    expect(!instructions(file, "USER").iter().any(|user| user.starts_with(['0', 'r'])), "runs as root");
    expect(!instructions(file, "USER").is_empty(), "runs as the base image's user");
    let images = instructions(file, "FROM");
    expect(images.iter().all(|image| !image.split('/').next().unwrap().contains('.')), "names a registry");
    differences
}

#[test]
fn the_containerfile_matches_the_workspace() {
    assert_eq!(differences(&read(FILE)), [""; 0]);
}

#[test]
fn a_change_to_the_containerfile_is_detected() {
    let file = read(FILE);
    for (from, to) in [
        ("ARG RUST_VERSION=1", "ARG RUST_VERSION=2"),
        ("EXPOSE 21050", "EXPOSE 21051"),
        ("LISTEN=0.0.0.0:21050", "LISTEN=0.0.0.0:21051"),
        ("127.0.0.1/21050", "127.0.0.1/21051"),
        ("USER 10001", "USER 0"),
        ("USER 10001:10001\n", ""),
        ("FROM debian", "FROM registry.example/debian"),
    ] {
        let changed = file.replace(from, to);
        assert_ne!(changed, file, "{from} exists");
        assert_eq!(differences(&changed).len(), 1, "{from}");
    }
}

/// Runs the image's health check against this port and path.
fn is_healthy(port: u16, path: &str) -> bool {
    let file = read(FILE);
    let (_, check) = file.split_once(" CMD [").unwrap();
    let command = format!("[{}", check.lines().next().unwrap());
    let command: Vec<String> = serde_json::from_str(&command).unwrap();
    let script = command[2].replace("/21050", &format!("/{port}")).replace("/healthz", path);
    Command::new(&command[0]).arg(&command[1]).arg(script).output().unwrap().status.success()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_health_check_passes_only_for_a_healthy_worker() {
    let address = free_address();
    let check =
        |path| async move { tokio::task::spawn_blocking(move || is_healthy(address.port(), path)).await.unwrap() };
    assert!(!check("/healthz").await, "nothing listens yet");
    let folder = tempfile::tempdir().unwrap();
    // A worker without its stores is alive but has no partitions.
    let _worker = tokio::process::Command::new(env!("CARGO_BIN_EXE_sluice"))
        .arg("ingest")
        .env_clear()
        .env("SLUICE_INGEST__LISTEN", address.to_string())
        .env("SLUICE_STORES__KAFKA__BROKERS", "127.0.0.1:1")
        .env("SLUICE_STORES__CLICKHOUSE__URL", "http://127.0.0.1:1")
        .current_dir(folder.path())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    eventually(Duration::from_secs(20), "the worker is healthy", || check("/healthz")).await;
    assert!(!check("/readyz").await, "it responds with 503");
}
