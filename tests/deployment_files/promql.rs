//! Extracts the metrics that a PromQL expression selects and the labels that it names. It does not check whether the expression
//! is valid PromQL.

use std::collections::{BTreeMap, BTreeSet};

/// Label names by metric name.
pub(crate) type Known = BTreeMap<String, BTreeSet<String>>;

const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const KEYWORDS: [&str; 5] = ["and", "or", "unless", "offset", "bool"];
/// Labels that Prometheus adds to every series.
const TARGET_LABELS: [&str; 2] = ["job", "instance"];

/// Names in an expression.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// Each selected metric with its matched labels.
    pub(crate) selected: Vec<(String, BTreeSet<String>)>,
    /// Labels of grouping and vector matching.
    pub(crate) grouped: BTreeSet<String>,
}

/// Parses an expression.
pub(crate) fn names(expression: &str) -> Names {
    let mut names = Names::default();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        rest = match first {
            '"' => after(&rest[1..], '"'),
            '[' => after(rest, ']'),
            '{' => {
                let (inside, rest) = rest.split_at(closing(rest));
                if let Some((_, labels)) = names.selected.last_mut() {
                    labels.extend(label_names(inside));
                }
                rest
            }
            _ if first.is_ascii_digit() => rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.'),
            _ if is_name_char(first) => {
                let (word, rest) = rest.split_at(rest.find(|c| !is_name_char(c)).unwrap_or(rest.len()));
                read_name(word, rest, &mut names)
            }
            _ => &rest[first.len_utf8()..],
        };
    }
    names
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

fn after(text: &str, end: char) -> &str {
    text.split_once(end).map_or("", |(_, rest)| rest)
}

/// Index after the first closing brace; braces in a value do not count.
fn closing(text: &str) -> usize {
    let mut is_in_value = false;
    let end = text.find(|c| {
        is_in_value ^= c == '"';
        c == '}' && !is_in_value
    });
    end.map_or(text.len(), |end| end + 1)
}

/// Names of the labels between braces. A value may contain anything but a quotation mark.
fn label_names(inside: &str) -> impl Iterator<Item = String> + '_ {
    let outside_of_values = inside.split('"').step_by(2);
    let names = outside_of_values.map(|text| text.trim_matches(|c: char| !is_name_char(c)));
    names.filter(|name| !name.is_empty()).map(str::to_owned)
}

fn read_name<'a>(word: &str, rest: &'a str, names: &mut Names) -> &'a str {
    let is_call = rest.trim_start().starts_with('(');
    if is_call && GROUPING.contains(&word) {
        let (list, rest) = after(rest, '(').split_once(')').unwrap_or_default();
        names.grouped.extend(list.split(',').map(|label| label.trim().to_owned()));
        return rest;
    }
    // In `sum by (topic) (...)`, the word before `by` is also a function.
    let is_aggregation = ["by", "without"].iter().any(|by| rest.trim_start().starts_with(&format!("{by} (")));
    if !is_call && !is_aggregation && !KEYWORDS.contains(&word) {
        names.selected.push((word.to_owned(), BTreeSet::new()));
    }
    rest
}

/// The metric of a name: the metric itself, or the histogram that it belongs to.
pub(crate) fn metric<'a>(known: &'a Known, name: &str) -> Option<(&'a String, &'a BTreeSet<String>)> {
    let bucket = ["_sum", "_count"].iter().find_map(|end| Some(format!("{}_bucket", name.strip_suffix(end)?)));
    known.get_key_value(name).or_else(|| known.get_key_value(&bucket?))
}

/// Names in an expression that no worker exports, one line each.
pub(crate) fn unknown(expression: &str, known: &Known) -> Vec<String> {
    let names = names(expression);
    let mut labels: BTreeSet<&str> = TARGET_LABELS.into_iter().chain(["le"]).collect();
    let mut unknown = Vec::new();
    for (name, matched) in &names.selected {
        let Some((_, metric_labels)) = metric(known, name) else {
            unknown.push(format!("no metric {name}"));
            continue;
        };
        labels.extend(metric_labels.iter().map(String::as_str));
        let unknown_labels =
            matched.iter().filter(|label| !metric_labels.contains(*label) && !TARGET_LABELS.contains(&label.as_str()));
        unknown.extend(unknown_labels.map(|label| format!("no label {label} of {name}")));
    }
    let unknown_labels = names.grouped.iter().filter(|label| !labels.contains(label.as_str()));
    unknown.extend(unknown_labels.map(|label| format!("no label {label} of any selected metric")));
    unknown
}
