//! Checks the SLOs of a scenario: each alone, and with what is asked. It judges nothing.

use std::time::Duration;

use toml::Spanned;

use super::error::ScenarioError;
use super::forms::MAX_TENANTS;
use super::limits::TimeOuts;
use super::names::{MAX_NAME, is_name, name, question};
use super::probes::Probes;
use super::raw::{self, Text};
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
    for (index, one) in raw.iter().enumerate() {
        let of = source.keep(operation(one, source));
        // All of them are checked, whatever is wrong with the values.
        let checks = [
            source.keep(of_its_own(one, &raw[..index], source)),
            of.map_or(Some(()), |of| source.keep_all(keys_fit(one, of, source))),
            source.keep_all(questions_differ(one, source)),
        ];
        let Some(slo) = slo(one, of, (tenants, drive), asked.2, source) else { continue };
        let asked = source.keep_all(questions_fit(one, &slo, asked, time_outs, source));
        slos.extend(checks.into_iter().chain([asked]).collect::<Option<()>>().map(|()| slo));
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
                source.keep_all([source.wrong(&further.objective, "slo.also.objective", message)]);
            }
            seen.push((own, &further.within));
        }
    }
}

/// Whether no earlier SLO has its name.
fn of_its_own(raw: &raw::Slo, earlier: &[raw::Slo], source: &Source) -> Result<(), ScenarioError> {
    let name = raw.name.as_ref();
    let Some(same) = earlier.iter().find(|earlier| earlier.name.as_ref() == name) else { return Ok(()) };
    let message = match raw.further.or(same.further) {
        None => format!("duplicate SLO \"{name}\"; give each SLO a name of its own"),
        // Their SLOs have the same name, which is a mistake already.
        Some(_) if raw.further == same.further => return Ok(()),
        Some(_) => format!(
            "duplicate SLO \"{name}\", as a further objective in `also` is named; give one of the two SLOs another name"
        ),
    };
    Err(source.wrong(&raw.name, "slo.name", message))
}

/// What an SLO judges.
fn operation(raw: &raw::Slo, source: &Source) -> Result<Operation, ScenarioError> {
    let operations =
        [("questions", Operation::Questions), ("commits", Operation::Commits), ("events", Operation::Events)];
    raw.of.as_ref().map_or(Ok(Operation::Questions), |at| source.choice(at, "slo.of", &operations))
}

/// A mistake for each key that is missing, or that can't be, in an SLO of that operation.
fn keys_fit(raw: &raw::Slo, of: Operation, source: &Source) -> Vec<ScenarioError> {
    let what = raw.of.as_ref().map_or("questions", |of| of.as_ref());
    let message = |key: &str| format!("it can't be judged together with `of = \"{what}\"`; remove `{key}`");
    let mut mistakes = Vec::new();
    match (of, &raw.questions) {
        (Operation::Questions, None) => {
            let message = "it has no questions; name at least one in `questions`, or what else it judges in `of`";
            mistakes.push(source.wrong(&raw.name, "slo", message));
        }
        (Operation::Questions, Some(at)) if at.as_ref().is_empty() => {
            mistakes.push(source.wrong(at, "slo.questions", "it is empty; name at least one question"));
        }
        (Operation::Questions, Some(_)) => {}
        (Operation::Commits | Operation::Events, questions) => {
            mistakes.extend(questions.as_ref().map(|at| source.wrong(at, "slo.questions", message("questions"))));
            mistakes.extend(raw.users.as_ref().map(|at| source.wrong(at, "slo.users", message("users"))));
        }
    }
    if let Some(at) = raw.at_least.as_ref().filter(|_| of != Operation::Events) {
        let message = "only a rate of events is judged; write `of = \"events\"`, or remove `at_least`";
        mistakes.push(source.wrong(at, "slo.at_least", message));
    }
    mistakes
}

/// A mistake for each question that is named again.
fn questions_differ(raw: &raw::Slo, source: &Source) -> Vec<ScenarioError> {
    let questions = raw.questions.as_ref().map_or(&[][..], |questions| questions.as_ref());
    let is_again = |(index, at): &(usize, &Text)| questions[..*index].iter().any(|other| other.as_ref() == at.as_ref());
    let message = |at: &Text| format!("\"{}\" is named twice; name it once", at.as_ref());
    let again = questions.iter().enumerate().filter(is_again);
    again.map(|(_, at)| source.wrong(at, "slo.questions", message(at))).collect()
}

/// A mistake for each question of an SLO that is not asked, or not as the SLO says.
fn questions_fit(
    raw: &raw::Slo,
    slo: &Slo,
    (probes, users, _): (&Probes, Option<&[Users]>, &[CustomQuestion]),
    time_outs: Option<&TimeOuts>,
    source: &Source,
) -> Vec<ScenarioError> {
    if slo.of != Operation::Questions {
        return Vec::new();
    }
    let mut mistakes = Vec::new();
    if let Some(at) =
        raw.tenants.as_ref().filter(|_| slo.questions.iter().any(|one| matches!(one, Question::Custom(_))))
    {
        let message = "the values of a question of your own come from no tenant of the population; remove `tenants`";
        mistakes.push(source.wrong(at, "slo.tenants", message));
    }
    let by_users = match raw.users.as_ref().map(|at| users::named(at, users, source)).transpose() {
        Ok(by_users) => by_users,
        Err(unknown) => return mistakes.into_iter().chain([unknown]).collect(),
    };
    for (at, &question) in raw.questions.iter().flat_map(Spanned::get_ref).zip(&slo.questions) {
        let message = if by_users.flatten().is_some_and(|users| !users.questions.contains_key(&question)) {
            format!("\"{question}\" is judged but never asked by these users; add it to their `questions`")
        } else if by_users.is_none() && !probes.is_incomplete && !probes.rates.contains_key(&question) {
            format!("\"{question}\" is judged but never asked; give it a rate in [probes]")
        } else if time_outs.is_some_and(|time_outs| time_outs.for_store(question.store()) < slo.within) {
            format!("\"{question}\" times out before its limit; raise `time_outs.{}`", question.store().as_str())
        } else {
            continue;
        };
        mistakes.push(source.wrong(at, "slo.questions", message));
    }
    mistakes
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

fn slo(
    raw: &raw::Slo,
    of: Option<Operation>,
    (tenants, drive): (Option<u64>, Option<Duration>),
    own: &[CustomQuestion],
    source: &Source,
) -> Option<Slo> {
    let optional = |at: &Option<Text>, key: &str| {
        let range = Duration::from_millis(1)..=Duration::from_hours(24);
        source.keep(at.as_ref().map(|at| source.duration(at, key, range)).transpose())
    };
    let name = own_name(raw, source);
    let asked = raw.questions.iter().flat_map(Spanned::get_ref);
    let questions: Vec<Option<Question>> =
        asked.map(|at| source.keep(question(at, "slo.questions", own, source))).collect();
    let tenants = raw.tenants.as_ref().map(|at| tenant_class(at, tenants.unwrap_or(MAX_TENANTS), source)).transpose();
    let tenants = source.keep(tenants);
    let percent = |at, key, low, high| source.keep(source.unit(at, key, |text| units::percent(text, low, high)));
    let [objective_key, within_key] = match raw.further {
        None => ["slo.objective", "slo.within"],
        Some(_) => ["slo.also.objective", "slo.also.within"],
    };
    let objective = percent(&raw.objective, objective_key, 50.0, 99.99);
    let limits = Duration::from_millis(1)..=Duration::from_mins(10);
    let within = source.keep(source.duration(&raw.within, within_key, limits));
    let at_least = raw.at_least.as_ref().map(|at| source.unit(at, "slo.at_least", units::rate)).transpose();
    let at_least = source.keep(at_least);
    let alpha = raw.alpha.as_ref().map_or(Some(0.05), |at| percent(at, "slo.alpha", 0.01, 20.0));
    let longest_stall = optional(&raw.longest_stall, "slo.longest_stall");
    let in_every = optional(&raw.in_every, "slo.in_every");
    if let Some((at, (window, drive))) = raw.in_every.as_ref().zip(in_every.flatten().zip(drive)) {
        source.keep(window_fits(at, window, drive, source))?;
    }
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

/// The name of an SLO. Only where it has no mistake, that of a further objective has one of its own.
fn own_name(raw: &raw::Slo, source: &Source) -> Option<String> {
    let Some(number) = raw.further else { return source.keep(name(&raw.name, "slo.name", source)) };
    let (full, suffix) = (raw.name.as_ref(), format!("-{number}"));
    let written = full.strip_suffix(&suffix).filter(|written| is_name(written))?;
    if is_name(full) {
        return Some(full.clone());
    }
    let message = format!(
        "\"{written}\" is too long, since its further objectives in `also` are named \"{written}{suffix}\" and so on; use at \
         most {} characters",
        MAX_NAME - suffix.len()
    );
    source.keep(Err(source.wrong(&raw.name, "slo.name", message)))
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
