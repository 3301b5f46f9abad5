//! State that is computed once per tenant, so that each record can be computed independently: recipients, schedule and times
//! of communications, and the number of events before each. It holds a byte or two per communication, and no records.

use super::calendar::{Curve, Period};
use super::era::Era;
use super::escalation::speeds;
use super::rng::KeyedRng;
use super::schedule::{Message, Schedule};
use super::slots::Slots;
use super::tenants::Tenant;

const DAY_MS: u64 = 86_400_000;
/// Communications between two running counts of events.
const STRIDE: usize = 16;

/// State that is computed once for a tenant.
#[derive(Debug)]
pub(super) struct TenantState {
    seed: u64,
    tenant: u64,
    past: EraState,
    drive: EraState,
    /// Customers of cases, and of single messages.
    cases: Slots,
    singles: Slots,
    pub(super) schedule: Schedule,
}

/// The communications of an era.
#[derive(Debug)]
struct EraState {
    communications: u64,
    curve: Curve,
    events: EventCounts,
}

impl EraState {
    fn new(tenant: &Tenant, era: Era, period: &Period) -> Self {
        let curve = Curve::new(tenant.region, period);
        Self { communications: tenant.communications_in(era), curve, events: EventCounts::default() }
    }
}

impl TenantState {
    /// The state of a tenant, without counts of events.
    pub(super) fn new(tenant: &Tenant, seed: u64, past: &Period, drive: &Period) -> Self {
        let slots = |start| Slots::new(tenant.customers, seed, start);
        let mut state = Self {
            seed,
            tenant: tenant.index as u64,
            past: EraState::new(tenant, Era::Past, past),
            drive: EraState::new(tenant, Era::Drive, drive),
            cases: slots(seed),
            // Other customers than those of the first cases.
            singles: slots(seed.wrapping_add(tenant.customers)),
            schedule: Schedule::new(&[0], 1),
        };
        state.schedule = Schedule::new(&state.firsts(past, drive), speeds(tenant.campaigns));
        state
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
            Era::Past => self.past.events = events,
            Era::Drive => self.drive.events = events,
        }
    }

    /// When a communication is created, in milliseconds since the start of its era, and the stream from which the rest of
    /// its lifecycle is drawn.
    pub(super) fn created(&self, era: Era, index: u64) -> (u64, KeyedRng) {
        let mut rng = KeyedRng::new(self.seed, era.lifecycles(), [self.tenant, index]);
        let EraState { communications, curve, .. } = self.era(era);
        (curve.millis(index, *communications, rng.next() as u32), rng)
    }

    /// What a communication is.
    pub(super) fn message(&self, era: Era, index: u64) -> Message {
        self.schedule.message(if era == Era::Drive { self.past.communications + index } else { index })
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
    pub(super) fn in_era(&self, index: u64) -> (Era, u64) {
        match index.checked_sub(self.past.communications) {
            Some(index) => (Era::Drive, index),
            None => (Era::Past, index),
        }
    }

    /// Past communications of a customer, in order.
    pub(super) fn past_of(&self, customer: u64) -> Vec<u64> {
        let schedule = &self.schedule;
        let cases = self.cases.numbers(customer, schedule.cases());
        let singles = self.singles.numbers(customer, schedule.singles());
        let steps = cases.into_iter().flat_map(|number| schedule.step_indices(number));
        let all = steps.chain(singles.into_iter().map(|number| schedule.single_index(number)));
        let mut past: Vec<u64> = all.filter(|&index| index < self.past.communications).collect();
        past.sort_unstable();
        past
    }

    /// First communication of an era that is created at or after an instant.
    pub(super) fn first_at(&self, era: Era, millis: u64) -> u64 {
        let (mut low, mut high) = (0, self.era(era).communications);
        while low < high {
            let middle = low.midpoint(high);
            if self.created(era, middle).0 < millis { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// First communications of all days of both eras, counted from the first one of the past; last, their number.
    fn firsts(&self, past: &Period, drive: &Period) -> Vec<u64> {
        let days = |period: &Period| (0..period.millis.div_ceil(DAY_MS)).map(|day| day * DAY_MS);
        let before = self.past.communications;
        let past = days(past).map(|start| self.first_at(Era::Past, start));
        let drive = days(drive).map(|start| before + self.first_at(Era::Drive, start));
        past.chain(drive).chain([before + self.drive.communications]).collect()
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
