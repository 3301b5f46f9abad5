//! A scenario as it is written in its file: every value with its position, units unparsed. [`super::check`] checks it, and
//! editors get its JSON schema from the same types, so that the comments below are what they show. It never decides whether a
//! value is allowed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::forms::{MAX_CONNECTIONS, MAX_RECORDS, MAX_SKEW, MAX_TENANTS, MAX_USERS};

pub(super) type Text = Spanned<String>;
pub(super) type Count = Spanned<u64>;

/// A scenario of Sluice: who exists, what is written, what is asked and what is judged.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Sluice scenario")]
pub(super) struct Raw {
    /// Name in reports: 1 to 40 lowercase letters, digits, hyphens and underscores.
    #[schemars(with = "String", regex(pattern = r"^[a-z0-9_-]{1,40}$"), extend("examples" = ["checkout"]))]
    pub name: Text,
    /// One sentence.
    #[serde(default)]
    pub description: String,
    /// Files whose values apply where this file has none, relative to it; a later file replaces an earlier one.
    #[serde(default, rename = "include")]
    #[expect(dead_code, reason = "includes are merged before a scenario is read; here they are a key of the schema")]
    pub includes: Vec<String>,
    /// The seeds of everything random.
    pub seeds: Seeds,
    /// When it happens, in simulated and in wall time.
    pub time: Time,
    /// Who exists.
    pub population: Population,
    /// What is loaded before the drive; most questions are about it.
    pub past: Past,
    /// What the drive writes.
    pub drive: Drive,
    /// The rate of each question, such as "30/s" or "30/s by calendar"; `follow = "calendar"` applies to all.
    #[schemars(with = "super::forms::Probes")]
    pub probes: BTreeMap<Text, Text>,
    /// Questions of your own, by name; a rate in `probes` asks them.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, OwnQuestion>")]
    pub question: BTreeMap<Text, OwnQuestion>,
    /// Stages of the drive, with factors on its rates. Without one, the rates are the same throughout.
    #[serde(default)]
    pub stage: Vec<Stage>,
    /// Groups of users who ask the next question only after the answer and some thought.
    #[serde(default)]
    pub users: Vec<Users>,
    /// The SLOs that are judged.
    #[serde(default)]
    pub slo: Vec<Slo>,
    /// OpenSLO files with more of them, relative to this one.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub slo_files: Vec<Text>,
    /// The availability of each store that is judged.
    pub availability: Option<Availability>,
    /// Time-outs of answers by store, from the intended start.
    #[serde(default)]
    #[schemars(with = "super::forms::TimeOuts")]
    pub time_outs: BTreeMap<Text, Text>,
    /// Connections of the generator.
    #[serde(default)]
    pub connections: Connections,
    /// Whether the file has a population; without one, an existing deployment is asked.
    #[serde(skip)]
    pub describes_population: bool,
}

/// A question of your own. It only reads.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnQuestion {
    /// The store that answers.
    #[schemars(with = "super::forms::StoreName")]
    pub store: Text,
    /// SQL with parameters as $name (PostgreSQL) or {name:Type} (ClickHouse), the JSON of a search with "$name"
    /// (Elasticsearch), or a command with $name (Redis).
    #[schemars(with = "String", extend("examples" = ["SELECT 1"]))]
    pub text: Text,
    /// Database of PostgreSQL or ClickHouse; without it, that of the namespace.
    #[schemars(with = "Option<String>")]
    pub database: Option<Text>,
    /// Index or index pattern of Elasticsearch.
    #[schemars(with = "Option<String>")]
    pub index: Option<Text>,
    /// PostgreSQL: the parameter with the tenant that row-level security is to see, set as app.current_tenant_id.
    #[schemars(with = "Option<String>")]
    pub tenant: Option<Text>,
    /// Where the values of each parameter come from. Parameters of the same file, query or table come from one row of it.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, ValueSource>")]
    pub parameters: BTreeMap<Text, Spanned<ValueSource>>,
    /// The right answer; without it, every answer is right.
    #[schemars(with = "Option<Expect>")]
    pub expect: Option<Spanned<Expect>>,
}

/// Where the values of a parameter come from: one of `values`, `csv`, `query` and `table`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ValueSource {
    /// The values themselves.
    #[schemars(with = "Option<Vec<String>>")]
    pub values: Option<Vec<String>>,
    /// A CSV file with a header, relative to this file.
    #[schemars(with = "Option<String>")]
    pub csv: Option<Text>,
    /// A query, run once before the drive.
    #[schemars(with = "Option<String>")]
    pub query: Option<Text>,
    /// A table, of which the first 10,000 values are taken.
    #[schemars(with = "Option<String>")]
    pub table: Option<Text>,
    /// The column of the file, query or table.
    #[schemars(with = "Option<String>")]
    pub column: Option<Text>,
    /// The store of the query or table, "postgres" or "clickhouse"; without it, the question's.
    #[schemars(with = "Option<String>")]
    pub store: Option<Text>,
}

/// The right answer to a question.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    /// Number of rows, hits or elements: "1", or "at least 1".
    #[schemars(with = "Option<super::forms::Rows>")]
    pub rows: Option<Text>,
    /// The first value of the first row, as text; "$name" is the value of a parameter.
    #[schemars(with = "Option<String>")]
    pub value: Option<Text>,
}

/// Connections of the generator.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Connections {
    /// Connections that ask questions of PostgreSQL, at most.
    #[schemars(with = "Option<u64>", range(min = 1, max = MAX_CONNECTIONS))]
    pub postgres: Option<Count>,
    /// Connections that write to PostgreSQL, at most: as many transactions are in flight.
    #[schemars(with = "Option<u64>", range(min = 1, max = MAX_CONNECTIONS))]
    pub postgres_writers: Option<Count>,
}

/// The seeds of everything random.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Seeds {
    /// Seed of all records.
    pub data: u64,
    /// Seed of what is asked about; with another one, a rerun does not hit warm caches.
    pub keys: u64,
}

/// When it happens, in simulated and in wall time.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Time {
    /// First instant of the simulated time that is driven, a full hour.
    #[schemars(with = "String", extend("format" = "date-time", "examples" = ["2026-11-16T00:00:00Z"]))]
    pub start: Spanned<Instant>,
    /// Simulated time that is driven.
    #[schemars(with = "super::forms::Duration")]
    pub span: Text,
    /// Wall time in which it is driven; at most `span`.
    #[schemars(with = "super::forms::Duration")]
    pub replayed_in: Text,
    /// Wall time before the drive in which questions are asked and answers are not recorded.
    #[schemars(with = "Option<super::forms::Duration>")]
    pub warm_up: Option<Text>,
    /// Whether records are written during the warm-up too. They belong to the account, and not to what is judged.
    #[serde(default)]
    pub warm_up_writes: bool,
    /// How long the account waits for the next record to land.
    #[schemars(with = "Option<super::forms::Duration>")]
    pub settle: Option<Text>,
}

/// Who exists.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Population {
    /// Number of tenants.
    #[schemars(with = "u64", range(min = 1, max = MAX_TENANTS))]
    pub tenants: Count,
    /// Customers of all tenants.
    #[schemars(with = "u64", range(min = 1, max = MAX_RECORDS))]
    pub customers: Count,
    /// Exponent of the tenants' sizes (Zipf): 0 makes them equal.
    #[schemars(with = "Option<f64>", range(min = 0, max = MAX_SKEW))]
    pub skew: Option<Spanned<f64>>,
    /// Customers per campaign.
    #[schemars(with = "Option<u64>", range(min = 1, max = MAX_RECORDS))]
    pub customers_per_campaign: Option<Count>,
    /// Customers per agent.
    #[schemars(with = "Option<u64>", range(min = 1, max = MAX_RECORDS))]
    pub customers_per_agent: Option<Count>,
}

/// What is loaded before the drive.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Past {
    /// Communications before `time.start`, with their events and interactions.
    #[schemars(with = "u64", range(min = 1, max = MAX_RECORDS))]
    pub communications: Count,
    /// Whole days over which they are spread.
    #[schemars(with = "super::forms::Duration")]
    pub span: Text,
}

/// What the drive writes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Drive {
    /// Communications that it writes at 1x, each with its events and interactions.
    #[schemars(with = "u64", range(min = 1, max = MAX_RECORDS))]
    pub communications: Count,
    /// Factor on the communications and on the rate of every question.
    #[schemars(with = "Option<super::forms::OneFactor>")]
    pub rate: Option<Text>,
    /// How communications are spread: "calendar", busier in office hours, or "steady".
    #[schemars(with = "Option<super::forms::Pace>")]
    pub pace: Option<Text>,
    /// Simulated time between two measurements of an agent.
    #[schemars(with = "Option<super::forms::Duration>")]
    pub metric_interval: Option<Text>,
    /// How questions are spaced: "poisson", as by independent users, or "constant".
    #[schemars(with = "Option<super::forms::Arrivals>")]
    pub arrivals: Option<Text>,
}

/// A stage of the drive: for so long, the rates are these.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Stage {
    /// Its start within the drive; without it, the end of the stage before. Outside the stages, the rates are 1x.
    #[schemars(with = "Option<super::forms::Duration>")]
    pub from: Option<Text>,
    /// Its length.
    #[serde(rename = "for")]
    #[schemars(with = "super::forms::Duration")]
    pub length: Text,
    /// Factor on the writes and the questions, such as "10x", or a ramp such as "1x to 10x".
    #[schemars(with = "Option<super::forms::Factor>")]
    pub rate: Option<Text>,
    /// Factor on the writes.
    #[schemars(with = "Option<super::forms::Factor>")]
    pub writes: Option<Text>,
    /// Factor on the questions.
    #[schemars(with = "Option<super::forms::Factor>")]
    pub probes: Option<Text>,
    /// The only tenant that it is about: "largest", "smallest", or a number from "1", the largest.
    #[schemars(with = "Option<String>")]
    pub tenant: Option<Text>,
}

/// A group of users who ask the next question only after the answer and some thought.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Users {
    /// Its name in reports and in `slo.users`.
    #[schemars(with = "String", extend("examples" = ["agents"]))]
    pub name: Text,
    /// Number of users.
    #[schemars(with = "u64", range(min = 1, max = MAX_USERS))]
    pub count: Count,
    /// How long a user thinks before a question, on average.
    #[schemars(with = "super::forms::Duration")]
    pub think_time: Text,
    /// What the users ask, each question with its part of all questions, such as { search = 1, timeline = 3 }.
    #[schemars(with = "super::forms::Mix")]
    pub questions: Spanned<BTreeMap<Text, Count>>,
}

/// An SLO: "`objective` of the answers to `questions` arrive `within`."
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Slo {
    /// Its name in reports.
    #[schemars(with = "String", extend("examples" = ["search-200ms"]))]
    pub name: Text,
    /// What is judged: "questions", the "commits" of writes to PostgreSQL, or "events" until ClickHouse shows them.
    #[schemars(with = "Option<super::forms::Operation>")]
    pub of: Option<Text>,
    /// The questions whose answers are judged together.
    #[schemars(with = "Option<Vec<super::forms::QuestionName>>")]
    pub questions: Option<Spanned<Vec<Text>>>,
    /// Share of answers that must be in time.
    #[schemars(with = "super::forms::Percent")]
    pub objective: Text,
    /// The limit, from the intended start to the last byte.
    #[schemars(with = "super::forms::Duration")]
    pub within: Text,
    /// Further objectives of the same samples, such as { objective = "99 %", within = "1 s" }.
    #[serde(default)]
    pub also: Vec<Objective>,
    /// With `of = "events"`: so many events per second must be visible within the limit, such as "10000/s".
    #[schemars(with = "Option<super::forms::PlainRate>")]
    pub at_least: Option<Text>,
    /// Highest accepted probability of a wrong PASS, and of a wrong FAIL.
    #[schemars(with = "Option<super::forms::Percent>")]
    pub alpha: Option<Text>,
    /// A PASS must hold for stalls of up to this length.
    #[schemars(with = "Option<super::forms::Duration>")]
    pub longest_stall: Option<Text>,
    /// Judge only the questions of the "large", "middle" or "small" third of the tenants.
    #[schemars(with = "Option<super::forms::TenantClass>")]
    pub tenants: Option<Text>,
    /// Judge the questions of these users; without it, those that are asked at a rate.
    #[schemars(with = "Option<String>")]
    pub users: Option<Text>,
    /// The objective must hold in every window of this length.
    #[schemars(with = "Option<super::forms::Duration>")]
    pub in_every: Option<Text>,
    /// The number of a further objective, from 2; `None` for what the file says itself.
    #[serde(skip)]
    pub further: Option<u32>,
}

/// One more objective of an SLO.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Objective {
    /// Share of answers that must be in time.
    #[schemars(with = "super::forms::Percent")]
    pub objective: Text,
    /// The limit, from the intended start to the last byte.
    #[schemars(with = "super::forms::Duration")]
    pub within: Text,
}

impl Slo {
    /// An SLO for each objective: `name`, `name-2` and so on, as of an OpenSLO file.
    pub(super) fn of_each_objective(mut self) -> Vec<Self> {
        let also = std::mem::take(&mut self.also);
        let further = (2..).zip(also).map(|(number, Objective { objective, within })| {
            let name = Spanned::new(self.name.span(), format!("{}-{number}", self.name.as_ref()));
            Self { name, objective, within, further: Some(number), ..self.clone() }
        });
        let further: Vec<Self> = further.collect();
        [self].into_iter().chain(further).collect()
    }
}

/// The availability of each store that is judged.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Availability {
    /// Share of each store's questions and writes that must succeed.
    #[schemars(with = "Option<super::forms::Percent>")]
    pub objective: Option<Text>,
    /// Share of PostgreSQL's transactions that must succeed at the first attempt.
    #[schemars(with = "Option<super::forms::Percent>")]
    pub first_attempts: Option<Text>,
    /// A PASS must hold for outages of up to this length.
    #[schemars(with = "Option<super::forms::Duration>")]
    pub longest_outage: Option<Text>,
    /// What it means if the samples are too few to decide availability: "block", the run is INCONCLUSIVE; "allow", it may pass if no
    /// larger share failed than the objective allows.
    #[schemars(with = "Option<super::forms::Undecided>")]
    pub undecided: Option<Text>,
}

/// An instant, written with or without quotes.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Instant {
    Toml(toml::value::Datetime),
    Text(String),
}

impl Instant {
    pub(super) fn parse(&self) -> Result<DateTime<Utc>, String> {
        let text = match self {
            Self::Toml(datetime) => datetime.to_string(),
            Self::Text(text) => text.clone(),
        };
        DateTime::parse_from_rfc3339(&text).map(|instant| instant.to_utc()).map_err(|_| {
            format!("\"{text}\" is not an instant; write date, time and zone, such as 2026-11-16T00:00:00Z")
        })
    }
}
