//! The process stays under 256 MiB: with a backlog, during a ClickHouse outage, and with batches of 100,000 rows on six
//! partitions. Peak resident memory is the kernel's own figure; if a test may create a memory cgroup, the kernel also
//! enforces the limit. `SLUICE_TEST_LONG=1` makes the backlog five million records.

use std::path::PathBuf;

use bytesize::ByteSize;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use sluice_ingest::config::Settings;
use sluice_schemas::connect;
use sluice_schemas::names::topic;
use sluice_testkit::{TcpProxy, eventually};

use crate::harness::{DEADLINE, World, event_record, metric, quick_settings};
use crate::process::Process;

const LIMIT: u64 = 256 << 20;

fn backlog() -> u32 {
    if std::env::var_os("SLUICE_TEST_LONG").is_some() { 5_000_000 } else { 300_000 }
}

impl World {
    /// Produces `count` records by repeating the same thousand events; a record's identity is its offset.
    async fn flood(&self, count: u32) {
        let (stores, topic) = (self.stores.clone(), self.names.topic(topic::COMMUNICATION_EVENTS));
        let producing = tokio::task::spawn_blocking(move || {
            let records: Vec<_> = (0..1000).map(event_record).collect();
            let mut config = connect::kafka_config(&stores);
            config.set("compression.type", "lz4").set("linger.ms", "50").set("queue.buffering.max.kbytes", "65536");
            let producer: ThreadedProducer<DefaultProducerContext> = config.create().unwrap();
            for n in 0..count as usize {
                let record = &records[n % records.len()];
                let mut message = BaseRecord::<[u8], [u8]>::to(&topic);
                message.key = record.key.as_deref();
                message.payload = record.payload.as_deref();
                while let Err((_, rejected)) = producer.send(message) {
                    message = rejected;
                    producer.flush(DEADLINE).unwrap();
                }
            }
            producer.flush(DEADLINE * 4).unwrap();
        });
        producing.await.unwrap();
    }

    async fn distinct_offsets(&self) -> u64 {
        let query = "SELECT uniqExact(_partition, _offset) FROM communication_events";
        connect::clickhouse(&self.stores, &self.names).query(query).fetch_one().await.unwrap()
    }
}

/// A memory cgroup with a hard limit, if this machine allows one.
struct Cgroup(PathBuf);

impl Cgroup {
    fn containing(process: &Process) -> Option<Self> {
        let (folder, file) = [("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")]
            .map(|(root, file)| (PathBuf::from(root).join(format!("sluice-test-{}", std::process::id())), file))
            .into_iter()
            .find(|(folder, file)| std::fs::create_dir(folder).is_ok() && folder.join(file).exists())?;
        let cgroup = Self(folder);
        let write = |file: &str, text: String| std::fs::write(cgroup.0.join(file), text);
        write(file, LIMIT.to_string()).ok()?;
        write("cgroup.procs", process.pid().to_string()).ok()?;
        Some(cgroup)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        drop(std::fs::remove_dir(&self.0));
    }
}

async fn run(settings: Settings, records: u32) {
    let world = World::new().await;
    let mut proxy = TcpProxy::start(&world.stores.clickhouse.url).await;
    let url = proxy.url.clone();
    let process = world.spawn_ready(&settings, &[("SLUICE_STORES__CLICKHOUSE__URL", &url)]).await;
    let cgroup = Cgroup::containing(&process);
    if cgroup.is_none() {
        println!(
            "no memory cgroup can be created here: the peak is checked, but the kernel does not enforce the limit"
        );
    }
    proxy.close();
    world.flood(records).await;
    eventually(DEADLINE * 2, "partitions pause", || async {
        metric(&process.url, "sluice_ingest_paused_partitions{", "communication-events").await > 0.0
    })
    .await;
    proxy.reopen().await;
    eventually(DEADLINE * 10, "all rows land", || async { world.count().await >= records as usize }).await;
    let peak = process.peak_memory();
    println!("{records} records, peak {}", ByteSize(peak));
    assert!(peak < LIMIT, "{} of {}", ByteSize(peak), ByteSize(LIMIT));
    let output = process.stop().await;
    assert!(
        !output.contains("partitions revoked\",\"partitions\":6") || output.matches("partitions revoked").count() <= 1
    );
    assert_eq!(
        (world.count().await, world.distinct_offsets().await),
        (records as usize, u64::from(records)),
        "each row once"
    );
    assert!(world.dead_letters().await.is_empty());
    drop(cgroup);
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_during_an_outage_stays_under_the_limit() {
    let mut settings = quick_settings();
    settings.memory_budget = ByteSize(LIMIT);
    run(settings, backlog()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_of_a_hundred_thousand_rows_stay_under_the_limit() {
    let mut settings = quick_settings();
    settings.memory_budget = ByteSize(LIMIT);
    for pipeline in settings.pipelines.values_mut() {
        pipeline.max_rows = 100_000;
        pipeline.max_bytes = ByteSize::mib(32);
        pipeline.max_age = std::time::Duration::from_secs(5);
    }
    run(settings, backlog() * 2).await;
}
