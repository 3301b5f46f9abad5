//! Addresses and logins of the stores: the `[stores]` section of `sluice.toml`. No other setting distinguishes the
//! local stack, Docker and a production cluster. This module never opens a connection.

mod ports;

use serde::{Deserialize, Serialize};

pub use self::ports::{DEFAULT_PORT_BASE, Ports};
use crate::names::Names;
use crate::secret::Secret;

/// A user and its password.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// User name.
    #[serde(default)]
    pub user: String,
    /// Password; empty if the store requires none.
    #[serde(default)]
    pub password: Secret,
}

impl Login {
    fn local(user: &str) -> Self {
        Self { user: user.to_owned(), password: Secret::new(user) }
    }
}

/// Settings of all stores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stores {
    /// Separates environments that share one set of stores; empty means the platform's own names. See
    /// [`crate::names::Names`].
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

/// PostgreSQL: one server, and one role for each kind of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Postgres {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// May create databases and roles; only `schemas apply` uses it.
    pub admin: Login,
    /// Owns the tables; migrations run as this role.
    pub owner: Login,
    /// The application: reads and writes under row-level security.
    pub app: Login,
    /// Change data capture: replication, and reads that bypass row-level security.
    pub cdc: Login,
    /// Bulk loads: `COPY` fails under row-level security, so this role bypasses it; it may only read and insert.
    pub loader: Login,
    /// Read only, under row-level security.
    pub reader: Login,
}

/// Kafka.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kafka {
    /// Bootstrap servers, as comma-separated `host:port`.
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

/// Redis: eviction is configured per node, so evictable and other keys are kept in two clusters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Redis {
    /// Nodes of the cache cluster (allkeys-lru), `redis://host:port`, or `redis://user:password@host:port`.
    #[serde(serialize_with = "redacted")]
    pub cache: Vec<String>,
    /// Nodes of the state cluster (noeviction), in the same form.
    #[serde(serialize_with = "redacted")]
    pub state: Vec<String>,
}

/// An S3 server; used only if enabled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3 {
    /// Whether S3 is used.
    pub enabled: bool,
    /// `http://host:port`.
    pub endpoint: String,
    /// Region in signatures.
    pub region: String,
    /// Access key.
    pub access_key: String,
    /// Secret key.
    pub secret_key: Secret,
}

/// An address that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The address contains a login, which would be printed.
    #[error(
        "use stores.{0}: it contains a user, a password or parameters, which would be printed; put them into the section's own keys"
    )]
    Login(&'static str),
    /// The address is empty.
    #[error("use stores.{0}: it is empty; set the store's address, or omit the key to use the local stack")]
    Empty(&'static str),
    /// The address has another scheme than HTTP.
    #[error("use stores.{0}: write it as http://HOST:PORT or https://HOST:PORT")]
    Scheme(&'static str),
}

/// An address with its user and password redacted, for output, logs and errors.
pub(crate) fn redact_login(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let host = rest.split('/').next().unwrap_or(rest);
    match host.rfind('@') {
        Some(at) => format!("{scheme}://***@{}", &rest[at + 1..]),
        None => address.to_owned(),
    }
}

fn redacted<S: serde::Serializer>(addresses: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(addresses.iter().map(|address| redact_login(address)))
}

impl Stores {
    /// Checks what serde cannot: addresses are present and well-formed, and contain no login, since they are printed.
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
            if redact_login(address) != *address || address.contains(['?', '@']) {
                return Err(AddressError::Login(key));
            }
        }
        let is_http = |address: &str| address.starts_with("http://") || address.starts_with("https://");
        let invalid = urls.into_iter().find(|(_, address)| !is_http(address));
        invalid.map_or(Ok(()), |(key, _)| Err(AddressError::Scheme(key)))
    }

    /// The stores of a local stack with this port base.
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
    fn a_login_in_an_address_is_redacted_or_refused() {
        assert_eq!(redact_login("redis://me:hunter2@host:6379/0"), "redis://***@host:6379/0");
        assert_eq!(redact_login("redis://host:6379"), "redis://host:6379");
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
