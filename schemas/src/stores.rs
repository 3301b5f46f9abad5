//! Where the stores are and how to sign in to them: the `[stores]` section of `sluice.toml`.
//! Every other crate opens its connections from these settings, so nothing else knows whether the local stack,
//! Docker or a production cluster stands behind them. Never opens a connection itself.

use serde::{Deserialize, Serialize};

use crate::names::Names;
use crate::secret::Secret;

/// First port of the local stack when nothing else is said.
pub const DEFAULT_PORT_BASE: u16 = 21_000;

/// Ports of the local stack, all counted from one base so that two stacks never collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    base: u16,
}

impl Ports {
    /// How many ports a stack reserves from its base on.
    pub const SPAN: u16 = 60;

    /// The ports of a stack that starts at `base`.
    pub const fn new(base: u16) -> Self {
        Self { base }
    }

    /// The first port itself.
    pub const fn base(self) -> u16 {
        self.base
    }

    /// PostgreSQL.
    pub const fn postgres(self) -> u16 {
        self.base
    }

    /// Kafka's client listener.
    pub const fn kafka(self) -> u16 {
        self.base + 1
    }

    /// Kafka's KRaft controller listener.
    pub const fn kafka_controller(self) -> u16 {
        self.base + 2
    }

    /// Kafka Connect's REST interface.
    pub const fn connect(self) -> u16 {
        self.base + 3
    }

    /// ClickHouse over HTTP.
    pub const fn clickhouse_http(self) -> u16 {
        self.base + 4
    }

    /// ClickHouse's native protocol.
    pub const fn clickhouse_native(self) -> u16 {
        self.base + 5
    }

    /// Elasticsearch over HTTP.
    pub const fn elasticsearch(self) -> u16 {
        self.base + 6
    }

    /// Elasticsearch between its nodes.
    pub const fn elasticsearch_transport(self) -> u16 {
        self.base + 7
    }

    /// The S3 server.
    pub const fn s3(self) -> u16 {
        self.base + 8
    }

    /// Node `n` (0 to 5) of the Redis cache cluster; its bus is ten higher.
    pub const fn redis_cache(self, n: u16) -> u16 {
        self.base + 10 + n
    }

    /// Node `n` (0 to 2) of the Redis state cluster; its bus is ten higher.
    pub const fn redis_state(self, n: u16) -> u16 {
        self.base + 30 + n
    }

    /// Metrics and health of an ingest process.
    pub const fn ingest_http(self) -> u16 {
        self.base + 50
    }
}

/// A user and its password.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// User name.
    #[serde(default)]
    pub user: String,
    /// Password; empty where the store asks for none.
    #[serde(default)]
    pub password: Secret,
}

impl Login {
    fn local(user: &str) -> Self {
        Self { user: user.to_owned(), password: Secret::new(user) }
    }
}

/// All stores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stores {
    /// Keeps several environments apart on one set of stores; empty means the platform's own names. See [`crate::names::Names`].
    pub namespace: Names,
    /// PostgreSQL.
    pub postgres: Postgres,
    /// Kafka.
    pub kafka: Kafka,
    /// ClickHouse.
    pub clickhouse: ClickHouse,
    /// Elasticsearch.
    pub elasticsearch: Elasticsearch,
    /// The two Redis clusters.
    pub redis: Redis,
    /// An S3 server.
    pub s3: S3,
}

/// PostgreSQL: one server, a role for each kind of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Postgres {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// A role that may create databases and roles; used by `schemas apply` alone.
    pub admin: Login,
    /// Owner of the tables; migrations run as this role.
    pub owner: Login,
    /// The application: reads and writes under row-level security.
    pub app: Login,
    /// Change data capture: replication, and reads that row-level security does not narrow.
    pub cdc: Login,
    /// Bulk loads: `COPY` is refused under row-level security, so this role bypasses it; it reads and inserts only.
    pub loader: Login,
    /// Read only, under row-level security.
    pub reader: Login,
}

/// Kafka.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kafka {
    /// Bootstrap servers, `host:port`, separated by commas.
    pub brokers: String,
    /// Kafka Connect's REST address.
    pub connect_url: String,
}

/// ClickHouse over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClickHouse {
    /// `http://host:port`.
    pub url: String,
    /// User and password.
    pub login: Login,
}

/// Elasticsearch over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Elasticsearch {
    /// `http://host:port`.
    pub url: String,
    /// User and password; an empty user means no authentication.
    pub login: Login,
}

/// Redis: eviction is set per node, so what may be evicted and what may not live in two clusters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Redis {
    /// Nodes of the cache cluster (allkeys-lru), `redis://host:port`, or `redis://user:password@host:port`.
    #[serde(serialize_with = "without_logins")]
    pub cache: Vec<String>,
    /// Nodes of the state cluster (noeviction), in the same form.
    #[serde(serialize_with = "without_logins")]
    pub state: Vec<String>,
}

/// An S3 server, used only where it is enabled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3 {
    /// Whether there is one.
    pub enabled: bool,
    /// `http://host:port`.
    pub endpoint: String,
    /// Region name used in signatures.
    pub region: String,
    /// Access key.
    pub access_key: String,
    /// Secret key.
    pub secret_key: Secret,
}

/// An address that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A login in an address where it would be shown.
    #[error(
        "use stores.{0}: it holds a user, a password or parameters, which would be shown; put them into the section's own keys"
    )]
    Login(&'static str),
    /// Nothing to connect to.
    #[error("use stores.{0}: it is empty; name the store's address, or leave it out for the local stack's")]
    Empty(&'static str),
    /// Another protocol than the store speaks.
    #[error("use stores.{0}: write it as http://HOST:PORT or https://HOST:PORT")]
    Scheme(&'static str),
}

/// An address without the user and password that it may hold, for screens, logs and errors.
pub fn without_login(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let host = rest.split('/').next().unwrap_or(rest);
    match host.rfind('@') {
        Some(at) => format!("{scheme}://***@{}", &rest[at + 1..]),
        None => address.to_owned(),
    }
}

fn without_logins<S: serde::Serializer>(addresses: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(addresses.iter().map(|address| without_login(address)))
}

impl Stores {
    /// Checks what serde cannot: addresses are there, of the right form, and hold no login, since they are shown.
    pub fn check(&self) -> Result<(), AddressError> {
        let urls = [
            ("kafka.connect_url", &self.kafka.connect_url),
            ("clickhouse.url", &self.clickhouse.url),
            ("elasticsearch.url", &self.elasticsearch.url),
            ("s3.endpoint", &self.s3.endpoint),
        ];
        let hosts = [("postgres.host", &self.postgres.host), ("kafka.brokers", &self.kafka.brokers)];
        for (key, address) in urls.into_iter().chain(hosts) {
            if address.trim().is_empty() {
                return Err(AddressError::Empty(key));
            }
            if without_login(address) != *address || address.contains(['?', '@']) {
                return Err(AddressError::Login(key));
            }
        }
        let is_http = |address: &str| address.starts_with("http://") || address.starts_with("https://");
        let other = urls.into_iter().find(|(_, address)| !is_http(address));
        other.map_or(Ok(()), |(key, _)| Err(AddressError::Scheme(key)))
    }

    /// The stores of a local stack that starts at `base`.
    pub fn local(base: u16) -> Self {
        let ports = Ports::new(base);
        let http = |port: u16| format!("http://127.0.0.1:{port}");
        let redis = |port: u16| format!("redis://127.0.0.1:{port}");
        Self {
            namespace: Names::platform(),
            postgres: Postgres {
                host: "127.0.0.1".to_owned(),
                port: ports.postgres(),
                admin: Login::local("postgres"),
                owner: Login::local("sluice_owner"),
                app: Login::local("sluice_app"),
                cdc: Login::local("sluice_cdc"),
                loader: Login::local("sluice_loader"),
                reader: Login::local("sluice_reader"),
            },
            kafka: Kafka { brokers: format!("127.0.0.1:{}", ports.kafka()), connect_url: http(ports.connect()) },
            clickhouse: ClickHouse {
                url: http(ports.clickhouse_http()),
                login: Login { user: "default".to_owned(), password: Secret::default() },
            },
            elasticsearch: Elasticsearch { url: http(ports.elasticsearch()), login: Login::default() },
            redis: Redis {
                cache: (0..6).map(|n| redis(ports.redis_cache(n))).collect(),
                state: (0..3).map(|n| redis(ports.redis_state(n))).collect(),
            },
            s3: S3 {
                enabled: false,
                endpoint: http(ports.s3()),
                region: "us-east-1".to_owned(),
                access_key: "sluice".to_owned(),
                secret_key: Secret::new("sluice-secret"),
            },
        }
    }
}

impl Default for Stores {
    fn default() -> Self {
        Self::local(DEFAULT_PORT_BASE)
    }
}

macro_rules! default_from_local {
    ($($section:ident => $field:ident),*) => {$(
        impl Default for $section {
            fn default() -> Self {
                Stores::default().$field
            }
        }
    )*};
}
default_from_local!(Postgres => postgres, Kafka => kafka, ClickHouse => clickhouse, Elasticsearch => elasticsearch, Redis => redis, S3 => s3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_in_an_address_is_hidden_or_refused() {
        assert_eq!(without_login("redis://me:hunter2@host:6379/0"), "redis://***@host:6379/0");
        assert_eq!(without_login("redis://host:6379"), "redis://host:6379");
        let mut stores = Stores::default();
        assert_eq!(stores.check(), Ok(()));
        stores.redis.cache = vec!["redis://:hunter2@host:1".to_owned()];
        assert!(!serde_json::to_string(&stores).unwrap().contains("hunter2"));
        stores.clickhouse.url = "http://me:hunter2@host".to_owned();
        assert_eq!(stores.check(), Err(AddressError::Login("clickhouse.url")));
        stores.clickhouse.url = "http://host/?password=hunter2".to_owned();
        assert_eq!(stores.check(), Err(AddressError::Login("clickhouse.url")));
        stores.clickhouse.url = "ftp://host".to_owned();
        assert_eq!(stores.check(), Err(AddressError::Scheme("clickhouse.url")));
        stores.kafka.brokers = String::new();
        assert_eq!(stores.check(), Err(AddressError::Empty("kafka.brokers")));
    }
}
