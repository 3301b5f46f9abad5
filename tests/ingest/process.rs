//! The real program as a separate process that a test can kill, stop and restart.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sluice_ingest::config::Settings;
use sluice_schemas::names::topic::COMMUNICATION_EVENTS;
use sluice_testkit::{TcpProxy, eventually};
use tokio::process::{Child, Command};

use crate::harness::{DEADLINE, World, quick_settings, status, wait_for_stall};

/// Stops a worker: without faults, once everything is committed; with faults, once it stalls for this reason.
pub(crate) async fn stop_after_commit_or_stall(world: &World, worker: Process, offsets: i64, faults: &str, why: &str) {
    if faults.is_empty() {
        wait_for_commit(world, offsets).await;
        worker.stop().await;
    } else {
        wait_for_stall(&worker.url, why).await;
        worker.kill().await;
    }
}

/// Waits until an attempt that starts after this call has been disrupted. An earlier one may still succeed once the proxy
/// forwards again.
pub(crate) async fn wait_for_retry(proxy: &TcpProxy) {
    let before = proxy.disrupted_connections();
    eventually(DEADLINE, "the request is retried", || async { proxy.disrupted_connections() >= before + 2 }).await;
}

/// Waits until the committed offsets of `communication-events` add up to `offsets`.
pub(crate) async fn wait_for_commit(world: &World, offsets: i64) {
    let is_committed = || async { world.committed_sum(COMMUNICATION_EVENTS).await == offsets };
    eventually(DEADLINE * 2, "everything is committed", is_committed).await;
}

/// Settings of a worker that is killed and restarted: small batches and a short session.
pub(crate) fn short_lived() -> Settings {
    let mut settings = quick_settings();
    for pipeline in settings.pipelines.values_mut() {
        pipeline.max_rows = 50;
        // Many small batches; other tests cover batches that grow.
        (pipeline.backlog_rows, pipeline.backlog_bytes) = (pipeline.max_rows, pipeline.max_bytes);
    }
    let kafka = [("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500"), ("max.poll.interval.ms", "6000")];
    settings.kafka = kafka.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    settings.insert_timeout = Duration::from_secs(10);
    settings
}

/// Like [`short_lived`], as a static member, which rejoins without a rebalance.
pub(crate) fn static_member() -> Settings {
    let mut settings = short_lived();
    settings.kafka.insert("group.instance.id".to_owned(), "worker-1".to_owned());
    settings
}

/// A running program.
pub(crate) struct Process {
    pub(crate) url: String,
    child: Child,
    log_path: PathBuf,
    _folder: tempfile::TempDir,
}

impl World {
    /// Starts `sluice ingest` with these settings and variables; does not wait until it is ready.
    pub(crate) fn spawn(&self, settings: &Settings, variables: &[(&str, &str)]) -> Process {
        #[derive(serde::Serialize)]
        struct File<'a> {
            ingest: &'a Settings,
        }
        let folder = tempfile::tempdir().unwrap();
        let (config, log_path) = (folder.path().join("sluice.toml"), folder.path().join("log"));
        std::fs::write(&config, toml::to_string(&File { ingest: settings }).unwrap()).unwrap();
        let output = std::fs::File::create(&log_path).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .arg("--config")
            .arg(&config)
            .args(["--log", "info", "--log-format", "json", "--namespace", self.names.namespace()])
            .args(["--port-base", &self.port_base().to_string(), "ingest"])
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Process { url: format!("http://{}", settings.listen), child, log_path, _folder: folder }
    }

    /// Starts `sluice ingest` and waits until it is ready.
    pub(crate) async fn spawn_ready(&self, settings: &Settings, variables: &[(&str, &str)]) -> Process {
        let process = self.spawn(settings, variables);
        eventually(DEADLINE, "the program is ready", || async { status(&process.url, "readyz").await == 200 }).await;
        process
    }

    /// Waits until this many records are in the table or in the dead-letter topic.
    pub(crate) async fn wait_until_processed(&self, records: usize) {
        eventually(DEADLINE * 2, "every record has landed or is dead-lettered", || async {
            let (rows, letters) = (self.count().await, self.dead_letters().await.len());
            if rows + letters >= records {
                Ok(())
            } else {
                Err(format!("{rows} rows, {letters} dead letters of {records}"))
            }
        })
        .await;
    }
}

/// A failing test prints the last lines of its programs' logs.
impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log_path).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            println!("{}, last lines:\n{}", self.url, lines[lines.len().saturating_sub(25)..].join("\n"));
            println!("its status page:\n{}", self.status_page().unwrap_or_else(|error| error.to_string()));
        }
    }
}

impl Process {
    /// Reads the program's status page without an async runtime.
    fn status_page(&self) -> std::io::Result<String> {
        let address = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        write!(stream, "GET /status HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        Ok(page)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Peak resident memory, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Waits until the program exits.
    pub(crate) async fn wait_for_exit(&mut self) -> ExitStatus {
        tokio::time::timeout(DEADLINE * 2, self.child.wait()).await.expect("the program exits in time").unwrap()
    }

    /// Waits until a failpoint has aborted the program.
    pub(crate) async fn wait_for_abort(mut self) {
        let status = self.wait_for_exit().await;
        assert_eq!(status.signal(), Some(Signal::SIGABRT as i32), "{}", self.log());
    }

    /// Kills the program, as in a crash.
    pub(crate) async fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.wait_for_exit().await;
    }

    /// Stops the program as an orchestrator does, with a drain; returns its log.
    pub(crate) async fn stop(mut self) -> String {
        self.signal(Signal::SIGTERM);
        let status = self.wait_for_exit().await;
        assert!(status.success(), "{status}: {}", self.log());
        self.log()
    }

    /// Everything that the program has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log_path).unwrap()
    }
}
