//! `sluice load`: drives a scenario without judging it. Records stay on Kafka until a worker ingests them.

use sluice_loadgen::{drive::Driven, report, scenario::Access, trial::TrialError};

use crate::{
    exit::{Exit, Failure},
    run::{Run, ShardOptions, trial_failure},
    screen,
    settings::Settings,
};

/// Drives, and prints what was written and how questions were answered.
pub(crate) async fn run(options: ShardOptions, settings: Settings) -> Result<Exit, Failure> {
    let run =
        Box::pin(Run::prepare(&options.run, options.run.choose(Access::ReadWrite)?, options.shard, settings)).await?;
    let scenario = run.session.scenario().clone();
    let (namespace, base) = (run.session.names().namespace().to_owned(), run.settings.stack.port_base);
    let driven = Box::pin(drive(&run)).await;
    run.end().await;
    let (driven, has_failed) = driven.map_err(trial_failure)?;
    let rates = report::rates(&driven, None);
    screen::print(&report::drive_tables(&scenario, &driven.measured, &rates))?;
    screen::note(&format!(
        "the records are on Kafka; `sluice ingest --port-base {base} --namespace {namespace}` moves them into their tables"
    ));
    for loss in driven.lost.sentences() {
        screen::note(&format!("failed: {loss}"));
    }
    Ok(if has_failed { Exit::Fail } else { Exit::Pass })
}

/// Drives, and says whether anything failed; the first of several shards ends when all have driven.
async fn drive(run: &Run) -> Result<(Driven, bool), TrialError> {
    let mut trial = run.trial();
    let driven = trial.drive().await?;
    trial.gather(&driven).await?;
    let has_failed = trial.has_failed();
    Ok((driven, has_failed))
}
