//! Structured logs on standard error. What to show comes from `--log` or `SLUICE_LOG`; nothing here knows a verb's words.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, LogFormat};

/// Levels that may stand alone.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// Checks what `--log` is given.
pub(crate) fn directives(text: &str) -> Result<String, String> {
    let alone = |part: &&str| !part.contains(['=', '[']) && !LEVELS.contains(&part.to_ascii_lowercase().as_str());
    if let Some(unknown) = text.split(',').map(str::trim).find(alone) {
        return Err(format!("\"{unknown}\" is no level; use {}, or target=level", LEVELS.join(", ")));
    }
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Starts logging; called once, before the verb runs.
pub(crate) fn start(cli: &Cli) {
    // librdkafka and the HTTP clients say a lot at INFO that an operator has no use for.
    let directives = format!("{},rdkafka=warn,librdkafka=warn,hyper=warn,sqlx=error", cli.log);
    let filter = EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match cli.log_format {
        LogFormat::Json => logs.json().init(),
        LogFormat::Text => logs.with_ansi(std::io::stderr().is_terminal()).init(),
    }
}
