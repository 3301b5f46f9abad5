//! `sluice load`: drives a scenario without judging it. Records stay on Kafka until a worker ingests them.

use sluice_loadgen::report;

use crate::{
    exit::{Exit, Failure},
    run::{Options, Run, trial_failure},
    screen,
    settings::Settings,
};

/// Drives, and prints what was written and how questions were answered.
pub(crate) async fn run(options: Options, settings: Settings) -> Result<Exit, Failure> {
    let run = Box::pin(Run::prepare(&options, settings)).await?;
    let (namespace, base) = (run.session.names().namespace().to_owned(), run.settings.stack.port_base);
    let driven = run.trial().drive().await.map_err(trial_failure).map(|driven| {
        let rates = report::rates(&driven, None);
        (report::drive_tables(run.session.scenario(), &driven.measured.questions, &rates), driven.lost)
    });
    run.end().await;
    let (tables, lost) = driven?;
    screen::print(&tables)?;
    screen::note(&format!(
        "the records are on Kafka; `sluice ingest --port-base {base} --namespace {namespace}` moves them into their tables"
    ));
    for loss in &lost {
        screen::note(&format!("failed: {loss}"));
    }
    Ok(if lost.is_empty() { Exit::Pass } else { Exit::Fail })
}
