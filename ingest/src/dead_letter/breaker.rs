//! The breaker: stops a bad deploy from draining a topic into the dead-letter queue.
//! It judges the outcomes of a partition's records in order; the caller passes the time and acts on the [`Verdict`]. It
//! never lets one tenant's poison stop the others.
//!
//! A stream is poison if more than a configured share of the most recent records was rejected, and at least a minimum
//! number of them; or if too many were rejected consecutively. Then the tenants decide: the records of the tenant with
//! the most rejections are excluded, and if the remaining ones are not poison, that tenant's records still become dead
//! letters, with an alarm. Records without a readable tenant are never excluded.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::config;

/// Minimum interval between two alarms about one partition.
const ALARM_EVERY: Duration = Duration::from_mins(1);
/// The rejections of all but the worst tenant count only if they reach the threshold divided by this: a stray bad
/// record of another tenant does not make one tenant's poison a fault of the whole stream.
const STRAY_DIVISOR: usize = 10;

/// The facts that the breaker uses about a record that cannot land.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedRecord {
    /// The record's tenant, if readable.
    pub tenant: Option<Uuid>,
    /// Why the record cannot land.
    pub reason: String,
}

/// What to do with a rejected record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Send it to the dead-letter topic and continue.
    Continue,
    /// Send it to the dead-letter topic and continue, but alert the operator to this tenant.
    Alarm(Uuid),
    /// Stop: send neither this record nor any later one.
    Trip(Trip),
}

/// Why the breaker opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trip {
    /// Rejected records.
    pub rejected: usize,
    /// Records considered, rejected or not.
    pub seen_records: usize,
    /// Number of tenants of the rejected records.
    pub tenants: usize,
    /// Rejected records without a readable tenant.
    pub without_tenant: usize,
}

impl fmt::Display for Trip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rejected, seen_records, tenants, without_tenant } = *self;
        write!(f, "{rejected} of the last {seen_records} records cannot land, ")?;
        match (tenants, without_tenant) {
            (0, _) => write!(f, "none of them with a readable tenant"),
            (1, 0) => write!(f, "from 1 tenant"),
            (1, _) => write!(f, "from 1 tenant, {without_tenant} without a readable tenant"),
            (_, 0) => write!(f, "from {tenants} tenants"),
            (_, _) => write!(f, "from {tenants} tenants, {without_tenant} without a readable tenant"),
        }
    }
}

/// The breaker of one stage of one partition.
#[derive(Debug)]
pub struct Breaker {
    limits: config::Breaker,
    /// Number of records judged since it was created or reset.
    seen: u64,
    recent: RecentWindow,
    consecutive: RecentWindow,
    /// Highest judged offset; records read again are not judged again.
    judged_up_to: i64,
    /// Number of records that are still accepted unjudged after a reset.
    grace: u64,
    is_open: bool,
    alarmed: Option<Instant>,
}

impl Breaker {
    /// A closed breaker that has seen no records.
    pub fn new(limits: &config::Breaker) -> Self {
        Self {
            recent: RecentWindow::new(limits.window),
            consecutive: RecentWindow::new(limits.consecutive),
            limits: limits.clone(),
            seen: 0,
            judged_up_to: i64::MIN,
            grace: 0,
            is_open: false,
            alarmed: None,
        }
    }

    /// Counts `count` records up to `offset` as accepted, unless they were judged before.
    pub fn accept_up_to(&mut self, count: u64, offset: i64) {
        if offset > self.judged_up_to {
            self.judged_up_to = offset;
            self.accept(count);
        }
    }

    /// Counts `count` further records as accepted, none of which was judged before.
    pub fn accept(&mut self, count: u64) {
        let grace = self.grace.min(count);
        self.grace -= grace;
        self.seen += count - grace;
    }

    /// Judges the record at `offset`, which cannot land.
    pub fn judge_at(&mut self, offset: i64, tenant: Option<Uuid>, now: Instant) -> Verdict {
        if offset <= self.judged_up_to {
            return Verdict::Continue;
        }
        self.judged_up_to = offset;
        self.judge_next(tenant, now)
    }

    /// Judges a further record that cannot land.
    pub fn judge_next(&mut self, tenant: Option<Uuid>, now: Instant) -> Verdict {
        if !self.limits.enabled {
            return Verdict::Continue;
        }
        if self.grace > 0 {
            self.grace -= 1;
            return Verdict::Continue;
        }
        self.seen += 1;
        self.recent.push(self.seen, tenant);
        self.consecutive.push(self.seen, tenant);
        self.verdict(now)
    }

    fn verdict(&mut self, now: Instant) -> Verdict {
        let (recent, consecutive) = (&self.recent, &self.consecutive);
        let seen_records = usize::try_from(recent.length.min(self.seen)).unwrap_or(usize::MAX);
        let exceeds_share =
            |rejected: usize, seen_records: usize| rejected * 100 > usize::from(self.limits.percent) * seen_records;
        let (window_count, run) = (recent.rejected_count(), consecutive.rejected_count());
        let is_window_poison = window_count >= self.limits.rejected && exceeds_share(window_count, seen_records);
        let is_run_poison = run >= self.limits.consecutive;
        if !is_window_poison && !is_run_poison {
            return Verdict::Continue;
        }
        let worst = |window: &RecentWindow| window.worst().map_or(0, |(_, count)| count);
        let rejected_of_others = |window: &RecentWindow, threshold: usize| {
            let rejected = window.rejected_count() - worst(window);
            (rejected >= threshold.div_ceil(STRAY_DIVISOR)).then_some(rejected)
        };
        let others_in_window = rejected_of_others(recent, self.limits.rejected)
            .filter(|rejected| exceeds_share(*rejected, seen_records - worst(recent)));
        if is_run_poison && rejected_of_others(consecutive, self.limits.consecutive).is_some() {
            self.is_open = true;
            return Verdict::Trip(consecutive.trip(run));
        }
        if is_window_poison && others_in_window.is_some() {
            self.is_open = true;
            return Verdict::Trip(recent.trip(seen_records));
        }
        let worst = if is_window_poison { recent.worst() } else { consecutive.worst() };
        match worst.filter(|_| self.alarmed.is_none_or(|at| now.saturating_duration_since(at) >= ALARM_EVERY)) {
            Some((tenant, _)) => {
                self.alarmed = Some(now);
                Verdict::Alarm(tenant)
            }
            None => Verdict::Continue,
        }
    }

    /// Whether it has tripped.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Closes it: clears its counts and accepts as many records unjudged as the window is long.
    pub fn reset(&mut self) {
        let (judged_up_to, alarmed) = (self.judged_up_to, self.alarmed);
        *self = Self { judged_up_to, alarmed, grace: self.limits.window as u64, ..Self::new(&self.limits) };
    }
}

/// The rejected records among the most recent ones.
#[derive(Debug)]
struct RecentWindow {
    length: u64,
    rejected: VecDeque<(u64, Option<Uuid>)>,
    by_tenant: HashMap<Option<Uuid>, usize>,
}

impl RecentWindow {
    fn new(length: usize) -> Self {
        Self { length: length as u64, rejected: VecDeque::new(), by_tenant: HashMap::new() }
    }

    /// Adds the rejected record number `number`, and drops rejections that are outside the window by then.
    fn push(&mut self, number: u64, tenant: Option<Uuid>) {
        self.rejected.push_back((number, tenant));
        *self.by_tenant.entry(tenant).or_default() += 1;
        while let Some((_, tenant)) = self.rejected.pop_front_if(|(then, _)| *then + self.length <= number) {
            if let Some(count) = self.by_tenant.get_mut(&tenant) {
                *count -= 1;
                if *count == 0 {
                    self.by_tenant.remove(&tenant);
                }
            }
        }
    }

    fn rejected_count(&self) -> usize {
        self.rejected.len()
    }

    /// The tenant with the most rejected records.
    fn worst(&self) -> Option<(Uuid, usize)> {
        let counts = self.by_tenant.iter().filter_map(|(tenant, count)| Some(((*tenant)?, *count)));
        counts.max_by_key(|(tenant, count)| (*count, *tenant))
    }

    fn trip(&self, seen_records: usize) -> Trip {
        let without_tenant = self.by_tenant.get(&None).copied().unwrap_or_default();
        let tenants = self.by_tenant.len() - usize::from(without_tenant > 0);
        Trip { rejected: self.rejected_count(), seen_records, tenants, without_tenant }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits() -> config::Breaker {
        config::Breaker { enabled: true, window: 100, percent: 50, rejected: 20, consecutive: 50 }
    }

    #[expect(clippy::unnecessary_wraps, reason = "the breaker takes a tenant or none")]
    fn tenant(n: u128) -> Option<Uuid> {
        Some(Uuid::from_u128(n))
    }

    /// Judges records in order; `None` is an accepted one. Returns the index at which it tripped.
    fn run(breaker: &mut Breaker, records: impl IntoIterator<Item = Option<Option<Uuid>>>) -> Option<(usize, Trip)> {
        let now = Instant::now();
        records.into_iter().enumerate().find_map(|(index, record)| {
            let offset = breaker.judged_up_to.max(-1) + 1;
            match record {
                None => breaker.accept_up_to(1, offset),
                Some(tenant) => {
                    if let Verdict::Trip(trip) = breaker.judge_at(offset, tenant, now) {
                        return Some((index, trip));
                    }
                }
            }
            None
        })
    }

    #[test]
    fn a_stream_of_only_poison_trips_at_the_minimum_number() {
        let mut breaker = Breaker::new(&limits());
        let (at, trip) = run(&mut breaker, vec![Some(None); 100]).unwrap();
        assert_eq!((at, trip), (19, Trip { rejected: 20, seen_records: 20, tenants: 0, without_tenant: 20 }));
        insta::assert_snapshot!(trip, @"20 of the last 20 records cannot land, none of them with a readable tenant");
        assert!(breaker.is_open());
    }

    #[test]
    fn poison_after_a_good_stream_trips_after_a_consecutive_run() {
        let stream = std::iter::repeat_n(None, 1000).chain((0..100).map(|n| Some(tenant(n % 3))));
        let (at, trip) = run(&mut Breaker::new(&limits()), stream).unwrap();
        assert_eq!((at, trip), (1049, Trip { rejected: 50, seen_records: 50, tenants: 3, without_tenant: 0 }));
        insta::assert_snapshot!(trip, @"50 of the last 50 records cannot land, from 3 tenants");
        let (tenants, without_tenant) = (1, 2);
        insta::assert_snapshot!(Trip { tenants, without_tenant, ..trip }, @"50 of the last 50 records cannot land, from 1 tenant, 2 without a readable tenant");
    }

    #[test]
    fn a_share_up_to_the_limit_passes() {
        let stream = (0..10_000_u128).map(|n| (n % 2 == 0).then(|| tenant(n)));
        assert_eq!(run(&mut Breaker::new(&limits()), stream), None);
        let stream = (0..10_000_u128).map(|n| (n % 20 > 8).then(|| tenant(n)));
        assert!(run(&mut Breaker::new(&limits()), stream).is_some(), "a little more than half");
    }

    #[test]
    fn one_tenants_poison_only_raises_alarms() {
        let (mut breaker, start) = (Breaker::new(&limits()), Instant::now());
        let mut alarms = 0;
        for offset in 0..100_000 {
            match breaker.judge_at(offset, tenant(7), start + Duration::from_millis(offset.unsigned_abs() * 2)) {
                Verdict::Alarm(alarmed) => {
                    assert_eq!(Some(alarmed), tenant(7));
                    alarms += 1;
                }
                other => assert_eq!(other, Verdict::Continue),
            }
        }
        assert_eq!(alarms, 4, "in 200 seconds");
    }

    #[test]
    fn stray_records_of_other_tenants_do_not_trip() {
        let stray = |every: u128| (0..10_000).map(move |n| Some(if n % every == 0 { None } else { tenant(7) }));
        assert_eq!(run(&mut Breaker::new(&limits()), stray(100)), None);
        assert!(run(&mut Breaker::new(&limits()), stray(5)).is_some());
    }

    #[test]
    fn after_a_reset_one_window_is_accepted_before_judging_resumes() {
        let mut breaker = Breaker::new(&limits());
        assert!(run(&mut breaker, vec![Some(None); 100]).is_some());
        breaker.reset();
        assert!(!breaker.is_open());
        assert_eq!(breaker.judge_at(3, None, Instant::now()), Verdict::Continue, "already judged");
        assert_eq!(run(&mut breaker, vec![Some(None); 1000]).unwrap().0, 100 + 19);
    }

    #[test]
    fn a_disabled_breaker_never_trips() {
        let mut breaker = Breaker::new(&config::Breaker { enabled: false, ..limits() });
        assert_eq!(run(&mut breaker, vec![Some(None); 10_000]), None);
    }

    /// Decides from a list of all records, without incremental counting.
    #[expect(clippy::option_option, reason = "an accepted record, a rejected one without a tenant, one with a tenant")]
    fn model(limits: &config::Breaker, records: &[Option<Option<u8>>]) -> bool {
        let rejected = |records: &[Option<Option<u8>>]| records.iter().flatten().copied().collect::<Vec<_>>();
        let worst = |rejected: &[Option<u8>]| {
            let count_of = |tenant| rejected.iter().filter(|rejected| **rejected == Some(tenant)).count();
            (0..=u8::MAX).map(count_of).max().unwrap_or(0)
        };
        let last = |length: usize| &records[records.len().saturating_sub(length)..];
        let (recent, consecutive) = (last(limits.window), last(limits.consecutive));
        let (window_rejected, run) = (rejected(recent), rejected(consecutive));
        let exceeds_share =
            |rejected: usize, seen_records: usize| rejected * 100 > usize::from(limits.percent) * seen_records;
        let is_window_poison =
            window_rejected.len() >= limits.rejected && exceeds_share(window_rejected.len(), recent.len());
        let others = window_rejected.len() - worst(&window_rejected);
        let by_share = is_window_poison
            && others * 10 >= limits.rejected
            && others > 0
            && exceeds_share(others, recent.len() - worst(&window_rejected));
        let others = run.len() - worst(&run);
        by_share || (run.len() == limits.consecutive && others > 0 && others * 10 >= limits.consecutive)
    }

    proptest! {
        #[test]
        fn it_trips_exactly_when_the_full_history_requires_it(
            records in proptest::collection::vec(
                prop_oneof![2 => Just(None), 3 => proptest::option::of(0_u8..3).prop_map(Some)], 1..300),
            window in 1_usize..60, percent in 1_u8..100, share in 1_usize..101, consecutive in 1_usize..40
        ) {
            let limits = config::Breaker { enabled: true, window, percent, rejected: (window * share).div_ceil(100), consecutive };
            let mut breaker = Breaker::new(&limits);
            let now = Instant::now();
            for (offset, record) in (0_i64..).zip(&records) {
                let so_far = &records[..=usize::try_from(offset).unwrap()];
                match record {
                    None => breaker.accept_up_to(1, offset),
                    Some(tenant) => {
                        let verdict = breaker.judge_at(offset, tenant.map(|n| Uuid::from_u128(n.into())), now);
                        let is_open = matches!(verdict, Verdict::Trip(_));
                        prop_assert_eq!(is_open, model(&limits, so_far), "at {}", offset);
                        prop_assert_eq!(is_open, breaker.is_open());
                        if is_open {
                            return Ok(());
                        }
                    }
                }
            }
        }

        /// Enough resets get through poison of any length, whichever records are read again.
        #[test]
        fn every_reset_makes_progress(rewinds in proptest::collection::vec(0_i64..2000, 30)) {
            let mut breaker = Breaker::new(&limits());
            let (mut offset, mut rewinds) = (0, rewinds.iter());
            while offset < 3000 {
                if let Verdict::Trip(_) = breaker.judge_at(offset, None, Instant::now()) {
                    let rewind = *rewinds.next().expect("119 records further each time");
                    offset = (offset - rewind).max(0);
                    breaker.reset();
                } else {
                    offset += 1;
                }
            }
        }
    }
}
