//! The breaker: stops a bad deploy from draining a topic into the dead-letter queue.
//! The outcome of each record of a partition goes in, in order; a [`Verdict`] comes out. Pure: the caller passes the
//! clock. It stops nothing itself, and never lets one tenant's poison stop the others.
//!
//! A stream is poison if more than a configured share of the most recent records was rejected, and at least a minimum
//! number of them; or if too many were rejected consecutively. Then the tenants decide: the records of the tenant with
//! the most rejections are left out, and if the rest is not poison, that tenant's records continue into the dead-letter
//! queue with an alarm. Records without a readable tenant belong to no tenant and are never left out.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::config;

/// Minimum interval between two alarms about one partition.
const ALARM_EVERY: Duration = Duration::from_mins(1);
/// The rest without the worst tenant counts only if it reaches the threshold divided by this: a stray bad record of
/// another tenant does not make one tenant's poison a fault of the whole stream.
const STRAY_DIVISOR: usize = 10;

/// What the breaker considers of a record that cannot land.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poison {
    /// Its tenant, if readable.
    pub tenant: Option<Uuid>,
    /// Why it cannot land.
    pub reason: String,
}

/// What to do with a rejected record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Send it to the dead-letter queue.
    Pass,
    /// Send it, and alert the operator to this tenant.
    Alarm(Uuid),
    /// Send neither it nor anything after it.
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
            (tenants, 0) => write!(f, "from {tenants} tenants"),
            (tenants, without_tenant) => {
                write!(f, "from {tenants} tenants, {without_tenant} without a readable tenant")
            }
        }
    }
}

/// The breaker of one stage of one partition.
#[derive(Debug)]
pub struct Breaker {
    limits: config::Breaker,
    /// Records judged since it was created or reset.
    seen: u64,
    recent: RecentWindow,
    consecutive: RecentWindow,
    /// Highest judged offset; records read again are not judged again.
    judged_up_to: i64,
    /// Records that still pass unjudged after a reset.
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

    /// Records that `count` records up to `offset` are fine.
    pub fn accept_up_to(&mut self, count: u64, offset: i64) {
        if offset > self.judged_up_to {
            self.judged_up_to = offset;
            self.pass(count);
        }
    }

    /// Records that `count` further records are fine, none of which was judged before.
    pub fn pass(&mut self, count: u64) {
        let grace = self.grace.min(count);
        self.grace -= grace;
        self.seen += count - grace;
    }

    /// Judges the record at `offset`, which cannot land.
    pub fn rejected(&mut self, offset: i64, tenant: Option<Uuid>, now: Instant) -> Verdict {
        if offset <= self.judged_up_to {
            return Verdict::Pass;
        }
        self.judged_up_to = offset;
        self.refuse(tenant, now)
    }

    /// Judges a further record that cannot land.
    pub fn refuse(&mut self, tenant: Option<Uuid>, now: Instant) -> Verdict {
        if !self.limits.enabled {
            return Verdict::Pass;
        }
        if self.grace > 0 {
            self.grace -= 1;
            return Verdict::Pass;
        }
        self.seen += 1;
        self.recent.push(self.seen, tenant);
        self.consecutive.push(self.seen, tenant);
        self.judge(now)
    }

    fn judge(&mut self, now: Instant) -> Verdict {
        let (recent, consecutive) = (&self.recent, &self.consecutive);
        let seen_records = usize::try_from(recent.length.min(self.seen)).unwrap_or(usize::MAX);
        let exceeds_share =
            |rejected: usize, seen_records: usize| rejected * 100 > usize::from(self.limits.percent) * seen_records;
        let (window_count, run) = (recent.rejected(), consecutive.rejected());
        let is_window_poison = window_count >= self.limits.rejected && exceeds_share(window_count, seen_records);
        let is_run_poison = run >= self.limits.consecutive;
        if !is_window_poison && !is_run_poison {
            return Verdict::Pass;
        }
        let worst = |window: &RecentWindow| window.worst().map_or(0, |(_, count)| count);
        let rest = |window: &RecentWindow, threshold: usize| {
            let rest = window.rejected() - worst(window);
            (rest >= threshold.div_ceil(STRAY_DIVISOR)).then_some(rest)
        };
        let rest_in_window =
            rest(recent, self.limits.rejected).filter(|rest| exceeds_share(*rest, seen_records - worst(recent)));
        if is_run_poison && rest(consecutive, self.limits.consecutive).is_some() {
            self.is_open = true;
            return Verdict::Trip(consecutive.trip(run));
        }
        if is_window_poison && rest_in_window.is_some() {
            self.is_open = true;
            return Verdict::Trip(recent.trip(seen_records));
        }
        let worst = if is_window_poison { recent.worst() } else { consecutive.worst() };
        match worst.filter(|_| self.alarmed.is_none_or(|at| now.saturating_duration_since(at) >= ALARM_EVERY)) {
            Some((tenant, _)) => {
                self.alarmed = Some(now);
                Verdict::Alarm(tenant)
            }
            None => Verdict::Pass,
        }
    }

    /// Whether it has tripped.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Closes it: its counts are cleared, and a window's length of records passes unjudged.
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

    /// Record number `number` was rejected; rejections that have left the window no longer count.
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

    fn rejected(&self) -> usize {
        self.rejected.len()
    }

    /// The tenant with the most rejected records.
    fn worst(&self) -> Option<(Uuid, usize)> {
        let of_tenants = self.by_tenant.iter().filter_map(|(tenant, count)| Some(((*tenant)?, *count)));
        of_tenants.max_by_key(|(tenant, count)| (*count, *tenant))
    }

    fn trip(&self, seen_records: usize) -> Trip {
        let without_tenant = self.by_tenant.get(&None).copied().unwrap_or_default();
        let tenants = self.by_tenant.len() - usize::from(without_tenant > 0);
        Trip { rejected: self.rejected(), seen_records, tenants, without_tenant }
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

    /// Judges records in order; `None` is a fine one. Returns the index at which it tripped.
    fn run(breaker: &mut Breaker, records: impl IntoIterator<Item = Option<Option<Uuid>>>) -> Option<(usize, Trip)> {
        let now = Instant::now();
        records.into_iter().enumerate().find_map(|(index, record)| {
            let offset = breaker.judged_up_to.max(-1) + 1;
            match record {
                None => breaker.accept_up_to(1, offset),
                Some(tenant) => {
                    if let Verdict::Trip(trip) = breaker.rejected(offset, tenant, now) {
                        return Some((index, trip));
                    }
                }
            }
            None
        })
    }

    #[test]
    fn pure_poison_trips_at_the_minimum_number() {
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
            match breaker.rejected(offset, tenant(7), start + Duration::from_millis(offset.unsigned_abs() * 2)) {
                Verdict::Alarm(seen_records) => {
                    assert_eq!(Some(seen_records), tenant(7));
                    alarms += 1;
                }
                other => assert_eq!(other, Verdict::Pass),
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
    fn a_reset_passes_one_window_and_then_counts_again() {
        let mut breaker = Breaker::new(&limits());
        assert!(run(&mut breaker, vec![Some(None); 100]).is_some());
        breaker.reset();
        assert!(!breaker.is_open());
        assert_eq!(breaker.rejected(3, None, Instant::now()), Verdict::Pass, "already judged");
        assert_eq!(run(&mut breaker, vec![Some(None); 1000]).unwrap().0, 100 + 19);
    }

    #[test]
    fn a_disabled_breaker_never_trips() {
        let mut breaker = Breaker::new(&config::Breaker { enabled: false, ..limits() });
        assert_eq!(run(&mut breaker, vec![Some(None); 10_000]), None);
    }

    /// Decides from a list of all records, without incremental counting.
    #[expect(clippy::option_option, reason = "a fine record, a rejected one without a tenant, one with a tenant")]
    fn model(limits: &config::Breaker, records: &[Option<Option<u8>>]) -> bool {
        let rejected = |some: &[Option<Option<u8>>]| some.iter().flatten().copied().collect::<Vec<_>>();
        let worst = |rejected: &[Option<u8>]| {
            let seen_records = |tenant| rejected.iter().filter(|one| **one == Some(tenant)).count();
            (0..=u8::MAX).map(seen_records).max().unwrap_or(0)
        };
        let last = |length: usize| &records[records.len().saturating_sub(length)..];
        let (recent, row) = (last(limits.window), last(limits.consecutive));
        let (window_count, run) = (rejected(recent), rejected(row));
        let share = |some: usize, seen_records: usize| some * 100 > usize::from(limits.percent) * seen_records;
        let is_window_poison = window_count.len() >= limits.rejected && share(window_count.len(), recent.len());
        let rest = window_count.len() - worst(&window_count);
        let by_share = is_window_poison
            && rest * 10 >= limits.rejected
            && rest > 0
            && share(rest, recent.len() - worst(&window_count));
        let rest = run.len() - worst(&run);
        by_share || (run.len() == limits.consecutive && rest > 0 && rest * 10 >= limits.consecutive)
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
                    Some(seen_records) => {
                        let verdict = breaker.rejected(offset, seen_records.map(|n| Uuid::from_u128(n.into())), now);
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

        /// However long the poison and whichever records are read again: resets eventually get through all of it.
        #[test]
        fn every_reset_gets_further(back in proptest::collection::vec(0_i64..2000, 30)) {
            let mut breaker = Breaker::new(&limits());
            let (mut offset, mut resets) = (0, back.iter());
            while offset < 3000 {
                if let Verdict::Trip(_) = breaker.rejected(offset, None, Instant::now()) {
                    let back = *resets.next().expect("119 records further each time");
                    offset = (offset - back).max(0);
                    breaker.reset();
                } else {
                    offset += 1;
                }
            }
        }
    }
}
