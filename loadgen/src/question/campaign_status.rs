//! `campaign_status`: a campaign's communications before the scenario's start by status, in PostgreSQL. It never reads
//! their texts.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sluice_schemas::records::EventType;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::answer::{Answer, parse_label, sorted_by_key};
use super::definition::{Definition, Reply};
use super::key::Key;
use super::store::Store;
use super::subject::Subject;
use super::tally::{PastCommunication, Tally};
use crate::population::{Era, Population, Tenant, rng::KeyedRng};
use crate::target::postgres::STORE;
use crate::target::{QueryError, Targets};

const QUERY: &str = "\
SELECT status, count(*), max(created_at)
FROM communications
WHERE campaign_id = $1 AND created_at < $2
GROUP BY status";

#[derive(Debug)]
pub(super) struct CampaignStatus;

impl Definition for CampaignStatus {
    fn name(&self) -> &'static str {
        "campaign_status"
    }

    fn store(&self) -> Store {
        Store::Postgres
    }

    fn texts(&self) -> &'static [&'static str] {
        &[QUERY]
    }

    fn draw_key(&self, _population: &Population, tenant: &Tenant, rng: &mut KeyedRng) -> Key {
        Key::Campaign(rng.below(tenant.campaigns))
    }

    fn ask<'a>(&self, targets: &'a Targets, subject: Subject<'a>) -> Reply<'a> {
        Box::pin(async move {
            let rows = targets
                .postgres
                .as_tenant(subject.tenant_id(), async |connection| {
                    sqlx::query(QUERY).bind(subject.campaign_id()).bind(subject.before()).fetch_all(connection).await
                })
                .await?;
            sorted_by_key(rows.iter().map(status_count), |row| row.0).map(Answer::Statuses)
        })
    }

    fn tally(&self, _days: usize) -> Box<dyn Tally> {
        Box::new(Counts::default())
    }
}

fn status_count(row: &PgRow) -> Result<(EventType, u64, DateTime<Utc>), QueryError> {
    let (status, count, newest): (&str, i64, DateTime<Utc>) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    Ok((parse_label(STORE, EventType::ALL, EventType::as_str, status)?, count.unsigned_abs(), newest))
}

/// Communications by campaign and status, and the newest of them, in milliseconds since the start of the past.
#[derive(Debug, Default)]
struct Counts(BTreeMap<(Uuid, EventType), (u64, u64)>);

impl Tally for Counts {
    fn count_communication(&mut self, communication: &PastCommunication<'_>) {
        let lifecycle = communication.lifecycle;
        let (count, newest) = self.0.entry((communication.campaign, lifecycle.status())).or_default();
        *count += 1;
        *newest = lifecycle.steps()[0].millis.max(*newest);
    }

    fn expected(&self, subject: Subject<'_>) -> Answer {
        let campaign = subject.campaign_id();
        let past = subject.population.period(Era::Past);
        let count = |&status: &EventType| {
            let &(count, newest) = self.0.get(&(campaign, status))?;
            Some((status, count, past.at(newest)))
        };
        Answer::Statuses(EventType::ALL.iter().filter_map(count).collect())
    }
}
