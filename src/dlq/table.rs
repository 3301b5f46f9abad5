//! Dead letters as text for the terminal. It never shows a payload or a key.

use chrono::{DateTime, SecondsFormat};
use comfy_table::{Table, presets};
use serde::Serialize;
use sluice_ingest::dead_letter::letter::{Letter, Payload};
use sluice_ingest::operator::dlq::stats::Counts;
use sluice_ingest::operator::dlq::tally::{Replayed, remaining_reason};
use sluice_ingest::operator::dlq::{State, Stats};
use uuid::Uuid;

use crate::table::{or_dash, short, table, text};

/// Tenants that `stats` names.
const TENANTS: usize = 20;

/// A line of `list`, ordered by time, then by place.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Line {
    time: String,
    topic: String,
    partition: i32,
    offset: i64,
    topic_id: Option<Uuid>,
    reason: String,
    stage: String,
    tenant: Option<Uuid>,
    attempts: u32,
    bytes: usize,
    state: &'static str,
}

impl Line {
    /// The line of a letter.
    pub(super) fn new(letter: &Letter, state: State, prefix: &str) -> Self {
        Self {
            time: time(letter.at_ms),
            topic: short(&letter.source.topic, prefix).to_owned(),
            partition: letter.source.partition,
            offset: letter.offset,
            topic_id: letter.source.topic_id,
            reason: letter.reason.clone(),
            stage: letter.stage.clone(),
            tenant: letter.tenant,
            attempts: letter.attempts,
            bytes: letter.payload.bytes(),
            state: state.as_str(),
        }
    }

    /// The line as a JSON object.
    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The table of `list`.
pub(super) fn lines(lines: &[Line], with_state: bool) -> String {
    let header = ["RECORD", "TIME", "REASON", "STAGE", "TENANT", "ATTEMPTS", "BYTES", "STATE"];
    let columns = if with_state { header.len() } else { header.len() - 1 };
    let mut table = table(&header[..columns], &[5, 6]);
    for line in lines {
        let cells = [
            format!("{} {} {}", line.topic, line.partition, line.offset),
            line.time.clone(),
            line.reason.clone(),
            line.stage.clone(),
            or_dash(line.tenant),
            line.attempts.to_string(),
            line.bytes.to_string(),
            line.state.to_owned(),
        ];
        table.add_row(&cells[..columns]);
    }
    text(&table)
}

/// All data of one letter: place, sizes and all headers.
pub(super) fn facts(letter: &Letter, state: State, prefix: &str) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let (topic, partition) = (short(&letter.source.topic, prefix), letter.source.partition);
    let contents = letter.contents.as_ref();
    let key = contents.and_then(|contents| contents.key.as_ref());
    let payload = match letter.payload {
        Payload::None => "none".to_owned(),
        Payload::Included(bytes) => format!("{bytes} bytes"),
        Payload::Omitted(bytes) => format!("{bytes} bytes, omitted: too large for the dead-letter topic"),
    };
    table.add_row(["record", &format!("{topic} {partition} {}", letter.offset)]);
    table.add_row(["dead-lettered at", &time(letter.at_ms)]);
    table.add_row(["place", &format!("partition {} offset {}", letter.position.partition, letter.position.offset)]);
    table.add_row(["state", state.as_str()]);
    table.add_row(["key", &key.map_or_else(|| "none".to_owned(), |key| format!("{} bytes", key.len()))]);
    table.add_row(["payload", &payload]);
    for (name, value) in contents.iter().flat_map(|contents| &contents.headers) {
        table.add_row([printable(name.as_bytes()), value.as_deref().map_or_else(|| "null".to_owned(), printable)]);
    }
    text(&table)
}

/// The tables of `stats`.
pub(super) fn stats(stats: &Stats, duplicates: u64, prefix: &str) -> String {
    let mut table = table(&["", "", "WAITING", "LANDED", "UNKNOWN"], &[2, 3, 4]);
    row(&mut table, "all", "", stats.all);
    for (topic, counts) in &stats.topics {
        row(&mut table, "topic", short(topic, prefix), *counts);
    }
    for (reason, counts) in &stats.reasons {
        row(&mut table, "reason", reason, *counts);
    }
    for (stage, counts) in &stats.stages {
        row(&mut table, "stage", stage, *counts);
    }
    let mut tenants: Vec<_> = stats.tenants.iter().collect();
    tenants.sort_by_key(|(tenant, counts)| (std::cmp::Reverse(sum(counts)), **tenant));
    for (tenant, counts) in tenants.iter().take(TENANTS) {
        row(&mut table, "tenant", &or_dash(**tenant), **counts);
    }
    let mut lines = vec![text(&table)];
    if tenants.len() > TENANTS {
        lines.push(format!("and {} more tenants", tenants.len() - TENANTS));
    }
    if let Some((first, last)) = stats.times_ms {
        lines.push(format!("first {}, last {}", time(first), time(last)));
    }
    if duplicates > 0 {
        lines.push(format!("duplicates, counted once: {duplicates}"));
    }
    lines.join("\n")
}

fn row(table: &mut Table, by: &str, what: &str, counts: Counts) {
    let Counts { waiting, landed, unknown } = counts;
    table.add_row([by, what, &waiting.to_string(), &landed.to_string(), &unknown.to_string()]);
}

fn sum(counts: &Counts) -> u64 {
    counts.waiting + counts.landed + counts.unknown
}

/// The table of what a replay did, or would do.
pub(super) fn replay_table(summary: &Replayed, is_dry: bool) -> String {
    let landed = if is_dry { "WOULD LAND" } else { "LANDED" };
    let mut table = table(&["REASON", landed, "REMAINING"], &[1, 2]);
    for (reason, tally) in &summary.reasons {
        table.add_row([reason.clone(), tally.landed.to_string(), tally.remaining.to_string()]);
    }
    table.add_row(["all".to_owned(), summary.landed().to_string(), summary.remaining().to_string()]);
    let mut lines = vec![text(&table)];
    if summary.landed_before > 0 {
        lines.push(format!("landed before: {}", summary.landed_before));
    }
    if !summary.remaining.is_empty() {
        let remaining: Vec<_> = summary.remaining.iter().map(|(why, count)| format!("{why} {count}")).collect();
        lines.push(format!("remaining: {}", remaining.join(", ")));
    }
    lines.join("\n")
}

/// Remedies for letters that a replay leaves in place.
pub(super) fn remedies(summary: &Replayed) -> Vec<String> {
    let sentences = [
        (remaining_reason::NO_PIPELINE, "no pipeline has their topic; add it to ingest.pipelines"),
        (
            remaining_reason::NO_TOPIC_ID,
            "they lack the ID of the topic that they come from; if it was never deleted and recreated, add \
             --assume-current-topic",
        ),
        (
            remaining_reason::NOT_PASSED,
            "the workers have not committed past their records and will consume them again; let a worker run first",
        ),
        (
            remaining_reason::PAYLOAD_GONE,
            "they were too large for the dead-letter topic, and their records are no longer in their own topics",
        ),
        (
            remaining_reason::NOT_IN_TABLE,
            "ClickHouse has acknowledged them but does not return them: rows deleted after an earlier replay, or a \
             lagging replica; run it again later",
        ),
    ];
    let remedy =
        |(why, sentence): (&str, &str)| summary.remaining.contains_key(why).then(|| format!("{why}: {sentence}"));
    sentences.into_iter().filter_map(remedy).collect()
}

fn time(millis: i64) -> String {
    let at = DateTime::from_timestamp_millis(millis).unwrap_or_default();
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Bytes as text without terminal control sequences.
fn printable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
        }
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Line {
        pub(in super::super) fn at(time: &str) -> Self {
            Self {
                time: time.to_owned(),
                topic: String::new(),
                partition: 0,
                offset: 0,
                topic_id: None,
                reason: String::new(),
                stage: String::new(),
                tenant: None,
                attempts: 1,
                bytes: 0,
                state: "waiting",
            }
        }
    }

    #[test]
    fn letters_that_a_replay_leaves_in_place_come_with_a_remedy() {
        let mut summary = Replayed::default();
        summary.remaining.insert("tombstone".to_owned(), 1);
        summary.remaining.insert("no_topic_id".to_owned(), 1);
        insta::assert_snapshot!(remedies(&summary).join("\n"), @"no_topic_id: they lack the ID of the topic that they come from; if it was never deleted and recreated, add --assume-current-topic");
    }

    #[test]
    fn no_header_contains_terminal_control_sequences() {
        assert_eq!(printable("a\u{1b}[2J\u{e4}".as_bytes()), "a\\u{1b}[2J\u{e4}");
        assert_eq!(printable(b"\xff\x00a"), "\\xff\\x00a");
    }

    #[test]
    fn the_tenants_with_the_most_are_named() {
        let mut all = Stats::default();
        for n in 0..25 {
            let counts = Counts { waiting: n, ..Counts::default() };
            all.tenants.insert(Some(Uuid::from_u128(u128::from(n))), counts);
        }
        let lines = stats(&all, 0, "");
        assert!(lines.contains("0000-000000000018") && !lines.contains("0000-000000000004"), "{lines}");
        assert!(lines.contains("and 5 more tenants"), "{lines}");
    }
}
