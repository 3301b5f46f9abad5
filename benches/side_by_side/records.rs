//! Generates the records of the bench: communication events of one day with keys and JSON payloads, in any number and size. The
//! same count yields the same events. It never accesses a store.

use std::collections::{BTreeMap, VecDeque};

use anyhow::Context;
use chrono::{DateTime, Utc};
use sluice_loadgen::population::Population;
use sluice_loadgen::scenario::Scenario;
use sluice_schemas::records::CommunicationEvent;
use uuid::Uuid;

/// Number of tenants.
const TENANTS: u64 = 10;
/// A safe lower bound: a communication has three to four events on average.
const EVENTS_PER_COMMUNICATION: u64 = 2;

/// One record of the topic.
pub(crate) struct Record {
    pub(crate) key: String,
    pub(crate) payload: Vec<u8>,
}

impl Record {
    /// The event as the platform's producers send it, padded with a note to `bytes` if it is shorter.
    pub(crate) fn new(event: &CommunicationEvent, bytes: usize) -> anyhow::Result<Self> {
        const END: &[u8] = b"}}";
        let mut payload = serde_json::to_vec(event).context("encode an event")?;
        let frame = r#","note":"""#.len();
        if let Some(missing) = bytes.checked_sub(payload.len() + frame) {
            payload.truncate(payload.len() - END.len());
            payload.extend_from_slice(format!(r#","note":"{:.<missing$}""#, "").as_bytes());
            payload.extend_from_slice(END);
        }
        Ok(Self { key: format!("{}:{}", event.tenant_id, event.customer_id), payload })
    }
}

/// Events of one day, roughly ordered by time, with all tenants interleaved.
pub(crate) struct Events {
    population: Population,
    /// The next communication of each tenant.
    next: Vec<u64>,
    ready: VecDeque<CommunicationEvent>,
}

impl Events {
    /// Creates a source of at least `count` events.
    pub(crate) fn new(count: u64) -> anyhow::Result<Self> {
        let communications = (count / EVENTS_PER_COMMUNICATION).max(TENANTS);
        let customers = (count / 10).max(1_000);
        let text = format!(
            "name = \"side-by-side\"\nprobes = {{}}\n[seeds]\ndata = 5\nkeys = 5\n\
             [time]\nstart = 2026-11-17T00:00:00Z\nspan = \"1 day\"\nreplayed_in = \"1 min\"\n\
             [population]\ntenants = {TENANTS}\nskew = 0.8\ncustomers = {customers}\n\
             [past]\ncommunications = {communications}\nspan = \"1 day\"\n[drive]\ncommunications = {TENANTS}\n"
        );
        let scenario = Scenario::parse(&text, "side-by-side")?;
        let population = Population::new(&scenario);
        let next = vec![0; population.tenants().len()];
        Ok(Self { population, next, ready: VecDeque::new() })
    }

    /// The tenant that has progressed least through its day.
    fn least_advanced(&self) -> Option<usize> {
        let tenants = self.population.tenants().iter();
        let unfinished = tenants.filter(|tenant| self.next[tenant.index] < tenant.past_communications);
        let share =
            |tenant: usize| self.next[tenant] as f64 / self.population.tenants()[tenant].past_communications as f64;
        unfinished.map(|tenant| tenant.index).min_by(|a, b| share(*a).total_cmp(&share(*b)))
    }
}

impl Iterator for Events {
    type Item = CommunicationEvent;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() {
            let tenant = self.least_advanced()?;
            self.ready.extend(self.population.past_events(tenant, self.next[tenant]));
            self.next[tenant] += 1;
        }
        self.ready.pop_front()
    }
}

/// Events with the current time: those of one day, repeated, each with a new ID, time and number.
pub(crate) struct Live {
    events: Vec<CommunicationEvent>,
    /// Makes the IDs of different sources distinct.
    source: u64,
    bytes: usize,
    sent: u32,
}

/// Number of distinct events that [`Live`] repeats.
const DISTINCT: usize = 10_000;

impl Live {
    /// Creates a source of events; `bytes` as in [`Record::new`].
    pub(crate) fn new(bytes: usize) -> anyhow::Result<Self> {
        let events: Vec<_> = Events::new(DISTINCT as u64)?.take(DISTINCT).collect();
        Ok(Self { events, source: 0, bytes, sent: 0 })
    }

    /// The next event, with its number as `duration_ms`.
    pub(crate) fn at(&mut self, now: DateTime<Utc>) -> anyhow::Result<Record> {
        let index = self.sent as usize % self.events.len();
        let event = &mut self.events[index];
        (event.event_id, event.timestamp, event.duration_ms) =
            (Uuid::from_u64_pair(self.source, u64::from(self.sent)), now, self.sent);
        self.sent += 1;
        Record::new(event, self.bytes)
    }

    /// Returns a closure that yields these events in sequence.
    pub(crate) fn into_source(mut self) -> impl FnMut(DateTime<Utc>) -> anyhow::Result<Record> + Send {
        move |now| self.at(now)
    }
}

/// Live events of ten tenants. One of them may send more than the others, or only poison.
pub(crate) struct TenantMix {
    tenants: Vec<Live>,
    /// Records of the heavy tenant for each record of a quiet one.
    load_factor: usize,
    is_poison: bool,
    position: usize,
}

impl TenantMix {
    /// The first tenant is the heavy one.
    pub(crate) fn new(bytes: usize, load_factor: u32, is_poison: bool) -> anyhow::Result<Self> {
        let mut tenants: BTreeMap<Uuid, Vec<CommunicationEvent>> = BTreeMap::new();
        for event in Events::new(DISTINCT as u64)?.take(DISTINCT) {
            tenants.entry(event.tenant_id).or_default().push(event);
        }
        let live = |(source, events)| Live { events, source, bytes, sent: 0 };
        Ok(Self {
            tenants: (0..).zip(tenants.into_values()).map(live).collect(),
            load_factor: load_factor as usize,
            is_poison,
            position: 0,
        })
    }

    /// ID of the heavy tenant.
    pub(crate) fn heavy_tenant(&self) -> Uuid {
        self.tenants[0].events[0].tenant_id
    }

    /// Number of records in a cycle, and how many of them are of quiet tenants.
    pub(crate) fn cycle(&self) -> (usize, usize) {
        let quiet = self.tenants.len() - 1;
        (quiet + self.load_factor, quiet)
    }

    /// Returns a closure that yields these events in sequence, with the heavy tenant's between those of the others.
    pub(crate) fn into_source(mut self) -> impl FnMut(DateTime<Utc>) -> anyhow::Result<Record> + Send {
        let (cycle, quiet) = self.cycle();
        move |now| {
            let index = self.position % cycle;
            self.position += 1;
            // The quiet tenants are spread evenly over the cycle.
            let (tenant, next_tenant) = (index * quiet / cycle, (index + 1) * quiet / cycle);
            if tenant != next_tenant {
                return self.tenants[next_tenant].at(now);
            }
            let mut record = self.tenants[0].at(now)?;
            if self.is_poison {
                record.payload.pop();
            }
            Ok(record)
        }
    }
}
