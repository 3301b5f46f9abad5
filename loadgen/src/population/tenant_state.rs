//! State that is computed once per tenant, so that each record can be computed independently: recipients and times of
//! communications, and the number of events before each. It holds a byte or two per communication, and no records.

use super::calendar::{Curve, Period};
use super::era::Era;
use super::slots::Slots;
use super::tenants::Tenant;

/// Communications between two running counts of events.
const STRIDE: usize = 16;

/// State that is computed once for a tenant.
#[derive(Debug)]
pub(super) struct TenantState {
    pub(super) slots: Slots,
    past: (Curve, EventCounts),
    drive: (Curve, EventCounts),
}

impl TenantState {
    /// The state of a tenant, without counts of events.
    pub(super) fn new(tenant: &Tenant, seed: u64, past: &Period, drive: &Period) -> Self {
        let curve = |period| (Curve::new(tenant.region, period), EventCounts::default());
        Self { slots: Slots::new(tenant.customers, seed), past: curve(past), drive: curve(drive) }
    }

    /// Creation times of an era's communications.
    pub(super) fn curve(&self, era: Era) -> &Curve {
        match era {
            Era::Past => &self.past.0,
            Era::Drive => &self.drive.0,
        }
    }

    /// Event counts of an era's communications.
    pub(super) fn events(&self, era: Era) -> &EventCounts {
        match era {
            Era::Past => &self.past.1,
            Era::Drive => &self.drive.1,
        }
    }

    /// Mutable event counts of an era's communications.
    pub(super) fn events_mut(&mut self, era: Era) -> &mut EventCounts {
        match era {
            Era::Past => &mut self.past.1,
            Era::Drive => &mut self.drive.1,
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
