//! Structured logs on standard error, filtered by `--log` or `SLUICE_LOG`. It writes no file.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use crate::screen::Notes;

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Human-readable.
    Text,
    /// One JSON object per line.
    Json,
}

/// Levels that need no target.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// Checks the value of `--log`.
pub(crate) fn directives(text: &str) -> Result<String, String> {
    let alone = |part: &&str| !part.contains(['=', '[']) && !LEVELS.contains(&part.to_ascii_lowercase().as_str());
    if let Some(unknown) = text.split(',').map(str::trim).find(alone) {
        return Err(format!("\"{unknown}\" is not a level; use {}, or target=level", LEVELS.join(", ")));
    }
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Starts logging; called once, before the verb runs.
pub(crate) fn start(directives: &str, format: LogFormat) {
    // librdkafka and the HTTP clients log a lot at INFO that is of no use to an operator.
    let directives = format!("{directives},rdkafka=warn,librdkafka=warn,hyper=warn,sqlx=error");
    let filter = EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Notes);
    match format {
        LogFormat::Json => logs.json().init(),
        LogFormat::Text => logs.with_ansi(std::io::stderr().is_terminal()).init(),
    }
}
