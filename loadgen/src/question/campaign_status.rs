//! `campaign_status`: a campaign's communications before the scenario's start by status, in PostgreSQL.

use std::collections::BTreeMap;

use sluice_schemas::records::EventType;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::answer::{Answer, parse_label, sorted};
use super::definition::{Definition, Reply};
use super::key::Key;
use super::store::Store;
use super::subject::Subject;
use super::tally::{PastCommunication, Tally};
use crate::population::{Population, Tenant, rng::KeyedRng};
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
            sorted(rows.iter().map(status_count)).map(Answer::Statuses)
        })
    }

    fn tally(&self, _days: usize) -> Box<dyn Tally> {
        Box::new(Counts::default())
    }
}

fn status_count(row: &PgRow) -> Result<(EventType, u64), QueryError> {
    let (status, count): (&str, i64) = (row.try_get(0)?, row.try_get(1)?);
    Ok((parse_label(STORE, EventType::ALL, EventType::as_str, status)?, count.unsigned_abs()))
}

/// Communications by campaign and status.
#[derive(Debug, Default)]
struct Counts(BTreeMap<(Uuid, EventType), u64>);

impl Tally for Counts {
    fn count_communication(&mut self, communication: &PastCommunication<'_>) {
        *self.0.entry((communication.campaign, communication.lifecycle.status())).or_default() += 1;
    }

    fn expected(&self, subject: Subject<'_>) -> Answer {
        let campaign = subject.campaign_id();
        let count = |&status: &EventType| Some((status, *self.0.get(&(campaign, status))?));
        Answer::Statuses(EventType::ALL.iter().filter_map(count).collect())
    }
}
