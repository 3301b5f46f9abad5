//! Shared by the Java services: classpath, heap and logging configuration. This module starts nothing.

use std::{ffi::OsString, path::Path};

use crate::{
    artifact::tools,
    error::{Error, FileContext},
};

/// Logs to standard output, which the stack redirects to the service's log file.
const LOG4J: &str = "\
status=WARN
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %-5p %c{1} - %m%n
rootLogger.level=INFO
rootLogger.appenderRef.console.ref=console
";

pub(super) fn write_logging(node_dir: &Path) -> Result<(), Error> {
    let file = node_dir.join("log4j2.properties");
    std::fs::write(&file, LOG4J).file("write", file)
}

/// Arguments of `java` up to the main class. With only the first compiler tier, a process starts faster, which suits
/// one that relays data; a broker needs both tiers.
pub(super) fn arguments(node_dir: &Path, libs: &Path, heap_mib: u64, first_tier_only: bool) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec![
        format!("-Xms{}m", heap_mib / 4).into(),
        format!("-Xmx{heap_mib}m").into(),
        "-XX:+UseSerialGC".into(),
        "-XX:+ExitOnOutOfMemoryError".into(),
        "-Djava.awt.headless=true".into(),
        OsString::from_iter(["-Dlog4j2.configurationFile=".as_ref(), node_dir.join("log4j2.properties").as_os_str()]),
    ];
    if first_tier_only {
        args.push("-XX:TieredStopAtLevel=1".into());
    }
    args.extend(["-cp".into(), libs.join("*").into_os_string()]);
    args
}

/// The `java` that runs the services; [`tools::require`] has reported its absence before.
pub(super) fn program() -> std::path::PathBuf {
    tools::java_home().map_or_else(|| "java".into(), |home| home.join("bin/java"))
}
