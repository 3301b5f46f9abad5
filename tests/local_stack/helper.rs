//! What the tests of the local stack share: the program, its processes, and records that were tampered with.

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

/// `up` on a test's own stack, with plain lines as progress.
pub(crate) async fn up(stack: &OwnStack, services: &[Service]) -> Result<(), Error> {
    Box::pin(sluice_stack::up(stack.layout(), services, &Progress::stderr())).await
}

/// The program on the stack's ports.
pub(crate) fn sluice(stack: &OwnStack, args: &[&str]) -> Command {
    let mut command = Command::new(SLUICE);
    command.args(args).args(["--port-base", &stack.layout().ports().base().to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Process ids of these services, as `status` shows them.
pub(crate) async fn pids(stack: &OwnStack, services: &[Service]) -> Vec<i32> {
    let rows = status(stack.layout()).await.unwrap();
    rows.iter().filter(|row| services.contains(&row.service)).flat_map(|row| row.pids.clone()).collect()
}

/// What ClickHouse answers.
pub(crate) async fn answer(stack: &OwnStack, query: &'static str) -> String {
    let url = format!("http://127.0.0.1:{}/", stack.layout().ports().clickhouse_http());
    let response = reqwest::Client::new().post(url).body(query).send().await.unwrap();
    response.error_for_status().unwrap().text().await.unwrap()
}

/// Everything that runs in the stack's folders, whatever the records say.
pub(crate) fn ours(stack: &OwnStack) -> Vec<i32> {
    let state = stack.layout().state_dir();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(state))).collect()
}

/// Whether the process runs; a dead one that its parent has not taken note of does not.
pub(crate) fn lives(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

pub(crate) fn kill(pid: i32, with: Signal) {
    signal::kill(Pid::from_raw(pid), with).unwrap();
}

/// A process that has nothing to do with the stack.
pub(crate) struct Stranger {
    child: Child,
    pub(crate) pid: i32,
    /// Its start time in clock ticks, as a record has it.
    pub(crate) started: u64,
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) fn sleeper() -> Stranger {
    let child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let started = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
    Stranger { child, pid, started }
}

fn record(stack: &OwnStack, node: &str) -> PathBuf {
    stack.layout().state_dir().join("run").join(format!("{node}.json"))
}

/// Whether the node's record names a process.
pub(crate) fn has_record(stack: &OwnStack, node: &str) -> bool {
    fs::read(record(stack, node))
        .is_ok_and(|text| serde_json::from_slice::<Value>(&text).is_ok_and(|record| record["process"].is_object()))
}

/// A record of a node that names some process, made from the record of a node that runs.
pub(crate) fn forge(stack: &OwnStack, node: &str, pid: i32, started: u64) {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let forged = serde_json::json!({
        "service": node, "node": node, "process": {"pid": pid, "started": started}, "boot": boot.trim(),
        "command": ["sleep"], "ports": [], "started_at": "2026-01-01T00:00:00Z", "ready_at": null,
        "stop": Signal::SIGTERM as i32, "log_start": 0,
    });
    fs::write(record(stack, node), forged.to_string()).unwrap();
}

/// Takes the process out of a record, as if `up` had been killed between starting it and writing it down.
pub(crate) fn unname(stack: &OwnStack, node: &str) {
    let path = record(stack, node);
    let mut known: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    known["process"] = Value::Null;
    fs::write(path, known.to_string()).unwrap();
}
