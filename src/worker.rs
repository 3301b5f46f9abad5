//! The ingest worker of a run: `sluice ingest` in a separate process, which gets its records only through Kafka.
//! It exits when it is stopped. It also exits when this process, which holds the other end of its standard input, dies. It leaves
//! this process's session, so neither Ctrl-C nor the generator's raised priority reaches it.
//! It never shares memory with the generator.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use sluice_loadgen::scenario::exact_duration;

use crate::settings::{Overrides, Settings};

/// Maximum time until a worker is ready.
const START_DEADLINE: Duration = Duration::from_mins(1);
/// Time to exit beyond the worker's own drain deadline.
const STOP_GRACE: Duration = Duration::from_secs(15);
/// Interval between readiness checks.
const POLL: Duration = Duration::from_millis(100);
/// Number of ports above the configured one that are tried.
const PORT_ATTEMPTS: u16 = 200;
/// Interval at which the worker's lag is read: the worker updates it as often.
const LAG_INTERVAL: Duration = Duration::from_secs(2);

/// A running worker.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    log: PathBuf,
    listen: SocketAddr,
    stop_deadline: Duration,
}

impl Worker {
    /// Starts a worker for the run's namespace and waits until it is ready.
    pub(crate) async fn start(settings: &Settings, overrides: &Overrides, folder: &Path) -> anyhow::Result<Self> {
        let log = folder.join("ingest.log");
        let output = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        // The running program, even if a newer build has replaced it on disk.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("sluice");
        if let Some(file) = &overrides.file {
            command.arg("--config").arg(file);
        }
        let listen = find_address(settings.ingest.listen).context("find a port for the ingest worker")?;
        let child = command
            .env("SLUICE_INGEST__LISTEN", listen.to_string())
            .args(["--port-base", &settings.stack.port_base.to_string()])
            .args(["--namespace", settings.verify.namespace.namespace()])
            .args(["--log", "info", "--log-format", "json", "ingest", "--until-stdin-closes"])
            .stdin(Stdio::piped())
            .stdout(output.try_clone().with_context(|| format!("write {}", log.display()))?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .context("start the ingest worker")?;
        let stop_deadline = settings.ingest.drain_deadline + STOP_GRACE;
        let mut worker = Self { child, log, listen, stop_deadline };
        worker.wait_until_ready(&format!("http://{listen}/readyz")).await?;
        Ok(worker)
    }

    async fn wait_until_ready(&mut self, url: &str) -> anyhow::Result<()> {
        let client = client().context("prepare the HTTP client")?;
        let deadline = Instant::now() + START_DEADLINE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().context("watch the ingest worker")? {
                bail!("start the ingest worker: it exited with {status}; {}", self.last_words());
            }
            if is_ready(&client, url).await {
                return Ok(());
            }
            sleep(POLL).await;
        }
        bail!("start the ingest worker: not ready after {}; {}", exact_duration(START_DEADLINE), self.last_words())
    }

    /// The worker's metrics endpoint and process id, for the terminal.
    pub(crate) fn describe(&self) -> String {
        let process = self.child.id().unwrap_or_default();
        format!("metrics at http://{}/metrics, process {process}", self.listen)
    }

    /// Reports how many records of Kafka have not landed yet, every two seconds, until it is dropped; `None` while the worker
    /// doesn't tell.
    pub(crate) fn watch_lag<F: Fn(Option<u64>)>(&self, report: F) -> impl Future<Output = ()> + use<F> {
        let url = format!("http://{}/metrics", self.listen);
        async move {
            let Ok(client) = client() else { return std::future::pending().await };
            loop {
                let text = async { client.get(&url).send().await?.text().await };
                report(text.await.ok().and_then(|text| lag(&text)));
                sleep(LAG_INTERVAL).await;
            }
        }
    }

    /// Waits until it exits. Its standard input stays open meanwhile.
    pub(crate) async fn exited(&mut self) {
        while !self.has_exited() {
            sleep(POLL).await;
        }
    }

    /// Whether it has exited.
    pub(crate) fn has_exited(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// The file that it logs into.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Fails if the worker has exited.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait().context("watch the ingest worker")? {
            None => Ok(()),
            Some(status) => bail!("keep the ingest worker running: it exited with {status}; {}", self.last_words()),
        }
    }

    /// Closes its standard input, so that it drains, and waits for it to exit.
    pub(crate) async fn stop(mut self) -> anyhow::Result<ExitStatus> {
        drop(self.child.stdin.take());
        match timeout(self.stop_deadline, self.child.wait()).await {
            Ok(status) => status.context("wait for the ingest worker"),
            Err(_) => {
                bail!("stop the ingest worker within {}; {}", exact_duration(self.stop_deadline), self.last_words())
            }
        }
    }

    /// The end of its log, for an error.
    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let log = self.log.display();
        match text.lines().rfind(|line| !line.trim().is_empty()) {
            Some(line) => format!("{log} ends with: {}", message(line)),
            None => format!("{log} is empty"),
        }
    }
}

/// The message of a log line in JSON, with the error that it names; any other line as it is.
fn message(line: &str) -> String {
    let Ok(json) = serde_json::from_str::<serde_json::Value>(line) else { return line.to_owned() };
    let texts: Vec<&str> = ["message", "error"].iter().filter_map(|field| json["fields"][field].as_str()).collect();
    if texts.is_empty() { line.to_owned() } else { texts.join(": ") }
}

fn client() -> reqwest::Result<reqwest::Client> {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    client.timeout(Duration::from_secs(1)).build()
}

/// The lag of all partitions together, from a worker's metrics; `None` if there is none.
fn lag(metrics: &str) -> Option<u64> {
    let lags = metrics.lines().filter(|line| line.starts_with("sluice_ingest_lag{"));
    lags.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).reduce(|sum, lag| sum + lag)
}

/// Whether a worker responds that it is ready; any other 200 comes from another program.
async fn is_ready(client: &reqwest::Client, url: &str) -> bool {
    let Ok(response) = client.get(url).send().await else { return false };
    response.status().is_success() && response.text().await.is_ok_and(|body| body.trim_end() == "ready")
}

/// The configured address if it is free, else the next free port above it: another worker or run may be using it. A
/// port assigned by the system could be given to a client before the worker listens.
fn find_address(configured: SocketAddr) -> std::io::Result<SocketAddr> {
    let bind = |address| TcpListener::bind(address)?.local_addr();
    let mut above = (1..=PORT_ATTEMPTS).filter_map(|step| configured.port().checked_add(step));
    bind(configured).or_else(|taken| above.find_map(|port| bind((Ipv4Addr::LOCALHOST, port).into()).ok()).ok_or(taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_is_shown_by_its_message() {
        let line = r#"{"level":"ERROR","fields":{"message":"stop","error":"connect to Kafka"},"target":"sluice"}"#;
        assert_eq!(message(line), "stop: connect to Kafka");
        assert_eq!(message("error: failed to read a file"), "error: failed to read a file");
    }

    #[test]
    fn the_lag_is_that_of_all_partitions() {
        let text = "# TYPE sluice_ingest_lag gauge\nsluice_ingest_lag{topic=\"a\",partition=\"0\"} 7\n\
                    sluice_ingest_lag{topic=\"b\",partition=\"0\"} 5\nsluice_ingest_budget_bytes 9\n";
        assert_eq!((lag(text), lag("sluice_ingest_budget_bytes 9\n")), (Some(12), None));
    }
}
