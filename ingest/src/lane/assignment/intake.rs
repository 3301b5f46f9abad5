//! Puts records into their partition's open batch.
//! Each record becomes a row or a dead letter, and due batches are sealed. It never blocks, and drops no record of a
//! partition that accepts input.

use std::time::Instant;

use rdkafka::message::{BorrowedMessage, Message};

use super::alarm::report_verdict;
use super::state::Assignment;
use crate::batch::OpenBatch;
use crate::batch::limits::SealReason;
use crate::dead_letter::breaker::{RejectedRecord, Verdict};
use crate::dead_letter::compose;
use crate::decode::Rejected;
use crate::fault::{Failpoint, reached};

impl Assignment {
    /// Consumes one record. Returns whether its partition has to pause before the next one.
    pub fn consume(&mut self, message: &BorrowedMessage<'_>, now: Instant) -> bool {
        let Some(pipeline) = self.pipeline(message.topic()) else { return false };
        let (key, offset) = ((pipeline, message.partition()), message.offset());
        match self.partitions.get(&key) {
            None => return false,
            Some(partition) if partition.discards_input() => return true,
            Some(partition) if partition.ends_before(offset) => self.seal_passed_ranges(key, offset),
            Some(_) => {}
        }
        self.clear_unreadable(key, offset);
        reached(Failpoint::Polled);
        if !self.append(key, message, now) {
            return true;
        }
        self.counts[pipeline].consumed += 1;
        reached(Failpoint::Buffered);
        let Some(partition) = self.partitions.get(&key) else { return false };
        if let Some(seal_reason) = partition.seal_reason(&self.pipelines[pipeline].limits, now) {
            self.seal(key, seal_reason);
        }
        self.shortage.record_consumed(pipeline, now);
        self.apply_backpressure(key, now)
    }

    /// Adds a record to its partition's open batch, as a row or a dead letter, or as neither if an earlier owner has
    /// dead-lettered it. Returns `false` if the breaker opened instead.
    fn append(&mut self, key: (usize, i32), message: &BorrowedMessage<'_>, now: Instant) -> bool {
        let (pipeline, offset, payload) = (key.0, message.offset(), message.payload());
        let Some(partition) = self.partitions.get_mut(&key) else { return false };
        let budget = &self.services.budget;
        let open = || OpenBatch::open(now, budget.permit(pipeline));
        if partition.is_dead_letter(offset) {
            partition.open_batch(open).begin_record(offset, message.key(), payload);
            partition.record_consumed(offset);
            return true;
        }
        let ready = &mut self.pipelines[pipeline];
        self.row.clear();
        let decoded = ready.decoder.decode(payload, &partition.origin, offset, &mut self.row);
        let id = ready.destination.target.topic_id;
        let letter = decoded
            .err()
            .map(|Rejected { reason, tenant }| compose::from_message(message, id, reason.code(), "decode", 1, tenant));
        if let Some(letter) = &letter {
            let rejected = RejectedRecord { tenant: letter.tenant_id, reason: letter.reason.clone() };
            let verdict = partition.count_rejected(offset, &rejected, now);
            report_verdict(&self.services, &ready.destination.target.topic, partition, verdict);
            if matches!(verdict, Verdict::Trip(_)) {
                return false;
            }
        } else {
            partition.count_decoded(offset);
        }
        let batch = partition.open_batch(open);
        batch.begin_record(offset, message.key(), payload);
        if let Some(letter) = letter {
            batch.push_dead_letter(letter);
        } else if let Ok(decoded) = decoded {
            batch.push_row(decoded.month, &self.row);
        }
        partition.record_consumed(offset);
        true
    }

    /// Seals announced ranges whose last records are no longer in the log, once everything below `offset` was delivered.
    pub(super) fn seal_passed_ranges(&mut self, key: (usize, i32), offset: i64) {
        while self.partitions.get(&key).is_some_and(|partition| partition.ends_before(offset)) {
            self.seal(key, SealReason::Announced);
        }
    }
}
