//! The right answer to each probe, counted once over the loaded past.

use std::{collections::BTreeMap, ops::Range};

use chrono::{DateTime, Utc};
use serde_json::Value;
use sluice_schemas::records::{Channel, EventType, InteractionType};
use uuid::Uuid;

use super::{Key, Plan, Probe};
use crate::{
    population::{
        Era, METRIC_NAMES, Population, Traits,
        words::{LANGUAGES, template_name},
    },
    question::Question,
};

const DAY_MS: u64 = 86_400_000;

/// The right answer to a probe.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// The lookups: this customer.
    Customer {
        /// Its identity.
        id: Uuid,
        /// Its address.
        email: String,
    },
    /// `timeline`: communications before the start, newest first; the first [`Known::TIMELINE`] of them.
    Timeline(Vec<Uuid>),
    /// `campaign_status`: communications before the start by status, without zeros, in order of [`EventType`].
    Statuses(Vec<(EventType, u64)>),
    /// `profile_contains` and `content_contains`: how many rows match.
    Rows(u64),
    /// `search`: how many documents match.
    Hits(u64),
    /// `dashboard_events`: counts by channel and type, without zeros, in their order.
    Events(Vec<(Channel, EventType, u64)>),
    /// `dashboard_agents`: name, count and sum of each metric, in order of name. Sums are exact in an f64.
    Metrics(Vec<(&'static str, u64, f64)>),
    /// `dashboard_interactions`: count and money of each type, without zeros, in order of [`InteractionType`].
    Interactions(Vec<(InteractionType, u64, i64)>),
    /// `dashboard_campaigns`: campaign, events and successes, in order of the UUID's bytes; nil is "no campaign".
    Campaigns(Vec<(Uuid, u64, u64)>),
}

/// What is known about the loaded past. Its size depends on tenants, campaigns and days, not on communications.
#[derive(Debug)]
pub struct Known {
    population: Population,
    tenants: Vec<Counts>,
}

/// Counts of one tenant's past, by day where a question has a window.
#[derive(Debug, Default)]
struct Counts {
    profiles: BTreeMap<(u64, usize), u64>,
    contents: BTreeMap<(usize, u64), u64>,
    statuses: BTreeMap<(Uuid, EventType), u64>,
    days: Vec<Day>,
}

#[derive(Debug, Default, Clone)]
struct Day {
    words: BTreeMap<(usize, usize, Channel), u64>,
    events: BTreeMap<(Channel, EventType), u64>,
    metrics: [(u64, f64); METRIC_NAMES.len()],
    interactions: BTreeMap<InteractionType, (u64, i64)>,
    campaigns: BTreeMap<Uuid, (u64, u64)>,
}

impl Known {
    /// How many communications a timeline shows.
    pub const TIMELINE: usize = 50;

    /// Counts the past once.
    pub fn new(plan: &Plan) -> Self {
        let population = plan.population().clone();
        let tenants = (0..population.tenants().len()).map(|tenant| Counts::of(&population, tenant)).collect();
        Self { population, tenants }
    }

    /// The right answer.
    pub fn expected(&self, probe: &Probe) -> Expected {
        let (tenant, counts) = (probe.tenant, &self.tenants[probe.tenant]);
        match &probe.key {
            Key::Customer(index) if probe.question == Question::Timeline => self.timeline(tenant, *index),
            Key::Customer(index) => {
                let customer = self.population.customer(tenant, *index);
                Expected::Customer { id: customer.id, email: customer.email }
            }
            Key::Campaign(index) => counts.statuses(self.population.campaign_id(tenant, *index)),
            Key::Profile(document) => counts.profiles(document),
            Key::Content(document) => counts.contents(document),
            Key::Search { word, language, channel, from, to } => {
                let language = LANGUAGES.iter().position(|known| known.code == *language);
                let place = |language: usize| LANGUAGES[language].markers.iter().position(|marker| marker == word);
                let key = language.and_then(|language| Some((language, place(language)?, *channel)));
                let hits = |day: &Day| key.and_then(|key| day.words.get(&key)).copied().unwrap_or(0);
                Expected::Hits(counts.days[self.days(*from, *to)].iter().map(hits).sum())
            }
            Key::Window { from, to } => counts.window(probe.question, self.days(*from, *to)),
        }
    }

    fn timeline(&self, tenant: usize, customer: u64) -> Expected {
        let newest_first = self.population.history_of(tenant, customer).into_iter().rev().take(Self::TIMELINE);
        Expected::Timeline(newest_first.map(|index| self.population.history_id(tenant, index)).collect())
    }

    /// Windows are whole days of the past.
    fn days(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Range<usize> {
        let start = self.population.past().start;
        let day = |instant: DateTime<Utc>| (instant - start).num_days().max(0) as usize;
        day(from)..day(to)
    }
}

impl Counts {
    fn of(population: &Population, tenant: usize) -> Self {
        let owner = &population.tenants()[tenant];
        let days = population.era(Era::Past).millis.div_ceil(DAY_MS) as usize;
        let mut counts = Self { days: vec![Day::default(); days], ..Self::default() };
        for index in 0..owner.customers {
            let traits = population.traits(tenant, index);
            *counts.profiles.entry((traits.portfolio, traits.risk)).or_default() += 1;
        }
        for index in 0..owner.history {
            counts.count_communication(population, tenant, index);
        }
        for index in 0..owner.history_metrics {
            let day = &mut counts.days[(population.metric_millis(tenant, index) / DAY_MS) as usize];
            let (count, sum) = &mut day.metrics[index as usize % METRIC_NAMES.len()];
            *count += 1;
            *sum += population.metric_value(Era::Past, tenant, index);
        }
        counts
    }

    fn count_communication(&mut self, population: &Population, tenant: usize, index: u64) {
        let fate = population.fate(Era::Past, tenant, index);
        let campaign = fate.campaign.map_or(Uuid::nil(), |campaign| population.campaign_id(tenant, campaign));
        *self.statuses.entry((campaign, fate.status())).or_default() += 1;
        *self.contents.entry((fate.language, fate.template)).or_default() += 1;
        let created = &mut self.days[(fate.steps()[0].millis / DAY_MS) as usize];
        *created.words.entry((fate.language, fate.marker, fate.channel)).or_default() += 1;
        for (place, step) in fate.steps().iter().enumerate() {
            let day = &mut self.days[(step.millis / DAY_MS) as usize];
            *day.events.entry((fate.channel, step.event)).or_default() += 1;
            let (events, successes) = day.campaigns.entry(campaign).or_default();
            *events += 1;
            *successes += u64::from(step.event != EventType::Failed);
            if let Some((kind, amount)) = population.deed_of(Era::Past, tenant, index, &fate, place) {
                let (count, money) = day.interactions.entry(kind).or_default();
                *count += 1;
                *money += amount;
            }
        }
    }

    fn statuses(&self, campaign: Uuid) -> Expected {
        let count = |&status: &EventType| Some((status, *self.statuses.get(&(campaign, status))?));
        Expected::Statuses(EventType::ALL.iter().filter_map(count).collect())
    }

    fn profiles(&self, document: &Value) -> Expected {
        let matches = |&(&(portfolio, risk), _): &(&(u64, usize), _)| Traits::profile(portfolio, risk) == *document;
        Expected::Rows(self.profiles.iter().filter(matches).map(|(_, count)| count).sum())
    }

    fn contents(&self, document: &Value) -> Expected {
        let matches = |&(&(language, template), _): &(&(usize, u64), _)| {
            document["language"] == LANGUAGES[language].code && document["template"] == template_name(template)
        };
        Expected::Rows(self.contents.iter().filter(matches).map(|(_, count)| count).sum())
    }

    fn window(&self, question: Question, days: Range<usize>) -> Expected {
        let days = &self.days[days];
        match question {
            Question::DashboardAgents => Expected::Metrics(metrics(days)),
            Question::DashboardInteractions => {
                let sums = sums(days.iter().flat_map(|day| &day.interactions));
                Expected::Interactions(sums.into_iter().map(|(kind, (count, money))| (kind, count, money)).collect())
            }
            Question::DashboardCampaigns => {
                let sums = sums(days.iter().flat_map(|day| &day.campaigns));
                Expected::Campaigns(sums.into_iter().map(|(id, (events, successes))| (id, events, successes)).collect())
            }
            _ => {
                let mut sums = BTreeMap::<(Channel, EventType), u64>::new();
                for (&key, count) in days.iter().flat_map(|day| &day.events) {
                    *sums.entry(key).or_default() += count;
                }
                Expected::Events(sums.into_iter().map(|((channel, event), count)| (channel, event, count)).collect())
            }
        }
    }
}

fn sums<'a, K, N>(counts: impl Iterator<Item = (&'a K, &'a (u64, N))>) -> BTreeMap<K, (u64, N)>
where
    K: Copy + Ord + 'a,
    N: Copy + Default + std::ops::AddAssign + 'a,
{
    let mut sums = BTreeMap::<K, (u64, N)>::new();
    for (&key, &(count, amount)) in counts {
        let sum = sums.entry(key).or_default();
        sum.0 += count;
        sum.1 += amount;
    }
    sums
}

fn metrics(days: &[Day]) -> Vec<(&'static str, u64, f64)> {
    let metric = |(place, &name): (usize, &&'static str)| {
        let (count, sum) =
            days.iter().map(|day| day.metrics[place]).fold((0, 0.0), |(count, sum), day| (count + day.0, sum + day.1));
        (name, count, sum)
    };
    METRIC_NAMES.iter().enumerate().map(metric).filter(|(_, count, _)| *count > 0).collect()
}
