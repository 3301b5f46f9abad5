//! The probes: which tenant asks which question about which key, and when. They never depend on an answer.

use std::ops::Range;

use super::askers::Askers;
use super::{Plan, Probe, Shard};
use crate::{population::rng::KeyedRng, question::Question, scenario::Arrivals};

impl Plan {
    /// The questions that are asked at a rate.
    pub fn questions(&self) -> impl Iterator<Item = Question> + '_ {
        self.scenario.probes.keys().copied()
    }

    /// Probes of one question during the drive, in order of `at`.
    pub fn probes(&self, question: Question) -> impl Iterator<Item = Probe> + Send + '_ {
        Probes::new(self, question, "probes", self.askers(question))
    }

    /// Probes of one question during the warm-up, with other keys; `at` counts from the start of the warm-up.
    pub fn warm_up_probes(&self, question: Question) -> impl Iterator<Item = Probe> + Send + '_ {
        Probes::new(self, question, "warm-up", &self.askers.warm_up)
    }

    /// The part of [`Plan::probes`] that a shard asks.
    pub fn probes_of(&self, question: Question, shard: Shard) -> impl Iterator<Item = Probe> + Send + '_ {
        own(self.probes(question), question, shard)
    }

    /// The part of [`Plan::warm_up_probes`] that a shard asks.
    pub fn warm_up_probes_of(&self, question: Question, shard: Shard) -> impl Iterator<Item = Probe> + Send + '_ {
        own(self.warm_up_probes(question), question, shard)
    }

    /// Expected number of probes of one question during the drive.
    pub fn expected_probes(&self, question: Question) -> f64 {
        let rate = self.scenario.probes.get(&question).copied().unwrap_or(0.0);
        rate * self.askers(question).expected()
    }

    /// Expected number of times within a part of the drive, in seconds, for a question of one per second.
    pub(crate) fn expected_share(&self, question: Question, seconds: &Range<f64>) -> f64 {
        self.askers(question).expected_within(seconds)
    }

    fn askers(&self, question: Question) -> &Askers {
        if self.scenario.by_calendar.contains(&question) { &self.askers.by_calendar } else { &self.askers.drive }
    }
}

/// The probes that belong to a shard.
fn own(
    all: impl Iterator<Item = Probe> + Send,
    question: Question,
    shard: Shard,
) -> impl Iterator<Item = Probe> + Send {
    (0..).zip(all).filter(move |(index, _)| shard.asks(question, *index)).map(|(_, probe)| probe)
}

/// The schedule of one question.
struct Probes<'a> {
    plan: &'a Plan,
    question: Question,
    askers: &'a Askers,
    /// Expected number of starts between two of them, for a question of one per second; `None` if it is never asked.
    gap: Option<f64>,
    rng: KeyedRng,
    /// The next start, as the expected number of starts before it, for a question of one per second.
    number: f64,
}

impl<'a> Probes<'a> {
    fn new(plan: &'a Plan, question: Question, domain: &str, askers: &'a Askers) -> Self {
        let rng = KeyedRng::new(plan.scenario.key_seed, domain, [question.stream(), 0]);
        let gap = plan.scenario.probes.get(&question).map(|rate| 1.0 / rate);
        Self { plan, question, askers, gap, rng, number: 0.0 }
    }
}

impl Iterator for Probes<'_> {
    type Item = Probe;

    fn next(&mut self) -> Option<Probe> {
        let gap = self.gap?;
        let first = self.number;
        self.number += match self.plan.scenario.arrivals {
            Arrivals::Poisson => self.rng.exponential(gap),
            Arrivals::Constant => gap,
        };
        // The first Poisson start is one gap after the beginning.
        let number = if self.plan.scenario.arrivals == Arrivals::Poisson { self.number } else { first };
        let at = self.askers.instant_of(number)?;
        let tenant = self.askers.draw(at, &mut self.rng);
        let owner = &self.plan.population.tenants()[tenant];
        let key = self.question.draw_key(&self.plan.population, owner, &mut self.rng);
        Some(Probe { at, question: self.question, tenant, key })
    }
}
