//! Turns a folder of downloads into a folder of programs: one archive is unpacked, several files are moved unchanged.
//! It never unpacks anything whose checksum differs.

use std::{
    fs::{self, File, Permissions},
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

/// Verifies `from` with the `expected` checksum, then creates `to` from it and adds `links`.
pub(super) fn verify_and_unpack(
    (expected, links): (&str, &[(&str, &str)]),
    from: &Path,
    to: &Path,
) -> Result<(), String> {
    if files(from).is_ok_and(|files| files.is_empty()) {
        return Err("its client succeeded but downloaded nothing".to_owned());
    }
    let actual = digest(from).map_err(|e| e.to_string())?;
    if !expected.is_empty() && actual != expected {
        return Err(format!(
            "its SHA-256 is {actual} instead of {expected}: this is not the file that this version of sluice was built for"
        ));
    }
    let linked = || links.iter().try_for_each(|(link, target)| std::os::unix::fs::symlink(target, to.join(link)));
    unpack(from, to).and_then(|()| set_modes(to)).and_then(|()| linked()).map_err(|e| e.to_string())
}

/// SHA-256 of a single file, or of the list of files with their SHA-256.
fn digest(dir: &Path) -> io::Result<String> {
    let files = files(dir)?;
    if let [file] = files.as_slice() {
        return sha256(File::open(file)?);
    }
    let line = |file: &PathBuf| {
        let name = file.strip_prefix(dir).map_err(io::Error::other)?;
        Ok(format!("{}  {}\n", sha256(File::open(file)?)?, name.display()))
    };
    let lines: Vec<String> = files.iter().map(line).collect::<io::Result<_>>()?;
    sha256(lines.concat().as_bytes())
}

fn sha256(mut from: impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(hexadecimal(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// All files below `dir`, sorted by path.
fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = vec![];
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() { folders.push(entry.path()) } else { paths.push(entry.path()) }
        }
    }
    paths.sort();
    Ok(paths)
}

/// Kinds of archives, by file extension.
const TARS: [&str; 2] = [".tgz", ".tar.gz"];
const ZIPS: [&str; 2] = [".zip", ".whl"];

fn unpack(from: &Path, to: &Path) -> io::Result<()> {
    let files = files(from)?;
    let name = files[0].to_string_lossy();
    let is = |extensions: [&str; 2]| files.len() == 1 && extensions.iter().any(|extension| name.ends_with(extension));
    if is(TARS) {
        fs::create_dir_all(to)?;
        tar::Archive::new(flate2::read::GzDecoder::new(File::open(&files[0])?)).unpack(to)?;
    } else if is(ZIPS) {
        zip::ZipArchive::new(File::open(&files[0])?)?.extract(to)?;
    } else {
        return fs::rename(from, to);
    }
    strip_top_folder(to)
}

/// Removes the top level of an archive that contains only one folder.
fn strip_top_folder(dir: &Path) -> io::Result<()> {
    let entries: Vec<PathBuf> = fs::read_dir(dir)?.map(|e| Ok(e?.path())).collect::<io::Result<_>>()?;
    let [only] = entries.as_slice() else { return Ok(()) };
    if !only.is_dir() {
        return Ok(());
    }
    let aside = dir.with_extension("lifted");
    fs::rename(only, &aside)?;
    fs::remove_dir(dir)?;
    fs::rename(aside, dir)
}

/// Makes everything readable, and programs in a `bin` and shared libraries executable, since wheels have no modes.
fn set_modes(dir: &Path) -> io::Result<()> {
    add_mode(dir, 0o755)?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            set_modes(&path)?;
        } else if kind.is_file() {
            let is_executable = dir.ends_with("bin") || path.extension().is_some_and(|e| e == "so");
            add_mode(&path, if is_executable { 0o555 } else { 0o444 })?;
        }
    }
    Ok(())
}

fn add_mode(path: &Path, bits: u32) -> io::Result<()> {
    let mode = path.metadata()?.permissions().mode();
    fs::set_permissions(path, Permissions::from_mode(mode | bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gzipped tar with one folder, as npm creates them.
    fn archive(dir: &Path) -> String {
        let gzip = flate2::write::GzEncoder::new(File::create(dir.join("a.tgz")).unwrap(), flate2::Compression::fast());
        let mut tar = tar::Builder::new(gzip);
        let mut header = tar::Header::new_gnu();
        header.set_size(5);
        header.set_mode(0o600);
        tar.append_data(&mut header, "package/bin/tool", &b"hello"[..]).unwrap();
        tar.into_inner().unwrap().finish().unwrap();
        digest(dir).unwrap()
    }

    #[test]
    fn an_archive_with_its_checksum_becomes_a_folder_that_every_user_can_use() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (sum, target) = (archive(from.path()), to.path().join("ready"));
        verify_and_unpack((&sum, &[("lib", "bin")]), from.path(), &target).unwrap();
        let tool = target.join("lib/tool");
        assert_eq!(fs::read_to_string(&tool).unwrap(), "hello");
        assert_eq!(tool.metadata().unwrap().permissions().mode() & 0o777, 0o755);
    }

    #[test]
    fn an_archive_with_another_checksum_is_not_unpacked() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        archive(from.path());
        let target = to.path().join("ready");
        let error = verify_and_unpack((&"0".repeat(64), &[]), from.path(), &target).unwrap_err();
        assert!(error.contains("SHA-256") && !target.exists(), "{error}");
    }

    #[test]
    fn the_digest_of_many_files_depends_on_names_and_contents() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "1").unwrap();
        fs::write(dir.path().join("b"), "2").unwrap();
        let before = digest(dir.path()).unwrap();
        fs::rename(dir.path().join("b"), dir.path().join("c")).unwrap();
        let renamed = digest(dir.path()).unwrap();
        fs::write(dir.path().join("c"), "3").unwrap();
        assert_ne!(before, renamed);
        assert_ne!(renamed, digest(dir.path()).unwrap());
    }
}
