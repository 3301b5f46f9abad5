//! The real program as a process of its own, to be killed, stopped and started again.

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
use sluice_testkit::{Gate, eventually};
use tokio::process::{Child, Command};

use crate::harness::{DEADLINE, World, quick_settings, stands_still, status};

/// Ends a worker: one whose promises are whole once all is committed, and another one where it stands still for this reason.
pub(crate) async fn committed_or_still(world: &World, worker: Process, offsets: i64, faults: &str, why: &str) {
    if faults.is_empty() {
        committed(world, offsets).await;
        worker.stop().await;
    } else {
        stands_still(&worker.url, why).await;
        worker.kill().await;
    }
}

/// Waits until an attempt that begins now has been hurt: one that began before may be heard when the gate opens.
pub(crate) async fn hurt_again(gate: &Gate) {
    let before = gate.harmed();
    eventually(DEADLINE, "it is tried again", || async { gate.harmed() >= before + 2 }).await;
}

/// Waits until the committed offsets of `communication-events` add up to `offsets`.
pub(crate) async fn committed(world: &World, offsets: i64) {
    let is_committed = || async { world.committed(COMMUNICATION_EVENTS).await == offsets };
    eventually(DEADLINE * 2, "all is committed", is_committed).await;
}

/// Settings of a worker that is killed and started again: small batches, and a group that soon forgets the dead.
pub(crate) fn short_lived() -> Settings {
    let mut settings = quick_settings();
    for pipeline in settings.pipelines.values_mut() {
        pipeline.max_rows = 50;
        // Many small batches; those that grow have tests of their own.
        (pipeline.backlog_rows, pipeline.backlog_bytes) = (pipeline.max_rows, pipeline.max_bytes);
    }
    let kafka = [("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500"), ("max.poll.interval.ms", "6000")];
    settings.kafka = kafka.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    settings.insert_timeout = Duration::from_secs(10);
    settings
}

/// The same as one member that takes its own place again at once.
pub(crate) fn same_member() -> Settings {
    let mut settings = short_lived();
    settings.kafka.insert("group.instance.id".to_owned(), "worker-1".to_owned());
    settings
}

/// A running program.
pub(crate) struct Process {
    pub(crate) url: String,
    child: Child,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl World {
    /// Starts `sluice ingest` with these settings and variables; it need not become ready.
    pub(crate) fn spawn(&self, settings: &Settings, variables: &[(&str, &str)]) -> Process {
        #[derive(serde::Serialize)]
        struct File<'a> {
            ingest: &'a Settings,
        }
        let folder = tempfile::tempdir().unwrap();
        let (config, log) = (folder.path().join("sluice.toml"), folder.path().join("log"));
        std::fs::write(&config, toml::to_string(&File { ingest: settings }).unwrap()).unwrap();
        let output = std::fs::File::create(&log).unwrap();
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
        Process { url: format!("http://{}", settings.listen), child, log, _folder: folder }
    }

    /// The same, and waits until it is ready.
    pub(crate) async fn spawn_ready(&self, settings: &Settings, variables: &[(&str, &str)]) -> Process {
        let process = self.spawn(settings, variables);
        eventually(DEADLINE, "the program is ready", || async { status(&process.url, "readyz").await == 200 }).await;
        process
    }

    /// Waits until every record is in the table or in the dead-letter topic.
    pub(crate) async fn settled(&self, records: usize) {
        eventually(DEADLINE * 2, "every record has its place", || async {
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

/// A test that fails shows what its programs said last.
impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<_> = said.lines().collect();
            println!("{}, last:\n{}", self.url, lines[lines.len().saturating_sub(25)..].join("\n"));
            println!("where its partitions stand:\n{}", self.partitions().unwrap_or_else(|error| error.to_string()));
        }
    }
}

impl Process {
    /// Its status page, asked for without a runtime.
    fn partitions(&self) -> std::io::Result<String> {
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

    /// Most resident memory it ever had, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(DEADLINE * 2, self.child.wait()).await.expect("it ends in time").unwrap()
    }

    /// Waits until a failpoint has ended it.
    pub(crate) async fn aborted(mut self) {
        let ended = self.ended().await;
        assert_eq!(ended.signal(), Some(Signal::SIGABRT as i32), "{}", self.said());
    }

    /// Ends it as a crash does.
    pub(crate) async fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.ended().await;
    }

    /// Ends it as an orchestrator does; it drains.
    pub(crate) async fn stop(mut self) -> String {
        self.signal(Signal::SIGTERM);
        let ended = self.ended().await;
        assert!(ended.success(), "{ended}: {}", self.said());
        self.said()
    }

    /// What it wrote to its log.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}
