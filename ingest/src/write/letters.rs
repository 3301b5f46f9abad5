//! The dead letters that a batch comes with. They are sent before its rows, except those whose records have landed.

use std::time::Instant;

use sluice_schemas::records::DeadLetter;

use super::attempts::Attempts;
use super::job::Job;
use super::writer::Writer;
use crate::clickhouse::{lookup, visibility};
use crate::exactly_once::intent::Doubt;
use crate::failure::Failure;
use crate::fault::{Failpoint, reached};
use crate::observe::metrics::Stage;

impl Writer {
    /// Sends the dead letters of a batch; returns their offsets.
    pub(super) async fn land_dead_letters(&self, job: &Job, attempts: &mut Attempts<'_>) -> Vec<i64> {
        let letters = self.letters(job, attempts).await;
        if letters.is_empty() {
            return Vec::new();
        }
        let started = Instant::now();
        self.send_letters(job, &letters, attempts).await;
        self.metrics.stage(Stage::DeadLetter, started.elapsed());
        reached(Failpoint::DeadLettered);
        letters.iter().map(|letter| letter.offset).collect()
    }

    /// The dead letters of a batch. If it is in doubt, another decoder may have accepted a record that this one rejects; a record
    /// that has landed is no dead letter.
    async fn letters<'a>(&self, job: &'a Job, attempts: &mut Attempts<'_>) -> Vec<&'a DeadLetter> {
        let letters = &job.batch.dead_letters;
        if letters.is_empty() || job.doubt() == Doubt::No {
            return letters.iter().collect();
        }
        self.metrics.looked_up(&job.destination.target.topic);
        let landed = loop {
            match self.offsets_in_table(job, letters).await {
                Ok(landed) => break landed,
                Err(failure) => attempts.failed(failure).await,
            }
        };
        letters.iter().filter(|letter| landed.binary_search(&letter.offset).is_err()).collect()
    }

    /// The offsets of a batch that are in the table. If a letter's record is missing, hidden rows are ruled out.
    async fn offsets_in_table(&self, job: &Job, letters: &[DeadLetter]) -> Result<Vec<i64>, Failure> {
        let landed =
            lookup::offsets(&self.clickhouse, &job.destination.target, job.owner.partition, job.batch.range).await?;
        if letters.iter().any(|letter| landed.binary_search(&letter.offset).is_err()) {
            visibility::check(&self.clickhouse, &job.destination.target.table).await?;
        }
        Ok(landed)
    }
}
