//! `content_contains`: communications before the scenario's start whose content contains a JSON document, by a GIN index
//! of PostgreSQL. It compares their number and reads none of them.

use std::collections::BTreeMap;

use serde_json::json;

use super::answer::Answer;
use super::definition::{Definition, Reply};
use super::key::Key;
use super::store::Store;
use super::subject::Subject;
use super::tally::{PastCommunication, Tally};
use crate::population::phrases::{LANGUAGES, TEMPLATE_NAMES, template_name};
use crate::population::{Population, Tenant, rng::KeyedRng};
use crate::target::Targets;

const QUERY: &str = "\
SELECT count(*)
FROM communications
WHERE content @> $1 AND created_at < $2";

#[derive(Debug)]
pub(super) struct ContentContains;

impl Definition for ContentContains {
    fn name(&self) -> &'static str {
        "content_contains"
    }

    fn store(&self) -> Store {
        Store::Postgres
    }

    fn texts(&self) -> &'static [&'static str] {
        &[QUERY]
    }

    fn draw_key(&self, _population: &Population, _tenant: &Tenant, rng: &mut KeyedRng) -> Key {
        let (language, template) = (rng.pick(&LANGUAGES.each_ref()).code, rng.below(TEMPLATE_NAMES));
        Key::Content(json!({ "language": language, "template": template_name(template) }))
    }

    fn ask<'a>(&self, targets: &'a Targets, subject: Subject<'a>) -> Reply<'a> {
        Box::pin(async move {
            let count: i64 = targets
                .postgres
                .as_tenant(subject.tenant_id(), async |connection| {
                    let query = sqlx::query_scalar(QUERY).bind(subject.document()).bind(subject.before());
                    query.fetch_one(connection).await
                })
                .await?;
            Ok(Answer::Rows(count.unsigned_abs()))
        })
    }

    fn tally(&self, _days: usize) -> Box<dyn Tally> {
        Box::new(Counts::default())
    }
}

/// Communications by language and template.
#[derive(Debug, Default)]
struct Counts(BTreeMap<(usize, u64), u64>);

impl Tally for Counts {
    fn count_communication(&mut self, communication: &PastCommunication<'_>) {
        *self.0.entry((communication.lifecycle.language, communication.lifecycle.template)).or_default() += 1;
    }

    fn expected(&self, subject: Subject<'_>) -> Answer {
        let document = subject.document();
        let matches = |&(&(language, template), _): &(&(usize, u64), _)| {
            document["language"] == LANGUAGES[language].code && document["template"] == template_name(template)
        };
        Answer::Rows(self.0.iter().filter(matches).map(|(_, count)| count).sum())
    }
}
