//! The plan's digest. The work is split into chunks that depend only on the plan; threads take chunks in any order,
//! and the chunks' digests are combined in the plan's order, so the digest never depends on the number of threads.

use std::fmt::Write as _;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::Plan;
use crate::parallel;

/// Steps of each user that are hashed; the others follow from the same stream.
const STEPS: usize = 4;
/// Items of a chunk.
const CHUNK: u64 = 4_096;

/// SHA-256 digests of a plan, in hexadecimal, independent of the number of threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests {
    /// Of everything planned: the population, the loaded past, every write with its intended start, every probe, and what
    /// users ask first.
    pub plan: String,
    /// Of what is loaded before the drive: customers, campaigns and the past.
    pub population: String,
}

impl Plan {
    /// The digests.
    pub fn digests(&self) -> Digests {
        digests(self, std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
    }
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Customers,
    Campaigns,
    Past,
    PastMetrics,
    Drive,
    Metrics,
}

impl Part {
    /// Whether it is loaded before the drive.
    const fn is_loaded(self) -> bool {
        matches!(self, Self::Customers | Self::Campaigns | Self::Past | Self::PastMetrics)
    }
}

/// A range of items of one tenant.
#[derive(Debug, Clone, Copy)]
struct Chunk {
    part: Part,
    tenant: usize,
    from: u64,
    to: u64,
}

/// Writes JSON into the hash: records are hashed in their wire format.
struct Sink(Sha256);

impl std::io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn add(&mut self, record: &impl Serialize) {
        serde_json::to_writer(&mut *self, record).expect("records serialize, and a hash takes every byte");
    }
}

pub(super) fn digests(plan: &Plan, threads: usize) -> Digests {
    let chunks = chunks(plan);
    let digests = parallel::map_on(threads, &chunks, |chunk| hash(plan, chunk));
    let (mut whole, mut loaded) = (Sink(Sha256::new()), Sink(Sha256::new()));
    let tenants: Vec<_> = plan.population.tenants().iter().map(|tenant| tenant.id).collect();
    whole.add(&tenants);
    loaded.add(&tenants);
    for (chunk, digest) in chunks.iter().zip(digests) {
        whole.0.update(digest);
        if chunk.part.is_loaded() {
            loaded.0.update(digest);
        }
    }
    for probe in plan.questions().flat_map(|question| plan.warm_up_probes(question).chain(plan.probes(question))) {
        whole.add(&probe);
    }
    for (group, users) in plan.scenario.users.iter().enumerate() {
        whole.add(users);
        for user in 0..users.count {
            plan.steps(group, user).take(STEPS).for_each(|step| whole.add(&step));
        }
    }
    Digests { plan: hex(&whole.0.finalize()), population: hex(&loaded.0.finalize()) }
}

fn chunks(plan: &Plan) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    for tenant in plan.population.tenants() {
        let parts = [
            (Part::Customers, tenant.customers),
            (Part::Campaigns, tenant.campaigns),
            (Part::Past, tenant.past_communications),
            (Part::PastMetrics, tenant.past_metrics),
            (Part::Drive, tenant.driven_communications),
            (Part::Metrics, tenant.driven_metrics),
        ];
        for (part, count) in parts {
            let starts = (0..count).step_by(CHUNK as usize);
            chunks.extend(starts.map(|from| Chunk { part, tenant: tenant.index, from, to: count.min(from + CHUNK) }));
        }
    }
    chunks
}

fn hash(plan: &Plan, chunk: &Chunk) -> [u8; 32] {
    let (population, tenant) = (&plan.population, chunk.tenant);
    let mut sink = Sink(Sha256::new());
    for index in chunk.from..chunk.to {
        match chunk.part {
            Part::Customers => sink.add(&population.customer(tenant, index)),
            Part::Campaigns => sink.add(&population.campaign(tenant, index)),
            Part::Past => {
                sink.add(&population.past_communication(tenant, index));
                sink.add(&population.past_events(tenant, index));
                sink.add(&population.past_interactions(tenant, index));
            }
            Part::PastMetrics => sink.add(&population.past_metric(tenant, index)),
            Part::Drive => drive(plan, tenant, index, &mut sink),
            Part::Metrics => {
                let metric = plan.metric(tenant, index);
                sink.add(&(metric.at, metric.record));
            }
        }
    }
    sink.0.finalize().into()
}

fn drive(plan: &Plan, tenant: usize, index: u64, sink: &mut Sink) {
    let communication = plan.communication(tenant, index);
    sink.add(&(communication.at, communication.record));
    for event in plan.events(tenant, index) {
        sink.add(&(event.at, event.record));
    }
    for interaction in plan.interactions(tenant, index) {
        sink.add(&(interaction.at, interaction.record));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every byte");
        text
    })
}
