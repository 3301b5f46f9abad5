//! A separate ClickHouse server for one test, with the users that the test defines: the shared server has only `default`,
//! and this build of ClickHouse reads its users from a file at startup.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sluice_stack::Layout;
use tempfile::TempDir;

use crate::{eventually, free_address};

/// The verb of `sluice` that runs a ClickHouse server.
const VERB: &str = "__clickhouse";
/// Starts the HTTP listener and never finishes.
const SERVE: &str = "SYSTEM START LISTEN HTTP; SELECT sleepEachRow(1) FROM numbers(1000000000) \
                     SETTINGS max_block_size=1, function_sleep_max_microseconds_per_block=0 FORMAT Null";
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The server; it is killed when this is dropped.
#[derive(Debug)]
pub struct OwnClickHouse {
    /// Address, as `http://host:port`.
    pub url: String,
    child: Child,
    _folder: TempDir,
}

impl OwnClickHouse {
    /// Starts a server whose users file contains these additional profiles and users. `sluice` is `env!("CARGO_BIN_EXE_sluice")`;
    /// the ClickHouse library is that of the stack at `layout`.
    ///
    /// # Panics
    /// If the server does not start.
    pub async fn start(sluice: &str, layout: &Layout, profiles: &str, users: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = free_address();
        let (config, data) = (folder.path().join("config.xml"), folder.path().join("data"));
        std::fs::create_dir(&data).expect("a folder in a new folder");
        let files = [("users.xml", users_file(profiles, users)), ("config.xml", config_file(folder.path()))];
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("a file in a new folder");
        }
        let log = std::fs::File::create(folder.path().join("out")).expect("a file in a new folder");
        let child = Command::new(sluice)
            .args([VERB.as_ref(), library(layout).as_os_str(), "--path".as_ref(), data.as_os_str()])
            .args(["-C".as_ref(), config.as_os_str()])
            .args(["--http-port", &address.port().to_string(), "--listen-host", "127.0.0.1", "--query", SERVE])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        let server = Self { url: format!("http://{address}"), child, _folder: folder };
        eventually(START_TIMEOUT, "the test's own ClickHouse responds", || async {
            reqwest::get(format!("{}/ping", server.url)).await.is_ok_and(|response| response.status().is_success())
        })
        .await;
        server
    }
}

impl Drop for OwnClickHouse {
    fn drop(&mut self) {
        // The process may have exited already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Path of ClickHouse's library in the stack.
fn library(layout: &Layout) -> PathBuf {
    let programs = layout.cache_dir().join("programs");
    let folders = std::fs::read_dir(&programs).expect("the stack has downloaded its programs").flatten();
    let libraries = folders.map(|folder| folder.path().join("libchdb.so"));
    libraries.into_iter().find(|library| library.exists()).expect("the stack has ClickHouse's library")
}

fn users_file(profiles: &str, users: &str) -> String {
    format!(
        "<clickhouse><profiles><default/>{profiles}</profiles><quotas><default/></quotas><users>\
         <default><password></password><networks><ip>127.0.0.1</ip><ip>::1</ip></networks><profile>default</profile>\
         <quota>default</quota><access_management>1</access_management></default>{users}</users></clickhouse>"
    )
}

fn config_file(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "<clickhouse><users_config>{folder}/users.xml</users_config>\
         <logger><level>warning</level><log>{folder}/log</log></logger>\
         <max_server_memory_usage>1000000000</max_server_memory_usage><mark_cache_size>50000000</mark_cache_size>\
         <background_pool_size>4</background_pool_size><background_schedule_pool_size>8</background_schedule_pool_size>\
         <max_connections>256</max_connections></clickhouse>"
    )
}
