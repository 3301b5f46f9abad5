//! What one writes first in Rust: rdkafka's `StreamConsumer`, `serde_json`, and the inserter of the `clickhouse` crate.
//! A child process of the bench. It is at least once, has no dead letters and no bound on its memory.

use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
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
use crate::race::Lap;
use crate::world::World;

/// What the child is told.
#[derive(Debug, Args)]
pub(crate) struct Obvious {
    #[arg(long)]
    brokers: String,
    #[arg(long)]
    topic: String,
    #[arg(long)]
    group: String,
    #[arg(long)]
    url: String,
    #[arg(long)]
    user: String,
    #[arg(long)]
    password: String,
    #[arg(long)]
    database: String,
    #[arg(long)]
    table: String,
    #[arg(long)]
    batch: u64,
    #[arg(long)]
    tuned: bool,
}

/// Starts the child.
pub(crate) fn start(world: &World, lap: &Lap, batch: u64, tuned: bool) -> anyhow::Result<Program> {
    let login = &world.stores.clickhouse.login;
    let mut command = Command::new(std::env::current_exe().context("find the bench's own program")?);
    command
        .args(["__obvious", "--brokers", &world.stores.kafka.brokers, "--topic", &world.topic()])
        .args(["--group", &lap.group, "--url", &world.stores.clickhouse.url, "--database", &world.names.database()])
        .args(["--user", &login.user, "--password", login.password.reveal()])
        .args(["--table", &lap.table, "--batch", &batch.to_string()]);
    if tuned {
        command.arg("--tuned");
    }
    Program::start(command, &lap.log(world))
}

/// A record as it comes.
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

/// A row as it goes.
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
            // rdkafka does not say it.
            topic_id: Uuid::nil(),
            partition: message.partition(),
            offset: message.offset(),
        }
    }
}

/// The child: consumes until it is told to end or its parent is gone, then writes the rest.
pub(crate) async fn child(told: &Obvious) -> anyhow::Result<()> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &told.brokers)
        .set("group.id", &told.group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest");
    if told.tuned {
        config.set("fetch.queue.backoff.ms", "2");
    }
    let consumer: StreamConsumer = config.create()?;
    consumer.subscribe(&[&told.topic])?;
    let client = clickhouse::Client::default()
        .with_url(&told.url)
        .with_user(&told.user)
        .with_password(&told.password)
        .with_database(&told.database)
        .with_setting("async_insert", "0");
    let mut inserter: Inserter<EventRow<'_>> =
        client.inserter(&told.table).with_max_rows(told.batch).with_period(Some(Duration::from_secs(30)));
    let mut tick = interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut terminated = signal(SignalKind::terminate())?;
    let closed = when_stdin_closes();
    loop {
        let ended = tokio::select! {
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
        let done = if ended { inserter.force_commit().await? } else { inserter.commit().await? };
        if done.rows > 0 {
            consumer.commit_consumer_state(CommitMode::Async)?;
        }
        if ended {
            return Ok(());
        }
    }
}

/// Cancelled when the parent is gone.
fn when_stdin_closes() -> CancellationToken {
    let closed = CancellationToken::new();
    let closing = closed.clone();
    std::thread::spawn(move || {
        drop(std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        closing.cancel();
    });
    closed
}
