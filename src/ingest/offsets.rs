//! `sluice ingest offsets show | set | skip | accept`: decisions about the group's offsets that only an operator can
//! make. It never stops a worker.

use anyhow::anyhow;
use clap::{Args, Subcommand};
use sluice_ingest::kafka::offsets;
use sluice_ingest::operator::audit::{self, Account, Audit};
use sluice_ingest::operator::lag::Lag;
use sluice_ingest::operator::offsets::{Change, Error, Offsets, To, describe_metadata};

use super::topic::{full, short};
use crate::{
    arguments,
    exit::{Exit, Failure, OrExit},
    screen,
    settings::Settings,
    table::{or_dash, table, text},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show the group's offsets, the ranges announced with them, the log and the table
    Show {
        /// Only those of this topic
        #[arg(long, value_name = "TOPIC")]
        topic: Option<String>,
    },
    /// Set an offset; every batch up to the table's highest is looked up before it is written
    Set(Set),
    /// Skip records that cannot be read, and write a dead letter for each
    Skip(Skip),
    /// Accept the table as it is: start after its highest offset, without lookups
    Accept(Accept),
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The topic
    topic: String,
    /// Partition of the topic
    #[arg(value_parser = arguments::whole_number::<i32>(0..=i32::MAX))]
    partition: i32,
    /// A number, or `start` or `end` of the log
    #[arg(value_parser = to)]
    offset: To,
    /// Confirm, if records are skipped
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Skip {
    /// The topic
    topic: String,
    /// Partition of the topic
    #[arg(value_parser = arguments::whole_number::<i32>(0..=i32::MAX))]
    partition: i32,
    /// The offset that a worker names on /readyz
    #[arg(value_parser = arguments::whole_number::<i64>(0..))]
    offset: i64,
    /// Confirm; without it, only show the effect
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Accept {
    /// The topic
    topic: String,
    /// Partition of the topic
    #[arg(value_parser = arguments::whole_number::<i32>(0..=i32::MAX))]
    partition: i32,
    /// Start here instead of after the table's highest offset
    #[arg(long, value_name = "OFFSET", value_parser = arguments::whole_number::<i64>(0..))]
    at: Option<i64>,
    /// Confirm; without it, only show the effect
    #[arg(long)]
    yes: bool,
}

/// Runs the verb in the namespace in effect.
pub(super) async fn run(verb: Verb, settings: Settings) -> Result<Exit, Failure> {
    let names = settings.names();
    let offsets = Offsets::new(settings.ingest.clone(), settings.stores.clone(), names).map_err(failure)?;
    match verb {
        Verb::Show { topic } => show(&offsets, topic.as_deref(), &settings).await,
        Verb::Set(options) => set(&offsets, &options, &settings).await,
        Verb::Skip(options) => skip(&offsets, &options, &settings).await,
        Verb::Accept(options) => accept(&offsets, &options, &settings).await,
    }
}

async fn show(offsets: &Offsets, topic: Option<&str>, settings: &Settings) -> Result<Exit, Failure> {
    let topic = topic.map(|topic| full(settings, topic));
    let (lines, missing) = offsets.show(topic.as_deref()).await.map_err(failure)?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    let header = ["TOPIC", "PARTITION", "COMMITTED", "LOG", "LAG", "HELD BACK", "TABLE UP TO", "ANNOUNCED"];
    let mut table = table(&header, &[1, 2, 4, 5, 6]);
    for line in lines {
        table.add_row([
            short(settings, &line.topic).to_owned(),
            line.partition.to_string(),
            or_dash(line.offsets.committed),
            format!("{} to {}", line.offsets.bounds.low, line.offsets.bounds.high),
            match line.lag {
                Lag::Records(records) => records.to_string(),
                Lag::AtMost(records) => format!("up to {records}"),
            },
            (line.offsets.bounds.high - line.offsets.bounds.stable).to_string(),
            or_dash(line.highest),
            describe_metadata(&line.offsets, now),
        ]);
    }
    for error in &missing {
        if let offsets::Error::Partition { topic, number, .. } = error {
            let (topic, number) = (short(settings, topic), number.to_string());
            table.add_row([topic, &number, "-", "no response", "-", "-", "-", "-"]);
        }
    }
    screen::print(&text(&table))?;
    missing.into_iter().next().map_or(Ok(Exit::Pass), |first| Err(failure(first.into())))
}

async fn set(offsets: &Offsets, options: &Set, settings: &Settings) -> Result<Exit, Failure> {
    let topic = full(settings, &options.topic);
    let change = offsets.set(&topic, options.partition, options.offset).await.map_err(failure)?;
    if let Some(first) = change.skips_from {
        screen::note(&format!("offsets {first} to {} will be skipped: no worker will consume them", change.to - 1));
        if !options.yes {
            return Err(anyhow!("skip records without confirmation: add --yes to confirm")).or_exit(Exit::Usage);
        }
    }
    commit(offsets, &change, settings).await
}

async fn skip(offsets: &Offsets, options: &Skip, settings: &Settings) -> Result<Exit, Failure> {
    let topic = full(settings, &options.topic);
    let skip = offsets.skip(&topic, options.partition, options.offset).await.map_err(failure)?;
    let change = &skip.change;
    screen::note(&format!(
        "offsets {} to {} cannot be read: each gets a dead letter without contents, and no worker will consume them",
        skip.from,
        change.to - 1
    ));
    if !options.yes {
        return Err(anyhow!("skip records without confirmation: add --yes to confirm")).or_exit(Exit::Usage);
    }
    offsets.commit_skip(&skip).await.map_err(failure)?;
    print_change(change, settings)
}

async fn accept(offsets: &Offsets, options: &Accept, settings: &Settings) -> Result<Exit, Failure> {
    let topic = full(settings, &options.topic);
    let change = offsets.accept(&topic, options.partition, options.at).await.map_err(failure)?;
    let audit =
        Audit::new(settings.ingest.clone(), settings.stores.clone(), settings.names(), audit::Options::default())?;
    let account = audit.up_to(&topic, options.partition, change.to).await?;
    screen::print(&meaning(&change, &account, settings))?;
    if !options.yes {
        return Err(anyhow!("accept the table without confirmation: add --yes to confirm")).or_exit(Exit::Usage);
    }
    commit(offsets, &change, settings).await
}

fn meaning(change: &Change, account: &Account, settings: &Settings) -> String {
    let Account { inserted, dead_lettered, missing, missing_at, from, .. } = account;
    let name = format!("{} {}", short(settings, &change.topic), change.partition);
    let mut sentences = vec![format!(
        "{name}: from offset {from} up to {}, {inserted} records have a row and {dead_lettered} a dead letter.",
        change.to
    )];
    match missing_at.first() {
        None => sentences.push("Every record has one or the other, so none is given up.".to_owned()),
        Some(first) => sentences.push(format!(
            "{missing} have neither, the first at offset {}: if those offsets ever had a record, it is given up.",
            first.start
        )),
    }
    sentences.push(format!("A worker starts at {}, and looks up nothing beyond what the table holds.", change.to));
    sentences.join("\n")
}

async fn commit(offsets: &Offsets, change: &Change, settings: &Settings) -> Result<Exit, Failure> {
    offsets.commit(change).await.map_err(failure)?;
    print_change(change, settings)
}

fn print_change(change: &Change, settings: &Settings) -> Result<Exit, Failure> {
    let name = format!("{} {}", short(settings, &change.topic), change.partition);
    screen::print(&format!("{name}: the group's offset is {}, and was {}", change.to, or_dash(change.from)))?;
    Ok(Exit::Pass)
}

/// A topic, partition or offset that does not exist is incorrect usage.
fn failure(error: Error) -> Failure {
    let exit = match &error {
        Error::NoPipeline(_)
        | Error::NoPartition { .. }
        | Error::OutOfLog { .. }
        | Error::NoRows(_)
        | Error::Readable(_) => Exit::Usage,
        Error::Active(_) | Error::NotNext { .. } => Exit::Fail,
        _ => Exit::Invalid,
    };
    Failure { exit, error: error.into() }
}

fn to(text: &str) -> Result<To, String> {
    match text {
        "start" => Ok(To::Start),
        "end" => Ok(To::End),
        number => match number.parse() {
            Ok(offset) if offset >= 0 => Ok(To::Offset(offset)),
            _ => Err("write a number, start or end".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_a_number_or_an_end_of_the_log() {
        assert_eq!((to("start"), to("end"), to("17")), (Ok(To::Start), Ok(To::End), Ok(To::Offset(17))));
        assert!(to("-1").is_err() && to("latest").is_err());
    }
}
