//! Checks the groups of users of a scenario. Every mistake is reported with its line. It plans none of their questions.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::ScenarioError;
use super::forms::{MAX_PART, MAX_USERS};
use super::names::{name, question};
use super::raw::{self, Count, Text};
use super::source::Source;
use super::types::Users;
use crate::question::Question;
use crate::question::custom::CustomQuestion;

/// The groups of users; `None` if one has a mistake.
pub(super) fn users(raw: &[raw::Users], own: &[CustomQuestion], source: &Source) -> Option<Vec<Users>> {
    let mut groups = Vec::new();
    for (index, one) in raw.iter().enumerate() {
        let is_again = raw[..index].iter().any(|earlier| earlier.name.as_ref() == one.name.as_ref());
        let message = || format!("duplicate users \"{}\"; give each group a name of its own", one.name.as_ref());
        let duplicate = is_again.then(|| source.wrong(&one.name, "users.name", message()));
        let is_unique = source.keep_all(duplicate);
        groups.push(group(one, own, source).filter(|_| is_unique.is_some()));
    }
    groups.into_iter().collect()
}

fn group(raw: &raw::Users, own: &[CustomQuestion], source: &Source) -> Option<Users> {
    let part = |(name, part): (&Text, &Count)| {
        let key = format!("users.questions.{}", name.as_ref());
        let question = source.keep(question(name, &key, own, source));
        question.zip(source.keep(source.count(part, &key, 1..MAX_PART + 1)))
    };
    // All of them are checked before the first one without a value ends it.
    let parts: Vec<Option<(Question, u64)>> = raw.questions.as_ref().iter().map(part).collect();
    let name = source.keep(name(&raw.name, "users.name", source));
    let count = source.keep(source.count(&raw.count, "users.count", 1..MAX_USERS + 1));
    let range = Duration::from_millis(10)..=Duration::from_hours(1);
    let think_time = source.keep(source.duration(&raw.think_time, "users.think_time", range));
    if parts.is_empty() {
        let message = "it is empty; name at least one question";
        source.keep_all([source.wrong(&raw.questions, "users.questions", message)]);
        return None;
    }
    let questions = parts.into_iter().collect::<Option<BTreeMap<_, _>>>()?;
    Some(Users { name: name?, count: count? as u32, think_time: think_time?, questions })
}

/// The users of a name; the inner `None` if they have a mistake of their own.
pub(super) fn named<'a>(
    at: &Text,
    users: Option<&'a [Users]>,
    source: &Source,
) -> Result<Option<&'a Users>, ScenarioError> {
    let Some(users) = users else { return Ok(None) };
    let found = users.iter().find(|users| &users.name == at.as_ref());
    found.map(Some).ok_or_else(|| {
        let known: Vec<&str> = users.iter().map(|users| users.name.as_str()).collect();
        let advice =
            if known.is_empty() { "add them with [[users]]".to_owned() } else { format!("use {}", known.join(", ")) };
        source.wrong(at, "slo.users", format!("unknown users \"{}\"; {advice}", at.as_ref()))
    })
}
