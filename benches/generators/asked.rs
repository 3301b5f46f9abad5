//! The stores of the bench, what they hold, and what is asked of them. It runs no load generator.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use sluice_schemas::connect::{self, Role};
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;
use sluice_schemas::{Store, apply};
use sluice_stack::{Layout, Lease, Progress, Service, Settings, keeper, lease, up};
use sqlx::AssertSqlSafe;

use crate::options::Options;

/// The `sluice` program of the same build.
pub(crate) const SLUICE: &str = env!("CARGO_BIN_EXE_sluice");
/// Keys that are asked for, each as often.
pub(crate) const KEYS: u64 = 10_000;
/// Connections of each program.
pub(crate) const CONNECTIONS: u32 = 16;
/// How long the stack waits for another user before it stops and removes its data.
const IDLE: Duration = Duration::from_mins(1);

/// Whom a question is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A row by its primary key, in a prepared statement.
    Postgres,
    /// A value by its key, of a cluster of six nodes.
    Redis,
    /// A document by a term.
    Elasticsearch,
}

impl Asked {
    pub(crate) const ALL: [Self; 3] = [Self::Postgres, Self::Redis, Self::Elasticsearch];

    /// The store's name in a scenario.
    pub(crate) fn store(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Elasticsearch => "elasticsearch",
        }
    }

    /// Questions per second: a small share of what the store answers on two processors.
    pub(crate) fn rate(self) -> u32 {
        match self {
            Self::Postgres => 1_000,
            Self::Redis => 2_000,
            Self::Elasticsearch => 200,
        }
    }
}

/// Running stores with the bench's data.
pub(crate) struct Testbed {
    pub(crate) stores: Stores,
    pub(crate) names: Names,
    /// Folder of the programs' files.
    pub(crate) folder: PathBuf,
    pub(crate) port_base: u16,
    _lease: Lease,
}

impl Testbed {
    /// Starts the stores and fills them.
    pub(crate) async fn up(options: &Options) -> anyhow::Result<Self> {
        let settings = Settings { port_base: options.port_base, ..Settings::default() };
        let layout = Layout::new(&settings)?.with_program(PathBuf::from(SLUICE));
        let lease = lease(&layout).await?;
        let services = Service::DEFAULT;
        Box::pin(up(&layout, services, &Progress::stderr())).await?;
        keeper::spawn_wiping(&layout, IDLE)?;
        let names = Names::new("generators")?;
        let stores = Stores { namespace: names.clone(), ..Stores::local(options.port_base) };
        apply::apply(&stores, &names, &[Store::Postgres]).await?;
        let folder = std::env::temp_dir().join(format!("sluice-generators-{}", options.port_base));
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let testbed = Self { stores, names, folder, port_base: options.port_base, _lease: lease };
        testbed.fill().await?;
        Ok(testbed)
    }

    async fn fill(&self) -> anyhow::Result<()> {
        let owner = connect::postgres(&self.stores, &self.names, Role::Owner).await?;
        let sql = format!(
            "DROP TABLE IF EXISTS asked; CREATE TABLE asked (id bigint PRIMARY KEY, value text NOT NULL);
             INSERT INTO asked SELECT id, repeat('x', 100) FROM generate_series(1, {KEYS}) AS id;
             GRANT SELECT ON asked TO {}; ANALYZE asked",
            self.reader()
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&owner).await.context("fill PostgreSQL")?;
        owner.close().await;
        let mut cache = connect::redis_cache(&self.stores).await?;
        for id in 1..=KEYS {
            let mut set = redis::cmd("SET");
            set.arg(self.key(id)).arg("x".repeat(100)).query_async::<()>(&mut cache).await.context("fill Redis")?;
        }
        let (mut lines, mut ids) = (String::new(), "id\n".to_owned());
        for id in 1..=KEYS {
            writeln!(ids, "{id}")?;
            writeln!(lines, "{{\"index\":{{\"_id\":\"{id}\"}}}}\n{{\"word\":\"w{}\",\"text\":\"x\"}}", id % 100)?;
        }
        let url = format!("{}/_bulk?refresh=true", self.index());
        let client = reqwest::Client::builder().no_proxy().build()?;
        let bulk = client.post(url).header("content-type", "application/x-ndjson").body(lines);
        bulk.send().await?.error_for_status().context("fill Elasticsearch")?;
        std::fs::write(self.folder.join("ids.csv"), ids).context("write ids.csv")
    }

    /// The role that asks.
    pub(crate) fn reader(&self) -> &str {
        &Role::Reader.login(&self.stores).user
    }

    /// Prefix of the keys in Redis.
    pub(crate) fn key_prefix(&self) -> String {
        self.names.key("asked:")
    }

    fn key(&self, id: u64) -> String {
        format!("{}{id}", self.key_prefix())
    }

    /// Name of the index.
    pub(crate) fn index_name(&self) -> String {
        self.names.index("asked")
    }

    /// Address of the index.
    pub(crate) fn index(&self) -> String {
        format!("{}/{}", self.stores.elasticsearch.url, self.index_name())
    }
}
