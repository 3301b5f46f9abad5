//! `sluice dlq list | show | stats | replay`: dead letters for the operator.
//! Payloads are personal data: none is shown unless `show --payload` asks for it.

mod table;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::Write;

use anyhow::anyhow;
use chrono::{DateTime, NaiveDate, Utc};
use clap::{Args, Subcommand};
use sluice_ingest::dead_letter::letter::Letter;
use sluice_ingest::dead_letter::refetch::Record;
use sluice_ingest::operator::dlq::replay;
use sluice_ingest::operator::dlq::tally::Replayed;
use sluice_ingest::operator::dlq::{Dlq, Filter, FilteredOut, ScanSummary, State, Stats};

use crate::table::{short, with_prefix};
use crate::{
    arguments,
    exit::{Exit, Failure, OrExit},
    screen,
    settings::Settings,
    signals,
};
use table::Line;

/// Default `--limit` of a table.
const DEFAULT_LIMIT: usize = 50;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List dead letters, newest last
    List(ListOptions),
    /// Show all data of one dead letter, or its payload
    Show(ShowOptions),
    /// Count dead letters by topic, reason, stage and tenant
    Stats(Which),
    /// Decode dead letters again and land those that now can, exactly once
    Replay(ReplayOptions),
}

/// A selection of letters.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Only from this topic
    #[arg(long)]
    topic: Option<String>,
    /// Only with this reason
    #[arg(long)]
    reason: Option<String>,
    /// Only of this tenant
    #[arg(long, value_name = "UUID", value_parser = arguments::uuid)]
    tenant: Option<uuid::Uuid>,
    /// Only those dead-lettered at or after this time: 2026-11-24T08:00:00Z, 2026-11-24, or 2h for two hours ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<DateTime<Utc>>,
    /// Only those dead-lettered before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<DateTime<Utc>>,
    /// Assume that letters without a topic ID come from the topic that has the name today
    #[arg(long)]
    assume_current_topic: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListOptions {
    #[command(flatten)]
    which: Which,
    /// Include those that have been replayed
    #[arg(long)]
    all: bool,
    /// At most this many, the newest; 50 unless --json, which lists all
    #[arg(long, value_name = "N", value_parser = arguments::whole_number::<usize>(0..))]
    limit: Option<usize>,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowOptions {
    /// Topic that the record came from
    topic: String,
    /// Partition of the topic
    #[arg(value_parser = arguments::whole_number::<i32>(0..=i32::MAX))]
    partition: i32,
    /// Offset of the record
    #[arg(value_parser = arguments::whole_number::<i64>(0..))]
    offset: i64,
    /// Write the raw payload to standard output; everything else goes to standard error
    #[arg(long)]
    payload: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayOptions {
    #[command(flatten)]
    which: Which,
    /// Insert nothing; show what would land, as far as decoding alone can tell
    #[arg(long)]
    dry_run: bool,
    /// Land at most this many
    #[arg(long, value_name = "N", value_parser = arguments::whole_number::<u64>(0..))]
    limit: Option<u64>,
}

/// Runs the verb in the namespace in effect.
pub(crate) async fn run(verb: Verb, settings: Settings) -> Result<Exit, Failure> {
    match verb {
        Verb::List(options) => list(&options, settings).await,
        Verb::Show(options) => show(&options, settings).await,
        Verb::Stats(which) => stats(&which, settings).await,
        Verb::Replay(options) => replay(&options, settings).await,
    }
}

async fn list(options: &ListOptions, settings: Settings) -> Result<Exit, Failure> {
    let (filter, prefix) = (options.which.filter(&settings), prefix(&settings));
    let unconfigured = unconfigured_topic(&filter, &settings);
    let dlq = options.which.open(settings).await?;
    let limit = options.limit.or((!options.json).then_some(DEFAULT_LIMIT));
    let (mut newest, mut count, mut printed) = (Newest::default(), 0_usize, Ok(()));
    let mut is_any = false;
    let add = |letter: &Letter, state| {
        is_any = true;
        if state == State::Landed && !options.all {
            return;
        }
        count += 1;
        let line = Line::new(letter, state, &prefix);
        match limit {
            None if printed.is_ok() => printed = screen::print(&line.json()),
            None => {}
            Some(limit) => newest.push(line, limit),
        }
    };
    let summary = dlq.each(&filter, options.all, add).await?;
    printed?;
    require_known(unconfigured, is_any, &summary.filtered_out, &prefix)?;
    let lines = newest.in_order();
    if options.json {
        for line in &lines {
            screen::print(&line.json())?;
        }
    } else {
        screen::print(&table::lines(&lines, options.all))?;
        note_limit(lines.len(), count);
    }
    note_summary(&summary);
    if count == 0 {
        note_filtered_out(&summary.filtered_out, &prefix);
    }
    Ok(Exit::Pass)
}

/// The newest of the lines pushed.
#[derive(Debug, Default)]
struct Newest(BinaryHeap<Reverse<Line>>);

impl Newest {
    fn push(&mut self, line: Line, limit: usize) {
        self.0.push(Reverse(line));
        if self.0.len() > limit {
            self.0.pop();
        }
    }

    fn in_order(self) -> Vec<Line> {
        self.0.into_sorted_vec().into_iter().rev().map(|Reverse(line)| line).collect()
    }
}

fn note_limit(shown: usize, count: usize) {
    if count == 0 {
        screen::note("no dead letters");
    } else if shown < count {
        screen::note(&format!("the newest {shown} of {count}; --limit {count} shows all"));
    }
}

/// The topic of the filter, if there is one and no pipeline has it.
fn unconfigured_topic(filter: &Filter, settings: &Settings) -> Option<String> {
    let names = settings.names();
    let has_pipeline = |topic: &String| settings.ingest.pipelines.keys().any(|known| names.topic(known) == *topic);
    filter.topic.clone().filter(|topic| !has_pipeline(topic))
}

/// Fails if the name of the topic must be wrong: no pipeline has it, and no dead letter comes from it.
fn require_known(
    unconfigured: Option<String>,
    is_any: bool,
    filtered_out: &FilteredOut,
    prefix: &str,
) -> Result<(), Failure> {
    let Some(topic) = unconfigured.filter(|topic| !is_any && !filtered_out.topics.contains(topic)) else {
        return Ok(());
    };
    note_filtered_out(filtered_out, prefix);
    let topic = short(&topic, prefix);
    Err(anyhow!("select topic {topic}: no pipeline consumes it and no dead letter comes from it; correct its name"))
        .or_exit(Exit::Usage)
}

/// Prints the topics and reasons that the filter excluded.
fn note_filtered_out(filtered_out: &FilteredOut, prefix: &str) {
    if !filtered_out.topics.is_empty() {
        let topics: Vec<_> = filtered_out.topics.iter().map(|topic| short(topic, prefix)).collect();
        let reasons: Vec<_> = filtered_out.reasons.iter().map(String::as_str).collect();
        screen::note(&format!("others exist: of topic {}; with reason {}", topics.join(", "), reasons.join(", ")));
    }
}

fn note_summary(summary: &ScanSummary) {
    if summary.foreign > 0 {
        screen::note(&format!("records in the topic that no worker wrote, ignored: {}", summary.foreign));
    }
    if summary.is_unavailable {
        screen::note("ClickHouse does not respond, so it is unknown which of them have landed");
    }
}

async fn show(options: &ShowOptions, settings: Settings) -> Result<Exit, Failure> {
    let prefix = prefix(&settings);
    let (topic, partition, offset) = (with_prefix(&prefix, &options.topic), options.partition, options.offset);
    let dlq = Dlq::open(settings.ingest.clone(), settings.stores.clone(), settings.names(), false).await?;
    let Some((letter, state)) = dlq.find(&topic, partition, offset).await? else {
        let named = options.topic.as_str();
        return Err(anyhow!(
            "find the dead letter {named} {partition} {offset}: it does not exist; `sluice dlq list --all` lists all"
        ))
        .or_exit(Exit::Fail);
    };
    let facts = table::facts(&letter, state, &prefix);
    if !options.payload {
        screen::print(&facts)?;
        return Ok(Exit::Pass);
    }
    screen::note(&facts);
    match dlq.record(&letter).await? {
        Some(Record { payload: Some(payload) }) => std::io::stdout().lock().write_all(&payload)?,
        Some(Record { payload: None }) => screen::note("the record has no payload"),
        None => {
            return Err(anyhow!(
                "read the payload: it was too large for the dead-letter topic, and its record is no longer in its own"
            ))
            .or_exit(Exit::Fail);
        }
    }
    Ok(Exit::Pass)
}

async fn stats(which: &Which, settings: Settings) -> Result<Exit, Failure> {
    let (filter, prefix) = (which.filter(&settings), prefix(&settings));
    let unconfigured = unconfigured_topic(&filter, &settings);
    let dlq = which.open(settings).await?;
    let mut stats = Stats::default();
    let summary = dlq.each(&filter, false, |letter, state| stats.count(letter, state)).await?;
    require_known(unconfigured, stats.times_ms.is_some(), &summary.filtered_out, &prefix)?;
    screen::print(&table::stats(&stats, summary.duplicates, &prefix))?;
    note_summary(&summary);
    if stats.times_ms.is_none() {
        note_filtered_out(&summary.filtered_out, &prefix);
    }
    Ok(Exit::Pass)
}

async fn replay(options: &ReplayOptions, settings: Settings) -> Result<Exit, Failure> {
    let (filter, prefix) = (options.which.filter(&settings), prefix(&settings));
    let unconfigured = unconfigured_topic(&filter, &settings);
    let dlq = options.which.open(settings).await?;
    let stop = signals::cancellation()?;
    let scope = replay::Options { filter, limit: options.limit, dry_run: options.dry_run };
    let mut summary = Replayed::default();
    let result = replay::replay(&dlq, &scope, &stop, &mut summary).await;
    let is_any = summary.landed() + summary.remaining() + summary.landed_before > 0;
    if result.is_ok() && !summary.is_interrupted {
        require_known(unconfigured, is_any, &summary.filtered_out, &prefix)?;
    }
    screen::print(&table::replay_table(&summary, options.dry_run))?;
    for sentence in table::remedies(&summary) {
        screen::note(&sentence);
    }
    if !is_any {
        note_filtered_out(&summary.filtered_out, &prefix);
    }
    result?;
    if summary.is_interrupted {
        screen::note("interrupted; run it again to continue");
        return Ok(Exit::Interrupted);
    }
    Ok(if summary.remaining() > 0 && !options.dry_run { Exit::Fail } else { Exit::Pass })
}

impl Which {
    fn filter(&self, settings: &Settings) -> Filter {
        Filter {
            topic: self.topic.as_ref().map(|topic| with_prefix(&prefix(settings), topic)),
            reason: self.reason.clone(),
            tenant: self.tenant,
            since_ms: self.since.map(|since| since.timestamp_millis()),
            until_ms: self.until.map(|until| until.timestamp_millis()),
        }
    }

    async fn open(&self, settings: Settings) -> Result<Dlq, Failure> {
        let names = settings.names();
        Ok(Dlq::open(settings.ingest, settings.stores, names, self.assume_current_topic).await?)
    }
}

/// The prefix of topic names in the namespace in effect; it is not shown.
fn prefix(settings: &Settings) -> String {
    settings.names().topic("")
}

/// A time in RFC 3339, a date, or a duration before now.
fn time(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at.to_utc());
    }
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(day.and_time(chrono::NaiveTime::MIN).and_utc());
    }
    let ago = humantime::parse_duration(text).ok().and_then(|ago| chrono::Duration::from_std(ago).ok());
    let at = ago.and_then(|ago| Utc::now().checked_sub_signed(ago));
    at.ok_or_else(|| "write 2026-11-24T08:00:00Z, 2026-11-24, or 2h for two hours ago".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_accepted_in_every_documented_form() {
        let at = |text: &str| time(text).unwrap().to_rfc3339();
        assert_eq!(at("2026-11-24T09:00:00+01:00"), "2026-11-24T08:00:00+00:00");
        assert_eq!(at("2026-11-24"), "2026-11-24T00:00:00+00:00");
        let since = time("2h").unwrap();
        assert_eq!((Utc::now() - since).num_minutes(), 120);
        assert!(time("yesterday").is_err() && time("900000000000000000s").is_err());
    }

    #[test]
    fn the_newest_lines_stay_and_the_oldest_of_them_comes_first() {
        let mut newest = Newest::default();
        for time in ["3", "1", "5", "4", "2"] {
            newest.push(Line::at(time), 3);
        }
        assert_eq!(newest.in_order(), ["3", "4", "5"].map(Line::at));
    }

    #[test]
    fn a_topic_may_be_given_with_or_without_its_namespace() {
        assert_eq!(with_prefix("ns.", "agent-metrics"), "ns.agent-metrics");
        assert_eq!(with_prefix("ns.", "ns.agent-metrics"), "ns.agent-metrics");
        assert_eq!(with_prefix("", "agent-metrics"), "agent-metrics");
    }
}
