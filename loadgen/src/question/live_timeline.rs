//! `live_timeline`: a customer's newest communications, with those that the drive writes, in PostgreSQL. Which of them are there
//! has bounds: what was committed before the question, and what may have been sent before the answer. This module knows only
//! the loaded ones; the drive adds its own.

use super::answer::Answer;
use super::definition::{Definition, Reply};
use super::key::Key;
use super::store::Store;
use super::subject::Subject;
use super::tally::Tally;
use super::timeline;
use crate::population::{Era, Population, Tenant, rng::KeyedRng};
use crate::target::Targets;

const QUERY: &str = "\
SELECT id, tenant_id, customer_id, channel, direction, content, status, created_at
FROM communications
WHERE customer_id = $1 AND created_at >= $2
ORDER BY created_at DESC, id DESC
LIMIT 50";

#[derive(Debug)]
pub(super) struct LiveTimeline;

impl Definition for LiveTimeline {
    fn name(&self) -> &'static str {
        "live_timeline"
    }

    fn store(&self) -> Store {
        Store::Postgres
    }

    fn is_live(&self) -> bool {
        true
    }

    fn texts(&self) -> &'static [&'static str] {
        &[QUERY]
    }

    /// The customer of a communication that the drive writes, if it writes one to a customer of the tenant.
    fn draw_key(&self, population: &Population, tenant: &Tenant, rng: &mut KeyedRng) -> Key {
        if tenant.driven_communications == 0 {
            return Key::draw_customer(tenant, rng);
        }
        Key::Customer(population.recipient(Era::Drive, tenant.index, rng.below(tenant.driven_communications)))
    }

    fn ask<'a>(&self, targets: &'a Targets, subject: Subject<'a>) -> Reply<'a> {
        Box::pin(async move {
            let entries = timeline::entries(targets, subject, (QUERY, subject.live_since())).await?;
            Ok(Answer::LiveTimeline { entries, required: [].into() })
        })
    }

    fn tally(&self, _days: usize) -> Box<dyn Tally> {
        Box::new(Expected)
    }
}

/// The population maps a customer to its communications; nothing needs to be counted.
#[derive(Debug)]
struct Expected;

impl Tally for Expected {
    /// What is there before the drive. A later trial does not ask about it.
    fn expected(&self, subject: Subject<'_>) -> Answer {
        let entries = if subject.population.trial() == 0 { timeline::newest(subject) } else { Vec::new() };
        let required = entries.iter().map(|entry| entry.id).collect();
        Answer::LiveTimeline { entries, required }
    }
}
