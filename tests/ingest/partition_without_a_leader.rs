//! A partition without a leader, at its assignment or later, blocks no other: the worker reports it and continues with the
//! others. When the leader returns, the partition's records land.

use std::path::Path;
use std::process::Stdio;

use rdkafka::admin::{AdminOptions, NewPartitions};
use rdkafka::consumer::{BaseConsumer, Consumer};
use sluice_schemas::connect;
use sluice_schemas::names::topic::COMMUNICATION_EVENTS;
use sluice_testkit::{Service, eventually, free_address};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::harness::{DEADLINE, World, november_records, page, status, wait_for_stall};
use crate::obeys_the_operator::sluice;
use crate::oracle::judge;
use crate::process::short_lived;

/// The partition whose only replica is on the second broker.
const SECOND_BROKER_PARTITION: i32 = 6;

/// A second broker of a world's separate Kafka; it is killed when this is dropped.
struct Broker {
    arguments: Vec<String>,
    _folder: TempDir,
    child: Option<Child>,
}

impl Broker {
    /// Starts the second broker like the first one, with a different folder and port.
    async fn start(world: &World) -> Self {
        let services = sluice_stack::status(world.layout()).await.unwrap();
        let pid = services.iter().find(|status| status.service == Service::Kafka).unwrap().pids[0];
        let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        let mut arguments: Vec<_> = command.trim_end_matches('\0').split('\0').map(str::to_owned).collect();
        let folder = tempfile::tempdir().unwrap();
        let first = arguments.pop().unwrap();
        let properties = folder.path().join("server.properties");
        std::fs::write(&properties, second_config(&std::fs::read_to_string(&first).unwrap(), folder.path())).unwrap();
        let format = Self::run(
            &arguments,
            "kafka.tools.StorageTool",
            &format!("format -t {} -c {}", cluster_id(Path::new(&first)), properties.display()),
        );
        assert!({ format }.wait().await.unwrap().success(), "the second broker's folder is formatted");
        arguments.push(properties.display().to_string());
        let mut broker = Self { arguments, _folder: folder, child: None };
        broker.launch();
        broker
    }

    /// Runs another main class with the broker's classpath.
    fn run(arguments: &[String], class: &str, rest: &str) -> Child {
        let main = arguments.iter().position(|word| word == "kafka.Kafka").unwrap();
        Command::new(&arguments[0])
            .args(&arguments[1..main])
            .arg(class)
            .args(rest.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    fn launch(&mut self) {
        self.child = Some(Self::run(&self.arguments, "kafka.Kafka", self.arguments.last().unwrap()));
    }

    async fn kill(&mut self) {
        self.child.take().unwrap().kill().await.unwrap();
    }
}

/// Configuration of a second broker that is not a controller, derived from the first broker's.
fn second_config(first: &str, folder: &Path) -> String {
    let (address, data) = (free_address(), folder.join("data"));
    let line = |line: &str| match line.split_once('=').unwrap_or((line, "")).0 {
        "process.roles" => "process.roles=broker".to_owned(),
        "node.id" => "node.id=2".to_owned(),
        "listeners" => format!("listeners=PLAINTEXT://{address}"),
        "advertised.listeners" => format!("advertised.listeners=PLAINTEXT://{address}"),
        "log.dirs" => format!("log.dirs={}", data.display()),
        _ => line.to_owned(),
    };
    first.lines().map(|text| line(text) + "\n").collect()
}

fn cluster_id(properties: &Path) -> String {
    let meta = std::fs::read_to_string(properties.with_file_name("data").join("meta.properties")).unwrap();
    meta.lines().find_map(|line| line.strip_prefix("cluster.id=")).unwrap().to_owned()
}

/// Leader of the second broker's partition; `None` while the partition or its leader is missing.
async fn leader(world: &World) -> Option<i32> {
    let (config, topic) = (connect::kafka_config(&world.stores), world.names.topic(COMMUNICATION_EVENTS));
    let leader = tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer = config.create().unwrap();
        let metadata = consumer.fetch_metadata(Some(&topic), DEADLINE).ok()?;
        let partition =
            metadata.topics()[0].partitions().iter().find(|partition| partition.id() == SECOND_BROKER_PARTITION)?;
        (partition.leader() >= 0).then(|| partition.leader())
    });
    leader.await.unwrap()
}

/// Adds the partition once the second broker has registered.
async fn add_partition(world: &World) {
    let topic = world.names.topic(COMMUNICATION_EVENTS);
    let add = || async {
        let partitions = NewPartitions::new(&topic, SECOND_BROKER_PARTITION as usize + 1).assign(&[&[2]]);
        let results = world.admin().create_partitions([&partitions], &AdminOptions::new()).await.unwrap();
        results[0].as_ref().map(drop).map_err(|error| format!("{error:?}"))
    };
    eventually(DEADLINE * 2, "the second broker has a partition", add).await;
    eventually(DEADLINE, "the second broker leads it", || async { leader(world).await == Some(2) }).await;
}

/// A world whose last partition has 20 records and has lost its leader, and the broker that led it.
async fn world_without_leader() -> (World, Broker) {
    let world = World::on_own_stack().await;
    // Creates Kafka's internal topics before another broker could get some of their partitions.
    assert_eq!(world.offsets(COMMUNICATION_EVENTS).await.len(), 0);
    let mut broker = Broker::start(&world).await;
    add_partition(&world).await;
    world.produce_all(&world.producer("lz4"), &november_records(SECOND_BROKER_PARTITION, 0..20)).await;
    broker.kill().await;
    eventually(DEADLINE * 2, "the partition has no leader", || async { leader(&world).await.is_none() }).await;
    (world, broker)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_without_a_leader_blocks_no_other() {
    let (world, mut broker) = world_without_leader().await;
    let producer = world.producer("lz4");
    world.produce_all(&producer, &november_records(0, 0..30)).await;
    let why = format!("communication-events/{SECOND_BROKER_PARTITION} is stalled: Kafka does not return its offsets");

    // Negative control: one partition without a response blocks all of them.
    let blocked = world.spawn(&short_lived(), &[("SLUICE_FAULTS", "locate_all_or_none")]);
    let is_healthy = || async { status(&blocked.url, "healthz").await == 200 };
    eventually(DEADLINE, "the worker is healthy", is_healthy).await;
    tokio::time::timeout(DEADLINE / 6, world.wait_for_rows(30)).await.expect_err("nothing lands");
    assert_eq!(world.count().await, 0);
    blocked.stop().await;

    let worker = world.spawn(&short_lived(), &[]);
    wait_for_stall(&worker.url, &why).await;
    world.wait_for_rows(30).await;
    let (code, output) = sluice(&world, &["offsets", "show", "--topic", COMMUNICATION_EVENTS]).await;
    assert_eq!(code, 3, "{output}");
    assert!(output.contains("0 to 30") && output.contains("no response"), "{output}");
    assert!(output.contains(&format!("query Kafka about partition {SECOND_BROKER_PARTITION} of topic")), "{output}");
    // Another worker joins and leaves: partitions move, with and without a leader.
    let other_worker = world.spawn(&short_lived(), &[]);
    let is_assigned = || async { other_worker.log().contains("partitions assigned") };
    eventually(DEADLINE, "the other worker has partitions", is_assigned).await;
    world.produce_all(&producer, &november_records(1, 0..30)).await;
    world.produce_all(&producer, &november_records(5, 0..30)).await;
    world.wait_for_rows(90).await;
    assert_eq!((status(&worker.url, "healthz").await, status(&other_worker.url, "healthz").await), (200, 200));
    other_worker.stop().await;

    broker.launch();
    world.wait_until_processed(110).await;
    eventually(DEADLINE, "the worker is ready", || async { page(&worker.url, "readyz").await == "ready\n" }).await;
    broker.kill().await;
    wait_for_stall(
        &worker.url,
        &format!("communication-events/{SECOND_BROKER_PARTITION} is stalled: Kafka does not return the end of the log"),
    )
    .await;
    broker.launch();
    eventually(DEADLINE * 2, "the worker is ready again", || async { page(&worker.url, "readyz").await == "ready\n" })
        .await;
    world.produce_all(&producer, &november_records(SECOND_BROKER_PARTITION, 20..40)).await;
    world.wait_until_processed(130).await;
    worker.stop().await;
    assert_eq!(judge(&world).await.unwrap().landed, 130);
}
