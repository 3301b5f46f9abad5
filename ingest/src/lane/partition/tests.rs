//! A partition without stores: sealing, announcing, writing, committing, takeover.

use super::hold::FLOW_WAIT;
use super::*;
use crate::batch::OpenBatch;
use crate::batch::budget::Budget;
use crate::batch::limits::Backlog;
use crate::batch::limits::{Limits, SealReason};
use crate::clock::Moment;
use crate::config;
use crate::decode::Origin;
use crate::event::AssignmentId;
use crate::exactly_once::commit::{COMMIT_INTERVAL, RETRY_WAIT};
use crate::exactly_once::intent::Intent;
use crate::exactly_once::intent::{Announced, Doubt, MAX_RANGES};
use crate::exactly_once::lease::Lease;
use crate::exactly_once::ledger::OffsetCommit;
use crate::exactly_once::range::Range;
use crate::exactly_once::takeover::{Continuation, Start};
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

const BACKLOG: Backlog = Backlog { rows: 1000, bytes: 1 << 22, time: Duration::from_secs(5) };
pub(super) const LIMITS: Limits =
    Limits { rows: 100, bytes: 1 << 20, age: Duration::from_secs(30), months: 12, backlog: BACKLOG };

fn partition_at(start: &Start) -> Partition {
    let assignment = AssignmentId { pipeline: 0, partition: 0, epoch: 1 };
    let lease = Lease::new(Moment::now(), Duration::from_secs(30));
    let breaker = config::Breaker { rejected: 4, consecutive: 4, ..config::Breaker::default() };
    let mut partition = Partition::new(assignment, Origin::new("t", Uuid::nil(), 0), lease, 1, &breaker, start);
    if start.intent.is_some() {
        partition.release(Hold::Opening);
    }
    partition
}

pub(super) fn partition() -> Partition {
    let intent = Intent { decoder: 1, announced_at: 0, ranges: vec![] };
    partition_at(&Start { offset: 0, committed: Some(0), intent: Some(intent), lookup_through: None })
}

pub(super) fn consume(partition: &mut Partition, offset: i64) {
    let budget = Budget::new(1 << 20, 1);
    let batch = partition.open_batch(|| OpenBatch::open(Instant::now(), budget.permit(0)));
    batch.begin_record(offset, None, None);
    batch.push_row(0, b"row");
    partition.record_consumed(offset);
}

pub(super) fn announce(partition: &mut Partition) -> OffsetCommit {
    let now = Instant::now();
    let due = partition.next_commit(now, 7).unwrap();
    partition.handle_commit_response(true, now);
    due
}

#[test]
fn a_batch_is_written_once_announced_and_one_at_a_time() {
    let mut partition = partition();
    for offset in [7, 9] {
        consume(&mut partition, offset);
        partition.seal(SealReason::Rows);
    }
    assert!(partition.next_batch().is_none(), "it is not announced yet");
    assert_eq!(announce(&mut partition).offset, 0);
    let first = partition.next_batch().unwrap();
    assert!(partition.next_batch().is_none());
    partition.record_written(first.range);
    assert_eq!(partition.watermark(), Some(8));
    assert!(partition.next_batch().is_some());
}

#[test]
fn an_offset_waits_briefly_for_the_next_announcement() {
    let mut partition = partition();
    consume(&mut partition, 0);
    partition.seal(SealReason::Rows);
    announce(&mut partition);
    let batch = partition.next_batch().unwrap();
    partition.record_written(batch.range);
    let now = Instant::now();
    assert_eq!(partition.next_commit(now, 8), None);
    assert_eq!(partition.next_commit(now + COMMIT_INTERVAL, 8).unwrap().offset, 1);
}

#[test]
fn a_failed_commit_is_retried_after_a_wait() {
    let mut partition = partition();
    consume(&mut partition, 0);
    partition.seal(SealReason::Rows);
    let now = Instant::now();
    assert!(partition.next_commit(now, 1).is_some());
    partition.handle_commit_response(false, now);
    assert!(partition.next_commit(now, 1).is_none() && partition.next_batch().is_none());
    assert!(partition.next_commit(now + RETRY_WAIT, 1).is_some());
}

#[test]
fn an_aging_lease_is_renewed_while_there_is_work() {
    let mut partition = partition();
    consume(&mut partition, 0);
    partition.seal(SealReason::Rows);
    announce(&mut partition);
    let _batch = partition.next_batch().unwrap();
    assert!(partition.next_commit(Instant::now(), 1).is_none(), "it is young");
    partition.commits.lease = Arc::new(Lease::new(Moment::now(), Duration::ZERO));
    assert!(partition.next_commit(Instant::now(), 1).is_some());
}

#[test]
fn intake_resumes_only_when_every_hold_is_released() {
    let mut partition = partition();
    partition.hold(Hold::Memory);
    partition.hold(Hold::Store);
    assert_eq!(partition.flow_change(), Some(Flow::Pause));
    partition.release(Hold::Memory);
    assert_eq!(partition.flow_change(), None);
    partition.release(Hold::Store);
    assert_eq!(partition.flow_change(), Some(Flow::Resume));
}

#[test]
fn a_failed_resume_is_retried_at_the_same_offset() {
    let mut partition = partition_at(&Start { offset: 40, committed: Some(40), intent: None, lookup_through: None });
    partition.flow_change();
    partition.finish_opening(&Continuation::Proceed, Vec::new());
    let flow = partition.flow_change().unwrap();
    partition.retry_flow(flow, Instant::now().checked_sub(FLOW_WAIT).unwrap());
    assert_eq!(partition.flow_change(), Some(Flow::ResumeAt(40)));
}

#[test]
fn announced_ranges_are_sealed_unchanged_regardless_of_the_limits() {
    let announced = |first, last, digest| Announced { range: Range { first, last }, digest, doubt: Doubt::No };
    let intent = Intent {
        decoder: 1,
        announced_at: 5,
        ranges: vec![announced(0, 2, 0), announced(3, 6, 0), announced(8, 9, 0)],
    };
    let mut partition =
        partition_at(&Start { offset: 0, committed: Some(0), intent: Some(intent), lookup_through: None });
    let one_row = Limits { rows: 1, ..LIMITS };
    consume(&mut partition, 0);
    assert_eq!(partition.seal_reason(&one_row, Instant::now()), None);
    assert!(partition.seal(SealReason::Pressure).is_none() && partition.seal(SealReason::Drain).is_none());
    consume(&mut partition, 2);
    assert_eq!(partition.seal_reason(&LIMITS, Instant::now()), Some(SealReason::Announced));
    let batch = partition.seal(SealReason::Announced).unwrap();
    assert_eq!((batch.range, batch.doubt), (Range { first: 0, last: 2 }, Doubt::AllOrNothing), "its digest differs");
    consume(&mut partition, 4);
    assert!(partition.ends_before(7), "the end of the range is no longer in the log");
    assert_eq!(partition.seal(SealReason::Announced).unwrap().range, Range { first: 3, last: 6 });
    assert!(partition.ends_before(10) && partition.seal(SealReason::Announced).is_none(), "none of it is in the log");
    assert!(!partition.is_resealing());
    let first = partition.next_batch().expect("it was announced earlier");
    partition.record_written(first.range);
    let second = partition.next_batch().unwrap();
    partition.record_written(second.range);
    assert_eq!(partition.watermark(), Some(10));
}

#[test]
fn an_announced_range_is_completed_although_memory_is_short() {
    let announced = |first, last| Announced { range: Range { first, last }, digest: 0, doubt: Doubt::No };
    let intent = Intent { decoder: 1, announced_at: 5, ranges: vec![announced(0, 1), announced(2, 3)] };
    let mut partition =
        partition_at(&Start { offset: 0, committed: Some(0), intent: Some(intent), lookup_through: None });
    consume(&mut partition, 0);
    partition.hold(Hold::Memory);
    partition.exceed_budget();
    assert!(partition.may_exceed_budget() && !partition.is_held(Hold::Memory));
    consume(&mut partition, 1);
    partition.seal(SealReason::Announced);
    assert!(!partition.may_exceed_budget(), "the next one waits for memory again");
}

#[test]
fn ranges_of_an_intent_older_than_the_table_are_sealed_unchanged_and_looked_up() {
    let announced = |first, last| Announced { range: Range { first, last }, digest: 0, doubt: Doubt::No };
    let intent = Intent { decoder: 1, announced_at: 5, ranges: vec![announced(40, 41)] };
    let start = Start { offset: 40, committed: Some(40), intent: Some(intent), lookup_through: None };
    assert_eq!(start.announced_through(), Some(41));
    let mut partition = partition_at(&start);
    partition.hold(Hold::Store);
    assert_eq!(partition.finish_opening(&Continuation::Check { through: 45 }, Vec::new()), None);
    assert!(!partition.is_held(Hold::Store), "the table has responded");
    consume(&mut partition, 41);
    partition.announced[0].digest = {
        let budget = Budget::new(1 << 20, 1);
        let mut same = OpenBatch::open(Instant::now(), budget.permit(0));
        same.begin_record(41, None, None);
        same.seal(None).unwrap().digest
    };
    let batch = partition.seal(SealReason::Announced).unwrap();
    assert_eq!((batch.range, batch.doubt), (Range { first: 40, last: 41 }, Doubt::SendMissing));
    consume(&mut partition, 45);
    assert_eq!(partition.seal_reason(&LIMITS, Instant::now()), Some(SealReason::LookupEnd));
    assert_eq!(partition.seal(SealReason::LookupEnd).unwrap().doubt, Doubt::SendMissing);
    consume(&mut partition, 46);
    assert_eq!(partition.seal(SealReason::Rows).unwrap().doubt, Doubt::No);
}

#[test]
fn an_opening_partition_is_paused_and_begins_at_its_start() {
    let mut partition = partition_at(&Start { offset: 40, committed: Some(40), intent: None, lookup_through: None });
    assert_eq!(partition.flow_change(), Some(Flow::Pause));
    assert_eq!(partition.finish_opening(&Continuation::Check { through: 41 }, Vec::new()), None);
    assert_eq!(partition.flow_change(), Some(Flow::ResumeAt(40)));
    consume(&mut partition, 40);
    assert_eq!(partition.seal_reason(&LIMITS, Instant::now()), None);
    consume(&mut partition, 41);
    assert_eq!(partition.seal_reason(&LIMITS, Instant::now()), Some(SealReason::LookupEnd));
    let batch = partition.seal(SealReason::LookupEnd).unwrap();
    assert_eq!((batch.doubt, batch.may_be_incomplete), (Doubt::SendMissing, true));
    consume(&mut partition, 42);
    assert_eq!(partition.seal(SealReason::Rows).unwrap().doubt, Doubt::No);
}

#[test]
fn a_stopped_partition_writes_and_commits_nothing() {
    let mut partition = partition();
    for offset in [0, 1] {
        consume(&mut partition, offset);
        partition.seal(SealReason::Rows);
    }
    announce(&mut partition);
    let _batch = partition.next_batch().unwrap();
    partition.stop();
    assert!(partition.next_batch().is_none());
    assert_eq!(partition.next_commit(Instant::now() + COMMIT_INTERVAL, 1), None);
    assert_eq!(partition.final_commit(1), None);
    assert!(partition.is_settled());
}

#[test]
fn more_ranges_than_may_wait_are_taken_over() {
    let announcement = |n: i64| Announced { range: Range { first: n, last: n }, digest: 0, doubt: Doubt::No };
    let count = i64::try_from(MAX_RANGES).unwrap();
    let intent = Intent { decoder: 1, announced_at: 5, ranges: (0..count).map(announcement).collect() };
    let mut partition =
        partition_at(&Start { offset: 0, committed: Some(0), intent: Some(intent), lookup_through: None });
    for offset in 0..count {
        assert_eq!(partition.flow_change(), None, "intake is not paused");
        consume(&mut partition, offset);
        partition.seal(SealReason::Announced);
    }
    assert!(partition.is_held(Hold::Ranges), "only now there are too many");
}
