//! What rows cost that only ClickHouse refuses: the same topic into tables whose CHECK constraints refuse none of its
//! records, one in a hundred or one in ten, evenly spread; each share once in each round.
//!
//! After each run the table must hold every other record once, and the dead-letter topic one letter for each refused one.

use anyhow::Context;
use serde_json::json;
use sluice_schemas::names::topic;

use crate::contender::{Contender, Kind};
use crate::fill::{fill, in_topic};
use crate::machine::Machine;
use crate::options::Refused;
use crate::race::{Lap, Measured, race, timed, verify};
use crate::result::{Spread, thousands, write};
use crate::say::{say, show};
use crate::world::{Contents, World};

/// A share of the records that is refused.
struct Share {
    name: &'static str,
    /// What the table demands.
    check: &'static str,
    /// Least part of the clean rate that has to remain, in percent.
    bar: Option<f64>,
}

const SHARES: [Share; 3] = [
    Share { name: "none refused", check: "_offset % 100 != 100", bar: None },
    Share { name: "1 % refused", check: "_offset % 100 != 50", bar: Some(50.0) },
    Share { name: "10 % refused", check: "_offset % 10 != 5", bar: Some(15.0) },
];

/// Runs all rounds and writes `refused.txt` and `refused.json`.
pub(crate) async fn run(options: &Refused) -> anyhow::Result<()> {
    let world = World::up(&options.common, "bench").await?;
    let whole = fill(&world, &options.common).await?;
    let one = Contender { kind: Kind::Sluice { processes: 1 }, batch: Some(options.batch) };
    let expected = expected(&world, &one, whole).await?;
    let mut runs: [Vec<Measured>; 3] = Default::default();
    let mut number = 0;
    for round in 0..options.rounds as usize {
        for turn in 0..SHARES.len() {
            // Each round begins with another one, so that none always comes after the same other.
            let index = (turn + round) % SHARES.len();
            number += 1;
            let lap = Lap::new(number, expected[index]);
            let result = once(&world, &one, &lap, &SHARES[index], whole.rows).await;
            let result = result.with_context(|| format!("measure with {}", SHARES[index].name))?;
            say(&line(round, &SHARES[index], &result, whole.rows));
            runs[index].push(result);
        }
    }
    let machine = Machine::this(&world).await?;
    let text = format!(
        "{}\n{} events of {} bytes and more, {:?} table, batches of {}, {} rounds\n{}",
        machine.text(),
        thousands(whole.rows as f64),
        options.common.bytes,
        options.common.table,
        thousands(options.batch as f64),
        options.rounds,
        table(&runs, whole.rows),
    );
    let shares = SHARES.iter().zip(&runs).map(|(share, runs)| json!({ "name": share.name, "runs": runs }));
    let json = json!({ "machine": machine, "events": whole.rows, "batch": options.batch,
                       "shares": shares.collect::<Vec<_>>() });
    write(&options.common.out, "refused.txt", &text)?;
    write(&options.common.out, "refused.json", &serde_json::to_string(&json)?)?;
    show(&text);
    Ok(())
}

/// What a table must hold in the end, by share: a first run lands everything, and says which record has which offset.
async fn expected(world: &World, one: &Contender, whole: Contents) -> anyhow::Result<[Contents; 3]> {
    let lap = Lap::new(0, whole);
    world.create(&lap.table).await?;
    timed(world, one, &lap).await.context("land everything once")?;
    let mut expected = [whole; 3];
    for (share, expected) in SHARES.iter().zip(&mut expected) {
        *expected = world.contents_where(&lap.table, share.check).await?;
    }
    let (_, wrong) = verify(world, &lap).await?;
    anyhow::ensure!(wrong.is_none(), "land everything once: {}", wrong.unwrap_or_default());
    Ok(expected)
}

async fn once(world: &World, one: &Contender, lap: &Lap, share: &Share, events: u64) -> anyhow::Result<Measured> {
    let letters = world.names.topic(topic::CLICKHOUSE_ERRORS);
    let before = in_topic(world, &letters)?;
    let measured = race(world, one, &lap.with_check(share.check)).await?;
    let (sent, refused) = (in_topic(world, &letters)? - before, events - lap.events);
    let wrong = (sent != refused).then(|| format!("{sent} dead letters for {refused} refused rows"));
    Ok(Measured { wrong: measured.wrong.or(wrong), ..measured })
}

fn line(round: usize, share: &Share, result: &Measured, events: u64) -> String {
    let wrong = result.wrong.as_ref().map(|wrong| format!(", WRONG: {wrong}")).unwrap_or_default();
    format!("round {}: {}: {:.0} events/s{wrong}", round + 1, share.name, result.net(events))
}

fn table(runs: &[Vec<Measured>; 3], events: u64) -> String {
    let spread = |runs: &[Measured]| Spread::of(runs.iter().map(|run| run.net(events)));
    let clean = spread(&runs[0]).map_or(f64::NAN, |spread| spread.median);
    let line = |(share, runs): (&Share, &Vec<Measured>)| {
        let Spread { least, median, most } = spread(runs)?;
        let part = 100.0 * median / clean;
        let bar = share.bar.map_or_else(String::new, |bar| {
            format!(", at least {bar:.0} %: {}", if part >= bar { "held" } else { "NOT HELD" })
        });
        let wrong: Vec<_> = runs.iter().filter_map(|run| run.wrong.clone()).collect();
        let right = if wrong.is_empty() { "right".to_owned() } else { format!("WRONG: {}", wrong.join("; ")) };
        let cost = |of: fn(&Measured) -> Option<f64>| {
            let spread = Spread::of(runs.iter().filter_map(of));
            spread.map_or_else(|| "-".to_owned(), |spread| format!("{:.2}", spread.median / events as f64 * 1e6))
        };
        Some(format!(
            "{}: {} events/s ({}-{}), {part:.0} % of the clean rate{bar}; processor seconds per million events: worker {}, \
             ClickHouse {}, Kafka {}; rows and letters {right}",
            share.name,
            thousands(median),
            thousands(least),
            thousands(most),
            cost(|run| run.worker_cpu),
            cost(|run| Some(run.clickhouse_cpu)),
            cost(|run| Some(run.kafka_cpu)),
        ))
    };
    SHARES.iter().zip(runs).filter_map(line).collect::<Vec<_>>().join("\n")
}
