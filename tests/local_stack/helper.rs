//! Helpers for the tests of the local stack: the program, its processes, and forged process records.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Stdio},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use serde_json::Value;
use sluice_stack::{Error, Progress, Service, status};
use sluice_testkit::OwnStack;
use tokio::process::Command;

/// The program under test.
pub(crate) const SLUICE: &str = env!("CARGO_BIN_EXE_sluice");

/// Runs `up` on a test's stack, with progress on standard error.
pub(crate) async fn up(stack: &OwnStack, services: &[Service]) -> Result<(), Error> {
    Box::pin(sluice_stack::up(stack.layout(), services, &Progress::stderr())).await
}

/// A `sluice` command that uses the stack's ports.
pub(crate) fn sluice(stack: &OwnStack, args: &[&str]) -> Command {
    let mut command = Command::new(SLUICE);
    command.args(args).args(["--port-base", &stack.layout().ports().base().to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Process IDs of these services, as `status` reports them.
pub(crate) async fn pids(stack: &OwnStack, services: &[Service]) -> Vec<i32> {
    let rows = status(stack.layout()).await.unwrap();
    rows.iter().filter(|row| services.contains(&row.service)).flat_map(|row| row.pids.clone()).collect()
}

/// The result of a ClickHouse query.
pub(crate) async fn query(stack: &OwnStack, sql: &'static str) -> String {
    let url = format!("http://127.0.0.1:{}/", stack.layout().ports().clickhouse_http());
    let response = reqwest::Client::new().post(url).body(sql).send().await.unwrap();
    response.error_for_status().unwrap().text().await.unwrap()
}

/// All processes whose working directory is in the stack's folder, with or without a record.
pub(crate) fn stack_processes(stack: &OwnStack) -> Vec<i32> {
    let state = stack.layout().state_dir();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(state))).collect()
}

/// Whether the process is running; a zombie is not.
pub(crate) fn is_running(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

pub(crate) fn kill(pid: i32, signal: Signal) {
    signal::kill(Pid::from_raw(pid), signal).unwrap();
}

/// A process that does not belong to the stack; killed when it is dropped.
pub(crate) struct UnrelatedProcess {
    child: Child,
    pub(crate) pid: i32,
    /// Its start time in clock ticks, as in a record.
    pub(crate) started: u64,
}

impl Drop for UnrelatedProcess {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) fn spawn_unrelated() -> UnrelatedProcess {
    let child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let started = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
    UnrelatedProcess { child, pid, started }
}

fn record_path(stack: &OwnStack, node: &str) -> PathBuf {
    stack.layout().state_dir().join("run").join(format!("{node}.json"))
}

/// Whether the node's record identifies a process.
pub(crate) fn has_recorded_process(stack: &OwnStack, node: &str) -> bool {
    fs::read(record_path(stack, node))
        .is_ok_and(|text| serde_json::from_slice::<Value>(&text).is_ok_and(|record| record["process"].is_object()))
}

/// Writes a record of the node that identifies the given process.
pub(crate) fn forge(stack: &OwnStack, node: &str, pid: i32, started: u64) {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let forged = serde_json::json!({
        "service": node, "node": node, "process": {"pid": pid, "started": started}, "boot": boot.trim(),
        "command": ["sleep"], "ports": [], "started_at": "2026-01-01T00:00:00Z", "ready_at": null,
        "stop": Signal::SIGTERM as i32, "log_start": 0,
    });
    fs::write(record_path(stack, node), forged.to_string()).unwrap();
}

/// Removes the process from a record, as if `up` had been killed after starting the process and before recording it.
pub(crate) fn clear_process(stack: &OwnStack, node: &str) {
    let path = record_path(stack, node);
    let mut content: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    content["process"] = Value::Null;
    fs::write(path, content.to_string()).unwrap();
}
