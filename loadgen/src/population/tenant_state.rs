//! State that is computed once per tenant, so that each record can be computed independently: recipients, schedule and times
//! of communications, and the number of events before each. It holds a byte or two per communication, and no records.

use std::sync::Arc;

use super::calendar::{Curve, Period};
use super::era::Era;
use super::escalation::speeds;
use super::rng::KeyedRng;
use super::schedule::{Case, Message, Schedule};
use super::slots::Slots;
use super::tenants::Tenant;

const DAY_MS: u64 = 86_400_000;
/// Communications between two running counts of events.
const STRIDE: usize = 16;

/// State that is computed once for a tenant.
#[derive(Debug)]
pub(super) struct TenantState {
    past: Arc<EraState>,
    drive: EraState,
    /// Customers of cases, and of single messages.
    cases: Slots,
    singles: Slots,
    /// The past, followed by the drive of the first trial.
    schedule: Arc<Schedule>,
    /// The drive of a later trial.
    later: Option<LaterDrive>,
}

/// The drive of a later trial. Its cases start within it.
#[derive(Debug)]
struct LaterDrive {
    schedule: Schedule,
    /// Number of its first case, and of its first single message.
    first: u64,
}

/// The communications of an era.
#[derive(Debug)]
struct EraState {
    seed: u64,
    era: Era,
    tenant: u64,
    communications: u64,
    curve: Curve,
    events: EventCounts,
}

impl EraState {
    fn new(tenant: &Tenant, seed: u64, era: Era, period: &Period) -> Self {
        Self {
            seed,
            era,
            tenant: tenant.index as u64,
            communications: tenant.communications_in(era),
            curve: Curve::new(tenant.region, period),
            events: EventCounts::default(),
        }
    }

    fn created(&self, index: u64) -> (u64, KeyedRng) {
        let mut rng = KeyedRng::new(self.seed, self.era.lifecycles(), [self.tenant, index]);
        (self.curve.millis(index, self.communications, rng.next() as u32), rng)
    }

    /// First communication that is created at or after an instant.
    fn first_at(&self, millis: u64) -> u64 {
        let (mut low, mut high) = (0, self.communications);
        while low < high {
            let middle = low.midpoint(high);
            if self.created(middle).0 < millis { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// First communications of the days of a period.
    fn firsts(&self, period: &Period) -> impl Iterator<Item = u64> {
        (0..period.millis.div_ceil(DAY_MS)).map(|day| self.first_at(day * DAY_MS))
    }
}

impl TenantState {
    /// The state of a tenant, without counts of events.
    pub(super) fn new(tenant: &Tenant, seed: u64, past: &Period, drive: &Period) -> Self {
        let slots = |start| Slots::new(tenant.customers, seed, start);
        let era = |era, period| EraState::new(tenant, seed, era, period);
        let (in_past, in_drive) = (era(Era::Past, past), era(Era::Drive, drive));
        let before = in_past.communications;
        let driven = in_drive.firsts(drive).chain([in_drive.communications]).map(|first| before + first);
        let firsts: Vec<u64> = in_past.firsts(past).chain(driven).collect();
        Self {
            schedule: Arc::new(Schedule::new(&firsts, speeds(tenant.campaigns))),
            later: None,
            cases: slots(seed),
            // Other customers than those of the first cases.
            singles: slots(seed.wrapping_add(tenant.customers)),
            past: Arc::new(in_past),
            drive: in_drive,
        }
    }

    /// The state of a later trial of the tenant: the same past and another drive, without counts of its events.
    pub(super) fn of_trial(&self, number: u32, tenant: &Tenant, seed: u64, drive: &Period) -> Self {
        let in_drive = EraState::new(tenant, seed, Era::Drive, drive);
        let firsts: Vec<u64> = in_drive.firsts(drive).chain([in_drive.communications]).collect();
        let schedule = Schedule::new(&firsts, speeds(tenant.campaigns));
        // No trial has as many cases or single messages.
        let later = LaterDrive { schedule, first: u64::from(number) << 32 };
        Self {
            past: Arc::clone(&self.past),
            drive: in_drive,
            cases: self.cases.clone(),
            singles: self.singles.clone(),
            schedule: Arc::clone(&self.schedule),
            later: Some(later),
        }
    }

    fn era(&self, era: Era) -> &EraState {
        match era {
            Era::Past => &self.past,
            Era::Drive => &self.drive,
        }
    }

    /// Event counts of an era's communications.
    pub(super) fn events(&self, era: Era) -> &EventCounts {
        &self.era(era).events
    }

    /// Sets the event counts of an era's communications.
    pub(super) fn set_events(&mut self, era: Era, events: EventCounts) {
        match era {
            Era::Past => {
                Arc::get_mut(&mut self.past).expect("the past is counted before it is shared").events = events;
            }
            Era::Drive => self.drive.events = events,
        }
    }

    /// When a communication is created, in milliseconds since the start of its era, and the stream from which the rest of
    /// its lifecycle is drawn.
    pub(super) fn created(&self, era: Era, index: u64) -> (u64, KeyedRng) {
        self.era(era).created(index)
    }

    /// First communication of an era that is created at or after an instant, in milliseconds since its start.
    pub(super) fn first_at(&self, era: Era, millis: u64) -> u64 {
        self.era(era).first_at(millis)
    }

    /// What a communication is.
    pub(super) fn message(&self, era: Era, index: u64) -> Message {
        match &self.later {
            Some(later) if era == Era::Drive => later.message(index),
            _ => self.schedule.message(if era == Era::Drive { self.past.communications + index } else { index }),
        }
    }

    /// Era and index within it of message `step` of a case that has a message in `era`.
    pub(super) fn step_index(&self, era: Era, case: &Case, step: usize) -> Option<(Era, u64)> {
        match &self.later {
            Some(later) if era == Era::Drive => later.schedule.step_index(case, step).map(|index| (Era::Drive, index)),
            _ => self.schedule.step_index(case, step).map(|index| self.in_era(index)),
        }
    }

    /// The customer of a message.
    pub(super) fn customer(&self, message: &Message) -> u64 {
        match message {
            Message::Step { case, .. } => self.cases.customer(case.number),
            Message::Single(number) => self.singles.customer(*number),
        }
    }

    /// Whether a customer is active.
    pub(super) fn is_active(&self, customer: u64) -> bool {
        self.cases.is_active(customer)
    }

    /// Era and index within it of a communication that is counted from the first one of the past.
    fn in_era(&self, index: u64) -> (Era, u64) {
        match index.checked_sub(self.past.communications) {
            Some(index) => (Era::Drive, index),
            None => (Era::Past, index),
        }
    }

    /// Communications of a customer in an era, in order.
    pub(super) fn of_customer(&self, era: Era, customer: u64) -> Vec<u64> {
        let later = self.later.as_ref().filter(|_| era == Era::Drive);
        let (schedule, first) = later.map_or((&*self.schedule, 0), |later| (&later.schedule, later.first));
        let cases = self.cases.numbers(customer, first..first + schedule.cases());
        let singles = self.singles.numbers(customer, first..first + schedule.singles());
        let steps = cases.into_iter().flat_map(|number| schedule.step_indices(number - first));
        let all = steps.chain(singles.into_iter().map(|number| schedule.single_index(number - first)));
        let place = |index| if later.is_some() { (Era::Drive, index) } else { self.in_era(index) };
        let mut own: Vec<u64> = all.map(place).filter(|(found, _)| *found == era).map(|(_, index)| index).collect();
        own.sort_unstable();
        own
    }
}

impl LaterDrive {
    fn message(&self, index: u64) -> Message {
        match self.schedule.message(index) {
            Message::Step { case, step } => Message::Step { case: case.numbered(self.first + case.number), step },
            Message::Single(number) => Message::Single(self.first + number),
        }
    }
}

/// Number of events before each communication of a tenant.
#[derive(Debug, Default)]
pub(super) struct EventCounts {
    /// Number of events before communications 0, 16, 32 and so on.
    running: Vec<u64>,
    /// Number of events of each communication.
    per_communication: Vec<u8>,
    total: u64,
}

impl EventCounts {
    /// Number of events of all communications.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Number of events of the communications before `index`.
    pub(super) fn before(&self, index: usize) -> u64 {
        let start = index / STRIDE * STRIDE;
        self.running[index / STRIDE]
            + self.per_communication[start..index].iter().map(|&count| u64::from(count)).sum::<u64>()
    }
}

impl FromIterator<usize> for EventCounts {
    fn from_iter<I: IntoIterator<Item = usize>>(events: I) -> Self {
        let mut counts = Self::default();
        for count in events {
            if counts.per_communication.len().is_multiple_of(STRIDE) {
                counts.running.push(counts.total);
            }
            counts.per_communication.push(count as u8);
            counts.total += count as u64;
        }
        counts
    }
}
