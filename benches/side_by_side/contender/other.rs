//! Starts a program that the caller names, with a template of its configuration. It never checks the configuration; the program
//! does.
//!
//! In the template, `{{brokers}}`, `{{topic}}`, `{{group}}`, `{{host}}`, `{{http_port}}`, `{{native_port}}`, `{{user}}`,
//! `{{password}}`, `{{database}}`, `{{table}}` and `{{batch}}` are replaced. A line `# run: ARGUMENTS` holds the program's
//! arguments; there, `{{config}}` is the path of the resulting file.

use anyhow::Context;
use sluice_schemas::stores::Ports;
use tokio::process::Command;

use crate::child::Program;
use crate::options::Other;
use crate::testbed::Testbed;
use crate::trial::Trial;

impl Other {
    /// Fills in the template and starts the program.
    pub(super) fn start(&self, testbed: &Testbed, trial: &Trial, batch: u64) -> anyhow::Result<Program> {
        let template = std::fs::read_to_string(&self.template)
            .with_context(|| format!("read the template {}", self.template.display()))?;
        let extension = self.template.extension().map_or("conf".into(), |extension| extension.to_string_lossy());
        let file = testbed.folder.join(format!("{}.{extension}", trial.table));
        let text = fill_in(&template, testbed, trial, batch);
        let line = text.lines().find_map(|line| line.trim_start_matches(['#', '/', ' ']).strip_prefix("run:"));
        let line = line.context("start another program: its template has no line `# run: ARGUMENTS`")?;
        let config = file.display().to_string();
        let arguments = line.split_whitespace().map(|argument| argument.replace("{{config}}", &config));
        let mut command = Command::new(&self.binary);
        command.args(arguments);
        std::fs::write(&file, &text).with_context(|| format!("write {config}"))?;
        Program::start(command, &trial.log(testbed))
    }
}

fn fill_in(template: &str, testbed: &Testbed, trial: &Trial, batch: u64) -> String {
    let ports = Ports::new(testbed.port_base());
    let login = &testbed.stores.clickhouse.login;
    let values = [
        ("{{brokers}}", testbed.stores.kafka.brokers.clone()),
        ("{{topic}}", testbed.topic()),
        ("{{group}}", trial.group.clone()),
        ("{{host}}", "127.0.0.1".to_owned()),
        ("{{http_port}}", ports.clickhouse_http().to_string()),
        ("{{native_port}}", ports.clickhouse_native().to_string()),
        ("{{user}}", login.user.clone()),
        ("{{password}}", login.password.reveal().to_owned()),
        ("{{database}}", testbed.names.database()),
        ("{{table}}", trial.table.clone()),
        ("{{batch}}", batch.to_string()),
    ];
    values.iter().fold(template.to_owned(), |text, (name, value)| text.replace(name, value))
}
