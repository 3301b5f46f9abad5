//! The settings in effect: `sluice.toml`, overridden by environment variables, overridden by flags, and checked.
//! Order: the local stack's addresses, the file, `SLUICE_SECTION__KEY`, the command line. It opens no connection.

mod variables;
mod wording;

use std::{
    fs, io,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use figment::{
    Figment,
    error::Kind,
    providers::{Env, Serialized},
};
use serde::{Deserialize, Serialize};
use sluice_schemas::{
    names::Names,
    stores::{Login, Ports, Stores},
};

/// The file that is read by default, if it exists.
pub(crate) const DEFAULT_FILE: &str = "sluice.toml";
/// Port bases from which a stack's ports fit, and which need no privilege.
pub(crate) const PORT_BASES: RangeInclusive<u16> = 1024..=u16::MAX - Ports::SPAN;
/// Key of the first port of the local stack.
const PORT_BASE_KEY: &str = "stack.port_base";

/// Everything that can be configured.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// The local stack.
    pub(crate) stack: sluice_stack::config::Settings,
    /// Addresses and logins of the stores.
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
    /// Namespace of a run, which keeps a loaded population and drops the rest each time; never the platform's own.
    pub(crate) namespace: Names,
    /// Directory of the reports.
    pub(crate) runs: PathBuf,
    /// Address at which the metrics of a drive are served to Prometheus; `None` serves none.
    pub(crate) metrics: Option<SocketAddr>,
    /// Address of an OpenTelemetry collector to which they are pushed over HTTP; `None` pushes none.
    pub(crate) otlp: Option<String>,
}

impl Default for Verify {
    fn default() -> Self {
        let namespace = Names::new("verify").expect("a test reads the defaults");
        Self { namespace, runs: PathBuf::from("runs"), metrics: None, otlp: None }
    }
}

/// Settings from the command line, which override file and environment.
#[derive(Debug, Default, Clone)]
pub(crate) struct Overrides {
    /// `--config`.
    pub(crate) file: Option<PathBuf>,
    /// `--port-base`.
    pub(crate) port_base: Option<u16>,
    /// `--namespace`.
    pub(crate) namespace: Option<String>,
}

/// Reads and checks the settings. Errors name the file and line, or the variable, and the key.
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
        let names = Names::new(namespace).context("read --namespace")?;
        if names.namespace().is_empty() {
            bail!("read --namespace: it is empty; name one, as in --namespace mine, or leave it out");
        }
        settings.stores.namespace.clone_from(&names);
        settings.verify.namespace = names;
    }
    check(&settings)?;
    Ok(settings)
}

/// The table of the file. It is deserialized on its own first, so that an error can name the line.
fn read(named: Option<&Path>) -> anyhow::Result<toml::Table> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    if named.is_none() && !path.exists() {
        return Ok(toml::Table::new());
    }
    let shown = path.display();
    if path.is_dir() {
        bail!("read {shown}: it is a directory; name the file in it, as in --config {shown}/{DEFAULT_FILE}");
    }
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            bail!("read {shown}: it is not text in UTF-8; name a TOML file with --config, or leave it out")
        }
        Err(error) => {
            let advice = if path.exists() {
                "it must be a text file that this user may read"
            } else {
                "name an existing file with --config, or leave it out"
            };
            bail!("read {shown}: {error}; {advice}");
        }
    };
    toml::from_str::<Settings>(&text)
        .map_err(|error| anyhow!("read {shown}: {}", wording::explain(&error.to_string())))?;
    toml::from_str(&text).map_err(|error| anyhow!("read {shown}: {}", wording::explain(&error.to_string())))
}

/// The error for an unusable value and its origin, usually a variable, since the file has been checked before.
fn unusable(error: &figment::Error) -> anyhow::Error {
    let message = error.kind.to_string();
    if let Kind::UnknownField(field, known) = &error.kind {
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        return anyhow!(variables::unknown_field_error(names, &error.path, field, known));
    }
    let from_variable = error.metadata.as_ref().is_some_and(|metadata| metadata.name.contains("environment"));
    let place = if from_variable {
        format!("the variable SLUICE_{}", error.path.join("__").to_uppercase())
    } else {
        error.path.join(".")
    };
    anyhow!("read {place}: {}", wording::explain_variable(&error.path, &message))
}

/// Defaults of tables that may be given in part: the addresses that follow from the port base, the logins, and the
/// three pipelines.
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

/// Refuses a misspelled variable, which would be ignored otherwise.
fn check_variables() -> anyhow::Result<()> {
    let all =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let known = serde_json::to_value(Settings::default()).context("list the settings")?;
    variables::misspelling_error(all, &known).map_or(Ok(()), |message| bail!(message))
}

fn login(login: &Login) -> serde_json::Value {
    serde_json::json!({ "user": login.user, "password": login.password.reveal() })
}

fn check_port_base(base: u16) -> anyhow::Result<()> {
    if !PORT_BASES.contains(&base) {
        bail!(
            "use port base {base}: choose one from {} to {}, since a stack takes {} ports from it on",
            PORT_BASES.start(),
            PORT_BASES.end(),
            Ports::SPAN
        );
    }
    Ok(())
}

/// A run drops its namespace, so file and environment must not name the same one for both; a flag may.
fn check_apart(settings: &Settings) -> anyhow::Result<()> {
    let namespace = settings.verify.namespace.namespace();
    if settings.verify.namespace == settings.stores.namespace && !namespace.is_empty() {
        bail!(
            "check verify.namespace: it is {namespace:?}, which is also stores.namespace; a run drops its namespace first and \
             must never touch the platform's own: name another"
        );
    }
    Ok(())
}

/// Checks everything that needs no connection.
fn check(settings: &Settings) -> anyhow::Result<()> {
    if settings.verify.namespace.namespace().is_empty() {
        bail!(
            "check verify.namespace: it is empty, but a run drops its namespace first and must never touch the platform's own; \
             name another, or leave it out for `verify`"
        );
    }
    if settings.verify.runs.as_os_str().is_empty() {
        bail!("check verify.runs: it is empty; name the directory of the reports, or leave it out for `runs`");
    }
    settings.stores.check()?;
    settings.stack.check()?;
    settings.ingest.check()?;
    Ok(())
}

impl Settings {
    /// The names in effect, except for runs.
    pub(crate) fn names(&self) -> Names {
        self.stores.namespace.clone()
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
