//! What is computed once per tenant, so that every record can then be computed alone: who is written to when, and how
//! many events come before a communication. Holds a byte or two per communication, and no records.

use super::calendar::{Curve, Period};
use super::era::Era;
use super::slots::Slots;
use super::tenants::Tenant;

/// Communications between two running counts of events.
const STRIDE: usize = 16;

/// What is computed once for a tenant.
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

    /// When an era's communications are created.
    pub(super) fn curve(&self, era: Era) -> &Curve {
        match era {
            Era::Past => &self.past.0,
            Era::Drive => &self.drive.0,
        }
    }

    /// How many events an era's communications have.
    pub(super) fn events(&self, era: Era) -> &EventCounts {
        match era {
            Era::Past => &self.past.1,
            Era::Drive => &self.drive.1,
        }
    }

    /// The same, to be filled in.
    pub(super) fn events_mut(&mut self, era: Era) -> &mut EventCounts {
        match era {
            Era::Past => &mut self.past.1,
            Era::Drive => &mut self.drive.1,
        }
    }
}

/// How many events come before each communication of a tenant.
#[derive(Debug, Default)]
pub(super) struct EventCounts {
    /// Before communications 0, 16, 32 and so on.
    running: Vec<u64>,
    /// Of each communication.
    own: Vec<u8>,
    total: u64,
}

impl EventCounts {
    /// Of all communications.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Of the communications before `index`.
    pub(super) fn before(&self, index: usize) -> u64 {
        let start = index / STRIDE * STRIDE;
        self.running[index / STRIDE] + self.own[start..index].iter().map(|&own| u64::from(own)).sum::<u64>()
    }
}

impl FromIterator<usize> for EventCounts {
    fn from_iter<I: IntoIterator<Item = usize>>(events: I) -> Self {
        let mut counts = Self::default();
        for own in events {
            if counts.own.len().is_multiple_of(STRIDE) {
                counts.running.push(counts.total);
            }
            counts.own.push(own as u8);
            counts.total += own as u64;
        }
        counts
    }
}
