//! The breaker: stops a bad deploy from draining a topic into the dead-letter queue.
//! What became of one record after the other of a partition goes in, a [`Verdict`] comes out. Pure: the clock is the
//! caller's. It holds nothing up itself, and never lets one tenant's poison stop the others.
//!
//! A stream is poison when more than a share of the last so many records was rejected, and at least so many of them; or
//! when so many were rejected one after the other. Then the tenants decide: the records of the tenant with the most
//! rejected ones are left out, and if what is left is no poison, that tenant's records go on into the dead-letter queue
//! with an alarm. What has no readable tenant belongs to nobody and is never left out.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::config;

/// Least time between two alarms about one partition.
const ALARM_EVERY: Duration = Duration::from_mins(1);
/// What is left without the worst tenant counts only if it is at least this part of what would count alone: a stray bad
/// record of somebody else does not make one tenant's poison everybody's.
const STRAY: usize = 10;

/// A record that cannot land, as far as the breaker looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poison {
    /// Its tenant, where that can be read.
    pub tenant: Option<Uuid>,
    /// Why it cannot land.
    pub reason: String,
}

/// What to do about a rejected record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to the dead-letter queue.
    Pass,
    /// It does, and somebody should look at this tenant.
    Alarm(Uuid),
    /// It does not, and neither does anything after it.
    Trip(Trip),
}

/// Why the breaker opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trip {
    /// Records that were rejected.
    pub rejected: usize,
    /// Records they were among.
    pub seen_records: usize,
    /// Tenants they are of.
    pub tenants: usize,
    /// Those of them that have no readable tenant.
    pub without_tenant: usize,
}

impl fmt::Display for Trip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rejected, seen_records, tenants, without_tenant } = *self;
        write!(f, "{rejected} of the last {seen_records} records cannot land, ")?;
        match (tenants, without_tenant) {
            (0, _) => write!(f, "and no tenant can be read in them"),
            (tenants, 0) => write!(f, "and they are of {tenants} tenants"),
            (tenants, without_tenant) => {
                write!(f, "tenants with such records: {tenants}, without a readable one: {without_tenant}")
            }
        }
    }
}

/// The breaker of one stage of one partition.
#[derive(Debug)]
pub struct Breaker {
    limits: config::Breaker,
    /// Records judged since it was made or reset.
    seen: u64,
    recent: RecentWindow,
    in_a_row: RecentWindow,
    /// Highest offset that was judged; what is read again is not judged again.
    judged_to: i64,
    /// Records that pass unjudged after a reset.
    free: u64,
    is_open: bool,
    alarmed: Option<Instant>,
}

impl Breaker {
    /// Closed, with nothing seen yet.
    pub fn new(limits: &config::Breaker) -> Self {
        Self {
            recent: RecentWindow::new(limits.window),
            in_a_row: RecentWindow::new(limits.consecutive),
            limits: limits.clone(),
            seen: 0,
            judged_to: i64::MIN,
            free: 0,
            is_open: false,
            alarmed: None,
        }
    }

    /// `count` records up to `offset` are fine.
    pub fn accept_up_to(&mut self, count: u64, offset: i64) {
        if offset > self.judged_to {
            self.judged_to = offset;
            self.pass(count);
        }
    }

    /// `count` records are fine, none of which was judged before.
    pub fn pass(&mut self, count: u64) {
        let free = self.free.min(count);
        self.free -= free;
        self.seen += count - free;
    }

    /// The record at `offset` cannot land.
    pub fn rejected(&mut self, offset: i64, tenant: Option<Uuid>, now: Instant) -> Verdict {
        if offset <= self.judged_to {
            return Verdict::Pass;
        }
        self.judged_to = offset;
        self.refuse(tenant, now)
    }

    /// A record that was not judged before cannot land.
    pub fn refuse(&mut self, tenant: Option<Uuid>, now: Instant) -> Verdict {
        if !self.limits.enabled {
            return Verdict::Pass;
        }
        if self.free > 0 {
            self.free -= 1;
            return Verdict::Pass;
        }
        self.seen += 1;
        self.recent.push(self.seen, tenant);
        self.in_a_row.push(self.seen, tenant);
        self.judge(now)
    }

    fn judge(&mut self, now: Instant) -> Verdict {
        let (recent, in_a_row) = (&self.recent, &self.in_a_row);
        let seen_records = usize::try_from(recent.length.min(self.seen)).unwrap_or(usize::MAX);
        let is_share =
            |rejected: usize, seen_records: usize| rejected * 100 > usize::from(self.limits.percent) * seen_records;
        let (many, run) = (recent.rejected(), in_a_row.rejected());
        let is_many = many >= self.limits.rejected && is_share(many, seen_records);
        let is_run = run >= self.limits.consecutive;
        if !is_many && !is_run {
            return Verdict::Pass;
        }
        let worst = |stretch: &RecentWindow| stretch.worst().map_or(0, |(_, count)| count);
        let left = |stretch: &RecentWindow, alone: usize| {
            let left = stretch.rejected() - worst(stretch);
            (left >= alone.div_ceil(STRAY)).then_some(left)
        };
        let without_many =
            left(recent, self.limits.rejected).filter(|left| is_share(*left, seen_records - worst(recent)));
        if is_run && left(in_a_row, self.limits.consecutive).is_some() {
            self.is_open = true;
            return Verdict::Trip(in_a_row.trip(run));
        }
        if is_many && without_many.is_some() {
            self.is_open = true;
            return Verdict::Trip(recent.trip(seen_records));
        }
        let worst = if is_many { recent.worst() } else { in_a_row.worst() };
        match worst.filter(|_| self.alarmed.is_none_or(|at| now.saturating_duration_since(at) >= ALARM_EVERY)) {
            Some((tenant, _)) => {
                self.alarmed = Some(now);
                Verdict::Alarm(tenant)
            }
            None => Verdict::Pass,
        }
    }

    /// Whether it has opened.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Closes it: what was counted is forgotten, and as many records as the window is long pass unjudged.
    pub fn reset(&mut self) {
        let (judged_to, alarmed) = (self.judged_to, self.alarmed);
        *self = Self { judged_to, alarmed, free: self.limits.window as u64, ..Self::new(&self.limits) };
    }
}

/// The rejected ones among the last so many records.
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

    /// The record number `number` was rejected; what is now too long ago no longer counts.
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

    /// Judges records one after the other; `None` is a fine one. Says at which it tripped.
    fn run(breaker: &mut Breaker, records: impl IntoIterator<Item = Option<Option<Uuid>>>) -> Option<(usize, Trip)> {
        let now = Instant::now();
        records.into_iter().enumerate().find_map(|(index, record)| {
            let offset = breaker.judged_to.max(-1) + 1;
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
    fn nothing_but_poison_stops_at_the_least_number() {
        let mut breaker = Breaker::new(&limits());
        let (at, trip) = run(&mut breaker, vec![Some(None); 100]).unwrap();
        assert_eq!((at, trip), (19, Trip { rejected: 20, seen_records: 20, tenants: 0, without_tenant: 20 }));
        insta::assert_snapshot!(trip, @"20 of the last 20 records cannot land, and no tenant can be read in them");
        assert!(breaker.is_open());
    }

    #[test]
    fn poison_after_a_good_stream_stops_after_so_many_in_a_row() {
        let stream = std::iter::repeat_n(None, 1000).chain((0..100).map(|n| Some(tenant(n % 3))));
        let (at, trip) = run(&mut Breaker::new(&limits()), stream).unwrap();
        assert_eq!((at, trip), (1049, Trip { rejected: 50, seen_records: 50, tenants: 3, without_tenant: 0 }));
        insta::assert_snapshot!(trip, @"50 of the last 50 records cannot land, and they are of 3 tenants");
    }

    #[test]
    fn half_of_the_records_may_be_poison() {
        let stream = (0..10_000_u128).map(|n| (n % 2 == 0).then(|| tenant(n)));
        assert_eq!(run(&mut Breaker::new(&limits()), stream), None);
        let stream = (0..10_000_u128).map(|n| (n % 20 > 8).then(|| tenant(n)));
        assert!(run(&mut Breaker::new(&limits()), stream).is_some(), "a little more than half");
    }

    #[test]
    fn one_tenants_poison_is_an_alarm_now_and_then() {
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
    fn a_stray_record_of_others_does_not_make_one_tenants_poison_everybodys() {
        let stray = |every: u128| (0..10_000).map(move |n| Some(if n % every == 0 { None } else { tenant(7) }));
        assert_eq!(run(&mut Breaker::new(&limits()), stray(100)), None);
        assert!(run(&mut Breaker::new(&limits()), stray(5)).is_some());
    }

    #[test]
    fn a_reset_lets_a_windows_length_through_and_then_counts_anew() {
        let mut breaker = Breaker::new(&limits());
        assert!(run(&mut breaker, vec![Some(None); 100]).is_some());
        breaker.reset();
        assert!(!breaker.is_open());
        assert_eq!(breaker.rejected(3, None, Instant::now()), Verdict::Pass, "it was judged before");
        assert_eq!(run(&mut breaker, vec![Some(None); 1000]).unwrap().0, 100 + 19);
    }

    #[test]
    fn switched_off_it_never_opens() {
        let mut breaker = Breaker::new(&config::Breaker { enabled: false, ..limits() });
        assert_eq!(run(&mut breaker, vec![Some(None); 10_000]), None);
    }

    /// What a list of all records says, without any counting on the way.
    #[expect(clippy::option_option, reason = "a fine record, a rejected one of nobody, one of a tenant")]
    fn model(limits: &config::Breaker, records: &[Option<Option<u8>>]) -> bool {
        let rejected = |some: &[Option<Option<u8>>]| some.iter().flatten().copied().collect::<Vec<_>>();
        let worst = |rejected: &[Option<u8>]| {
            let seen_records = |tenant| rejected.iter().filter(|one| **one == Some(tenant)).count();
            (0..=u8::MAX).map(seen_records).max().unwrap_or(0)
        };
        let last = |length: usize| &records[records.len().saturating_sub(length)..];
        let (recent, row) = (last(limits.window), last(limits.consecutive));
        let (many, run) = (rejected(recent), rejected(row));
        let share = |some: usize, seen_records: usize| some * 100 > usize::from(limits.percent) * seen_records;
        let is_many = many.len() >= limits.rejected && share(many.len(), recent.len());
        let left = many.len() - worst(&many);
        let by_share = is_many && left * 10 >= limits.rejected && left > 0 && share(left, recent.len() - worst(&many));
        let left = run.len() - worst(&run);
        by_share || (run.len() == limits.consecutive && left > 0 && left * 10 >= limits.consecutive)
    }

    proptest! {
        #[test]
        fn it_opens_exactly_when_the_whole_history_says_so(
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

        /// However long the poison and whatever is read again in between: resets bring it to the end.
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
