//! The clusters of Redis: a connection, and keys in the namespace. It knows no question.

use redis::cluster_async::ClusterConnection;
use sluice_schemas::connect;
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;

use super::error::QueryError;

/// The store, as errors name it.
pub(crate) const STORE: &str = "Redis";

/// A cluster.
#[derive(Clone)]
pub struct Cluster {
    connection: ClusterConnection,
    names: Names,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Connects to the cache cluster, which may evict any key.
    pub async fn cache(stores: &Stores, names: &Names) -> Result<Self, QueryError> {
        Ok(Self { connection: connect::redis_cache(stores).await?, names: names.clone() })
    }

    /// Connects to the state cluster, which evicts none.
    pub async fn state(stores: &Stores, names: &Names) -> Result<Self, QueryError> {
        Ok(Self { connection: connect::redis_state(stores).await?, names: names.clone() })
    }

    /// A handle of the shared, multiplexed connection.
    pub(crate) fn connection(&self) -> ClusterConnection {
        self.connection.clone()
    }

    /// A key in the namespace.
    pub(crate) fn key(&self, key: &str) -> String {
        self.names.key(key)
    }
}

/// Counters of `INFO stats`, summed over the nodes of the cache that are configured.
pub(crate) async fn statistics<const N: usize>(stores: &Stores, names: [&str; N]) -> Result<[u64; N], QueryError> {
    let mut sums = [0; N];
    for node in &stores.redis.cache {
        let mut connection = connect::redis_node("Redis (cache)", node).await?;
        let info: String = redis::cmd("INFO").arg("stats").query_async(&mut connection).await?;
        for (name, sum) in names.iter().zip(&mut sums) {
            let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok());
            *sum += value.unwrap_or(0);
        }
    }
    Ok(sums)
}

/// A command with values in place of its parameters.
pub(crate) fn command(text: &str, values: &[(&str, &str)]) -> redis::Cmd {
    let mut command = redis::Cmd::new();
    for word in text.split_ascii_whitespace() {
        let value = values.iter().find(|(parameter, _)| *parameter == word);
        command.arg(value.map_or(word, |(_, value)| *value));
    }
    command
}

/// The commands between `MULTI` and `EXEC`, which the client sends itself, with values in place of their parameters.
pub(crate) fn transaction(text: &str, values: &[(&str, &str)]) -> redis::Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.atomic();
    for line in text.lines().filter(|line| !matches!(*line, "MULTI" | "EXEC")) {
        pipeline.add_command(command(line, values));
    }
    pipeline
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_replaced_and_everything_else_is_sent_as_it_is_written() {
        let sent = |text| command(text, &[("$key", "ctx:1"), ("$customer", "{\"a b\": 1}")]).get_packed_command();
        assert_eq!(
            sent("JSON.SET $key $ $customer"),
            b"*4\r\n$8\r\nJSON.SET\r\n$5\r\nctx:1\r\n$1\r\n$\r\n$10\r\n{\"a b\": 1}\r\n"
        );
    }
}
