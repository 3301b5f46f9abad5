//! Writes the files of a command: whole or not at all, and never over a report that could not be made again. It never
//! renders one.

use std::{fs, io::ErrorKind, path::Path};

use anyhow::{Context, bail};
use sluice_loadgen::report;

/// Writes a file whole or not at all.
pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    // Two processes may write the same file.
    temporary.push(format!(".{}.new", std::process::id()));
    fs::write(&temporary, text)
        .and_then(|()| fs::rename(&temporary, path))
        .inspect_err(|_| drop(fs::remove_file(&temporary)))
        .with_context(|| format!("write {}", path.display()))
}

/// Writes what a command derives to the file that `--output` names. It replaces any file but a report; a device or a pipe
/// is written to.
///
/// # Errors
/// The file is a folder, holds a report, or can't be written.
pub(crate) fn write_output(path: &Path, text: &str) -> anyhow::Result<()> {
    let shown = path.display();
    let Ok(found) = path.metadata() else {
        if path.is_symlink() {
            bail!("write {shown}: it is a link to a file that does not exist; name that file with --output");
        }
        check_parent(path)?;
        return write(path, text);
    };
    if found.is_dir() {
        bail!("write {shown}: it is a folder; name a file with --output");
    }
    if !found.is_file() {
        return fs::write(path, text).with_context(|| format!("write {shown}"));
    }
    check_free(path, text)?;
    // A link stays one: the file that it leads to is replaced.
    write(&path.canonicalize().with_context(|| format!("write {shown}"))?, text)
}

/// Checks that a file can be replaced by a text: that it is no report, or already has that text.
///
/// # Errors
/// It holds another report, or can't be read.
fn check_free(path: &Path, text: &str) -> anyhow::Result<()> {
    let held = match fs::read(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        held => held.with_context(|| format!("write {}: it can't be read, so it may hold a report", path.display()))?,
    };
    if held != text.as_bytes() && report::is_report(&held) {
        bail!(
            "write {}: it holds the report of a run, which would be lost; choose another place with --output",
            path.display()
        );
    }
    Ok(())
}

/// Creates the folder that `--output` names, for a report; one that is empty or has this very report is used.
///
/// # Errors
/// The folder to create it in does not exist, it has other files or another report, or it can't be created.
pub(crate) fn create_output_folder(folder: &Path, text: &str) -> anyhow::Result<()> {
    let shown = folder.display();
    if !folder.exists() {
        check_parent(folder)?;
        return fs::create_dir(folder).with_context(|| format!("create {shown}; choose another folder with --output"));
    }
    let file = folder.join(report::FILE_NAME);
    check_free(&file, text)?;
    let mut found =
        fs::read_dir(folder).with_context(|| format!("read {shown}; choose another folder with --output"))?;
    if found.next().is_some() && !file.exists() {
        bail!("write a report into {shown}: it has other files; name a new folder with --output");
    }
    Ok(())
}

/// Checks that the folder in which something is created exists.
fn check_parent(path: &Path) -> anyhow::Result<()> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        None => Ok(()),
        Some(folder) => bail!(
            "write {}: there is no folder {}; create it, or choose another with --output",
            path.display(),
            folder.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{"version": 13, "verdict": "PASS", "run": {"digest": "9f2c"}}"#;

    fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn no_report_is_replaced_and_nothing_is_left_behind() {
        let folder = folder_with(&[("report.json", REPORT)]);
        let report = folder.path().join("report.json");
        let error = format!("{:#}", write_output(&report, "a page").unwrap_err());
        let error = error.replace(&folder.path().display().to_string(), "runs/1");
        insta::assert_snapshot!(error, @"write runs/1/report.json: it holds the report of a run, which would be lost; choose another place with --output");
        assert_eq!(fs::read_to_string(&report).unwrap(), REPORT);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        write_output(&report, REPORT).unwrap();
    }

    #[test]
    fn a_link_to_a_report_is_one_and_a_link_stays_one() {
        let folder = folder_with(&[("report.json", REPORT), ("page.html", "old")]);
        let at = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink(at("none"), at("broken")).unwrap();
        write_output(&at("broken"), "a page").unwrap_err();
        assert!(at("broken").is_symlink());
        for (link, file) in [("latest", "report.json"), ("latest.html", "page.html")] {
            std::os::unix::fs::symlink(at(file), at(link)).unwrap();
        }
        write_output(&at("latest"), "a page").unwrap_err();
        write_output(&at("latest.html"), "a page").unwrap();
        assert!(at("latest.html").is_symlink());
        assert_eq!(fs::read_to_string(at("page.html")).unwrap(), "a page");
    }

    #[test]
    fn other_files_are_replaced_and_a_folder_is_refused() {
        let folder = folder_with(&[("page.html", "old"), ("data.json", r#"{"version": 1}"#)]);
        for name in ["page.html", "data.json", "new.xml"] {
            write_output(&folder.path().join(name), "text").unwrap();
            assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), "text");
        }
        let error = write_output(folder.path(), "text").unwrap_err().to_string();
        assert!(error.ends_with("it is a folder; name a file with --output"), "{error}");
        let error = write_output(&folder.path().join("none/page.html"), "text").unwrap_err().to_string();
        assert!(error.ends_with("none; create it, or choose another with --output"), "{error}");
    }

    #[test]
    fn a_report_is_written_into_a_new_or_empty_folder_or_over_itself() {
        let folder = folder_with(&[("notes.txt", "text")]);
        let create = |name: &str| {
            create_output_folder(&folder.path().join(name), REPORT)
                .map_err(|error| error.to_string().replace(&folder.path().display().to_string(), "FOLDER"))
        };
        create("merged").unwrap();
        create("merged").unwrap();
        fs::write(folder.path().join("merged/report.json"), REPORT).unwrap();
        create("merged").unwrap();
        let deep = "write FOLDER/a/b: there is no folder FOLDER/a; create it, or choose another with --output";
        assert_eq!(create("a/b").unwrap_err(), deep);
        let others = "write a report into FOLDER/: it has other files; name a new folder with --output";
        assert_eq!(create("").unwrap_err(), others);
        create("notes.txt").unwrap_err();
    }

    #[test]
    fn a_device_is_written_to_and_stays_one() {
        use std::os::unix::fs::FileTypeExt as _;
        write_output(Path::new("/dev/null"), "text").unwrap();
        assert!(Path::new("/dev/null").metadata().unwrap().file_type().is_char_device());
    }
}
