//! What a search scales: everything, the questions to one store, or the writes. What is not scaled keeps the scenario's
//! rate. It drives nothing.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::number::separated;
use crate::question::{Question, Store};
use crate::scenario::{Availability, MAX_RECORDS, Pace, Scenario, Slo, Undecided, exact_duration, never_passes};

/// What a search scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// All questions and the communications with what follows them.
    Mix,
    /// The questions to one store.
    Questions(Store),
    /// The communications with what follows them.
    Writes,
}

/// How often an undecided step is repeated, each time for twice as long. An undecided confirming hold is not: it is long
/// already, and a rate a step lower is decided sooner than the same one.
pub(super) const LENGTHENED: u32 = 2;
/// The longest hold of a step, as a multiple of the first one.
const LONGEST: u32 = 2_u32.pow(LENGTHENED);

/// Why a scenario has no capacity to search for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsearchable {
    /// Nothing says what must hold.
    #[error("it has no SLO, so no rate can fail; add an [[slo]]")]
    NoSlo,
    /// A closed loop has no rate of its own.
    #[error(
        "its users ({0}) ask one question at a time and so offer no rate that could be raised; remove [[users]], and give their questions rates in [probes]"
    )]
    Users(String),
    /// A window is longer than a step.
    #[error(
        "the SLO {slo} must hold in every {}, and a step holds its rate for {}; choose a longer --hold",
        exact_duration(*window),
        exact_duration(*hold)
    )]
    Window {
        /// The SLO.
        slo: String,
        /// Its window.
        window: Duration,
        /// The length of a step.
        hold: Duration,
    },
    /// No step decides an SLO, whatever the stores do.
    #[error("the SLO {reason}, where a rate is held for {}; choose a longer {option}", exact_duration(*held))]
    Undecidable {
        /// Why it can't pass.
        reason: String,
        /// How long a rate is held at most.
        held: Duration,
        /// The option that says how long.
        option: &'static str,
    },
    /// A step writes more communications than a drive may.
    #[error(
        "a rate that is held for {} writes {} communications at its first step, and at most {} are possible; choose a shorter {option}",
        exact_duration(*held),
        separated(*communications),
        separated(MAX_RECORDS)
    )]
    TooMany {
        /// Communications of the step.
        communications: u64,
        /// How long a rate is held at most.
        held: Duration,
        /// The option that says how long.
        option: &'static str,
    },
    /// No SLO judges what would be scaled.
    #[error("it asks {0} nothing; choose another --of")]
    NotAsked(Subject),
}

impl Subject {
    /// The parts of a scenario that can be scaled: the mix, each store that is asked, and the writes.
    pub fn all(scenario: &Scenario) -> Vec<Self> {
        let asked = Store::ALL.iter().copied().filter(|store| is_asked(scenario, *store)).map(Self::Questions);
        std::iter::once(Self::Mix).chain(asked).chain([Self::Writes]).collect()
    }

    /// The subject of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        let stores = Store::ALL.iter().copied().map(Self::Questions);
        [Self::Mix, Self::Writes].into_iter().chain(stores).find(|subject| subject.as_str() == name)
    }

    /// The name on the command line and in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mix => "mix",
            Self::Questions(store) => store.as_str(),
            Self::Writes => "writes",
        }
    }

    /// Checks that a search of a scenario can end with a rate. It begins at the factor `first`; steps hold a rate for `hold`,
    /// and the last one for `confirm`.
    ///
    /// # Errors
    /// [`Unsearchable`].
    pub fn check(
        self,
        scenario: &Scenario,
        first: f64,
        (hold, confirm): (Duration, Duration),
    ) -> Result<(), Unsearchable> {
        if scenario.slos.is_empty() {
            return Err(Unsearchable::NoSlo);
        }
        if let Some(users) = scenario.users.first() {
            return Err(Unsearchable::Users(users.name.clone()));
        }
        let windows = scenario.slos.iter().filter_map(|slo| Some((slo, slo.in_every?)));
        if let Some((slo, window)) = windows.filter(|(_, window)| *window > hold).max_by_key(|(_, window)| *window) {
            return Err(Unsearchable::Window { slo: slo.name.clone(), window, hold });
        }
        if let Self::Questions(store) = self
            && !is_asked(scenario, store)
        {
            return Err(Unsearchable::NotAsked(self));
        }
        for (held, option) in [(hold * LONGEST, "--hold"), (confirm, "--confirm")] {
            let step = self.step(scenario, first, held);
            if step.communications > MAX_RECORDS {
                return Err(Unsearchable::TooMany { communications: step.communications, held, option });
            }
            if let Some(never) = step.slos.iter().find_map(|slo| never_passes(&step, slo)) {
                return Err(Unsearchable::Undecidable { reason: never.reason, held, option });
            }
        }
        Ok(())
    }

    /// Whether the rate of a question is scaled.
    pub fn scales(self, question: Question) -> bool {
        self == Self::Mix || self == Self::Questions(question.store())
    }

    /// A step of a search: the scenario held at a constant rate, without stages and calendar, with a factor on what is
    /// scaled. The rates that its SLOs demand are left out, since the rate is what is searched, and an availability that a step is
    /// too short to decide does not keep it from passing, since it decides nothing at any rate.
    pub fn step(self, scenario: &Scenario, factor: f64, hold: Duration) -> Scenario {
        let longer = hold.as_secs_f64() / scenario.duration.as_secs_f64();
        let writes = if matches!(self, Self::Mix | Self::Writes) { factor } else { 1.0 };
        let communications = scenario.communications as f64 * writes * longer;
        let probes = scenario
            .probes
            .iter()
            .map(|(question, rate)| (*question, if self.scales(*question) { rate * factor } else { *rate }));
        Scenario {
            communications: (communications.round() as u64).max(1),
            probes: probes.collect(),
            rate: scenario.rate * factor,
            duration: hold,
            stages: Vec::new(),
            by_calendar: std::collections::BTreeSet::new(),
            pace: Pace::Steady,
            slos: scenario.slos.iter().map(|slo| Slo { at_least: None, ..slo.clone() }).collect(),
            availability: Availability { undecided: Undecided::Allow, ..scenario.availability },
            ..scenario.clone()
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_asked(scenario: &Scenario, store: Store) -> bool {
    scenario.probes.iter().any(|(question, rate)| question.store() == store && *rate > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smoke() -> Scenario {
        Scenario::parse(include_str!("../../../scenarios/smoke.toml"), "smoke.toml").unwrap()
    }

    #[test]
    fn only_what_is_searched_is_scaled() {
        let (smoke, hold) = (smoke(), Duration::from_secs(150));
        let rates = |subject: Subject| {
            let step = subject.step(&smoke, 3.0, hold);
            let of = |store: Store| {
                step.probes.iter().filter(|(question, _)| question.store() == store).map(|(_, rate)| rate).sum::<f64>()
            };
            (step.communications, of(Store::Postgres).round(), of(Store::Elasticsearch).round())
        };
        assert_eq!(rates(Subject::Mix), (600_000, 156.0, 24.0));
        assert_eq!(rates(Subject::Questions(Store::Elasticsearch)), (200_000, 52.0, 24.0));
        assert_eq!(rates(Subject::Writes), (600_000, 52.0, 8.0));
    }

    #[test]
    fn a_step_is_not_judged_by_what_its_rate_or_its_length_rules_out() {
        let mut scenario = smoke();
        scenario.slos[0].at_least = Some(10_000.0);
        scenario.availability.undecided = Undecided::Block;
        let step = Subject::Mix.step(&scenario, 0.5, Duration::from_mins(1));
        assert!(step.slos.iter().all(|slo| slo.at_least.is_none()) && step.slos.len() == scenario.slos.len());
        assert_eq!(step.availability.undecided, Undecided::Allow);
    }

    #[test]
    fn a_scenario_that_can_not_fail_or_offers_no_rate_is_refused() {
        let (smoke, minute) = (smoke(), Duration::from_mins(1));
        assert_eq!(Subject::Mix.check(&smoke, 1.0, (minute, minute)), Ok(()));
        let error = |scenario: &Scenario, subject: Subject| {
            subject.check(scenario, 1.0, (minute, minute)).unwrap_err().to_string()
        };
        insta::assert_snapshot!(error(&Scenario { slos: Vec::new(), ..smoke.clone() }, Subject::Mix), @"it has no SLO, so no rate can fail; add an [[slo]]");
        let mut windowed = smoke.clone();
        let search = windowed.slos.iter_mut().find(|slo| slo.name == "search").unwrap();
        search.in_every = Some(Duration::from_mins(2));
        insta::assert_snapshot!(error(&windowed, Subject::Mix), @"the SLO search must hold in every 2 min, and a step holds its rate for 1 min; choose a longer --hold");
        let mut stalls = smoke.clone();
        stalls.slos[0].longest_stall = Some(Duration::from_secs(2));
        insta::assert_snapshot!(Subject::Mix.check(&stalls, 1.0, (minute, minute)).unwrap_err(), @r#"the SLO "customer-lookup" can never pass: to exclude stalls of 2 s takes 118 s, and 1 min are judged, where a rate is held for 1 min; choose a longer --confirm"#);
        let short = Duration::from_secs(15);
        insta::assert_snapshot!(Subject::Mix.check(&smoke, 0.5, (short, short)).unwrap_err(), @r#"the SLO "analytics" can never pass: it will get about 56 samples, and a PASS needs at least 59, where a rate is held for 15 s; choose a longer --confirm"#);
        let mut unasked = smoke.clone();
        unasked.probes.retain(|question, _| question.store() != Store::Elasticsearch);
        insta::assert_snapshot!(error(&unasked, Subject::Questions(Store::Elasticsearch)), @"it asks elasticsearch nothing; choose another --of");
        let users = crate::scenario::Users {
            name: "agents".to_owned(),
            count: 3,
            think_time: Duration::from_secs(2),
            questions: std::collections::BTreeMap::new(),
        };
        insta::assert_snapshot!(error(&Scenario { users: vec![users], ..smoke }, Subject::Mix), @"its users (agents) ask one question at a time and so offer no rate that could be raised; remove [[users]], and give their questions rates in [probes]");
    }
}
