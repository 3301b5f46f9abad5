//! A program that the caller names, with a template of its configuration.
//!
//! In the template, `{{brokers}}`, `{{topic}}`, `{{group}}`, `{{host}}`, `{{http_port}}`, `{{native_port}}`, `{{user}}`,
//! `{{password}}`, `{{database}}`, `{{table}}` and `{{batch}}` are filled in. A line `# run: ARGUMENTS` says how the
//! program is started; there, `{{config}}` is the finished file.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, anyhow};
use sluice_schemas::stores::Ports;
use tokio::process::Command;

use crate::child::Program;
use crate::race::Lap;
use crate::world::World;

/// A program and its template.
#[derive(Debug, Clone)]
pub(crate) struct Other {
    pub(crate) name: String,
    binary: PathBuf,
    template: PathBuf,
}

impl FromStr for Other {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('=').and_then(|(name, files)| Some((name, files.split_once(',')?)));
        let (name, (binary, template)) = parts.ok_or_else(|| anyhow!("write NAME=BINARY,TEMPLATE"))?;
        Ok(Self { name: name.to_owned(), binary: binary.into(), template: template.into() })
    }
}

impl Other {
    /// Fills the template in and starts the program.
    pub(super) fn start(&self, world: &World, lap: &Lap, batch: u64) -> anyhow::Result<Program> {
        let template = std::fs::read_to_string(&self.template)
            .with_context(|| format!("read the template {}", self.template.display()))?;
        let ending = self.template.extension().map_or("conf".into(), |ending| ending.to_string_lossy());
        let file = world.folder.join(format!("{}.{ending}", lap.table));
        let text = fill_in(&template, world, lap, batch);
        let line = text.lines().find_map(|line| line.trim_start_matches(['#', '/', ' ']).strip_prefix("run:"));
        let line = line.context("start another program: its template has no line `# run: ARGUMENTS`")?;
        let config = file.display().to_string();
        let arguments = line.split_whitespace().map(|argument| argument.replace("{{config}}", &config));
        let mut command = Command::new(&self.binary);
        command.args(arguments);
        std::fs::write(&file, &text).with_context(|| format!("write {config}"))?;
        Program::start(command, &lap.log(world))
    }
}

fn fill_in(template: &str, world: &World, lap: &Lap, batch: u64) -> String {
    let ports = Ports::new(world.port_base());
    let login = &world.stores.clickhouse.login;
    let values = [
        ("{{brokers}}", world.stores.kafka.brokers.clone()),
        ("{{topic}}", world.topic()),
        ("{{group}}", lap.group.clone()),
        ("{{host}}", "127.0.0.1".to_owned()),
        ("{{http_port}}", ports.clickhouse_http().to_string()),
        ("{{native_port}}", ports.clickhouse_native().to_string()),
        ("{{user}}", login.user.clone()),
        ("{{password}}", login.password.reveal().to_owned()),
        ("{{database}}", world.names.database()),
        ("{{table}}", lap.table.clone()),
        ("{{batch}}", batch.to_string()),
    ];
    values.iter().fold(template.to_owned(), |text, (name, value)| text.replace(name, value))
}
