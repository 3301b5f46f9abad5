//! Measures the cost of rows that only ClickHouse refuses: the same topic lands in tables whose CHECK constraints refuse none of
//! its records, one in a hundred or one in ten, evenly spread; each share runs once per round. Sluice is the only program that
//! it measures.
//!
//! After each run, the table must hold every other record once, and the dead-letter topic one letter per refused record.

use anyhow::Context;
use serde_json::json;
use sluice_schemas::names::topic;

use crate::contender::{Contender, Kind};
use crate::figures::{Spread, thousands, write};
use crate::fill::{fill, record_count};
use crate::machine::Machine;
use crate::measure::{measure, measure_unverified};
use crate::options::Refused;
use crate::output::{print, progress};
use crate::testbed::{Contents, Testbed};
use crate::trial::{Measured, Trial};

/// A share of refused records.
struct Share {
    name: &'static str,
    /// CHECK constraint of the table.
    check: &'static str,
    /// Required throughput, in percent of that without refused rows.
    required: Option<f64>,
}

const SHARES: [Share; 3] = [
    Share { name: "none refused", check: "_offset % 100 != 100", required: None },
    Share { name: "1 % refused", check: "_offset % 100 != 50", required: Some(50.0) },
    Share { name: "10 % refused", check: "_offset % 10 != 5", required: Some(15.0) },
];

/// Runs all rounds and writes `refused.txt` and `refused.json`.
pub(crate) async fn run(options: &Refused) -> anyhow::Result<()> {
    let testbed = Testbed::up(&options.common, "bench").await?;
    let whole = fill(&testbed, &options.common).await?;
    let contender = Contender { kind: Kind::Sluice { processes: 1 }, batch: Some(options.batch) };
    let expected = expected_contents(&testbed, &contender, whole).await?;
    let mut runs: [Vec<Measured>; 3] = Default::default();
    let mut number = 0;
    for round in 0..options.rounds as usize {
        for turn in 0..SHARES.len() {
            // Each round starts with a different share, so that none always runs after the same one.
            let index = (turn + round) % SHARES.len();
            number += 1;
            let trial = Trial::new(number, expected[index]);
            let result = run_share(&testbed, &contender, &trial, &SHARES[index], whole.rows).await;
            let result = result.with_context(|| format!("measure with {}", SHARES[index].name))?;
            progress(&line(round, &SHARES[index], &result, whole.rows));
            runs[index].push(result);
        }
    }
    let machine = Machine::current(&testbed).await?;
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
    print(&text);
    Ok(())
}

/// Expected contents of the table by share: a first run lands every record, which shows their offsets.
async fn expected_contents(testbed: &Testbed, contender: &Contender, whole: Contents) -> anyhow::Result<[Contents; 3]> {
    let trial = Trial::new(0, whole);
    testbed.create(&trial.table).await?;
    measure_unverified(testbed, contender, &trial).await.context("land every record once")?;
    let mut expected = [whole; 3];
    for (share, expected) in SHARES.iter().zip(&mut expected) {
        *expected = testbed.contents_matching(&trial.table, share.check).await?;
    }
    let (_, wrong) = trial.verify(testbed).await?;
    anyhow::ensure!(wrong.is_none(), "land every record once: {}", wrong.unwrap_or_default());
    Ok(expected)
}

async fn run_share(
    testbed: &Testbed,
    contender: &Contender,
    trial: &Trial,
    share: &Share,
    events: u64,
) -> anyhow::Result<Measured> {
    let letters = testbed.names.topic(topic::CLICKHOUSE_ERRORS);
    let before = record_count(testbed, &letters)?;
    let measured = measure(testbed, contender, &trial.with_check(share.check)).await?;
    let (sent, refused) = (record_count(testbed, &letters)? - before, events - trial.events);
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
        let Spread { min, median, max } = spread(runs)?;
        let percent = 100.0 * median / clean;
        let required = share.required.map_or_else(String::new, |required| {
            format!(", at least {required:.0} %: {}", if percent >= required { "met" } else { "NOT MET" })
        });
        let wrong: Vec<_> = runs.iter().filter_map(|run| run.wrong.clone()).collect();
        let right = if wrong.is_empty() { "right".to_owned() } else { format!("WRONG: {}", wrong.join("; ")) };
        let cost = |value: fn(&Measured) -> Option<f64>| {
            let spread = Spread::of(runs.iter().filter_map(value));
            spread.map_or_else(|| "-".to_owned(), |spread| format!("{:.2}", spread.median / events as f64 * 1e6))
        };
        Some(format!(
            "{}: {} events/s ({}-{}), {percent:.0} % of the clean rate{required}; processor seconds per million events: worker {}, \
             ClickHouse {}, Kafka {}; rows and letters {right}",
            share.name,
            thousands(median),
            thousands(min),
            thousands(max),
            cost(|run| run.worker_cpu),
            cost(|run| Some(run.clickhouse_cpu)),
            cost(|run| Some(run.kafka_cpu)),
        ))
    };
    SHARES.iter().zip(runs).filter_map(line).collect::<Vec<_>>().join("\n")
}
