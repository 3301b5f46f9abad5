//! From a probe to its answer, and from the answer to whether it is right.
//! A probe goes in; the store is asked with the probe's key, and what comes back is compared with what the plan knows.
//! Never measures time.

use sluice_schemas::records::Customer;
use uuid::Uuid;

use crate::plan::{Expected, Key, Known, Plan, Probe};
use crate::question::Question;
use crate::target::elasticsearch::Search;
use crate::target::{AskError, Span, Targets};

/// What a store answered.
pub(super) enum Answer {
    /// A customer, or none.
    Customer(Option<Box<Customer>>),
    /// Agent metrics, whose names are not yet known to be the plan's.
    Metrics(Vec<(String, u64, f64)>),
    /// Anything that has the form of the right answer.
    Plain(Expected),
}

/// Asks the question of a probe.
pub(super) async fn ask(targets: &Targets, plan: &Plan, probe: &Probe) -> Result<Answer, AskError> {
    let tenant = plan.population().tenants()[probe.tenant].id;
    match &probe.key {
        Key::Customer(index) => about_customer(targets, plan, probe, *index).await,
        Key::Campaign(index) => {
            let campaign = plan.population().campaign(probe.tenant, *index).id;
            let before = plan.population().past().end;
            let statuses = targets.postgres.campaign_status(tenant, campaign, before).await?;
            Ok(Answer::Plain(Expected::Statuses(statuses)))
        }
        Key::Profile(part) => Ok(Answer::Plain(Expected::Rows(targets.postgres.profile_contains(tenant, part).await?))),
        Key::Content(part) => {
            let before = plan.population().past().end;
            Ok(Answer::Plain(Expected::Rows(targets.postgres.content_contains(tenant, part, before).await?)))
        }
        Key::Search { word, language, channel, from, to } => {
            let (words, language) = ((*word).to_owned(), (*language).to_owned());
            let span = Span { from: *from, to: *to };
            let hits = targets.searcher.search(&Search { tenant, words, channel: *channel, language, span }).await?;
            if hits.fit {
                Ok(Answer::Plain(Expected::Hits(hits.total)))
            } else {
                Err(AskError::Foreign("Elasticsearch"))
            }
        }
        Key::Window { from, to } => dashboard(targets, probe.question, tenant, Span { from: *from, to: *to }).await,
    }
}

async fn about_customer(targets: &Targets, plan: &Plan, probe: &Probe, index: u64) -> Result<Answer, AskError> {
    let customer = plan.population().customer(probe.tenant, index);
    let (tenant, id) = (customer.tenant_id, customer.id);
    let found = match probe.question {
        Question::LookupByEmail => targets.postgres.customer_by_email(tenant, &customer.email).await?,
        Question::LookupCached => targets.cache.customer(&targets.postgres, tenant, id).await?,
        Question::Timeline => {
            let before = plan.population().past().end;
            return Ok(Answer::Plain(Expected::Timeline(targets.postgres.timeline(tenant, id, before).await?)));
        }
        _ => targets.postgres.customer_by_id(tenant, id).await?,
    };
    Ok(Answer::Customer(found.map(Box::new)))
}

async fn dashboard(targets: &Targets, question: Question, tenant: Uuid, span: Span) -> Result<Answer, AskError> {
    let dashboards = &targets.dashboards;
    Ok(match question {
        Question::DashboardAgents => Answer::Metrics(dashboards.agents(tenant, span).await?),
        Question::DashboardInteractions => {
            Answer::Plain(Expected::Interactions(dashboards.interactions(tenant, span).await?))
        }
        Question::DashboardCampaigns => Answer::Plain(Expected::Campaigns(dashboards.campaigns(tenant, span).await?)),
        _ => Answer::Plain(Expected::Events(dashboards.events(tenant, span).await?)),
    })
}

/// Whether the answer is the right one.
pub(super) fn is_right(answer: &Answer, plan: &Plan, known: &Known, probe: &Probe) -> bool {
    match (answer, known.expected(probe), &probe.key) {
        (Answer::Customer(found), Expected::Customer { .. }, Key::Customer(index)) => {
            found.as_deref() == wanted(plan, probe, *index).as_ref()
        }
        (Answer::Metrics(metrics), Expected::Metrics(expected), _) => {
            let metrics = metrics.iter().map(|(name, count, sum)| (name.as_str(), *count, sum.to_bits()));
            metrics.eq(expected.iter().map(|(name, count, sum)| (*name, *count, sum.to_bits())))
        }
        (Answer::Plain(answer), expected, _) => *answer == expected,
        _ => false,
    }
}

/// The customer that a lookup should find: all its columns. By its address, an inactive one is not found.
fn wanted(plan: &Plan, probe: &Probe, index: u64) -> Option<Customer> {
    let customer = plan.population().customer(probe.tenant, index);
    (probe.question != Question::LookupByEmail || customer.is_active).then_some(customer)
}
