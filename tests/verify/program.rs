//! Runs the program on a small scenario and reads its output line by line. Shared by the tests of `sluice verify`.

use std::path::{Path, PathBuf};
use std::{process::Stdio, time::Duration};

use serde_json::Value;
use sluice_schemas::{Store, connect, drop_namespace, names::Names, stores::Stores};
use sluice_testkit::{Service, Stack, free_address, fresh_names};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
    time::timeout,
};

/// How long a test waits for a line or for the program to exit.
const TIMEOUT: Duration = Duration::from_mins(3);
/// Age at which batches are sealed, so that records land within a second; by default, they would land after thirty.
pub(crate) const SEALED_SOON: &str = "1s";
/// Age at which they are sealed long after the account has given up.
pub(crate) const NEVER_SEALED: &str = "10m";
/// Verifies the scenario of a test.
const VERIFY: [&str; 3] = ["verify", "scenario.toml", "--no-up"];
/// A scenario with limits that a busy machine meets: these tests check verdicts, not speed.
pub(crate) const SCENARIO: &str = include_str!("small.toml");

/// The stack, a namespace and a folder for one test.
pub(crate) struct World {
    pub(crate) names: Names,
    pub(crate) stores: Stores,
    pub(crate) folder: TempDir,
    stack: Stack,
}

impl World {
    pub(crate) async fn new() -> Self {
        let stack = Stack::up(env!("CARGO_BIN_EXE_sluice"), Service::DEFAULT).await;
        let names = fresh_names("v");
        let stores = stack.stores(&names);
        let folder = tempfile::tempdir().unwrap();
        let world = Self { names, stores, folder, stack };
        world.seal_after(SEALED_SOON);
        world
    }

    /// Configures the workers of the next runs to seal their batches at that age.
    pub(crate) fn seal_after(&self, age: &str) {
        let pipelines = ["communication-events", "agent-metrics", "customer-interactions"];
        let config = pipelines.map(|topic| format!("[ingest.pipelines.{topic}]\nmax_age = \"{age}\"\n")).concat();
        std::fs::write(self.folder.path().join("sluice.toml"), config).unwrap();
    }

    /// Starts `sluice verify` on a scenario.
    pub(crate) fn verify(&self, scenario: &str) -> Program {
        self.verify_against(&self.stores.clickhouse.url, scenario)
    }

    /// Like [`World::verify`], with ClickHouse at another address.
    pub(crate) fn verify_against(&self, clickhouse: &str, scenario: &str) -> Program {
        self.run_against(clickhouse, &VERIFY, scenario)
    }

    /// Starts any verb with the test's namespace, in the folder of `scenario.toml`.
    pub(crate) fn run(&self, arguments: &[&str], scenario: &str) -> Program {
        self.run_against(&self.stores.clickhouse.url, arguments, scenario)
    }

    /// Like [`World::run`], with ClickHouse at another address, and without the login of PostgreSQL's administrator.
    pub(crate) fn run_without_admin(&self, clickhouse: &str, arguments: &[&str], scenario: &str) -> Program {
        let mut command = self.command(clickhouse, arguments, scenario);
        command.env("SLUICE_STORES__POSTGRES__ADMIN__USER", "nobody");
        Program::start(command, self.folder.path())
    }

    /// Starts `sluice verify` with a fault of its generator.
    pub(crate) fn verify_with_fault(&self, fault: &str) -> Program {
        let mut command = self.command(&self.stores.clickhouse.url, &VERIFY, SCENARIO);
        command.env("SLUICE_GENERATOR_FAULTS", fault);
        Program::start(command, self.folder.path())
    }

    /// Like [`World::verify`], with PostgreSQL at the address that `stores` has for it.
    pub(crate) fn verify_with_postgres_of(&self, stores: &Stores, scenario: &str) -> Program {
        let mut command = self.command(&self.stores.clickhouse.url, &VERIFY, scenario);
        command.env("SLUICE_STORES__POSTGRES__HOST", &stores.postgres.host);
        command.env("SLUICE_STORES__POSTGRES__PORT", stores.postgres.port.to_string());
        Program::start(command, self.folder.path())
    }

    /// Like [`World::verify`], with Elasticsearch at another address.
    pub(crate) fn verify_with_elasticsearch_at(&self, url: &str, scenario: &str) -> Program {
        let mut command = self.command(&self.stores.clickhouse.url, &VERIFY, scenario);
        command.env("SLUICE_STORES__ELASTICSEARCH__URL", url);
        Program::start(command, self.folder.path())
    }

    /// Like [`World::run`], with ClickHouse at another address.
    pub(crate) fn run_against(&self, clickhouse: &str, arguments: &[&str], scenario: &str) -> Program {
        Program::start(self.command(clickhouse, arguments, scenario), self.folder.path())
    }

    fn command(&self, clickhouse: &str, arguments: &[&str], scenario: &str) -> Command {
        std::fs::write(self.folder.path().join("scenario.toml"), scenario).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
        command.args(arguments);
        if !arguments.contains(&"--namespace") {
            command.args(["--namespace", self.names.namespace()]);
        }
        command.args(["--port-base", &self.stack.layout().ports().base().to_string()]);
        // With the default port, tests that start at the same time would conflict.
        command.env("SLUICE_INGEST__LISTEN", free_address().to_string());
        command.env("SLUICE_STORES__CLICKHOUSE__URL", clickhouse);
        command
    }

    /// Writes the scenario; returns the program with the flags of the test, for a shell, and its variables.
    pub(crate) fn shell_command(&self, scenario: &str) -> (String, Vec<(String, String)>) {
        let command = self.command(&self.stores.clickhouse.url, &[], scenario);
        let command = command.as_std();
        let text = |text: &std::ffi::OsStr| text.to_str().unwrap().to_owned();
        let words: Vec<String> = std::iter::once(command.get_program()).chain(command.get_args()).map(text).collect();
        let variables = command.get_envs().filter_map(|(name, value)| Some((text(name), text(value?)))).collect();
        (words.join(" "), variables)
    }

    /// The folder with the stores' logs.
    pub(crate) fn state_dir(&self) -> &Path {
        self.stack.layout().state_dir()
    }

    /// Runs a statement in the run's ClickHouse database.
    pub(crate) async fn clickhouse(&self, statement: &str) {
        connect::clickhouse(&self.stores, &self.names).query(statement).execute().await.unwrap();
    }

    /// The folders of the runs, oldest first.
    pub(crate) fn runs(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder.path().join("runs")).unwrap();
        let mut runs: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        runs.sort();
        runs
    }

    /// The folders of the runs that have a report, oldest first.
    pub(crate) fn reported(&self) -> Vec<PathBuf> {
        self.runs().into_iter().filter(|run| run.join("report.json").exists()).collect()
    }

    /// The newest report.
    pub(crate) fn report(&self) -> Value {
        read_json(&self.reported().pop().expect("a report").join("report.json"))
    }

    /// Drops the namespace with everything in it, which no verb does.
    pub(crate) async fn sweep(&self) {
        drop_namespace(&self.stores, &self.names, Store::ALL).await.unwrap();
    }

    /// Sweeps the namespace and returns the stack, so that the stores can still be inspected.
    pub(crate) async fn sweep_and_drop(self) -> Stack {
        self.sweep().await;
        self.stack
    }
}

/// The contents of a file that a run has written.
pub(crate) fn read_json(file: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// A running program.
pub(crate) struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    seen: Vec<String>,
}

impl Program {
    fn start(mut command: Command, folder: &Path) -> Self {
        let command = command.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits for a line that contains `text`.
    pub(crate) async fn wait_for_line(&mut self, text: &str) -> String {
        loop {
            let line = timeout(TIMEOUT, self.lines.next_line()).await;
            let Ok(Ok(Some(line))) = line else { panic!("no line contains {text:?}: {:#?}", self.seen) };
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id().expect("the program is running")).unwrap()
    }

    /// Waits until the program has exited, normally or killed by a signal.
    pub(crate) async fn wait_until_exited(mut self) {
        timeout(TIMEOUT, self.child.wait()).await.expect("the program exits in time").unwrap();
    }

    /// Waits until the program exits. Returns the exit code and everything that it wrote to standard error.
    pub(crate) async fn wait_for_exit(mut self) -> (i32, String) {
        while let Ok(Ok(Some(line))) = timeout(TIMEOUT, self.lines.next_line()).await {
            self.seen.push(line);
        }
        let status = timeout(TIMEOUT, self.child.wait()).await.expect("the program exits in time").unwrap();
        (status.code().expect("an exit code"), self.seen.join("\n"))
    }
}
