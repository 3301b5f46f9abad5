//! The one way to connect to each store, shared by `schemas`, `ingest` and `loadgen`, so that timeouts, databases and
//! logins are decided once. Connecting never creates or changes anything in a store.

use std::error::Error;
use std::io;
use std::time::Duration;

use rdkafka::ClientConfig;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use rustix::io::Errno;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};

use crate::names::Names;
use crate::stores::{Login, Stores, redact_login};

/// Timeout of opening a connection, after which the store counts as unreachable.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of a request to a store, unless the caller sets its own.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum number of connections in a pool of [`postgres`].
const POSTGRES_POOL: u32 = 8;
/// The database that every PostgreSQL server has: databases and roles are created from here, and advisory locks
/// acquired, since those belong to one database.
const MAINTENANCE_DATABASE: &str = "postgres";

/// A store is unreachable or rejects the login.
#[derive(Debug, thiserror::Error)]
#[error("connect to {store} at {address}: {cause}; {}", self.advice())]
pub struct ConnectError {
    /// The store's name.
    pub store: &'static str,
    /// The store's section below `[stores]`.
    pub section: &'static str,
    /// Host and port, or URL.
    pub address: String,
    /// The client's message.
    pub cause: String,
    /// Whether no store is at fault: this process, or its machine, may open no more files.
    pub out_of_files: bool,
    /// Whether the server answers and has no such database.
    pub lacks_database: bool,
    /// Whether the server answers and refuses the connection, such as for its login.
    pub refuses: bool,
}

/// PostgreSQL's code for a database that does not exist.
const INVALID_CATALOG_NAME: &str = "3D000";

impl ConnectError {
    /// The error of a store's client.
    pub(crate) fn new(
        store: &'static str,
        section: &'static str,
        address: String,
        error: &(dyn Error + 'static),
    ) -> Self {
        let refused = error.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error);
        let lacks_database =
            refused.and_then(sqlx::error::DatabaseError::code).is_some_and(|code| code == INVALID_CATALOG_NAME);
        // The client's own text adds the line of the server's source code.
        let cause = refused.map_or_else(|| error.to_string(), |refused| refused.message().to_owned());
        let out_of_files = ran_out_of_files(error);
        Self {
            out_of_files,
            lacks_database,
            refuses: refused.is_some(),
            ..Self::because(store, section, address, cause)
        }
    }

    /// The error of a store that is at fault itself, in the words of its client.
    pub(crate) fn because(store: &'static str, section: &'static str, address: String, cause: String) -> Self {
        Self { store, section, address, cause, out_of_files: false, lacks_database: false, refuses: false }
    }

    fn advice(&self) -> String {
        let correct = format!("correct [stores.{}]", self.section);
        if self.refuses { correct } else { format!("is the stack up? Start it with `sluice up`, or {correct}") }
    }
}

/// Whether an error says, or one of its causes, that this process or its machine may open no more files.
pub fn ran_out_of_files(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let code = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        let is_known = error.downcast_ref::<ConnectError>().is_some_and(|error| error.out_of_files);
        if is_known || code.is_some_and(|code| [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error).contains(&code)) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A role that connects to PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Creates databases and roles.
    Admin,
    /// Owns the tables; row-level security is forced on it.
    Owner,
    /// The application, under row-level security.
    App,
    /// Change data capture: reads everything, writes nothing.
    Cdc,
    /// Bulk loads: `COPY` fails under row-level security, so this role bypasses it and may only read and insert.
    Loader,
    /// Reads under row-level security.
    Reader,
}

impl Role {
    /// The role's login in the settings.
    pub fn login(self, stores: &Stores) -> &Login {
        let postgres = &stores.postgres;
        match self {
            Self::Admin => &postgres.admin,
            Self::Owner => &postgres.owner,
            Self::App => &postgres.app,
            Self::Cdc => &postgres.cdc,
            Self::Loader => &postgres.loader,
            Self::Reader => &postgres.reader,
        }
    }
}

/// Options of a PostgreSQL connection to `database`, for a caller with its own pool.
pub fn postgres_options(stores: &Stores, database: &str, role: Role) -> PgConnectOptions {
    let login = role.login(stores);
    PgConnectOptions::new_without_pgpass()
        .host(&stores.postgres.host)
        .port(stores.postgres.port)
        .username(&login.user)
        .password(login.password.reveal())
        .database(database)
        .application_name("sluice")
}

/// Options of the reader's connections whose transactions only read, whatever the role may do, unless they say otherwise.
pub fn reading_options(stores: &Stores, database: &str) -> PgConnectOptions {
    postgres_options(stores, database, Role::Reader).options([("default_transaction_read_only", "on")])
}

/// A small pool of connections to the namespace's database. It opens one connection to verify that the login works.
pub async fn postgres(stores: &Stores, names: &Names, role: Role) -> Result<PgPool, ConnectError> {
    let database = &names.database();
    // A pool retries until its timeout; a single connection fails at once with the cause.
    let first = postgres_connection(stores, database, role).await?;
    first.close().await.map_err(|error| postgres_failed(stores, database, &error))?;
    let pool = PgPoolOptions::new().max_connections(POSTGRES_POOL).acquire_timeout(CONNECT_TIMEOUT);
    Ok(pool.connect_lazy_with(postgres_options(stores, database, role)))
}

/// The administrator's connection to the maintenance database.
pub async fn postgres_admin(stores: &Stores) -> Result<PgConnection, ConnectError> {
    postgres_connection(stores, MAINTENANCE_DATABASE, Role::Admin).await
}

/// One PostgreSQL connection, for work that must stay on it, such as holding a lock.
pub async fn postgres_connection(stores: &Stores, database: &str, role: Role) -> Result<PgConnection, ConnectError> {
    postgres_connection_with(stores, database, postgres_options(stores, database, role)).await
}

/// One PostgreSQL connection with options of the caller's own.
pub async fn postgres_connection_with(
    stores: &Stores,
    database: &str,
    options: PgConnectOptions,
) -> Result<PgConnection, ConnectError> {
    let opened = tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await;
    let no_response = |_| io::Error::new(io::ErrorKind::TimedOut, "no response in time");
    let opened = opened.map_err(|elapsed| postgres_failed(stores, database, &no_response(elapsed)))?;
    opened.map_err(|error| postgres_failed(stores, database, &error))
}

fn postgres_failed(stores: &Stores, database: &str, error: &(dyn Error + 'static)) -> ConnectError {
    let address = format!("{}:{}/{database}", stores.postgres.host, stores.postgres.port);
    ConnectError::new("PostgreSQL", "postgres", address, error)
}

/// A ClickHouse client for the namespace's database. It does not connect yet.
pub fn clickhouse(stores: &Stores, names: &Names) -> clickhouse::Client {
    clickhouse_server(stores).with_database(names.database())
}

/// A ClickHouse client without a default database. It does not connect yet.
pub fn clickhouse_server(stores: &Stores) -> clickhouse::Client {
    let login = &stores.clickhouse.login;
    let client = clickhouse::Client::default().with_url(&stores.clickhouse.url).with_user(&login.user);
    if login.password.is_empty() { client } else { client.with_password(login.password.reveal()) }
}

/// The Redis cache cluster, which may evict: customer contexts.
pub async fn redis_cache(stores: &Stores) -> Result<ClusterConnection, ConnectError> {
    redis_cluster("Redis (cache)", &stores.redis.cache).await
}

/// The Redis state cluster, which never evicts: sessions, rate limits, agent state.
pub async fn redis_state(stores: &Stores) -> Result<ClusterConnection, ConnectError> {
    redis_cluster("Redis (state)", &stores.redis.state).await
}

async fn redis_cluster(store: &'static str, nodes: &[String]) -> Result<ClusterConnection, ConnectError> {
    let failed = |error: redis::RedisError| {
        redis_failed(store, &nodes.iter().map(|node| redact_login(node)).collect::<Vec<_>>().join(","), &error)
    };
    let client = ClusterClient::builder(nodes.iter().map(String::as_str))
        .connection_timeout(CONNECT_TIMEOUT)
        .response_timeout(REQUEST_TIMEOUT)
        .build()
        .map_err(failed)?;
    client.get_async_connection().await.map_err(failed)
}

/// One node of a Redis cluster, for what is configured per node.
pub async fn redis_node(store: &'static str, url: &str) -> Result<redis::aio::MultiplexedConnection, ConnectError> {
    let failed = |error: redis::RedisError| redis_failed(store, url, &error);
    let config = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(REQUEST_TIMEOUT));
    let client = redis::Client::open(url).map_err(failed)?;
    client.get_multiplexed_async_connection_with_config(&config).await.map_err(failed)
}

fn redis_failed(store: &'static str, address: &str, error: &redis::RedisError) -> ConnectError {
    ConnectError::new(store, "redis", redact_login(address), error)
}

/// The base configuration of every Kafka client. It does not connect.
pub fn kafka_config(stores: &Stores) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &stores.kafka.brokers)
        .set("client.id", "sluice")
        .set("socket.connection.setup.timeout.ms", CONNECT_TIMEOUT.as_millis().to_string());
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unreachable_store_is_named_with_a_remedy() {
        let stores = Stores::local(1);
        let names = Names::new("t").unwrap();
        let error = postgres(&stores, &names, Role::App).await.unwrap_err().to_string();
        assert!(error.starts_with("connect to PostgreSQL at 127.0.0.1:1/sluice_t: "), "{error}");
        assert!(error.ends_with("Start it with `sluice up`, or correct [stores.postgres]"), "{error}");
    }

    #[test]
    fn each_role_uses_its_own_login() {
        let stores = Stores::default();
        assert_eq!(Role::Loader.login(&stores).user, "sluice_loader");
        assert_eq!(postgres_options(&stores, "sluice", Role::Reader).get_username(), "sluice_reader");
    }
}
