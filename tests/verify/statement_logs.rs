//! The statements that the stores get in one namespace, and what they did: PostgreSQL's log, the requests that reach ClickHouse
//! through a proxy with the rows of its tables (the local server has no query log), Elasticsearch's index statistics, and
//! Redis's MONITOR.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use sluice_schemas::connect;
use sluice_schemas::elastic::{Elastic, Method};
use sluice_testkit::{InterceptingProxy, Recorded, eventually};
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::foreign_objects::ForeignObjects;
use crate::program::World;

const WAIT: Duration = Duration::from_secs(20);
/// First words of statements of PostgreSQL that change nothing. PREPARE is followed by a statement that is not executed.
const READS: [&str; 8] = ["BEGIN", "COMMIT", "ROLLBACK", "SELECT", "WITH", "PREPARE", "SHOW", "DISCARD"];
/// Words of a statement that begins with WITH and writes all the same.
const WRITES: [&str; 4] = ["INSERT", "UPDATE", "DELETE", "MERGE"];
/// First words of statements of ClickHouse that change nothing.
const CLICKHOUSE_READS: [&str; 2] = ["SELECT", "WITH"];
/// Commands of Redis that change nothing.
const READ_COMMANDS: [&str; 6] = ["get", "type", "ft.search", "ts.range", "command", "cluster"];
/// Commands of Redis that name no key and change everything; no test of this program uses them.
const WIDE_COMMANDS: [&str; 4] = ["flushall", "flushdb", "script", "function"];

/// What the logs show since they were last read.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Stores with at least one read.
    pub(crate) reads: Vec<&'static str>,
    /// Every write, as `store: statement`.
    pub(crate) writes: Vec<String>,
}

impl Seen {
    fn add(&mut self, store: &'static str, statement: &str, is_read: bool) {
        if is_read {
            self.reads.push(store);
        } else {
            self.writes.push(format!("{store}: {statement}"));
        }
    }
}

/// Logs that are being watched.
pub(crate) struct StatementLogs {
    database: String,
    postgres: PathBuf,
    /// Bytes of PostgreSQL's log, rows of ClickHouse, and Elasticsearch's counts that were seen before.
    before: (usize, Vec<(String, u64)>, Value),
    clickhouse: clickhouse::Client,
    proxy: InterceptingProxy,
    elastic: Elastic,
    indices: String,
    commands: Arc<Mutex<Vec<String>>>,
    monitors: Vec<JoinHandle<()>>,
}

impl StatementLogs {
    /// Watches from now on. PostgreSQL logs the statements of new connections to the namespace's database.
    pub(crate) async fn watch(world: &World) -> Self {
        let (stores, names) = (&world.stores, &world.names);
        let mut admin = ForeignObjects { stores, names }.postgres(&names.database()).await.unwrap();
        let sql = format!("ALTER DATABASE {} SET log_statement = 'all'", names.database());
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
        admin.close().await.unwrap();
        let commands = Arc::new(Mutex::new(Vec::new()));
        let mut monitors = Vec::new();
        for node in stores.redis.cache.iter().chain(&stores.redis.state) {
            monitors.push(monitor(node, names.namespace().to_owned(), Arc::clone(&commands)).await);
        }
        let mut logs = Self {
            database: names.database(),
            postgres: world.state_dir().join("logs/postgres.log"),
            before: (0, Vec::new(), Value::Null),
            clickhouse: connect::clickhouse_server(stores),
            proxy: InterceptingProxy::in_front_of(&stores.clickhouse.url).await,
            elastic: Elastic::new(stores).unwrap(),
            indices: names.index("*"),
            commands,
            monitors,
        };
        logs.read().await;
        logs
    }

    /// The address of ClickHouse at which its statements are seen.
    pub(crate) fn clickhouse_url(&self) -> &str {
        &self.proxy.url
    }

    /// What happened since the last call.
    pub(crate) async fn read(&mut self) -> Seen {
        let mut seen = Seen::default();
        self.read_postgres(&mut seen);
        self.read_clickhouse(&mut seen).await;
        self.read_elasticsearch(&mut seen).await;
        for command in self.commands.lock().unwrap().drain(..) {
            seen.add("redis", &command, READ_COMMANDS.contains(&command_name(&command).as_str()));
        }
        seen
    }

    fn read_postgres(&mut self, seen: &mut Seen) {
        let log = String::from_utf8_lossy(&std::fs::read(&self.postgres).unwrap()).into_owned();
        let new = &log[self.before.0.min(log.len())..];
        self.before.0 = log.len();
        for line in new.lines() {
            let Some((_, logged)) = line.split_once("LOG:  statement: ").or_else(|| line.split_once("LOG:  execute "))
            else {
                continue;
            };
            // `execute NAME: STATEMENT`
            let statement = if line.contains("LOG:  execute ") {
                logged.split_once(": ").map_or(logged, |(_, statement)| statement)
            } else {
                logged
            };
            let word = statement.split_whitespace().next().unwrap_or_default().to_uppercase();
            let words = statement.to_uppercase();
            let writes =
                word == "WITH" && words.split(|c: char| !c.is_alphanumeric()).any(|word| WRITES.contains(&word));
            seen.add("postgres", statement, word.is_empty() || READS.contains(&word.as_str()) && !writes);
        }
    }

    /// A question that does not forbid the server to write counts as a write.
    async fn read_clickhouse(&mut self, seen: &mut Seen) {
        for Recorded { address, body } in self.proxy.recorded() {
            // With parameters, the statement is a part of a form.
            let form = body.split_once("name=\"query\"").map(|(_, part)| part.trim_start());
            let word = form.unwrap_or(&body).split_whitespace().next().unwrap_or_default().to_uppercase();
            let is_question = address.contains(&self.database);
            let is_limited = !is_question || address.contains("readonly=2");
            let is_read = CLICKHOUSE_READS.contains(&word.as_str()) && is_limited;
            seen.add("clickhouse", &format!("{address} {body}"), is_read);
        }
        // Merges change the rows of other engines by themselves.
        let rows = "SELECT name, assumeNotNull(total_rows) FROM system.tables WHERE database = ? AND engine = 'MergeTree' \
                    ORDER BY name";
        let rows = self.clickhouse.query(rows).bind(&self.database).fetch_all::<(String, u64)>().await.unwrap();
        if std::mem::replace(&mut self.before.1, rows.clone()) != rows {
            seen.add("clickhouse", &format!("rows {rows:?}"), false);
        }
    }

    async fn read_elasticsearch(&mut self, seen: &mut Seen) {
        let path = format!("/{}/_stats/indexing,search,refresh?expand_wildcards=all", self.indices);
        let stats: Value = self.elastic.read(Method::GET, &path, None).await.unwrap();
        let searches = stats["_all"]["total"]["search"]["query_total"].clone();
        let indexing = &stats["_all"]["total"]["indexing"];
        let indices: Vec<&String> = stats["indices"].as_object().unwrap().keys().collect();
        let counts = json!({
            "indices": indices,
            "indexed": indexing["index_total"],
            "deleted": indexing["delete_total"],
        });
        if !self.before.2.is_null() {
            let changed = self.before.2["counts"] != counts;
            if changed {
                seen.add("elasticsearch", &counts.to_string(), false);
            }
            if self.before.2["searches"] != searches {
                seen.add("elasticsearch", "", true);
            }
        }
        self.before.2 = json!({ "counts": counts, "searches": searches });
    }

    /// Writes to each store, so that a log that shows nothing is noticed.
    pub(crate) async fn write(&self, world: &World) {
        let foreign = ForeignObjects { stores: &world.stores, names: &world.names };
        let mut admin = foreign.postgres(&self.database).await.unwrap();
        sqlx::query("WITH deleted AS (DELETE FROM invoices RETURNING 1) SELECT count(*) FROM deleted")
            .execute(&mut admin)
            .await
            .unwrap();
        admin.close().await.unwrap();
        let mut stores = world.stores.clone();
        stores.clickhouse.url.clone_from(&self.proxy.url);
        let clickhouse = connect::clickhouse(&stores, &world.names);
        clickhouse.query("INSERT INTO calls VALUES ('eve')").execute().await.unwrap();
        let note = format!("{}/_doc/2?refresh=true", world.names.index("notes"));
        foreign.elasticsearch(&note, &json!({"text": "another"})).await;
        let mut cache = connect::redis_cache(&world.stores).await.unwrap();
        let key = world.names.key("greeting:3");
        redis::cmd("SET").arg(&key).arg("x").query_async::<()>(&mut cache).await.unwrap();
        let is_seen = || async { self.commands.lock().unwrap().iter().any(|command| command.contains(&key)) };
        eventually(WAIT, "MONITOR shows the write", is_seen).await;
    }
}

impl Drop for StatementLogs {
    fn drop(&mut self) {
        self.monitors.iter().for_each(JoinHandle::abort);
    }
}

/// The command of a line of MONITOR, in lower case.
fn command_name(line: &str) -> String {
    line.split('"').nth(1).unwrap_or_default().to_lowercase()
}

/// Collects a node's commands that name a key of the namespace, or change all keys.
async fn monitor(node: &str, namespace: String, commands: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let address = node.trim_start_matches("redis://").to_owned();
    let mut stream = TcpStream::connect(&address).await.unwrap();
    stream.write_all(b"MONITOR\r\n").await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("+OK"));
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            if line.contains(&format!("\"{namespace}:")) || WIDE_COMMANDS.contains(&command_name(&line).as_str()) {
                commands.lock().unwrap().push(line);
            }
        }
    })
}
