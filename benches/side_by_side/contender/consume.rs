//! The first ceiling: consume every record from Kafka and discard it. It runs in a child process of the bench, so that its cost
//! can be measured separately. It decodes nothing and commits no offset.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::message::Message;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::child::Program;
use crate::options::Consume;
use crate::output::print;
use crate::proc;
use crate::testbed::Testbed;
use crate::trial::{Measured, Trial};

/// Output of the child, as JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    join_seconds: f64,
    seconds: f64,
    bytes: u64,
}

/// Runs the child and measures its cost.
pub(crate) async fn run(testbed: &Testbed, trial: &Trial) -> anyhow::Result<Measured> {
    testbed.wait_until_idle().await?;
    let mut command = Command::new(std::env::current_exe().context("find the bench's own program")?);
    command.args(["__consume", "--brokers", &testbed.stores.kafka.brokers, "--topic", &testbed.topic()]);
    command.args(["--group", &trial.group, "--events", &trial.events.to_string()]);
    let before = testbed.cpu();
    let mut program = Program::start(command, &trial.log(testbed))?;
    let deadline = Instant::now() + trial.deadline();
    let report: Report = loop {
        program.check()?;
        match serde_json::from_str(&program.output()) {
            Ok(report) => break report,
            Err(_) if Instant::now() > deadline => {
                bail!("consume the topic: not finished after {:?}", trial.deadline())
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let [clickhouse, kafka] = testbed.cpu();
    let measured = Measured {
        seconds: report.seconds,
        join: Some(report.join_seconds),
        worker_cpu: Some(proc::cpu(program.pid()).as_secs_f64()),
        worker_peak: Some(program.peak()),
        clickhouse_cpu: clickhouse.saturating_sub(before[0]).as_secs_f64(),
        kafka_cpu: kafka.saturating_sub(before[1]).as_secs_f64(),
        rows: trial.events,
        wrong: None,
    };
    program.stop().await?;
    Ok(measured)
}

/// Records when partitions were first assigned.
struct AssignmentTime(std::sync::OnceLock<Instant>);

impl ClientContext for AssignmentTime {}

impl ConsumerContext for AssignmentTime {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if matches!(rebalance, Rebalance::Assign(_)) {
            self.0.get_or_init(Instant::now);
        }
    }
}

/// The child: consumes all records and reports how long that took.
pub(crate) fn child(options: &Consume) -> anyhow::Result<()> {
    let start = Instant::now();
    let consumer: BaseConsumer<AssignmentTime> = ClientConfig::new()
        .set("bootstrap.servers", &options.brokers)
        .set("group.id", &options.group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("queued.min.messages", "100000")
        .set("queued.max.messages.kbytes", "131072")
        .set("fetch.message.max.bytes", "4194304")
        .set("fetch.queue.backoff.ms", "2")
        .create_with_context(AssignmentTime(std::sync::OnceLock::new()))?;
    consumer.subscribe(&[&options.topic])?;
    let (mut count, mut bytes) = (0, 0);
    while count < options.events {
        if let Some(record) = consumer.poll(Duration::from_secs(1)) {
            bytes += record?.payload().map_or(0, |payload| payload.len() as u64);
            count += 1;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let join_seconds = consumer.context().0.get().map_or(0.0, |at| (*at - start).as_secs_f64());
    print(&serde_json::to_string(&Report { join_seconds, seconds, bytes })?);
    // Keeps running until the parent has read its resource usage.
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}
