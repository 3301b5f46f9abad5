//! `profile_contains`: active customers whose profile contains a JSON document, by a GIN index of PostgreSQL. It counts
//! them and never reads a profile.

use std::collections::BTreeMap;

use super::answer::Answer;
use super::definition::{Definition, Reply};
use super::key::Key;
use super::store::Store;
use super::subject::Subject;
use super::tally::{PastCustomer, Tally};
use crate::population::{PORTFOLIOS, Population, RISKS, Tenant, Traits, rng::KeyedRng};
use crate::target::Targets;

const QUERY: &str = "\
SELECT count(*)
FROM customers
WHERE profile_data @> $1 AND is_active";

#[derive(Debug)]
pub(super) struct ProfileContains;

impl Definition for ProfileContains {
    fn name(&self) -> &'static str {
        "profile_contains"
    }

    fn store(&self) -> Store {
        Store::Postgres
    }

    fn texts(&self) -> &'static [&'static str] {
        &[QUERY]
    }

    fn draw_key(&self, _population: &Population, _tenant: &Tenant, rng: &mut KeyedRng) -> Key {
        draw_profile(rng)
    }

    fn ask<'a>(&self, targets: &'a Targets, subject: Subject<'a>) -> Reply<'a> {
        Box::pin(async move {
            let count: i64 = targets
                .postgres
                .as_tenant(subject.tenant_id(), async |connection| {
                    sqlx::query_scalar(QUERY).bind(subject.document()).fetch_one(connection).await
                })
                .await?;
            Ok(Answer::Rows(count.unsigned_abs()))
        })
    }

    fn tally(&self, _days: usize) -> Box<dyn Tally> {
        Box::new(Counts::default())
    }
}

/// Draws a portfolio and a risk class.
pub(super) fn draw_profile(rng: &mut KeyedRng) -> Key {
    let risk = rng.below(RISKS.len() as u64) as usize;
    Key::Profile(Traits::profile(rng.below(PORTFOLIOS), risk))
}

/// Active customers by portfolio and risk.
#[derive(Debug, Default)]
struct Counts(BTreeMap<(u64, usize), u64>);

impl Tally for Counts {
    fn count_customer(&mut self, PastCustomer { traits, .. }: PastCustomer<'_>) {
        *self.0.entry((traits.portfolio, traits.risk)).or_default() += 1;
    }

    fn expected(&self, subject: Subject<'_>) -> Answer {
        let matches =
            |&(&(portfolio, risk), _): &(&(u64, usize), _)| Traits::profile(portfolio, risk) == *subject.document();
        Answer::Rows(self.0.iter().filter(matches).map(|(_, count)| count).sum())
    }
}
