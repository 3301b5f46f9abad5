//! ClickHouse from the npm package of its embeddable library, which the current program runs under a hidden verb (see
//! [`crate::clickhouse_server`]): the server's own HTTP and native handlers, with MergeTree tables on disk. The stack
//! creates no database and no table in it.

use std::{ffi::OsString, path::PathBuf};

use futures::{FutureExt, future::BoxFuture};
use nix::sys::signal::Signal;

use crate::{
    artifact::{Artifact, Source},
    clickhouse_server,
    descriptor::Descriptor,
    error::{Error, FileContext},
    layout::Layout,
    node::Node,
    probe,
};

static LIBRARY: Artifact = Artifact {
    name: "clickhouse",
    version: "26.7.3-stable.1",
    source: Source::Npm("@chdb/lib-linux-x64-gnu"),
    sha256: "c0d32b129e988f2b9a9a31c9141aecf5e1e2453f9a079efc4d36ab8e3f92b2ad",
    links: &[],
    megabytes: 178,
};

/// The result of `SELECT version()` for [`LIBRARY`].
const VERSION: &str = "26.7.2.1";

/// Opens both listeners, then sleeps in blocks of one second for some thirty years.
const SERVE: &str = "SYSTEM START LISTEN HTTP; SYSTEM START LISTEN TCP; \
    SELECT sleepEachRow(1) FROM numbers(1000000000) \
    SETTINGS max_block_size=1, function_sleep_max_microseconds_per_block=0 FORMAT Null";

pub(super) struct ClickHouse;

/// The process's own session belongs to the user `default`, which therefore has no password and all privileges.
fn users() -> &'static str {
    "<clickhouse>\n\
     <profiles><default><async_insert>0</async_insert></default></profiles>\n\
     <quotas><default/></quotas>\n\
     <users><default>\n  <password></password><networks><ip>127.0.0.1</ip><ip>::1</ip></networks>\n  \
     <profile>default</profile><quota>default</quota><access_management>1</access_management>\n\
     </default></users>\n</clickhouse>\n"
}

/// Small caches and few background threads, since the stack shares a laptop with its load.
fn configuration(layout: &Layout) -> String {
    let memory = layout.settings().clickhouse_memory.0;
    format!(
        "<clickhouse>\n<users_config>{users}</users_config>\n\
         <log-level>information</log-level>\n\
         <logger><level>information</level><log>{log}</log><size>20M</size><count>2</count></logger>\n\
         <max_server_memory_usage>{memory}</max_server_memory_usage>\n\
         <mark_cache_size>{small}</mark_cache_size><uncompressed_cache_size>0</uncompressed_cache_size>\n\
         <background_pool_size>4</background_pool_size>\n\
         <background_schedule_pool_size>8</background_schedule_pool_size>\n\
         <max_connections>512</max_connections>\n</clickhouse>\n",
        users = file(layout, "users.xml").display(),
        log = layout.log_file("clickhouse").display(),
        small = memory / 16,
    )
}

fn file(layout: &Layout, name: &str) -> PathBuf {
    layout.node_dir("clickhouse").join(name)
}

impl Descriptor for ClickHouse {
    fn version(&self) -> &'static str {
        VERSION
    }

    fn artifacts(&self) -> Vec<&'static Artifact> {
        vec![&LIBRARY]
    }

    fn nodes(&self, layout: &Layout) -> Vec<Node> {
        let (http, native) = (layout.ports().clickhouse_http(), layout.ports().clickhouse_native());
        let mut args: Vec<OsString> =
            vec![clickhouse_server::VERB.into(), LIBRARY.dir(layout).join("libchdb.so").into()];
        args.extend(["--path".into(), file(layout, "data").into_os_string()]);
        args.extend(["-C".into(), file(layout, "config.xml").into_os_string()]);
        args.extend(["--http-port", &http.to_string(), "--tcp_port", &native.to_string()].map(OsString::from));
        args.extend(["--listen-host", "127.0.0.1", "--query", SERVE].map(OsString::from));
        vec![Node {
            name: "clickhouse".to_owned(),
            ports: vec![http, native],
            program: layout.program().to_owned(),
            args,
            env: vec![],
            refuses_root: false,
            stop: Signal::SIGTERM,
        }]
    }

    fn prepare<'a>(&'a self, layout: &'a Layout) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let data = file(layout, "data");
            std::fs::create_dir_all(&data).file("create", data)?;
            for (name, text) in [("users.xml", users().to_owned()), ("config.xml", configuration(layout))] {
                std::fs::write(file(layout, name), text).file("write", file(layout, name))?;
            }
            Ok(())
        }
        .boxed()
    }

    fn ready<'a>(&'a self, layout: &'a Layout) -> BoxFuture<'a, Result<(), String>> {
        async move {
            let port = layout.ports().clickhouse_http();
            let version = probe::get(&format!("http://127.0.0.1:{port}/?query=SELECT%20version()")).await?;
            if version.trim() == VERSION { Ok(()) } else { Err(format!("version {} responds", version.trim())) }
        }
        .boxed()
    }
}
