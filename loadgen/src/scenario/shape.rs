//! Checks the stages of a scenario: where each one is, and that something is driven at all. Every mistake is reported with
//! its line.

use std::collections::BTreeSet;
use std::time::Duration;

use super::error::ScenarioError;
use super::raw::{self, Raw, Text};
use super::source::Source;
use super::stages::{Factor, Stage};
use super::types::Scenario;
use super::units::{self, exact_duration};
use crate::population::metrics_of_tenants;

/// Maximum number of tenants.
pub(super) const MAX_TENANTS: u64 = 1_000;
/// Maximum number of records of one kind.
pub(super) const MAX_RECORDS: u64 = 100_000_000;
/// Longest stage.
const MAX_LENGTH: Duration = Duration::from_hours(24 * 8);

/// The stages, those of all tenants first, then by tenant and by time; `None` if one has a mistake.
pub(super) fn stages(raw: &Raw, tenants: u64, drive: Duration, source: &Source) -> Option<Vec<Stage>> {
    let checked: Vec<Option<(&raw::Stage, Stage)>> =
        raw.stage.iter().map(|raw| source.keep(stage(raw, tenants, source)).map(|stage| (raw, stage))).collect();
    let mut stages: Vec<(&raw::Stage, Stage)> = checked.into_iter().collect::<Option<_>>()?;
    let owners: BTreeSet<Option<u32>> = stages.iter().map(|(_, stage)| stage.tenant).collect();
    for owner in &owners {
        let own: Vec<_> = stages.iter_mut().filter(|(_, stage)| stage.tenant == *owner).collect();
        source.keep(place(own, drive, source))?;
    }
    let mut stages: Vec<Stage> = stages.into_iter().map(|(_, stage)| stage).collect();
    stages.sort_by_key(|stage| (stage.tenant, stage.start));
    Some(stages)
}

fn stage(raw: &raw::Stage, tenants: u64, source: &Source) -> Result<Stage, ScenarioError> {
    let factor = |at: &Option<Text>, key: &str| at.as_ref().map(|at| source.unit(at, key, units::ramp)).transpose();
    let (rate, writes, probes) =
        (factor(&raw.rate, "stage.rate")?, factor(&raw.writes, "stage.writes")?, factor(&raw.probes, "stage.probes")?);
    let is_said_twice = rate.is_some() && (writes.is_some() || probes.is_some());
    if is_said_twice {
        let message = "`rate` is the factor of both `writes` and `probes`; write either `rate` or these two";
        return Err(source.wrong(&raw.length, "stage", message));
    }
    if rate.or(writes).or(probes).is_none() {
        let message = "it changes nothing; write its `rate`, such as \"10x\", or only its `writes` or its `probes`";
        return Err(source.wrong(&raw.length, "stage", message));
    }
    let tenant = raw.tenant.as_ref().map(|at| tenant(at, tenants, source)).transpose()?;
    let [writes, probes] = [rate.or(writes), rate.or(probes)].map(|factor| factor.unwrap_or(Factor::ONE));
    if let Some(at) = raw.tenant.as_ref().filter(|_| writes.is_ramp() || probes.is_ramp()) {
        return Err(source.wrong(
            at,
            "stage.tenant",
            "the stage of a tenant has one factor; only stages of all tenants ramp",
        ));
    }
    let start = match &raw.from {
        Some(at) => source.duration(at, "stage.from", Duration::ZERO..MAX_LENGTH)?,
        None => Duration::ZERO,
    };
    let length =
        source.duration(&raw.length, "stage.for", Duration::from_millis(1)..MAX_LENGTH + Duration::from_secs(1))?;
    Ok(Stage { start, length, writes, probes, tenant })
}

fn tenant(at: &Text, tenants: u64, source: &Source) -> Result<u32, ScenarioError> {
    let number = match at.as_ref().as_str() {
        "largest" => Some(1),
        "smallest" => Some(tenants),
        number => number.parse::<u64>().ok(),
    };
    number.filter(|number| (1..=tenants).contains(number)).map(|number| (number - 1) as u32).ok_or_else(|| {
        let message = format!(
            "\"{}\" is not a tenant; write \"largest\", \"smallest\" or a number from \"1\" to \"{tenants}\"",
            at.as_ref()
        );
        source.wrong(at, "stage.tenant", message)
    })
}

/// Gives the stages of one owner their starts. They are in the order of the file and never overlap.
fn place(stages: Vec<&mut (&raw::Stage, Stage)>, drive: Duration, source: &Source) -> Result<(), ScenarioError> {
    let mut end = Duration::ZERO;
    let mut last: Option<&raw::Stage> = None;
    let is_placed = stages.iter().any(|(raw, _)| raw.from.is_some());
    for (raw, stage) in stages {
        match &raw.from {
            Some(at) if stage.start < end => {
                let [start, end] = [stage.start, end].map(exact_duration);
                let message = format!(
                    "it starts at {start}, before the stage above ends at {end}; start it later, or put stages in order of \
                     time"
                );
                return Err(source.wrong(at, "stage.from", message));
            }
            Some(_) => {}
            None => stage.start = end,
        }
        end = stage.end();
        if end > drive {
            let [end, drive] = [end, drive].map(exact_duration);
            let message = format!("it ends at {end}, and the drive at {drive} (`time.replayed_in`); shorten it");
            return Err(source.wrong(&raw.length, "stage.for", message));
        }
        last = Some(raw);
    }
    match last.filter(|_| end < drive && !is_placed) {
        None => Ok(()),
        Some(raw) => {
            let [end, drive] = [end, drive].map(exact_duration);
            let message = format!(
                "the stages end at {end}, and the drive at {drive} (`time.replayed_in`); lengthen them, or give one a `from`: \
                 then the rest of the drive is at 1x"
            );
            Err(source.wrong(&raw.length, "stage.for", message))
        }
    }
}

/// Whether something is written and asked, not too much, and for no longer than what the load caches lasts.
pub(super) fn fits(scenario: &Scenario, raw: &Raw, source: &Source) -> Result<(), ScenarioError> {
    outlasts(scenario, raw, source)?;
    if let Some(at) = raw.drive.rate.as_ref().filter(|_| scenario.communications > MAX_RECORDS) {
        let message = format!("it raises the communications above {MAX_RECORDS}; lower it");
        return Err(source.wrong(at, "drive.rate", message));
    }
    let (before, driven) = if scenario.describes_population { metrics_of_tenants(&scenario.into()) } else { (0, 0) };
    if before.max(driven) > MAX_RECORDS {
        let message = format!(
            "it has {before} metrics of agents in the past and {driven} in the drive, and at most {MAX_RECORDS} are possible; raise it, \
             shorten `past.span` or `time.span`, or have fewer customers"
        );
        let at = raw.drive.metric_interval.as_ref().unwrap_or(&raw.past.span);
        return Err(source.wrong(at, "drive.metric_interval", message));
    }
    let most = (0..scenario.tenants).map(|tenant| scenario.write_factor(tenant)).fold(0.0, f64::max);
    let Some(first) = raw.stage.first() else {
        if scenario.communications as f64 * most > MAX_RECORDS as f64 {
            let message = format!("with those of the warm-up, it is above {MAX_RECORDS}; lower it");
            return Err(source.wrong(&raw.drive.communications, "drive.communications", message));
        }
        return Ok(());
    };
    let written: f64 = (0..scenario.tenants).map(|tenant| scenario.write_factor(tenant)).fold(f64::INFINITY, f64::min);
    let asked = (0..scenario.tenants).map(|tenant| scenario.probe_factors(tenant).total()).fold(0.0, f64::max);
    let at = first.rate.as_ref().or(first.writes.as_ref()).or(first.probes.as_ref()).unwrap_or(&first.length);
    if written <= 0.0 {
        let message = "a tenant's writes are at zero in all stages; give at least one a factor above 0x";
        return Err(source.wrong(at, "stage.writes", message));
    }
    if asked <= 0.0 && !scenario.probes.is_empty() {
        let message =
            "all questions are at zero in all stages; give at least one a factor above 0x, or ask none in [probes]";
        return Err(source.wrong(at, "stage.probes", message));
    }
    if scenario.communications as f64 * most > MAX_RECORDS as f64 {
        let message = format!("the stages raise the communications above {MAX_RECORDS}; lower their factors");
        return Err(source.wrong(at, "stage.writes", message));
    }
    Ok(())
}

/// Whether what the load caches outlasts the drive, for the questions that expect it: half of its time to live, since the
/// load takes time as well.
fn outlasts(scenario: &Scenario, raw: &Raw, source: &Source) -> Result<(), ScenarioError> {
    let asked_by_users = scenario.users.iter().flat_map(|users| users.questions.keys());
    for question in scenario.probes.keys().chain(asked_by_users) {
        let Some(longest) = question.cached_for().map(|ttl| ttl / 2) else { continue };
        if scenario.warm_up + scenario.duration > longest {
            let message = format!(
                "the warm-up and the drive take longer than {longest}, and what `{question}` asks for is loaded into the \
                 cache only once and expires; shorten the drive, or do not ask `{question}`",
                longest = exact_duration(longest)
            );
            return Err(source.wrong(&raw.time.replayed_in, "time.replayed_in", message));
        }
    }
    Ok(())
}
