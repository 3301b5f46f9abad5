//! Measures the speed of every program over several rounds; each program runs once per round. No two programs run at
//! the same time.

use std::collections::BTreeMap;

use anyhow::Context;

use crate::contender::insert::{self, Rows};
use crate::contender::{Contender, Kind, consume};
use crate::fill::fill;
use crate::machine::Machine;
use crate::measure::measure;
use crate::options::Speed;
use crate::output::{print, progress};
use crate::result::{Entry, Results};
use crate::testbed::{Contents, Testbed};
use crate::trial::{Measured, Trial};

/// Runs all rounds and writes the results.
pub(crate) async fn run(options: &Speed) -> anyhow::Result<()> {
    let testbed = Testbed::up(&options.common, "bench").await?;
    let expected = fill(&testbed, &options.common).await?;
    let (contenders, skipped) = runnable(&testbed, Contender::all(options)).await?;
    let is_insert = |contender: &Contender| matches!(contender.kind, Kind::Insert { .. });
    let rows = if contenders.iter().any(is_insert) {
        Some(insert::encode_topic(&testbed, options.common.events).await?)
    } else {
        None
    };
    let mut measured: BTreeMap<usize, Vec<Measured>> = BTreeMap::new();
    let mut number = 0;
    for round in 0..options.rounds {
        for turn in 0..contenders.len() {
            // Each round starts with a different program, so that none always runs first or after the same one.
            let index = (turn + round as usize) % contenders.len();
            number += 1;
            let contender = &contenders[index];
            let result = run_once(&testbed, contender, number, expected, rows.as_ref()).await;
            let result = result.with_context(|| format!("measure {}", contender.name()))?;
            progress(&line(round, contender, &result, expected.rows));
            measured.entry(index).or_default().push(result);
        }
    }
    let entries = contenders.iter().enumerate().map(|(index, contender)| Entry {
        name: contender.name(),
        batch: contender.batch,
        runs: measured.remove(&index).unwrap_or_default(),
    });
    let results = Results {
        machine: Machine::current(&testbed).await?,
        events: expected.rows,
        bytes: options.common.bytes,
        table: format!("{:?}", options.common.table).to_lowercase(),
        entries: entries.collect(),
        skipped,
    };
    results.write(&options.common.out)?;
    print(&results.text());
    Ok(())
}

/// The programs that can run here, and the reasons why the others cannot.
async fn runnable(testbed: &Testbed, all: Vec<Contender>) -> anyhow::Result<(Vec<Contender>, Vec<String>)> {
    let (mut runnable, mut skipped) = (Vec::new(), Vec::new());
    for contender in all {
        match contender.obstacle(testbed).await? {
            None => runnable.push(contender),
            Some(why) => skipped.push(format!("{}: {why}", contender.name())),
        }
    }
    Ok((runnable, skipped))
}

async fn run_once(
    testbed: &Testbed,
    contender: &Contender,
    number: u32,
    expected: Contents,
    rows: Option<&Rows>,
) -> anyhow::Result<Measured> {
    let trial = Trial::new(number, expected);
    match (&contender.kind, contender.batch, rows) {
        (Kind::Consume, ..) => consume::run(testbed, &trial).await,
        (Kind::Insert { connections }, Some(batch), Some(rows)) => {
            insert::run(testbed, &trial, rows, batch, *connections).await
        }
        _ => measure(testbed, contender, &trial).await,
    }
}

fn line(round: u32, contender: &Contender, result: &Measured, events: u64) -> String {
    let batch = contender.batch.map(|batch| format!(", {batch} rows")).unwrap_or_default();
    let wrong = result.wrong.as_ref().map(|wrong| format!(", WRONG: {wrong}")).unwrap_or_default();
    format!("round {}: {}{batch}: {:.0} events/s{wrong}", round + 1, contender.name(), result.net(events))
}
