//! The first ceiling: take every record out of Kafka and do nothing with it. A child process of the bench, so that its
//! cost can be told apart.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::message::Message;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::child::Program;
use crate::race::{Lap, Measured};
use crate::say::show;
use crate::watch;
use crate::world::World;

/// What the child is told.
#[derive(Debug, Args)]
pub(crate) struct Consume {
    #[arg(long)]
    brokers: String,
    #[arg(long)]
    topic: String,
    #[arg(long)]
    group: String,
    #[arg(long)]
    events: u64,
}

/// What the child says.
#[derive(Debug, Serialize, Deserialize)]
struct Said {
    joined: f64,
    seconds: f64,
    bytes: u64,
}

/// Runs the child and takes its time.
pub(crate) async fn run(world: &World, lap: &Lap) -> anyhow::Result<Measured> {
    world.calm().await?;
    let mut command = Command::new(std::env::current_exe().context("find the bench's own program")?);
    command.args(["__consume", "--brokers", &world.stores.kafka.brokers, "--topic", &world.topic()]);
    command.args(["--group", &lap.group, "--events", &lap.events.to_string()]);
    let before = world.cpu();
    let mut program = Program::start(command, &lap.log(world))?;
    let deadline = Instant::now() + lap.patience();
    let said: Said = loop {
        program.check()?;
        match serde_json::from_str(&program.output()) {
            Ok(said) => break said,
            Err(_) if Instant::now() > deadline => bail!("consume the topic: not done after {:?}", lap.patience()),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let [clickhouse, kafka] = world.cpu();
    let measured = Measured {
        seconds: said.seconds,
        join: Some(said.joined),
        worker_cpu: Some(watch::cpu(program.pid()).as_secs_f64()),
        worker_peak: Some(program.peak()),
        clickhouse_cpu: clickhouse.saturating_sub(before[0]).as_secs_f64(),
        kafka_cpu: kafka.saturating_sub(before[1]).as_secs_f64(),
        rows: lap.events,
        wrong: None,
    };
    program.end().await?;
    Ok(measured)
}

/// Notes when partitions were assigned.
struct Joined(std::sync::OnceLock<Instant>);

impl ClientContext for Joined {}

impl ConsumerContext for Joined {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if matches!(rebalance, Rebalance::Assign(_)) {
            self.0.get_or_init(Instant::now);
        }
    }
}

/// The child: counts records and says how long they took.
pub(crate) fn child(told: &Consume) -> anyhow::Result<()> {
    let start = Instant::now();
    let consumer: BaseConsumer<Joined> = ClientConfig::new()
        .set("bootstrap.servers", &told.brokers)
        .set("group.id", &told.group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("queued.min.messages", "100000")
        .set("queued.max.messages.kbytes", "131072")
        .set("fetch.message.max.bytes", "4194304")
        .set("fetch.queue.backoff.ms", "2")
        .create_with_context(Joined(std::sync::OnceLock::new()))?;
    consumer.subscribe(&[&told.topic])?;
    let (mut count, mut bytes) = (0, 0);
    while count < told.events {
        if let Some(record) = consumer.poll(Duration::from_secs(1)) {
            bytes += record?.payload().map_or(0, |payload| payload.len() as u64);
            count += 1;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let joined = consumer.context().0.get().map_or(0.0, |at| (*at - start).as_secs_f64());
    show(&serde_json::to_string(&Said { joined, seconds, bytes })?);
    // Stays until it was looked at.
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}
