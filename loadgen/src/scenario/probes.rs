//! Checks the rates at which questions are asked. It never decides when one is asked.

use std::collections::{BTreeMap, BTreeSet};

use super::names::question;
use super::questions;
use super::raw::Raw;
use super::source::Source;
use super::units;
use crate::question::Question;
use crate::question::custom::CustomQuestion;

/// The questions that are asked at a rate.
#[derive(Default)]
pub(super) struct Probes {
    /// The rate of each, per second.
    pub(super) rates: BTreeMap<Question, f64>,
    /// Those whose rate follows the calendar.
    pub(super) by_calendar: BTreeSet<Question>,
    /// Whether a rate could not be read, so that questions may be missing.
    pub(super) is_incomplete: bool,
}

/// The key of `probes` that is not a question.
const FOLLOW: &str = "follow";

/// The rates without a mistake.
pub(super) fn probes(whole: &Raw, own: &[CustomQuestion], source: &Source) -> Probes {
    let raw = &whole.probes;
    let mut probes = Probes::default();
    let choices = [("calendar", true), ("nothing", false)];
    let follow = raw.iter().find(|(name, _)| name.as_ref() == FOLLOW);
    let all = follow.and_then(|(_, at)| source.keep(source.choice(at, "probes.follow", &choices))).unwrap_or(false);
    for (name, at) in raw.iter().filter(|(name, _)| name.as_ref() != FOLLOW) {
        let key = format!("probes.{}", name.as_ref());
        let question = source.keep(question(name, &key, own, source));
        let rate = source.unit(at, &key, units::question_rate);
        let Some((question, (rate, by_calendar))) = question.zip(source.keep(rate)) else {
            probes.is_incomplete = true;
            continue;
        };
        probes.rates.insert(question, rate);
        probes.by_calendar.extend(Some(question).filter(|_| all || by_calendar));
    }
    source.keep(questions::fit(whole, source));
    probes
}
