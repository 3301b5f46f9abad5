//! The obvious first implementation in Rust: rdkafka's `StreamConsumer`, `serde_json`, and the inserter of the `clickhouse`
//! crate. It runs in a child process of the bench. It delivers at least once and has neither dead letters nor a memory limit.

use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use clickhouse::Row;
use clickhouse::inserter::Inserter;
use rdkafka::ClientConfig;
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::message::{BorrowedMessage, Message};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sluice_schemas::records::{Channel, EventType};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::child::Program;
use crate::options::Obvious;
use crate::testbed::Testbed;
use crate::trial::Trial;

/// Starts the child.
pub(crate) fn start(testbed: &Testbed, trial: &Trial, batch: u64, tuned: bool) -> anyhow::Result<Program> {
    let login = &testbed.stores.clickhouse.login;
    let mut command = Command::new(std::env::current_exe().context("find the bench's own program")?);
    command
        .args(["__obvious", "--brokers", &testbed.stores.kafka.brokers, "--topic", &testbed.topic()])
        .args([
            "--group",
            &trial.group,
            "--url",
            &testbed.stores.clickhouse.url,
            "--database",
            &testbed.names.database(),
        ])
        .args(["--user", &login.user, "--password", login.password.reveal()])
        .args(["--table", &trial.table, "--batch", &batch.to_string()]);
    if tuned {
        command.arg("--tuned");
    }
    Program::start(command, &trial.log(testbed))
}

/// A record's payload.
#[derive(Deserialize)]
struct Payload {
    event_id: Uuid,
    tenant_id: Uuid,
    customer_id: Uuid,
    campaign_id: Uuid,
    agent_id: String,
    channel: Channel,
    event_type: EventType,
    timestamp: DateTime<Utc>,
    duration_ms: u32,
    success: bool,
    error_code: String,
    metadata: Box<RawValue>,
}

/// A row of the table.
#[derive(Row, Serialize)]
struct EventRow<'a> {
    #[serde(with = "clickhouse::serde::uuid")]
    event_id: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    tenant_id: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    customer_id: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    campaign_id: Uuid,
    agent_id: &'a str,
    channel: &'a str,
    event_type: &'a str,
    timestamp: i64,
    duration_ms: u32,
    success: bool,
    error_code: &'a str,
    metadata: &'a str,
    #[serde(rename = "_topic")]
    topic: &'a str,
    #[serde(rename = "_topic_id", with = "clickhouse::serde::uuid")]
    topic_id: Uuid,
    #[serde(rename = "_partition")]
    partition: i32,
    #[serde(rename = "_offset")]
    offset: i64,
}

impl<'a> EventRow<'a> {
    fn new(event: &'a Payload, message: &'a BorrowedMessage<'_>) -> Self {
        Self {
            event_id: event.event_id,
            tenant_id: event.tenant_id,
            customer_id: event.customer_id,
            campaign_id: event.campaign_id,
            agent_id: &event.agent_id,
            channel: event.channel.as_str(),
            event_type: event.event_type.as_str(),
            timestamp: event.timestamp.timestamp_millis(),
            duration_ms: event.duration_ms,
            success: event.success,
            error_code: &event.error_code,
            metadata: event.metadata.get(),
            topic: message.topic(),
            // rdkafka does not expose the topic ID.
            topic_id: Uuid::nil(),
            partition: message.partition(),
            offset: message.offset(),
        }
    }
}

/// The child: consumes until SIGTERM or until its parent exits, then writes the last batch.
pub(crate) async fn child(options: &Obvious) -> anyhow::Result<()> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &options.brokers)
        .set("group.id", &options.group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest");
    if options.tuned {
        config.set("fetch.queue.backoff.ms", "2");
    }
    let consumer: StreamConsumer = config.create()?;
    consumer.subscribe(&[&options.topic])?;
    let client = clickhouse::Client::default()
        .with_url(&options.url)
        .with_user(&options.user)
        .with_password(&options.password)
        .with_database(&options.database)
        .with_setting("async_insert", "0");
    let mut inserter: Inserter<EventRow<'_>> =
        client.inserter(&options.table).with_max_rows(options.batch).with_period(Some(Duration::from_secs(30)));
    let mut tick = interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut terminated = signal(SignalKind::terminate())?;
    let closed = stdin_closed();
    loop {
        let is_stopping = tokio::select! {
            biased;
            received = consumer.recv() => {
                let message = received?;
                let event: Payload = serde_json::from_slice(message.payload().unwrap_or_default())?;
                inserter.write(&EventRow::new(&event, &message)).await?;
                false
            }
            _ = tick.tick() => false,
            () = closed.cancelled() => true,
            _ = terminated.recv() => true,
        };
        let committed = if is_stopping { inserter.force_commit().await? } else { inserter.commit().await? };
        if committed.rows > 0 {
            consumer.commit_consumer_state(CommitMode::Async)?;
        }
        if is_stopping {
            return Ok(());
        }
    }
}

/// A token that is cancelled when the parent exits.
fn stdin_closed() -> CancellationToken {
    let closed = CancellationToken::new();
    let closing = closed.clone();
    std::thread::spawn(move || {
        drop(std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        closing.cancel();
    });
    closed
}
