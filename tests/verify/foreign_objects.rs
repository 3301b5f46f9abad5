//! Objects in a run's namespace that the run did not create: creates them in the stores and checks that they still exist.

use std::time::Duration;

use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
};
use reqwest::{Client, StatusCode};
use serde_json::json;
use sluice_schemas::{
    connect::{self, Role},
    names::Names,
    stores::Stores,
};
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};

const WAIT: Duration = Duration::from_secs(20);

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    Topic,
    Group,
    ClickHouse,
    Index,
    Template,
    Cache,
    State,
}

impl Kind {
    pub(crate) const ALL: [Self; 8] = [
        Self::Postgres,
        Self::Topic,
        Self::Group,
        Self::ClickHouse,
        Self::Index,
        Self::Template,
        Self::Cache,
        Self::State,
    ];
}

/// The foreign objects of one namespace.
pub(crate) struct ForeignObjects<'a> {
    pub(crate) stores: &'a Stores,
    pub(crate) names: &'a Names,
}

impl ForeignObjects<'_> {
    /// Creates an object of each of `kinds`; the namespace's databases are created if they do not exist.
    pub(crate) async fn create(&self, kinds: &[Kind]) {
        for kind in kinds {
            match kind {
                Kind::Postgres => self.create_in_postgres().await,
                Kind::Topic => self.create_topic().await,
                Kind::Group => self.create_group().await,
                Kind::ClickHouse => self.create_in_clickhouse().await,
                Kind::Index => self.elasticsearch("theirs/_doc/1?refresh=true", &json!({"a": 1})).await,
                Kind::Template => {
                    let body = json!({"index_patterns": [format!("{}-theirs-*", self.names.namespace())]});
                    self.elasticsearch("_index_template/theirs", &body).await;
                }
                Kind::Cache => self.set(connect::redis_cache(self.stores).await.unwrap()).await,
                Kind::State => self.set(connect::redis_state(self.stores).await.unwrap()).await,
            }
        }
    }

    /// The kinds whose object is missing or altered.
    pub(crate) async fn missing(&self, kinds: &[Kind]) -> Vec<Kind> {
        let mut missing = Vec::new();
        for kind in kinds {
            let is_present = match kind {
                Kind::Postgres => self.is_in_postgres().await,
                Kind::Topic => self.topics().iter().any(|topic| *topic == self.topic()),
                Kind::Group => self.committed() == Some(Offset::Offset(7)),
                Kind::ClickHouse => self.rows("theirs").await == Some(1),
                Kind::Index => self.elasticsearch_has("theirs/_doc/1").await,
                Kind::Template => self.elasticsearch_has("_index_template/theirs").await,
                Kind::Cache => self.is_set(connect::redis_cache(self.stores).await.unwrap()).await,
                Kind::State => self.is_set(connect::redis_state(self.stores).await.unwrap()).await,
            };
            if !is_present {
                missing.push(*kind);
            }
        }
        missing
    }

    /// Connects as administrator; an error if the database does not exist.
    pub(crate) async fn postgres(&self, database: &str) -> Result<PgConnection, sqlx::Error> {
        connect::postgres_options(self.stores, database, Role::Admin).connect().await
    }

    async fn create_in_postgres(&self) {
        let mut maintenance = self.postgres("postgres").await.unwrap();
        let database = self.names.database();
        let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(&database)
            .fetch_one(&mut maintenance)
            .await
            .unwrap();
        if !exists {
            sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {database}")))
                .execute(&mut maintenance)
                .await
                .unwrap();
        }
        let mut connection = self.postgres(&database).await.unwrap();
        let sql =
            "CREATE TABLE theirs AS SELECT 1 AS a; CREATE FUNCTION theirs() RETURNS int LANGUAGE sql AS 'SELECT 1'";
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    }

    async fn is_in_postgres(&self) -> bool {
        let Ok(mut connection) = self.postgres(&self.names.database()).await else { return false };
        let sum = sqlx::query_scalar("SELECT a + theirs() FROM theirs").fetch_one(&mut connection).await;
        sum.is_ok_and(|sum: i32| sum == 2)
    }

    pub(crate) fn topic(&self) -> String {
        self.names.topic("theirs")
    }

    async fn create_topic(&self) {
        let admin: AdminClient<DefaultClientContext> = connect::kafka_config(self.stores).create().unwrap();
        let topic = self.topic();
        let new = NewTopic::new(&topic, 1, TopicReplication::Fixed(1));
        let results = admin.create_topics([&new], &AdminOptions::new()).await.unwrap();
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        let is_listed = || async { self.topics().contains(&topic) };
        sluice_testkit::eventually(WAIT, "the topic is listed", is_listed).await;
    }

    /// All topics of the cluster.
    pub(crate) fn topics(&self) -> Vec<String> {
        let metadata = self.consumer().fetch_metadata(None, WAIT).unwrap();
        metadata.topics().iter().map(|topic| topic.name().to_owned()).collect()
    }

    fn consumer(&self) -> BaseConsumer {
        let mut config = connect::kafka_config(self.stores);
        config.set("group.id", self.names.group("theirs")).create().unwrap()
    }

    /// The group commits an offset for a topic outside the namespace, so that the offset outlives the namespace's topics.
    async fn create_group(&self) {
        let topic = format!("theirs-{}", self.names.namespace());
        let admin: AdminClient<DefaultClientContext> = connect::kafka_config(self.stores).create().unwrap();
        let new = NewTopic::new(&topic, 1, TopicReplication::Fixed(1));
        admin.create_topics([&new], &AdminOptions::new()).await.unwrap();
        sluice_testkit::eventually(WAIT, "the topic is listed", || async { self.topics().contains(&topic) }).await;
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&topic, 0, Offset::Offset(7)).unwrap();
        self.consumer().commit(&offsets, CommitMode::Sync).unwrap();
    }

    fn committed(&self) -> Option<Offset> {
        let topic = format!("theirs-{}", self.names.namespace());
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition(&topic, 0);
        let committed = self.consumer().committed_offsets(partitions, WAIT).unwrap();
        committed.find_partition(&topic, 0).map(|partition| partition.offset())
    }

    async fn create_in_clickhouse(&self) {
        let (server, database) = (connect::clickhouse_server(self.stores), self.names.database());
        for sql in [
            format!("CREATE DATABASE IF NOT EXISTS {database}"),
            format!("CREATE TABLE {database}.theirs (a UInt8) ENGINE = MergeTree ORDER BY a"),
            format!("INSERT INTO {database}.theirs VALUES (1)"),
        ] {
            server.query(&sql).execute().await.unwrap();
        }
    }

    /// The number of rows of a table in ClickHouse; `None` if the table does not exist.
    pub(crate) async fn rows(&self, table: &str) -> Option<u64> {
        let sql = format!("SELECT count() FROM {table}");
        connect::clickhouse(self.stores, self.names).query(&sql).fetch_one().await.ok()
    }

    pub(crate) async fn elasticsearch(&self, path: &str, body: &serde_json::Value) {
        let http = Client::builder().no_proxy().build().unwrap();
        let response = http.put(self.url(path)).json(body).send().await.unwrap();
        assert!(response.status().is_success(), "{}", response.text().await.unwrap());
    }

    async fn elasticsearch_has(&self, path: &str) -> bool {
        let http = Client::builder().no_proxy().build().unwrap();
        http.get(self.url(path)).send().await.unwrap().status() == StatusCode::OK
    }

    fn url(&self, path: &str) -> String {
        let path = path.replace("theirs", &format!("{}-theirs", self.names.namespace()));
        format!("{}/{path}", self.stores.elasticsearch.url)
    }

    async fn set(&self, mut cluster: redis::cluster_async::ClusterConnection) {
        redis::cmd("SET").arg(self.names.key("theirs")).arg(1).query_async::<()>(&mut cluster).await.unwrap();
    }

    async fn is_set(&self, mut cluster: redis::cluster_async::ClusterConnection) -> bool {
        let value: Option<u8> =
            redis::cmd("GET").arg(self.names.key("theirs")).query_async(&mut cluster).await.unwrap();
        value == Some(1)
    }
}
