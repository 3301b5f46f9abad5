//! A partition that has no leader holds up nobody: it is assigned and held, the worker says so, and goes on with the others
//! meanwhile; so does a partition that loses its leader under a running worker. When the leader is there again, so are its
//! records.

use std::path::Path;
use std::process::Stdio;

use rdkafka::admin::{AdminOptions, NewPartitions};
use rdkafka::consumer::{BaseConsumer, Consumer};
use sluice_schemas::connect;
use sluice_schemas::names::topic::COMMUNICATION_EVENTS;
use sluice_testkit::{Service, eventually, free_address};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::harness::{DEADLINE, World, in_partition, page, stands_still, status};
use crate::obeys_the_operator::sluice;
use crate::oracle::judge;
use crate::process::short_lived;

/// The partition that only the second broker has.
const LONELY: i32 = 6;

/// A second broker of a world's own Kafka, killed when it is dropped.
struct Broker {
    arguments: Vec<String>,
    _folder: TempDir,
    child: Option<Child>,
}

impl Broker {
    /// Like the first broker, with a folder and a port of its own.
    async fn start(world: &World) -> Self {
        let services = sluice_stack::status(world.layout()).await.unwrap();
        let pid = services.iter().find(|status| status.service == Service::Kafka).unwrap().pids[0];
        let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        let mut arguments: Vec<_> = command.trim_end_matches('\0').split('\0').map(str::to_owned).collect();
        let folder = tempfile::tempdir().unwrap();
        let first = arguments.pop().unwrap();
        let properties = folder.path().join("server.properties");
        std::fs::write(&properties, second(&std::fs::read_to_string(&first).unwrap(), folder.path())).unwrap();
        let format = Self::run(
            &arguments,
            "kafka.tools.StorageTool",
            &format!("format -t {} -c {}", cluster(Path::new(&first)), properties.display()),
        );
        assert!({ format }.wait().await.unwrap().success(), "the second broker's folder is made ready");
        arguments.push(properties.display().to_string());
        let mut broker = Self { arguments, _folder: folder, child: None };
        broker.begin();
        broker
    }

    /// A Java program with the broker's classpath, in the place of its main class.
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

    fn begin(&mut self) {
        self.child = Some(Self::run(&self.arguments, "kafka.Kafka", self.arguments.last().unwrap()));
    }

    async fn kill(&mut self) {
        self.child.take().unwrap().kill().await.unwrap();
    }
}

/// The first broker's configuration, made that of a second one that is no controller.
fn second(first: &str, folder: &Path) -> String {
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

fn cluster(properties: &Path) -> String {
    let meta = std::fs::read_to_string(properties.with_file_name("data").join("meta.properties")).unwrap();
    meta.lines().find_map(|line| line.strip_prefix("cluster.id=")).unwrap().to_owned()
}

/// Who leads the lonely partition; `None` while there is no such partition or no leader.
async fn leader(world: &World) -> Option<i32> {
    let (config, topic) = (connect::kafka_config(&world.stores), world.names.topic(COMMUNICATION_EVENTS));
    let asked = tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer = config.create().unwrap();
        let metadata = consumer.fetch_metadata(Some(&topic), DEADLINE).ok()?;
        let partition = metadata.topics()[0].partitions().iter().find(|partition| partition.id() == LONELY)?;
        (partition.leader() >= 0).then(|| partition.leader())
    });
    asked.await.unwrap()
}

/// Adds the partition, once the second broker has registered.
async fn add_partition(world: &World) {
    let topic = world.names.topic(COMMUNICATION_EVENTS);
    let added = || async {
        let wanted = NewPartitions::new(&topic, LONELY as usize + 1).assign(&[&[2]]);
        let done = world.admin().create_partitions([&wanted], &AdminOptions::new()).await.unwrap();
        done[0].as_ref().map(drop).map_err(|error| format!("{error:?}"))
    };
    eventually(DEADLINE * 2, "the second broker takes a partition", added).await;
    eventually(DEADLINE, "it leads it", || async { leader(world).await == Some(2) }).await;
}

/// A world whose last partition has 20 records and lost its leader, and the broker that was it.
async fn without_leader() -> (World, Broker) {
    let world = World::alone().await;
    // Makes Kafka's own topics before there is another broker that could get a part of them.
    assert_eq!(world.offsets(COMMUNICATION_EVENTS).await.len(), 0);
    let mut broker = Broker::start(&world).await;
    add_partition(&world).await;
    world.produce_all(&world.producer("lz4"), &in_partition(LONELY, 0..20)).await;
    broker.kill().await;
    eventually(DEADLINE * 2, "it is missed", || async { leader(&world).await.is_none() }).await;
    (world, broker)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_without_a_leader_holds_up_nobody() {
    let (world, mut broker) = without_leader().await;
    let producer = world.producer("lz4");
    world.produce_all(&producer, &in_partition(0, 0..30)).await;
    let why = format!("communication-events/{LONELY} stands still: Kafka does not say where it begins");

    // What was promised, broken on purpose: one partition without an answer holds all of them.
    let blocked = world.spawn(&short_lived(), &[("SLUICE_FAULTS", "place_all_or_none")]);
    let alive = || async { status(&blocked.url, "healthz").await == 200 };
    eventually(DEADLINE, "it runs", alive).await;
    tokio::time::timeout(DEADLINE / 6, world.landed(30)).await.expect_err("nothing lands");
    assert_eq!(world.count().await, 0);
    blocked.stop().await;

    let worker = world.spawn(&short_lived(), &[]);
    stands_still(&worker.url, &why).await;
    world.landed(30).await;
    let (code, said) = sluice(&world, &["offsets", "show", "--topic", COMMUNICATION_EVENTS]).await;
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("0 to 30") && said.contains("no answer"), "{said}");
    assert!(said.contains(&format!("query Kafka about partition {LONELY} of topic")), "{said}");
    // Another worker comes and goes: partitions move, with and without a leader.
    let other = world.spawn(&short_lived(), &[]);
    world.produce_all(&producer, &in_partition(1, 0..30)).await;
    world.produce_all(&producer, &in_partition(5, 0..30)).await;
    world.landed(90).await;
    assert_eq!((status(&worker.url, "healthz").await, status(&other.url, "healthz").await), (200, 200));
    other.stop().await;

    broker.begin();
    world.settled(110).await;
    eventually(DEADLINE, "it is ready", || async { page(&worker.url, "readyz").await == "ready\n" }).await;
    broker.kill().await;
    stands_still(
        &worker.url,
        &format!("communication-events/{LONELY} stands still: Kafka does not say where the log ends"),
    )
    .await;
    broker.begin();
    eventually(DEADLINE * 2, "it is ready again", || async { page(&worker.url, "readyz").await == "ready\n" }).await;
    world.produce_all(&producer, &in_partition(LONELY, 20..40)).await;
    world.settled(130).await;
    worker.stop().await;
    assert_eq!(judge(&world).await.unwrap().landed, 130);
}
