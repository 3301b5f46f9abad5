//! Elasticsearch from the distribution for its own integration tests: the server without the optional modules.
//! It has one node, with security disabled, and never downloads anything.

use std::{ffi::OsString, path::PathBuf};

use futures::{FutureExt, future::BoxFuture};
use nix::sys::signal::Signal;

use crate::config::mebibytes;
use crate::{
    artifact::{
        Artifact, Source,
        tools::{self, Tool},
    },
    descriptor::Descriptor,
    error::{Error, FileContext},
    layout::Layout,
    node::Node,
    probe,
};

static PROGRAM: Artifact = Artifact {
    name: "elasticsearch",
    version: "8.17.0",
    source: Source::MavenFile("org.elasticsearch.distribution.integ-test-zip:elasticsearch:8.17.0:zip"),
    sha256: "c3e814c3fa6b31ffaa2bad55c3aa2121fd595b3ffe08a7adf3a4579adbcb91d9",
    links: &[],
    megabytes: 92,
};

/// Identifies a health response as this cluster's.
const CLUSTER: &str = "sluice";

pub(super) struct Elasticsearch;

fn dir(layout: &Layout, name: &str) -> PathBuf {
    layout.node_dir("elasticsearch").join(name)
}

/// The disk watermarks are disabled: the stack itself reports a full disk, which would otherwise make indices
/// read-only.
fn configuration(layout: &Layout) -> String {
    let ports = layout.ports();
    format!(
        "cluster.name: {CLUSTER}\nnode.name: sluice-1\npath.data: {data}\npath.logs: {logs}\n\
         http.host: 127.0.0.1\nhttp.port: {http}\ntransport.host: 127.0.0.1\ntransport.port: {transport}\n\
         discovery.type: single-node\nxpack.security.enabled: false\n\
         cluster.routing.allocation.disk.threshold_enabled: false\n",
        data = dir(layout, "data").display(),
        logs = dir(layout, "logs").display(),
        http = ports.elasticsearch(),
        transport = ports.elasticsearch_transport(),
    )
}

/// Replaces the distribution's options, which write a garbage collection log into its folder; that is read-only here.
fn jvm_options(heap_mib: u64) -> String {
    format!(
        "-Xms{heap_mib}m\n-Xmx{heap_mib}m\n-XX:+UseSerialGC\n-XX:-HeapDumpOnOutOfMemoryError\n\
         -XX:+ExitOnOutOfMemoryError\n-Djava.io.tmpdir=${{ES_TMPDIR}}\n20-:--add-modules=jdk.incubator.vector\n"
    )
}

impl Descriptor for Elasticsearch {
    fn version(&self) -> &'static str {
        PROGRAM.version
    }

    fn artifacts(&self) -> Vec<&'static Artifact> {
        vec![&PROGRAM]
    }

    fn tools(&self) -> &'static [Tool] {
        &[Tool::Java]
    }

    fn nodes(&self, layout: &Layout) -> Vec<Node> {
        let mut env: Vec<(&'static str, OsString)> = vec![
            ("ES_PATH_CONF", dir(layout, "config").into_os_string()),
            ("ES_TMPDIR", dir(layout, "tmp").into_os_string()),
            ("CLI_JAVA_OPTS", "-Xmx64m -XX:TieredStopAtLevel=1".into()),
            ("ES_JAVA_OPTS", OsString::new()),
        ];
        env.extend(tools::java_home().map(|home| ("ES_JAVA_HOME", home.into_os_string())));
        vec![Node {
            name: "elasticsearch".to_owned(),
            ports: vec![layout.ports().elasticsearch(), layout.ports().elasticsearch_transport()],
            program: PROGRAM.dir(layout).join("bin/elasticsearch"),
            args: vec![],
            env,
            refuses_root: true,
            stop: Signal::SIGTERM,
        }]
    }

    fn prepare<'a>(&'a self, layout: &'a Layout) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            for name in ["config", "data", "logs", "tmp"] {
                std::fs::create_dir_all(dir(layout, name)).file("create", dir(layout, name))?;
            }
            let shipped = PROGRAM.dir(layout).join("config/log4j2.properties");
            let config = dir(layout, "config");
            std::fs::copy(&shipped, config.join("log4j2.properties")).file("copy", shipped)?;
            std::fs::write(config.join("elasticsearch.yml"), configuration(layout)).file("write", &config)?;
            let options = jvm_options(mebibytes(layout.settings().elasticsearch_heap));
            std::fs::write(config.join("jvm.options"), options).file("write", &config)?;
            layout.hand_over(&layout.node_dir("elasticsearch"))
        }
        .boxed()
    }

    fn ready<'a>(&'a self, layout: &'a Layout) -> BoxFuture<'a, Result<(), String>> {
        async move {
            let port = layout.ports().elasticsearch();
            let url = format!("http://127.0.0.1:{port}/_cluster/health?wait_for_status=yellow&timeout=1s");
            let health = probe::get_json(&url).await?;
            if health["cluster_name"] == CLUSTER {
                Ok(())
            } else {
                Err(format!("another server responds on port {port}"))
            }
        }
        .boxed()
    }
}
