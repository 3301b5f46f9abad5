//! Reads the SLOs of OpenSLO files (`openslo/v1`), as far as a run can judge them: each objective becomes an SLO of the
//! scenario, with the place in its file. What Sluice would judge differently is refused. It never checks a value.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use humantime_serde::re::humantime;

use super::error::ScenarioError;
use super::merge;
use super::raw::{self, Raw, Text};
use super::source::{Part, Source};
use super::units;
use super::yaml::{self, Map, Mistake};

/// The version of the specification that is read.
const VERSION: &str = "openslo/v1";
/// The type of a metric source that Sluice measures.
const SOURCE: &str = "Sluice";
/// Kinds of documents that a run does not need.
const OTHER_KINDS: [&str; 5] = ["Service", "DataSource", "AlertPolicy", "AlertCondition", "AlertNotificationTarget"];

/// The keys of a document, and of an indicator within an SLO.
const DOCUMENT_KEYS: [&str; 4] = ["apiVersion", "kind", "metadata", "spec"];
/// The keys of their metadata.
const METADATA_KEYS: [&str; 4] = ["name", "displayName", "labels", "annotations"];
/// The keys of an SLO's `spec`. Those that are not read have no meaning for a run.
const SLO_KEYS: [&str; 8] = [
    "description",
    "service",
    "indicator",
    "indicatorRef",
    "timeWindow",
    "budgetingMethod",
    "objectives",
    "alertPolicies",
];
/// The keys of an objective that a run can judge.
const OBJECTIVE_KEYS: [&str; 5] = ["displayName", "op", "value", "target", "targetPercent"];
/// The keys of an objective in time slices, and of one of a composite SLO.
const SLICE_KEYS: [&str; 2] = ["timeSliceTarget", "timeSliceWindow"];
const COMPOSITE_KEYS: [&str; 3] = ["indicator", "indicatorRef", "compositeWeight"];
/// The keys of the `spec` of a metric source that Sluice measures.
const MEASURED_KEYS: [&str; 9] =
    ["of", "questions", "tenants", "users", "in_every", "at_least", "longest_stall", "alpha", "unit"];

/// Adds the SLOs of the files that a scenario names in `slo_files`. A path is relative to the file that names it, and one
/// that is set on the command line to the current folder. `is_file`: whether the scenario is in a file. Keeps the first
/// mistake of each file.
pub(super) fn read(raw: &mut Raw, source: &mut Source, is_file: bool) {
    for named in std::mem::take(&mut raw.slo_files) {
        let slos = slos_of(&named, source, is_file);
        raw.slo.extend(source.keep(slos).into_iter().flatten());
    }
}

fn slos_of(named: &Text, source: &mut Source, is_file: bool) -> Result<Vec<raw::Slo>, ScenarioError> {
    let wrong = |source: &Source, message: String| source.wrong(named, "slo_files", message);
    let folder = source.folder_of(named.span().start).filter(|_| is_file || source.is_set(&named.span()));
    let Some(folder) = folder else {
        return Err(wrong(source, "only a scenario in a file can name others".to_owned()));
    };
    let path: PathBuf = folder.join(named.as_ref());
    let text =
        merge::read(&path).map_err(|error| wrong(source, format!("\"{}\": {}", named.as_ref(), error.message)))?;
    let start = source.push(Part::file(&path.display().to_string(), &text));
    let file = File { text: &text, start };
    file.slos().map_err(|(line, message)| source.error(file.span(line), message))
}

/// One OpenSLO file.
struct File<'a> {
    text: &'a str,
    /// Position of its first byte in the source.
    start: usize,
}

impl File<'_> {
    fn slos(&self) -> Result<Vec<raw::Slo>, Mistake> {
        let documents = yaml::documents(self.text)?;
        let mut indicators: BTreeMap<&str, &Map> = BTreeMap::new();
        let mut slos = Vec::new();
        for document in &documents {
            let (line, version) = document.required_text("apiVersion")?;
            if version != VERSION {
                return Err((line, format!("`apiVersion`: \"{version}\" is not read; write {VERSION}")));
            }
            match document.required_text("kind")? {
                (_, "SLO") => {
                    document.has_only(&DOCUMENT_KEYS)?;
                    slos.push(document);
                }
                (_, "SLI") => {
                    document.has_only(&DOCUMENT_KEYS)?;
                    let (line, name) = named(document)?;
                    if indicators.insert(name, document.required_map("spec")?).is_some() {
                        return Err((line, format!("`metadata.name`: a second SLI \"{name}\"; give it another name")));
                    }
                }
                (_, kind) if OTHER_KINDS.contains(&kind) => {}
                (line, kind) => {
                    let message = format!("`kind`: unknown kind \"{kind}\"; a run reads SLO and SLI");
                    return Err((line, message));
                }
            }
        }
        if slos.is_empty() {
            return Err((0, "it has no document of the kind SLO; add one".to_owned()));
        }
        let slos = slos.into_iter().map(|document| self.slo(document, &indicators)).collect::<Result<Vec<_>, _>>()?;
        Ok(slos.into_iter().flatten().collect())
    }

    /// The objectives of an SLO.
    fn slo(&self, document: &Map, indicators: &BTreeMap<&str, &Map>) -> Result<Vec<raw::Slo>, Mistake> {
        let (line, name) = named(document)?;
        let spec = document.required_map("spec")?;
        spec.has_only(&SLO_KEYS)?;
        let (method_line, method) = spec.required_text("budgetingMethod")?;
        if method != "Occurrences" {
            let message = format!(
                "`budgetingMethod`: a run judges the share of all samples, not \"{method}\"; write Occurrences, with \
                 `in_every` in the metric source if it must hold in every window"
            );
            return Err((method_line, message));
        }
        let measured = measured(indicator(spec, indicators)?)?;
        let objectives = spec.maps("objectives")?;
        if objectives.is_empty() {
            return Err((spec.line, "`objectives`: there is none; add one".to_owned()));
        }
        let number = |index: usize| if index == 0 { String::new() } else { format!("-{}", index + 1) };
        let each = objectives.iter().enumerate();
        each.map(|(index, objective)| self.objective((line, format!("{name}{}", number(index))), objective, measured))
            .collect()
    }

    /// One objective as an SLO of a scenario. The values are checked with those of the scenario.
    fn objective(&self, name: (usize, String), objective: &Map, measured: &Map) -> Result<raw::Slo, Mistake> {
        is_judged(objective)?;
        let (line, percent) = match (objective.number("target")?, objective.number("targetPercent")?) {
            (Some((line, share)), None) if share >= 1.0 => {
                return Err((
                    line,
                    format!("`target`: {share} is not below 1; write a share, such as 0.95, or `targetPercent`"),
                ));
            }
            (Some((line, share)), None) => (line, share * 100.0),
            (None, Some(percent)) => percent,
            (Some((line, _)), Some(_)) => {
                return Err((line, "it has both `target` and `targetPercent`; remove one of them".to_owned()));
            }
            (None, None) => return Err((objective.line, "it needs either `target` or `targetPercent`".to_owned())),
        };
        // A float that is nearly a percentage, such as 99.9 from 0.999, is that percentage.
        let percent = format!("{} %", (percent * 1e6).round() / 1e6);
        let text = |key: &str| Ok(measured.text(key)?.map(|(line, text)| self.text(line, text.to_owned())));
        Ok(raw::Slo {
            name: self.text(name.0, name.1),
            of: text("of")?,
            questions: self.questions(measured)?,
            objective: self.text(line, percent),
            within: self.within(objective, measured)?,
            also: Vec::new(),
            at_least: text("at_least")?,
            alpha: text("alpha")?,
            longest_stall: text("longest_stall")?,
            tenants: text("tenants")?,
            users: text("users")?,
            in_every: text("in_every")?,
            further: None,
        })
    }

    fn questions(&self, measured: &Map) -> Result<Option<toml::Spanned<Vec<Text>>>, Mistake> {
        let Some((line, questions)) = measured.list("questions")? else { return Ok(None) };
        let each = questions.iter().map(|node| node.text("questions"));
        let each = each.map(|text| text.map(|(line, text)| self.text(line, text.to_owned())));
        Ok(Some(toml::Spanned::new(self.span(line), each.collect::<Result<_, _>>()?)))
    }

    /// The limit of a latency, such as 250 and "ms".
    fn within(&self, objective: &Map, measured: &Map) -> Result<Text, Mistake> {
        let (line, value) = objective.number("value")?.ok_or_else(|| objective.missing("value"))?;
        let (unit_line, unit) = measured.required_text("unit")?;
        let one = units::duration(&format!("1 {unit}"))
            .map_err(|_| (unit_line, format!("`unit`: unknown unit \"{unit}\"; use ms or s")))?;
        let limit = Duration::try_from_secs_f64(one.as_secs_f64() * value).map_err(|_| {
            (line, format!("`value`: {value:?} is out of range; write the limit of a latency, such as 250"))
        })?;
        Ok(self.text(line, humantime::format_duration(limit).to_string()))
    }

    fn text(&self, line: usize, text: String) -> Text {
        Text::new(self.span(line), text)
    }

    /// The position of a line in the source.
    fn span(&self, line: usize) -> std::ops::Range<usize> {
        let before: usize = self.text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        self.start + before..self.start + before
    }
}

/// The name of a document, with its line.
fn named(document: &Map) -> Result<(usize, &str), Mistake> {
    let metadata = document.required_map("metadata")?;
    metadata.has_only(&METADATA_KEYS)?;
    metadata.required_text("name")
}

/// The `spec` of the indicator of an SLO: its own one, or one of the file.
fn indicator<'a>(spec: &'a Map, indicators: &BTreeMap<&str, &'a Map>) -> Result<&'a Map, Mistake> {
    match (spec.map("indicator")?, spec.text("indicatorRef")?) {
        (Some(indicator), None) => {
            indicator.has_only(&DOCUMENT_KEYS)?;
            if let Some(metadata) = indicator.map("metadata")? {
                metadata.has_only(&METADATA_KEYS)?;
            }
            indicator.required_map("spec")
        }
        (None, Some((line, name))) => {
            let missing = || (line, format!("`indicatorRef`: no SLI \"{name}\" is in this file; add it"));
            indicators.get(name).copied().ok_or_else(missing)
        }
        _ => {
            let message = "it needs either `indicator` or `indicatorRef`; composite SLOs are not judged";
            Err((spec.line, message.to_owned()))
        }
    }
}

/// What an indicator measures: the `spec` of its metric source, if Sluice measures it.
fn measured(indicator: &Map) -> Result<&Map, Mistake> {
    let advice = format!("write a `thresholdMetric` with a metric source of the type {SOURCE}");
    if let Some(ratio) = indicator.get("ratioMetric") {
        let message = "`ratioMetric`: a run counts good answers itself, by `op` and `value`";
        return Err((ratio.line, format!("{message}; {advice}")));
    }
    let Some(metric) = indicator.map("thresholdMetric")? else {
        return Err((indicator.line, format!("missing key `thresholdMetric`; {advice}")));
    };
    indicator.has_only(&["description", "thresholdMetric"])?;
    metric.has_only(&["metricSource"])?;
    let metric_source = metric.required_map("metricSource")?;
    let (line, kind) = match (metric_source.text("type")?, metric_source.text("metricSourceRef")?) {
        (Some(kind), None) => kind,
        (_, Some((line, _))) => {
            let message = format!("`metricSourceRef`: a run measures by itself; remove it, and write `type: {SOURCE}`");
            return Err((line, message));
        }
        (None, None) => return Err((metric_source.line, format!("missing key `type`; write `type: {SOURCE}`"))),
    };
    if kind != SOURCE {
        let message = format!(
            "`metricSource.type`: \"{kind}\" is not measured by a run; write {SOURCE}, and what it judges in `spec`"
        );
        return Err((line, message));
    }
    metric_source.has_only(&["type", "spec"])?;
    let measured = metric_source.required_map("spec")?;
    measured.has_only(&MEASURED_KEYS)?;
    Ok(measured)
}

/// Refuses an objective that a run would judge differently.
fn is_judged(objective: &Map) -> Result<(), Mistake> {
    let first = |keys: &[&'static str]| keys.iter().find_map(|key| Some((*key, objective.get(key)?.line)));
    if let Some((key, line)) = first(&SLICE_KEYS) {
        return Err((line, format!("`{key}`: time slices are not judged; remove it")));
    }
    if let Some((key, line)) = first(&COMPOSITE_KEYS) {
        return Err((line, format!("`{key}`: composite SLOs are not judged; write one SLO for each indicator")));
    }
    objective.has_only(&OBJECTIVE_KEYS)?;
    match objective.required_text("op")? {
        (_, "lt" | "lte") => Ok(()),
        (line, op) => Err((line, format!("`op`: a latency is judged by lt or lte, not by \"{op}\""))),
    }
}
