//! `sluice.toml`: one file, environment variables over it, flags over those; out comes what is in force, checked.
//! Order: the local stack's addresses, the file, `SLUICE_SECTION__KEY`, the command line. Opens no connection.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use figment::{
    Figment,
    providers::{Env, Serialized},
};
use serde::{Deserialize, Serialize};
use sluice_schemas::{
    names::Names,
    stores::{Login, Ports, Stores},
};

/// The file that is read when it exists and none is named.
pub(crate) const DEFAULT_FILE: &str = "sluice.toml";
/// First port of the local stack unless a flag, the file or the environment says otherwise.
const PORT_BASE_KEY: &str = "stack.port_base";

/// Everything that can be configured.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// The local stack.
    pub(crate) stack: sluice_stack::config::Settings,
    /// Where the stores are.
    pub(crate) stores: Stores,
    /// The ingest workers.
    pub(crate) ingest: sluice_ingest::config::Settings,
    /// `verify` and `load`.
    pub(crate) verify: Verify,
}

/// The `[verify]` section.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Verify {
    /// Namespace of a run, dropped and made anew each time; never the platform's own.
    pub(crate) namespace: String,
    /// Folder of the reports.
    pub(crate) runs: PathBuf,
}

impl Default for Verify {
    fn default() -> Self {
        Self { namespace: "verify".to_owned(), runs: PathBuf::from("runs") }
    }
}

/// What the command line says over file and environment.
#[derive(Debug, Default, Clone)]
pub(crate) struct Overrides {
    /// `--config`.
    pub(crate) file: Option<PathBuf>,
    /// `--port-base`.
    pub(crate) port_base: Option<u16>,
    /// `--namespace`.
    pub(crate) namespace: Option<String>,
}

/// Reads, overlays and checks. Errors name the file and line, or the variable, and the key.
pub(crate) fn load(overrides: &Overrides) -> anyhow::Result<Settings> {
    let file = read(overrides.file.as_deref())?;
    check_variables()?;
    let environment = Env::prefixed("SLUICE_").filter(|key| key.as_str().contains("__")).split("__");
    let written = Figment::from(Serialized::defaults(&file)).merge(environment);
    let base = match overrides.port_base {
        Some(base) => base,
        None if !written.contains(PORT_BASE_KEY) => sluice_schemas::stores::DEFAULT_PORT_BASE,
        None => written.extract_inner(PORT_BASE_KEY).map_err(|error| unusable(&error))?,
    };
    check_port_base(base)?;
    let mut settings: Settings = Figment::from(Serialized::defaults(defaults(base)))
        .merge(written)
        .extract()
        .map_err(|error| unusable(&error))?;
    settings.stack.port_base = base;
    check_apart(&settings)?;
    if let Some(namespace) = &overrides.namespace {
        settings.stores.namespace.clone_from(namespace);
        settings.verify.namespace.clone_from(namespace);
    }
    check(&settings)?;
    Ok(settings)
}

/// The file's own table; typed once on its own, since only then an error can name its line.
fn read(named: Option<&Path>) -> anyhow::Result<toml::Table> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    if named.is_none() && !path.exists() {
        return Ok(toml::Table::new());
    }
    let shown = path.display();
    if path.is_dir() {
        bail!("read {shown}: it is a folder; name the file in it, as in --config {shown}/{DEFAULT_FILE}");
    }
    let text = fs::read_to_string(path).with_context(|| {
        if path.exists() {
            format!("read {shown}; it is to be a text file that this user may read")
        } else {
            format!("read {shown}; name an existing file with --config, or leave it out")
        }
    })?;
    toml::from_str::<Settings>(&text)
        .map_err(|error| anyhow!("read {shown}: {}{}", error.to_string().trim_end(), units(&error.to_string())))?;
    toml::from_str(&text).with_context(|| format!("read {shown}"))
}

/// What is wrong with a value, and where it came from: the file itself is checked by then, so mostly a variable.
fn unusable(error: &figment::Error) -> anyhow::Error {
    let kind = error.kind.to_string();
    let from_variable = error.metadata.as_ref().is_some_and(|metadata| metadata.name.contains("environment"));
    let place = if from_variable {
        format!("the variable SLUICE_{}", error.path.join("__").to_uppercase())
    } else {
        error.path.join(".")
    };
    anyhow!("read {place}: {kind}{}", units(&kind))
}

/// How values with units are written, where one was not understood.
fn units(message: &str) -> &'static str {
    let about_units = message.contains("parsable string") || message.contains("a duration");
    if about_units { "; write sizes as \"256 MiB\" and times as \"30s\"" } else { "" }
}

/// What is in force where nothing is written, as far as a part of it may be written: the addresses that follow from the
/// port base, the logins, and the three pipelines.
fn defaults(base: u16) -> serde_json::Value {
    let local = Stores::local(base);
    let pipelines = sluice_ingest::config::Settings::default().pipelines;
    serde_json::json!({
        "stores": {
            "postgres": {
                "host": local.postgres.host,
                "port": local.postgres.port,
                "admin": login(&local.postgres.admin),
                "owner": login(&local.postgres.owner),
                "app": login(&local.postgres.app),
                "cdc": login(&local.postgres.cdc),
                "loader": login(&local.postgres.loader),
                "reader": login(&local.postgres.reader),
            },
            "kafka": { "brokers": local.kafka.brokers, "connect_url": local.kafka.connect_url },
            "clickhouse": { "url": local.clickhouse.url, "login": login(&local.clickhouse.login) },
            "elasticsearch": { "url": local.elasticsearch.url },
            "redis": { "cache": local.redis.cache, "state": local.redis.state },
            "s3": { "endpoint": local.s3.endpoint },
        },
        "ingest": { "listen": format!("127.0.0.1:{}", Ports::new(base).ingest_http()), "pipelines": pipelines },
    })
}

/// A variable that would be ignored although somebody means it.
fn check_variables() -> anyhow::Result<()> {
    let mut all =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    all.find(|(name, value)| is_mistaken(name, value)).map_or(Ok(()), |(name, _)| {
        bail!("read the variable {name}: no setting is called so; a setting's variable is SLUICE_SECTION__KEY, as in SLUICE_STACK__PORT_BASE")
    })
}

/// Whether a variable was written for a flag, or with one underscore for two. Other unknown ones are let be: an orchestrator
/// sets some of its own for services called `sluice` and `sluice-ingest`.
fn is_mistaken(name: &str, value: &str) -> bool {
    let sections = ["SLUICE_STACK_", "SLUICE_STORES_", "SLUICE_INGEST_", "SLUICE_VERIFY_"];
    let is_of_a_section = sections.iter().any(|section| name.starts_with(section)) && !name.contains("__");
    let is_an_orchestrators = ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT_"].iter().any(|part| name.contains(part))
        || (name.ends_with("_PORT") && value.contains("://"));
    ["SLUICE_PORT_BASE", "SLUICE_NAMESPACE"].contains(&name) || (is_of_a_section && !is_an_orchestrators)
}

fn login(login: &Login) -> serde_json::Value {
    serde_json::json!({ "user": login.user, "password": login.password.reveal() })
}

fn check_port_base(base: u16) -> anyhow::Result<()> {
    let last = u16::MAX - Ports::SPAN;
    if !(1024..=last).contains(&base) {
        bail!(
            "use port base {base}: choose one from 1024 to {last}, since a stack takes {} ports from it on",
            Ports::SPAN
        );
    }
    Ok(())
}

/// A run drops its namespace; a flag may name one for both on purpose, a file may not.
fn check_apart(settings: &Settings) -> anyhow::Result<()> {
    if settings.verify.namespace == settings.stores.namespace && !settings.verify.namespace.is_empty() {
        bail!(
            "check verify.namespace: it is {:?}, which is also stores.namespace; a run drops its namespace first and must \
             never touch the platform's own: name another",
            settings.verify.namespace
        );
    }
    Ok(())
}

/// All that can be checked before the first connection.
fn check(settings: &Settings) -> anyhow::Result<()> {
    Names::new(&settings.stores.namespace).context("check stores.namespace")?;
    Names::new(&settings.verify.namespace).context("check verify.namespace")?;
    if settings.verify.namespace.is_empty() {
        bail!(
            "check verify.namespace: it is empty, but a run drops its namespace first and must never touch the platform's own"
        );
    }
    if settings.verify.runs.as_os_str().is_empty() {
        bail!("check verify.runs: it is empty; name the folder of the reports, or leave it out for `runs`");
    }
    settings.stores.check()?;
    settings.stack.check()?;
    settings.ingest.check()?;
    Ok(())
}

impl Settings {
    /// The names in force for everything but runs.
    pub(crate) fn names(&self) -> Names {
        Names::new(&self.stores.namespace).unwrap_or_default()
    }

    /// Whether the stores are those of the local stack.
    pub(crate) fn is_local(&self) -> bool {
        let local = Stores::local(self.stack.port_base);
        self.stores.postgres.port == local.postgres.port
            && self.stores.kafka.brokers == local.kafka.brokers
            && self.stores.clickhouse.url == local.clickhouse.url
            && self.stores.elasticsearch.url == local.elasticsearch.url
            && self.stores.redis == local.redis
    }
}

#[cfg(test)]
mod tests {
    use super::is_mistaken;

    #[test]
    fn a_variable_that_would_be_ignored_is_told_from_an_orchestrators() {
        for mistaken in ["SLUICE_PORT_BASE", "SLUICE_STORES_POSTGRES_PORT", "SLUICE_INGEST_GROUP", "SLUICE_VERIFY_RUNS"]
        {
            assert!(is_mistaken(mistaken, "21000"), "{mistaken}");
        }
        for (let_be, value) in [
            ("SLUICE_STORES__POSTGRES__PORT", "21000"),
            ("SLUICE_LOG", "info"),
            ("SLUICE_INGEST_SERVICE_HOST", "10.0.0.1"),
            ("SLUICE_INGEST_PORT", "tcp://10.0.0.1:9090"),
            ("SLUICE_INGEST_PORT_9090_TCP_ADDR", "10.0.0.1"),
        ] {
            assert!(!is_mistaken(let_be, value), "{let_be}");
        }
    }
}
