//! Tools that must be installed: a Java runtime, and the registries' clients for programs that are not fetched yet.
//! All missing tools are reported at once, with their Debian packages; none is installed.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use crate::{command, error::Error, layout::Layout};

/// The oldest version that Elasticsearch 8 and Kafka 4 support.
const OLDEST_JAVA: u32 = 17;

/// A tool that must be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tool {
    /// Runs Kafka, Connect, Elasticsearch and Maven.
    Java,
    Maven,
    Npm,
    Pip,
    Go,
    /// Starts each process in its own session.
    Setsid,
}

impl Tool {
    const fn package(self) -> &'static str {
        match self {
            Self::Java => "openjdk-17-jre-headless",
            Self::Maven => "maven",
            Self::Npm => "npm",
            Self::Pip => "python3-pip",
            Self::Go => "golang",
            Self::Setsid => "util-linux",
        }
    }

    /// A description of the tool if it is missing or too old.
    async fn problem(self, layout: &Layout) -> Option<String> {
        match self {
            Self::Java => java_problem(),
            Self::Maven => missing_program("mvn"),
            Self::Npm => missing_program("npm"),
            Self::Go => missing_program("go"),
            Self::Setsid => missing_program("setsid"),
            Self::Pip => {
                let mut pip = command::new(layout, Path::new("python3"), false);
                pip.args(["-m", "pip", "--version"]);
                command::run(pip).await.err().map(|_| "pip for python3".to_owned())
            }
        }
    }
}

/// Fails with all of the `required` tools that are missing.
pub(crate) async fn require(layout: &Layout, required: &BTreeSet<Tool>) -> Result<(), Error> {
    let (os, arch) = (env::consts::OS, env::consts::ARCH);
    if (os, arch) != ("linux", "x86_64") || cfg!(target_env = "musl") {
        return Err(Error::Platform(format!("{os} on {arch}")));
    }
    let mut missing = vec![];
    let mut packages = vec![];
    for tool in required {
        if let Some(problem) = tool.problem(layout).await {
            missing.push(problem);
            packages.push(tool.package());
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::MissingTools { missing: missing.join(", "), packages: packages.join(" ") })
}

fn missing_program(program: &str) -> Option<String> {
    find(program).is_none().then(|| program.to_owned())
}

fn find(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// The Java installation: `JAVA_HOME`, else that of `java` on the path.
pub(crate) fn java_home() -> Option<PathBuf> {
    static HOME: OnceLock<Option<PathBuf>> = OnceLock::new();
    let from_variable = || env::var_os("JAVA_HOME").map(PathBuf::from).filter(|home| home.join("bin/java").is_file());
    let from_path = || Some(fs::canonicalize(find("java")?).ok()?.parent()?.parent()?.to_owned());
    HOME.get_or_init(|| from_variable().or_else(from_path)).clone()
}

fn java_problem() -> Option<String> {
    let needed = format!("a Java runtime of version {OLDEST_JAVA} or newer");
    let Some(home) = java_home() else { return Some(needed) };
    // An unusual runtime without this file is accepted.
    let release = fs::read_to_string(home.join("release")).ok()?;
    let version = java_version(&release)?;
    (version < OLDEST_JAVA).then(|| format!("{needed} ({} is Java {version})", home.display()))
}

/// `JAVA_VERSION="17.0.15"` is 17, and the old form `"1.8.0_302"` is 8.
fn java_version(release: &str) -> Option<u32> {
    let quoted = release.lines().find_map(|line| line.strip_prefix("JAVA_VERSION="))?;
    let mut numbers = quoted.trim_matches('"').split(['.', '_', '-', '+']).map(str::parse::<u32>);
    match numbers.next()?.ok()? {
        1 => numbers.next()?.ok(),
        version => Some(version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_java_versions_are_parsed() {
        let cases = [("17.0.15", Some(17)), ("21", Some(21)), ("1.8.0_302", Some(8)), ("25-ea", Some(25)), ("x", None)];
        for (text, version) in cases {
            assert_eq!(java_version(&format!("IMPLEMENTOR=\"x\"\nJAVA_VERSION=\"{text}\"\n")), version, "{text}");
        }
        assert_eq!(java_version("nothing"), None);
    }

    #[test]
    fn a_missing_program_is_reported() {
        assert_eq!(missing_program("sh"), None);
        assert_eq!(missing_program("no-such-program-here"), Some("no-such-program-here".to_owned()));
    }
}
