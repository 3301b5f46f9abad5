//! A record that Kafka's client cannot read is named with its offset, blocks no other partition, and can be skipped, which
//! leaves a dead letter.

use bytesize::ByteSize;
use rdkafka::producer::{FutureProducer, FutureRecord};
use sluice_ingest::config::Settings;
use sluice_schemas::connect;
use sluice_schemas::names::topic;
use sluice_testkit::eventually;
use tokio::process::Command;

use crate::harness::{DEADLINE, World, header, november_records, status, wait_for_stall};
use crate::process::{Process, static_member};

fn small_budget() -> Settings {
    Settings { memory_budget: ByteSize::mib(64), ..static_member() }
}

impl World {
    /// Produces a record that has a few KiB when compressed and is too large when decompressed.
    async fn produce_zstd_bomb(&self) {
        let mut config = connect::kafka_config(&self.stores);
        config.set("compression.type", "zstd").set("message.max.bytes", "67108864").set("batch.size", "67108864");
        let producer: FutureProducer = config.create().unwrap();
        let (name, payload) = (self.names.topic(topic::COMMUNICATION_EVENTS), vec![b' '; 40 << 20]);
        let record = FutureRecord::<[u8], [u8]>::to(&name).payload(&payload).partition(0);
        producer.send(record, DEADLINE).await.map_err(|(error, _)| error).unwrap();
    }

    async fn skip(&self, offset: &str, options: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .args(["--namespace", self.names.namespace(), "--port-base", &self.port_base().to_string()])
            .args(["ingest", "offsets", "skip", "communication-events", "0", offset])
            .args(options)
            .env("SLUICE_INGEST__MEMORY_BUDGET", "64 MiB")
            .output()
            .await
            .unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (output.status.code(), text)
    }

    /// Produces three records, an unreadable one and two more, and starts a worker; returns once it has committed all records
    /// before the unreadable one.
    async fn start_worker_with_bomb(&self, faults: &str) -> Process {
        let producer = self.producer("lz4");
        self.produce_all(&producer, &november_records(0, 0..3)).await;
        self.produce_zstd_bomb().await;
        self.produce_all(&producer, &november_records(0, 3..5)).await;
        let worker = self.spawn(&small_budget(), &[("SLUICE_FAULTS", faults)]);
        self.produce_all(&producer, &november_records(1, 0..4)).await;
        eventually(DEADLINE, "readable records are committed", || async {
            self.committed_sum(topic::COMMUNICATION_EVENTS).await == 3 + 4
        })
        .await;
        worker
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_record_is_named_and_can_be_skipped() {
    let world = World::new().await;
    let worker = world.start_worker_with_bomb("").await;
    wait_for_stall(&worker.url, "communication-events/0 is stalled: the record at offset 3 cannot be read").await;
    let printed = worker.stop().await;
    assert!(printed.contains("a record cannot be read"), "{printed}");
    assert_eq!(world.count().await, 3 + 4);

    let (code, printed) = world.skip("2", &["--yes"]).await;
    assert!(code == Some(1) && printed.contains("the group has committed 3"), "{printed}");
    let (code, printed) = world.skip("3", &[]).await;
    assert!(code == Some(4) && printed.contains("offsets 3 to 3 cannot be read"), "{printed}");
    assert_eq!(world.committed_sum(topic::COMMUNICATION_EVENTS).await, 7, "nothing is skipped without confirmation");
    // A static member stays in its group until its session ends.
    eventually(DEADLINE, "the record is skipped", || async {
        let (code, printed) = world.skip("3", &["--yes"]).await;
        if code == Some(0) { Ok(()) } else { Err(printed) }
    })
    .await;
    let (code, printed) = world.skip("4", &["--yes"]).await;
    assert!(code == Some(4) && printed.contains("it can be read"), "{printed}");

    let worker = world.spawn_ready(&small_budget(), &[]).await;
    world.wait_for_rows(5 + 4).await;
    worker.stop().await;
    let letters = world.dead_letters().await;
    assert_eq!(letters.keys().collect::<Vec<_>>(), [&(0, 3)]);
    assert_eq!(header(&letters[&(0, 3)], "sluice.reason").as_deref(), Some("unreadable"));
    world.drop_namespace().await;
}

/// Without the search, the partition stalls and the worker does not report it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_search_the_partition_stalls_silently() {
    let world = World::new().await;
    let worker = world.start_worker_with_bomb("ignore_unreadable").await;
    eventually(DEADLINE, "the client reports errors", || async {
        worker.log().contains("Kafka client reports errors")
    })
    .await;
    assert_eq!(status(&worker.url, "readyz").await, 200);
    assert_eq!(world.count().await, 3 + 4);
    worker.stop().await;
    world.drop_namespace().await;
}
