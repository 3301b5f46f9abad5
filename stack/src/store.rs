//! The stores of the local stack, a file each, and the [`Descriptor`] of every service. This module starts and stops
//! nothing.

mod clickhouse;
mod connect;
mod elasticsearch;
mod java;
mod kafka;
mod postgres;
mod redis;
mod s3;

use crate::{descriptor::Descriptor, layout::Layout, service::Service};

impl Service {
    /// Version of the program.
    pub fn version(self) -> &'static str {
        self.descriptor().version()
    }

    /// Ports on 127.0.0.1, those for clients first.
    pub fn ports(self, layout: &Layout) -> Vec<u16> {
        let nodes = self.descriptor().nodes(layout);
        let clients = nodes.iter().filter_map(|node| node.ports.first());
        clients.chain(nodes.iter().flat_map(|node| node.ports.iter().skip(1))).copied().collect()
    }

    pub(crate) fn descriptor(self) -> &'static dyn Descriptor {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::node::Node;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_nodes_share_a_port_or_a_name_and_all_fit_the_span() {
        let layout = Layout::new(&Settings::default()).unwrap();
        let nodes: Vec<Node> = Service::ALL.iter().flat_map(|s| s.descriptor().nodes(&layout)).collect();
        let ports: Vec<u16> = nodes.iter().flat_map(|n| n.ports.clone()).collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len());
        assert_eq!(nodes.iter().map(|n| &n.name).collect::<BTreeSet<_>>().len(), nodes.len());
        let base = layout.ports().base();
        assert!(ports.iter().all(|p| (base..base + sluice_schemas::stores::Ports::SPAN).contains(p)));
    }
}
