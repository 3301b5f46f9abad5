//! Kafka Connect with the Debezium plugin for PostgreSQL. The stack never creates a connector: clients do, through the
//! REST API.

use std::path::PathBuf;

use futures::{FutureExt, future::BoxFuture};
use nix::sys::signal::Signal;

use super::{java, kafka};
use crate::config::mebibytes;
use crate::{
    artifact::{Artifact, Source, tools::Tool},
    descriptor::Descriptor,
    error::{Error, FileContext},
    layout::Layout,
    node::Node,
    probe,
    service::Service,
};

static PLUGIN: Artifact = Artifact {
    name: "debezium-connector-postgres",
    version: "3.2.0.Final",
    source: Source::MavenFile("io.debezium:debezium-connector-postgres:3.2.0.Final:tar.gz:plugin"),
    sha256: "2afcd1f755ffc6cadb6a27fc496a12700512e343e830a75ec0e4566db9538f50",
    links: &[],
    megabytes: 5,
};

const CONNECTOR_CLASS: &str = "io.debezium.connector.postgresql.PostgresConnector";

pub(super) struct Connect;

fn properties(layout: &Layout) -> String {
    let ports = layout.ports();
    format!(
        "bootstrap.servers=127.0.0.1:{broker}\ngroup.id=sluice-connect\n\
         listeners=http://127.0.0.1:{rest}\nrest.advertised.host.name=127.0.0.1\nrest.advertised.port={rest}\n\
         key.converter=org.apache.kafka.connect.json.JsonConverter\n\
         value.converter=org.apache.kafka.connect.json.JsonConverter\n\
         key.converter.schemas.enable=false\nvalue.converter.schemas.enable=false\n\
         config.storage.topic=connect-configs\nconfig.storage.replication.factor=1\n\
         offset.storage.topic=connect-offsets\noffset.storage.replication.factor=1\noffset.storage.partitions=4\n\
         status.storage.topic=connect-status\nstatus.storage.replication.factor=1\nstatus.storage.partitions=2\n\
         plugin.path={plugins}\nplugin.discovery=service_load\n",
        broker = ports.kafka(),
        rest = ports.connect(),
        plugins = plugins(layout).display(),
    )
}

fn configuration(layout: &Layout) -> PathBuf {
    layout.node_dir("connect").join("worker.properties")
}

/// The worker expects a folder of plugins, each a folder of jars.
fn plugins(layout: &Layout) -> PathBuf {
    layout.node_dir("connect").join("plugins")
}

impl Descriptor for Connect {
    fn version(&self) -> &'static str {
        PLUGIN.version
    }

    fn artifacts(&self) -> Vec<&'static Artifact> {
        vec![&kafka::LIBS, &PLUGIN]
    }

    fn tools(&self) -> &'static [Tool] {
        &[Tool::Java]
    }

    fn dependencies(&self) -> &'static [Service] {
        &[Service::Kafka]
    }

    fn nodes(&self, layout: &Layout) -> Vec<Node> {
        let dir = layout.node_dir("connect");
        let heap = mebibytes(layout.settings().connect_heap);
        let mut args = java::arguments(&dir, &kafka::LIBS.dir(layout), heap, true);
        args.push("org.apache.kafka.connect.cli.ConnectDistributed".into());
        args.push(configuration(layout).into_os_string());
        vec![Node {
            name: "connect".to_owned(),
            ports: vec![layout.ports().connect()],
            program: java::program(),
            args,
            env: vec![],
            refuses_root: false,
            stop: Signal::SIGTERM,
        }]
    }

    fn prepare<'a>(&'a self, layout: &'a Layout) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            java::write_logging(&layout.node_dir("connect"))?;
            let (file, link) = (configuration(layout), plugins(layout).join(PLUGIN.name));
            std::fs::create_dir_all(plugins(layout)).file("create", plugins(layout))?;
            if !link.exists() {
                std::os::unix::fs::symlink(PLUGIN.dir(layout), &link).file("link", link)?;
            }
            std::fs::write(&file, properties(layout)).file("write", file)
        }
        .boxed()
    }

    fn ready<'a>(&'a self, layout: &'a Layout) -> BoxFuture<'a, Result<(), String>> {
        async move {
            let base = format!("http://127.0.0.1:{}", layout.ports().connect());
            if !probe::get_json(&format!("{base}/connectors")).await?.is_array() {
                return Err("another server responds in its place".to_owned());
            }
            let plugins = probe::get(&format!("{base}/connector-plugins")).await?;
            if plugins.contains(CONNECTOR_CLASS) { Ok(()) } else { Err("the Debezium plugin is not listed".to_owned()) }
        }
        .boxed()
    }
}
