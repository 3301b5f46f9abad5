//! The speed of every program, round after round, each program once in each round.

use std::collections::BTreeMap;

use anyhow::Context;

use crate::contender::insert::{self, Rows};
use crate::contender::{Contender, Kind, consume};
use crate::fill::fill;
use crate::machine::Machine;
use crate::options::Speed;
use crate::race::{Lap, Measured, race};
use crate::result::{Entry, Results};
use crate::say::{say, show};
use crate::world::{Contents, World};

/// Runs all rounds and writes the results.
pub(crate) async fn run(options: &Speed) -> anyhow::Result<()> {
    let world = World::up(&options.common, "bench").await?;
    let expected = fill(&world, &options.common).await?;
    let (contenders, skipped) = able(&world, Contender::all(options)).await?;
    let is_insert = |one: &Contender| matches!(one.kind, Kind::Insert { .. });
    let rows =
        if contenders.iter().any(is_insert) { Some(insert::rows(&world, options.common.events).await?) } else { None };
    let mut measured: BTreeMap<usize, Vec<Measured>> = BTreeMap::new();
    let mut number = 0;
    for round in 0..options.rounds {
        for turn in 0..contenders.len() {
            // Each round begins with another one, so that nobody always comes first or after the same other.
            let index = (turn + round as usize) % contenders.len();
            number += 1;
            let one = &contenders[index];
            let result = once(&world, one, number, expected, rows.as_ref()).await;
            let result = result.with_context(|| format!("measure {}", one.name()))?;
            say(&line(round, one, &result, expected.rows));
            measured.entry(index).or_default().push(result);
        }
    }
    let entries = contenders.iter().enumerate().map(|(index, one)| Entry {
        name: one.name(),
        batch: one.batch,
        runs: measured.remove(&index).unwrap_or_default(),
    });
    let results = Results {
        machine: Machine::this(&world).await?,
        events: expected.rows,
        bytes: options.common.bytes,
        table: format!("{:?}", options.common.table).to_lowercase(),
        entries: entries.collect(),
        skipped,
    };
    results.write(&options.common.out)?;
    show(&results.text());
    Ok(())
}

/// Those that can run here, and why the others can't.
async fn able(world: &World, all: Vec<Contender>) -> anyhow::Result<(Vec<Contender>, Vec<String>)> {
    let (mut able, mut skipped) = (Vec::new(), Vec::new());
    for one in all {
        match one.obstacle(world).await? {
            None => able.push(one),
            Some(why) => skipped.push(format!("{}: {why}", one.name())),
        }
    }
    Ok((able, skipped))
}

async fn once(
    world: &World,
    one: &Contender,
    number: u32,
    expected: Contents,
    rows: Option<&Rows>,
) -> anyhow::Result<Measured> {
    let lap = Lap::new(number, expected);
    match (&one.kind, one.batch, rows) {
        (Kind::Consume, ..) => consume::run(world, &lap).await,
        (Kind::Insert { connections }, Some(batch), Some(rows)) => {
            insert::run(world, &lap, rows, batch, *connections).await
        }
        _ => race(world, one, &lap).await,
    }
}

fn line(round: u32, one: &Contender, result: &Measured, events: u64) -> String {
    let batch = one.batch.map(|batch| format!(", {batch} rows")).unwrap_or_default();
    let wrong = result.wrong.as_ref().map(|wrong| format!(", WRONG: {wrong}")).unwrap_or_default();
    format!("round {}: {}{batch}: {:.0} events/s{wrong}", round + 1, one.name(), result.net(events))
}
