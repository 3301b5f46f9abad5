//! The ClickHouse server in a separate process: loads the embeddable library and runs its command line. The library
//! takes over the whole process: never call this after a thread has been started.

use std::{
    ffi::{CString, OsString, c_char, c_int},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
};

use libloading::Library;

use crate::error::Error;

/// The hidden verb that runs the server.
pub(crate) const VERB: &str = "__clickhouse";

/// The library's entry: the `main` of the `clickhouse` program.
type CommandLine = unsafe extern "C" fn(c_int, *mut *mut c_char) -> c_int;

/// Runs `clickhouse` with `args`, of which the first is the library's path, and returns the exit code when the server
/// exits.
pub(crate) fn serve(args: impl IntoIterator<Item = OsString>) -> Result<i32, Error> {
    let mut args = args.into_iter();
    let library = PathBuf::from(args.next().unwrap_or_default());
    let failed = |reason: String| Error::Library { library: library.clone(), reason };
    let texts: Vec<CString> = std::iter::once(OsString::from("clickhouse"))
        .chain(args)
        .map(|arg| CString::new(arg.as_bytes()).map_err(|e| failed(e.to_string())))
        .collect::<Result<_, _>>()?;
    let mut pointers: Vec<*mut c_char> = texts.iter().map(|text| text.as_ptr().cast_mut()).collect();
    let count = c_int::try_from(pointers.len()).map_err(|e| failed(e.to_string()))?;
    pointers.push(std::ptr::null_mut());
    call(&library, count, &mut pointers).map_err(|e| failed(e.to_string()))
}

#[expect(unsafe_code, reason = "the library has a C interface only")]
fn call(library: &PathBuf, count: c_int, arguments: &mut [*mut c_char]) -> Result<i32, libloading::Error> {
    // SAFETY: the library was checked against its SHA-256 when it was fetched; its initializers are ClickHouse's own.
    let loaded = unsafe { Library::new(library) }?;
    // SAFETY: the symbol has this signature in the pinned version of the library.
    let entry = unsafe { loaded.get::<CommandLine>(b"chdb_query_cmdline\0") }?;
    // SAFETY: `arguments` are `count` NUL-terminated strings and a null pointer, as for `main`; they and the library
    // outlive the call.
    Ok(unsafe { entry(count, arguments.as_mut_ptr()) })
}
