//! The dead letters of a batch that were created before it was sealed. They are sent before the batch's rows; a record that has
//! landed is never dead-lettered.

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
        let letters = self.letters_to_send(job, attempts).await;
        if letters.is_empty() {
            return Vec::new();
        }
        let started = Instant::now();
        self.send_letters(job, &letters, attempts).await;
        self.metrics.observe_stage(Stage::DeadLetter, started.elapsed());
        reached(Failpoint::DeadLettered);
        letters.iter().map(|letter| letter.offset).collect()
    }

    /// Returns the dead letters of a batch, except those whose records have landed: if the batch is in doubt, another decoder
    /// may have accepted a record that this one rejects.
    async fn letters_to_send<'a>(&self, job: &'a Job, attempts: &mut Attempts<'_>) -> Vec<&'a DeadLetter> {
        let letters = &job.batch.dead_letters;
        if letters.is_empty() || job.doubt() == Doubt::No {
            return letters.iter().collect();
        }
        self.metrics.count_lookup(&job.destination.target.topic);
        let landed = loop {
            match self.offsets_in_table(job, letters).await {
                Ok(landed) => break landed,
                Err(failure) => attempts.back_off(failure).await,
            }
        };
        letters.iter().filter(|letter| landed.binary_search(&letter.offset).is_err()).collect()
    }

    /// Returns the offsets of a batch that are in the table. If a letter's record is missing, it rules out hidden rows.
    async fn offsets_in_table(&self, job: &Job, letters: &[DeadLetter]) -> Result<Vec<i64>, Failure> {
        let landed =
            lookup::offsets(&self.clickhouse, &job.destination.target, job.assignment.partition, job.batch.range)
                .await?;
        if letters.iter().any(|letter| landed.binary_search(&letter.offset).is_err()) {
            visibility::check(&self.clickhouse, &job.destination.target.table).await?;
        }
        Ok(landed)
    }
}
