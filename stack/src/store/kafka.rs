//! Kafka from the broker's own jars: one node that is broker and KRaft controller. Topics are created only by
//! `schemas apply`, so `auto.create.topics.enable` is off.

use std::{path::PathBuf, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use nix::sys::signal::Signal;
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};

use sluice_schemas::concurrency::blocking;

use super::java;
use crate::config::mebibytes;
use crate::{
    artifact::{Artifact, Source, tools::Tool},
    command,
    descriptor::Descriptor,
    error::{Error, FileContext},
    layout::Layout,
    node::Node,
    probe,
    service::Service,
};

pub(super) const VERSION: &str = "4.1.0";

/// Broker, Connect's worker and its JSON converter in one classpath.
pub(super) static LIBS: Artifact = Artifact {
    name: "kafka",
    version: VERSION,
    source: Source::MavenLibs(&[
        ("org.apache.kafka", "kafka_2.13", VERSION),
        ("org.apache.kafka", "connect-runtime", VERSION),
        ("org.apache.kafka", "connect-json", VERSION),
        ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.24.3"),
    ]),
    sha256: "2a51a14294e8ffa41a595e675c6cf22c6eb9943b0285f565e477f3568f790616",
    links: &[],
    megabytes: 54,
};

/// Fixed, so that a wiped broker is the same cluster again: any 16 bytes in URL-safe base64.
const CLUSTER_ID: &str = "c2x1aWNlLXN0YWNrLTAwMQ";

pub(super) struct Kafka;

fn properties(layout: &Layout) -> String {
    let ports = layout.ports();
    let (client, controller) = (ports.kafka(), ports.kafka_controller());
    let mut text = format!(
        "process.roles=broker,controller\nnode.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{client}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         controller.listener.names=CONTROLLER\ninter.broker.listener.name=PLAINTEXT\n\
         auto.create.topics.enable=false\nmin.insync.replicas=1\ngroup.initial.rebalance.delay.ms=0\n\
         message.max.bytes=10485760\nlog.dirs={}\n",
        data(layout).display()
    );
    for topic in ["offsets.topic", "transaction.state.log", "share.coordinator.state.topic"] {
        text.push_str(&[topic, ".replication.factor=1\n", topic, ".num.partitions=8\n"].concat());
    }
    text.push_str("transaction.state.log.min.isr=1\nshare.coordinator.state.topic.min.isr=1\n");
    text
}

fn data(layout: &Layout) -> PathBuf {
    layout.node_dir("kafka").join("data")
}

fn configuration(layout: &Layout) -> PathBuf {
    layout.node_dir("kafka").join("server.properties")
}

impl Descriptor for Kafka {
    fn version(&self) -> &'static str {
        VERSION
    }

    fn artifacts(&self) -> Vec<&'static Artifact> {
        vec![&LIBS]
    }

    fn tools(&self) -> &'static [Tool] {
        &[Tool::Java]
    }

    fn nodes(&self, layout: &Layout) -> Vec<Node> {
        let dir = layout.node_dir("kafka");
        let mut args = java::arguments(&dir, &LIBS.dir(layout), mebibytes(layout.settings().kafka_heap), false);
        args.extend(["kafka.Kafka".into(), configuration(layout).into_os_string()]);
        vec![Node {
            name: "kafka".to_owned(),
            ports: vec![layout.ports().kafka(), layout.ports().kafka_controller()],
            program: java::program(),
            args,
            env: vec![],
            refuses_root: false,
            stop: Signal::SIGTERM,
        }]
    }

    fn prepare<'a>(&'a self, layout: &'a Layout) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let dir = layout.node_dir("kafka");
            java::write_logging(&dir)?;
            let file = configuration(layout);
            std::fs::write(&file, properties(layout)).file("write", &file)?;
            let mut format = command::new(layout, &java::program(), false);
            format.args(java::arguments(&dir, &LIBS.dir(layout), 256, true));
            format.args(["kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", CLUSTER_ID, "-c"]).arg(file);
            if data(layout).join("meta.properties").exists() {
                return Ok(());
            }
            command::run(format).await.map_err(|reason| Error::prepare(Service::Kafka, reason))
        }
        .boxed()
    }

    fn ready<'a>(&'a self, layout: &'a Layout) -> BoxFuture<'a, Result<(), String>> {
        async move {
            let port = layout.ports().kafka();
            // The client library logs each refused connection, so it is not used before the port is open.
            probe::connect(port).await?;
            blocking(move || list_topics(port)).await
        }
        .boxed()
    }
}

/// Fails unless the broker lists its topics and itself.
fn list_topics(port: u16) -> Result<(), String> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", format!("127.0.0.1:{port}"))
        .create()
        .map_err(|e| e.to_string())?;
    let metadata = consumer.fetch_metadata(None, Duration::from_secs(3)).map_err(|e| e.to_string())?;
    if metadata.brokers().is_empty() { Err("no broker has registered".to_owned()) } else { Ok(()) }
}
