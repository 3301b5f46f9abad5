//! Checks the SLOs of a scenario: each alone, and with what is asked. It judges nothing.

use std::time::Duration;

use toml::Spanned;

use super::error::ScenarioError;
use super::limits::TimeOuts;
use super::names::{name, question};
use super::probes::Probes;
use super::raw::{self, Text};
use super::shape::MAX_TENANTS;
use super::slo::{Operation, Slo};
use super::source::Source;
use super::types::Users;
use super::{units, users};
use crate::population::TenantClass;
use crate::question::Question;
use crate::question::custom::CustomQuestion;

/// Maximum number of windows in which an SLO must hold: each has counters of its own.
const MAX_WINDOWS: u32 = 1_500;

/// The SLOs without a mistake.
pub(super) fn slos(
    raw: &[raw::Slo],
    asked: (&Probes, Option<&[Users]>, &[CustomQuestion]),
    time_outs: Option<&TimeOuts>,
    (tenants, drive): (Option<u64>, Option<Duration>),
    source: &Source,
) -> Vec<Slo> {
    let mut slos: Vec<Slo> = Vec::new();
    for raw in raw {
        let Some(slo) = slo(raw, tenants, asked.2, source) else { continue };
        let checks = [
            of_its_own(raw, &slo, &slos, source),
            raw.in_every
                .as_ref()
                .zip(slo.in_every)
                .zip(drive)
                .map_or(Ok(()), |((at, window), drive)| window_fits(at, window, drive, source)),
            rate_fits(raw, &slo, source),
            samples_fit(raw, &slo, asked, time_outs, source),
        ];
        let checked: Vec<Option<()>> = checks.into_iter().map(|check| source.keep(check)).collect();
        slos.extend(checked.into_iter().collect::<Option<()>>().map(|()| slo));
    }
    slos
}

/// Keeps a mistake for each further objective of an SLO that repeats its share of samples: only one limit for it can matter.
pub(super) fn objectives_differ(raw: &[raw::Slo], source: &Source) {
    // A share that can't be read is a mistake of its own.
    let share = |at: &Text| units::percent(at.as_ref(), 0.0, 100.0).ok();
    for slo in raw {
        let mut seen = vec![(share(&slo.objective), &slo.within)];
        for further in &slo.also {
            let own = share(&further.objective);
            if let Some((_, within)) = seen.iter().find(|(share, _)| own.is_some() && *share == own) {
                let message = format!(
                    "\"{}\" is an objective of this SLO already, within \"{}\"; write another one, or remove it",
                    further.objective.as_ref(),
                    within.as_ref()
                );
                source.keep::<()>(Err(source.wrong(&further.objective, "slo.also", message)));
            }
            seen.push((own, &further.within));
        }
    }
}

/// Whether no earlier SLO has its name.
fn of_its_own(raw: &raw::Slo, slo: &Slo, earlier: &[Slo], source: &Source) -> Result<(), ScenarioError> {
    if !earlier.iter().any(|earlier| earlier.name == slo.name) {
        return Ok(());
    }
    let message = format!("duplicate SLO \"{}\"; give each SLO a name of its own", slo.name);
    Err(source.wrong(&raw.name, "slo.name", message))
}

fn rate_fits(raw: &raw::Slo, slo: &Slo, source: &Source) -> Result<(), ScenarioError> {
    raw.at_least.as_ref().filter(|_| slo.of != Operation::Events).map_or(Ok(()), |at| {
        let message = "only a rate of events is judged; write `of = \"events\"`, or remove `at_least`";
        Err(source.wrong(at, "slo.at_least", message))
    })
}

/// Whether what an SLO judges is asked or written.
fn samples_fit(
    raw: &raw::Slo,
    slo: &Slo,
    asked: (&Probes, Option<&[Users]>, &[CustomQuestion]),
    time_outs: Option<&TimeOuts>,
    source: &Source,
) -> Result<(), ScenarioError> {
    match (slo.of, &raw.questions) {
        (Operation::Questions, Some(at)) => questions_fit((raw, at), slo, asked, time_outs, source),
        (Operation::Questions, None) => {
            let message = "it has no questions; name at least one in `questions`, or what else it judges in `of`";
            Err(source.wrong(&raw.name, "slo", message))
        }
        (Operation::Commits | Operation::Events, _) => no_questions_asked(raw, source),
    }
}

/// What is not a question has none, and no users who ask.
fn no_questions_asked(raw: &raw::Slo, source: &Source) -> Result<(), ScenarioError> {
    let what = raw.of.as_ref().map_or("questions", |of| of.as_ref());
    let message = |key: &str| format!("it can't be judged together with `of = \"{what}\"`; remove `{key}`");
    if let Some(at) = &raw.questions {
        return Err(source.wrong(at, "slo.questions", message("questions")));
    }
    raw.users.as_ref().map_or(Ok(()), |at| Err(source.wrong(at, "slo.users", message("users"))))
}

fn questions_fit(
    (raw, questions): (&raw::Slo, &Spanned<Vec<Text>>),
    slo: &Slo,
    (probes, users, _): (&Probes, Option<&[Users]>, &[CustomQuestion]),
    time_outs: Option<&TimeOuts>,
    source: &Source,
) -> Result<(), ScenarioError> {
    if slo.questions.is_empty() {
        return Err(source.wrong(questions, "slo.questions", "it is empty; name at least one question"));
    }
    if let Some(at) =
        raw.tenants.as_ref().filter(|_| slo.questions.iter().any(|one| matches!(one, Question::Custom(_))))
    {
        let message = "the values of a question of your own come from no tenant of the population; remove `tenants`";
        return Err(source.wrong(at, "slo.tenants", message));
    }
    let by_users = match &raw.users {
        None => None,
        Some(at) => Some(users::named(at, users, source)?),
    };
    for (at, &question) in questions.as_ref().iter().zip(&slo.questions) {
        let named = slo.questions.iter().filter(|&&other| other == question).count();
        let message = if named > 1 {
            format!("\"{question}\" is named twice; name it once")
        } else if by_users.flatten().is_some_and(|users| !users.questions.contains_key(&question)) {
            format!("\"{question}\" is judged but never asked by these users; add it to their `questions`")
        } else if by_users.is_none() && !probes.is_incomplete && !probes.rates.contains_key(&question) {
            format!("\"{question}\" is judged but never asked; give it a rate in [probes]")
        } else if time_outs.is_some_and(|time_outs| time_outs.for_store(question.store()) < slo.within) {
            format!("\"{question}\" times out before its limit; raise `time_outs.{}`", question.store().as_str())
        } else {
            continue;
        };
        return Err(source.wrong(at, "slo.questions", message));
    }
    Ok(())
}

/// A drive has 2 to [`MAX_WINDOWS`] windows.
fn window_fits(at: &Text, window: Duration, drive: Duration, source: &Source) -> Result<(), ScenarioError> {
    let (shortest, longest) = (drive / MAX_WINDOWS, drive / 2);
    if (shortest..=longest).contains(&window) {
        return Ok(());
    }
    let [window, drive] = [window, drive].map(units::exact_duration);
    let [shortest, longest] = [shortest, longest].map(units::brief_duration);
    let message = format!("a drive of {drive} can't be judged in windows of {window}; write {shortest} to {longest}");
    Err(source.wrong(at, "slo.in_every", message))
}

fn slo(raw: &raw::Slo, tenants: Option<u64>, own: &[CustomQuestion], source: &Source) -> Option<Slo> {
    let optional = |at: &Option<Text>, key: &str| {
        let range = Duration::from_millis(1)..=Duration::from_hours(24);
        source.keep(at.as_ref().map(|at| source.duration(at, key, range)).transpose())
    };
    let operations =
        [("questions", Operation::Questions), ("commits", Operation::Commits), ("events", Operation::Events)];
    let of = raw.of.as_ref().map_or(Ok(Operation::Questions), |at| source.choice(at, "slo.of", &operations));
    let (name, of) = (source.keep(name(&raw.name, "slo.name", source)), source.keep(of));
    let asked = raw.questions.iter().flat_map(Spanned::get_ref);
    let questions: Vec<Option<Question>> =
        asked.map(|at| source.keep(question(at, "slo.questions", own, source))).collect();
    let tenants = raw.tenants.as_ref().map(|at| tenant_class(at, tenants.unwrap_or(MAX_TENANTS), source)).transpose();
    let tenants = source.keep(tenants);
    let percent = |at, key, low, high| source.keep(source.unit(at, key, |text| units::percent(text, low, high)));
    let objective = percent(&raw.objective, "slo.objective", 50.0, 99.99);
    let limits = Duration::from_millis(1)..=Duration::from_mins(10);
    let within = source.keep(source.duration(&raw.within, "slo.within", limits));
    let at_least = raw.at_least.as_ref().map(|at| source.unit(at, "slo.at_least", units::rate)).transpose();
    let at_least = source.keep(at_least);
    let alpha = raw.alpha.as_ref().map_or(Some(0.05), |at| percent(at, "slo.alpha", 0.01, 20.0));
    let longest_stall = optional(&raw.longest_stall, "slo.longest_stall");
    let in_every = optional(&raw.in_every, "slo.in_every");
    Some(Slo {
        name: name?,
        of: of?,
        questions: questions.into_iter().collect::<Option<_>>()?,
        tenants: tenants?,
        users: raw.users.as_ref().map(|at| at.as_ref().clone()),
        objective: objective?,
        within: within?,
        at_least: at_least?,
        alpha: alpha?,
        longest_stall: longest_stall?,
        in_every: in_every?,
    })
}

fn tenant_class(at: &Text, tenants: u64, source: &Source) -> Result<TenantClass, ScenarioError> {
    let class = TenantClass::ALL.into_iter().find(|class| class.as_str() == at.as_ref());
    let message = match class {
        // Fewer than three tenants leave a class empty.
        Some(class) if (0..tenants as usize).any(|index| TenantClass::of(index, tenants as usize) == class) => {
            return Ok(class);
        }
        Some(_) => format!("{tenants} tenants have no \"{}\" ones; use at least 3", at.as_ref()),
        None => format!("unknown class \"{}\"; use \"large\", \"middle\" or \"small\"", at.as_ref()),
    };
    Err(source.wrong(at, "slo.tenants", message))
}
