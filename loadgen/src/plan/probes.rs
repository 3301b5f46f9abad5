//! Probes: which question is asked of which tenant about which key, and when. A schedule that no answer changes.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::json;
use sluice_schemas::records::Channel;

use super::Plan;
use crate::{
    population::{
        PORTFOLIOS, RISKS, Tenant, Traits,
        rng::Draw,
        words::{LANGUAGES, TEMPLATE_NAMES, template_name},
    },
    question::Question,
    scenario::Arrivals,
};

/// One question to ask.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Probe {
    /// Intended start, since the start of the drive.
    pub at: Duration,
    /// The question.
    pub question: Question,
    /// Index of the tenant that asks.
    pub tenant: usize,
    /// What it asks about.
    pub key: Key,
}

/// What a probe asks about. All windows lie in the loaded past, so the drive never changes a right answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Key {
    /// Customer of that index: the three lookups, and the timeline before the scenario's start.
    Customer(u64),
    /// Campaign of that index: `campaign_status` before the scenario's start.
    Campaign(u64),
    /// The document that `profile_data` must contain.
    Profile(serde_json::Value),
    /// The document that `content` must contain, in communications before the scenario's start.
    Content(serde_json::Value),
    /// Full text.
    Search {
        /// A word of the body.
        word: &'static str,
        /// Language, ISO 639-1.
        language: &'static str,
        /// Channel.
        channel: Channel,
        /// First instant of `created_at`.
        from: DateTime<Utc>,
        /// One past the last instant of `created_at`.
        to: DateTime<Utc>,
    },
    /// The dashboards: events, metrics, interactions or campaigns with a time in the window.
    Window {
        /// First instant.
        from: DateTime<Utc>,
        /// One past the last instant.
        to: DateTime<Utc>,
    },
}

/// The intended starts of one question.
pub(super) struct Probes<'a> {
    plan: &'a Plan,
    question: Question,
    /// Seconds between starts, in the mean.
    gap: Option<f64>,
    draw: Draw,
    seconds: f64,
    end: Duration,
}

impl<'a> Probes<'a> {
    pub(super) fn new(plan: &'a Plan, question: Question, domain: &str, end: Duration) -> Self {
        let draw = Draw::new(plan.scenario.key_seed, domain, [question as u64, 0]);
        let gap = plan.scenario.probes.get(&question).map(|rate| 1.0 / rate);
        Self { plan, question, gap, draw, seconds: 0.0, end }
    }
}

impl Iterator for Probes<'_> {
    type Item = Probe;

    fn next(&mut self) -> Option<Probe> {
        let gap = self.gap?;
        let at = self.seconds;
        self.seconds += match self.plan.scenario.arrivals {
            Arrivals::Poisson => self.draw.exponential(gap),
            Arrivals::Constant => gap,
        };
        // The first of Poisson's starts is itself a gap away from the beginning.
        let at = if self.plan.scenario.arrivals == Arrivals::Poisson { self.seconds } else { at };
        let at = Duration::from_secs_f64(at);
        if at >= self.end {
            return None;
        }
        let tenants = self.plan.population.tenants();
        let tenant = whose(tenants, &mut self.draw);
        let key = key(self.plan, self.question, &tenants[tenant], &mut self.draw);
        Some(Probe { at, question: self.question, tenant, key })
    }
}

/// A tenant, as likely as it has customers.
fn whose(tenants: &[Tenant], draw: &mut Draw) -> usize {
    let mut left = draw.below(tenants.iter().map(|tenant| tenant.customers).sum());
    let found = tenants.iter().position(|tenant| {
        let here = left < tenant.customers;
        left = left.wrapping_sub(tenant.customers);
        here
    });
    found.unwrap_or(0)
}

fn key(plan: &Plan, question: Question, tenant: &Tenant, draw: &mut Draw) -> Key {
    match question {
        Question::LookupById | Question::LookupByEmail | Question::LookupCached | Question::Timeline => {
            Key::Customer(customer(tenant, draw))
        }
        Question::CampaignStatus => Key::Campaign(draw.below(tenant.campaigns)),
        Question::ProfileContains => {
            let risk = draw.below(RISKS.len() as u64) as usize;
            Key::Profile(Traits::profile(draw.below(PORTFOLIOS), risk))
        }
        Question::ContentContains => {
            let (language, template) = (draw.pick(&LANGUAGES.each_ref()).code, draw.below(TEMPLATE_NAMES));
            Key::Content(json!({ "language": language, "template": template_name(template) }))
        }
        Question::Search => {
            let language = draw.pick(&LANGUAGES.each_ref());
            let (word, channel) = (draw.pick(&language.markers), draw.pick(Channel::ALL));
            let (from, to) = window(plan, draw);
            Key::Search { word, language: language.code, channel, from, to }
        }
        Question::DashboardEvents
        | Question::DashboardAgents
        | Question::DashboardInteractions
        | Question::DashboardCampaigns => {
            let (from, to) = window(plan, draw);
            Key::Window { from, to }
        }
    }
}

/// Four of five lookups ask about a fifth of the customers, as a cache meets them.
fn customer(tenant: &Tenant, draw: &mut Draw) -> u64 {
    let few = (tenant.customers / 5).max(1);
    if draw.chance(0.8) { draw.below(few) } else { draw.below(tenant.customers) }
}

/// The last day, week or whole past, or one of the days before.
fn window(plan: &Plan, draw: &mut Draw) -> (DateTime<Utc>, DateTime<Utc>) {
    let past = plan.population.past();
    let days = (past.end - past.start).num_days();
    let length = draw.pick(&[1, 7, days]).min(days);
    let ago = if length == 1 { draw.below(days.cast_unsigned()).cast_signed() } else { 0 };
    let to = past.end - TimeDelta::days(ago);
    (to - TimeDelta::days(length), to)
}
