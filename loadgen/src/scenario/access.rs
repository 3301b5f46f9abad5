//! Checks a scenario for a run that may write, or may only read. It never accesses a store.

use super::error::ScenarioError;
use super::raw::{Raw, Text};
use super::slo::{Operation, Slo};
use super::source::Source;
use super::types::Access;
use crate::question::Question;

/// Keeps a mistake for everything that can't be run with that access.
pub(super) fn fits(raw: &Raw, slos: &[Slo], access: Access, source: &Source) {
    match access {
        Access::ReadWrite if !raw.describes_population => {
            let message = "nothing can be written without a population: describe it with [population], [past] and \
                           [drive], or ask an existing deployment with `sluice verify --read-only`";
            source.keep(Err::<(), _>(source.wrong(&raw.name, "name", message)));
        }
        Access::ReadWrite => {}
        Access::ReadOnly => {
            source.keep(only_reads(raw.probes.keys(), "probes", source));
            for users in &raw.users {
                source.keep(only_reads(users.questions.as_ref().keys(), "users.questions", source));
            }
            for raw in &raw.slo {
                source.keep(of_questions(&raw.name, slos, source));
            }
        }
    }
}

/// One mistake for all questions of a table that write, or are about what a drive writes.
fn only_reads<'a>(asked: impl Iterator<Item = &'a Text>, key: &str, source: &Source) -> Result<(), ScenarioError> {
    let writes = |at: &&Text| Question::from_name(at.as_ref()).is_some_and(Question::needs_writes);
    let mut writing: Vec<&Text> = asked.filter(writes).collect();
    writing.sort_by_key(|at| at.span().start);
    let Some(first) = writing.first() else { return Ok(()) };
    let names = writing.iter().map(|at| format!("\"{}\"", at.as_ref())).collect::<Vec<_>>().join(", ");
    let message = format!(
        "only a run that writes can ask {names}, and this run only reads; use a scenario that asks none of these"
    );
    Err(source.wrong(first, key, message))
}

fn of_questions(name: &Text, slos: &[Slo], source: &Source) -> Result<(), ScenarioError> {
    let written = slos.iter().find(|slo| slo.name == *name.as_ref() && slo.of != Operation::Questions);
    written.map_or(Ok(()), |slo| {
        let message = format!(
            "\"{}\" is about records that are written, and this run only reads; use a scenario without it",
            slo.name
        );
        Err(source.wrong(name, "slo", message))
    })
}
