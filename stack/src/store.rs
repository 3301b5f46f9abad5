//! The stores by name, and what each of them has to tell the verbs: version, ports, programs, command line and
//! readiness query. One file per store under `service/`. Starts and stops nothing itself.

mod clickhouse;
mod connect;
mod elasticsearch;
mod java;
mod kafka;
mod postgres;
mod redis;
mod s3;

use std::{ffi::OsString, fmt, path::PathBuf, str::FromStr, time::Duration};

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::{artifact::Artifact, artifact::tools::Tool, error::Error, layout::Layout};

/// One store of the local stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// PostgreSQL.
    Postgres,
    /// Kafka, one node in KRaft mode.
    Kafka,
    /// Kafka Connect with the Debezium plugin.
    Connect,
    /// ClickHouse.
    #[serde(rename = "clickhouse")]
    ClickHouse,
    /// Elasticsearch, one node.
    Elasticsearch,
    /// The Redis cluster of six for what may be evicted.
    RedisCache,
    /// The Redis cluster of three for what may not.
    RedisState,
    /// The S3 server; started only when it is asked for by name, since it is built from source.
    S3,
}

impl Service {
    /// Every service.
    pub const ALL: &[Self] = &[
        Self::Postgres,
        Self::Kafka,
        Self::Connect,
        Self::ClickHouse,
        Self::Elasticsearch,
        Self::RedisCache,
        Self::RedisState,
        Self::S3,
    ];

    /// What starts when no service is named: all but S3.
    pub const DEFAULT: &[Self] = &[
        Self::Postgres,
        Self::Kafka,
        Self::Connect,
        Self::ClickHouse,
        Self::Elasticsearch,
        Self::RedisCache,
        Self::RedisState,
    ];

    /// The name on the command line, in logs and in `docker-compose.yml`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Kafka => "kafka",
            Self::Connect => "connect",
            Self::ClickHouse => "clickhouse",
            Self::Elasticsearch => "elasticsearch",
            Self::RedisCache => "redis-cache",
            Self::RedisState => "redis-state",
            Self::S3 => "s3",
        }
    }

    /// Version of the program that runs.
    pub fn version(self) -> &'static str {
        self.store().version()
    }

    /// Ports on 127.0.0.1, those that clients use first.
    pub fn ports(self, layout: &Layout) -> Vec<u16> {
        let nodes = self.store().nodes(layout);
        let clients = nodes.iter().filter_map(|node| node.ports.first());
        clients.chain(nodes.iter().flat_map(|node| node.ports.iter().skip(1))).copied().collect()
    }

    pub(crate) fn store(self) -> &'static dyn Store {
        match self {
            Self::Postgres => &postgres::Postgres,
            Self::Kafka => &kafka::Kafka,
            Self::Connect => &connect::Connect,
            Self::ClickHouse => &clickhouse::ClickHouse,
            Self::Elasticsearch => &elasticsearch::Elasticsearch,
            Self::RedisCache => &redis::CACHE,
            Self::RedisState => &redis::STATE,
            Self::S3 => &s3::S3,
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that no service has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no store is called `{0}`; there are postgres, kafka, connect, clickhouse, elasticsearch, redis-cache, redis-state and s3"
)]
pub struct UnknownService(String);

impl FromStr for Service {
    type Err = UnknownService;

    fn from_str(name: &str) -> Result<Self, UnknownService> {
        Self::ALL.iter().copied().find(|s| s.name() == name).ok_or_else(|| UnknownService(name.to_owned()))
    }
}

/// One process of a service.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Unique in the stack; names the folder, the log and the record.
    pub(crate) name: String,
    pub(crate) ports: Vec<u16>,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(&'static str, OsString)>,
    /// Refuses to run as root, so it gets another user then.
    pub(crate) refuses_root: bool,
    /// Asks the process to end; `KILL` follows when it does not.
    pub(crate) stop: nix::sys::signal::Signal,
}

/// What the verbs need to know about a store.
pub(crate) trait Store: Sync {
    fn version(&self) -> &'static str;

    /// Programs to fetch before the first start.
    fn artifacts(&self) -> Vec<&'static Artifact>;

    /// What must be installed on the machine to run it.
    fn tools(&self) -> &'static [Tool] {
        &[]
    }

    /// Services that must be ready first.
    fn needs(&self) -> &'static [Service] {
        &[]
    }

    /// How long it may take to answer its readiness query.
    fn deadline(&self) -> Duration {
        Duration::from_mins(3)
    }

    fn nodes(&self, layout: &Layout) -> Vec<Node>;

    /// Writes configuration and creates empty data folders; may be repeated.
    fn prepare<'a>(&'a self, _layout: &'a Layout) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Puts a store together that is more than its processes; done in a moment when it was done before.
    fn assemble<'a>(&'a self, _layout: &'a Layout) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// One readiness query; `Err` says in a few words what is not there yet.
    fn ready<'a>(&'a self, layout: &'a Layout) -> BoxFuture<'a, Result<(), String>>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use std::collections::BTreeSet;

    #[test]
    fn names_read_back_and_an_unknown_one_lists_what_there_is() {
        for service in Service::ALL {
            assert_eq!(service.name().parse(), Ok(*service));
            assert_eq!(serde_json::to_value(service).unwrap(), service.name());
        }
        let error = "redis".parse::<Service>().unwrap_err().to_string();
        assert!(error.contains("`redis`") && error.contains("redis-cache"), "{error}");
    }

    #[test]
    fn no_two_nodes_share_a_port_or_a_name_and_all_fit_the_span() {
        let layout = Layout::new(&Settings::default()).unwrap();
        let nodes: Vec<Node> = Service::ALL.iter().flat_map(|s| s.store().nodes(&layout)).collect();
        let ports: Vec<u16> = nodes.iter().flat_map(|n| n.ports.clone()).collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len());
        assert_eq!(nodes.iter().map(|n| &n.name).collect::<BTreeSet<_>>().len(), nodes.len());
        let base = layout.ports().base();
        assert!(ports.iter().all(|p| (base..base + sluice_schemas::stores::Ports::SPAN).contains(p)));
    }
}
