//! The latencies as an HdrHistogram log (version 1.3 of its format), which HistogramLogProcessor and other tools read.
//! It has one interval, the drive: a line for all questions together, which has no tag, and a tagged line for each
//! question and each SLO. Values are in microseconds. It never writes a file.

use crate::measure::DurationHistogram;

use super::contents::Report;

/// The log of a report.
pub(super) fn log(report: &Report) -> Result<String, serde_json::Error> {
    let run = &report.run;
    let start = run.started_at.timestamp_millis() as f64 / 1_000.0;
    let drive = run.scenario.duration.as_secs_f64();
    let mut all = DurationHistogram::default();
    report.questions.iter().for_each(|question| all.merge(&question.histogram));
    let questions = report.questions.iter().map(|one| (tag("question", &one.name()), &one.histogram));
    let slos = report.slos.iter().map(|one| (tag("slo", &one.name), &one.histogram));
    let mut lines = vec![
        "#[sluice: latencies in microseconds, counted from the intended start]".to_owned(),
        "#[Histogram log format version 1.3]".to_owned(),
        format!("#[StartTime: {start:.3} (seconds since epoch), {}]", run.started_at.to_rfc3339()),
        format!("#[BaseTime: {start:.3} (seconds since epoch)]"),
        "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"".to_owned(),
    ];
    for (tag, histogram) in std::iter::once((String::new(), &all)).chain(questions).chain(slos) {
        let max = histogram.max().map_or(0.0, |longest| longest.as_secs_f64() * 1_000.0);
        lines.push(format!("{tag}0.000,{drive:.3},{max:.3},{}", encoded(histogram)?));
    }
    Ok(lines.join("\n") + "\n")
}

/// A tag ends at a comma and contains no blanks.
fn tag(kind: &str, name: &str) -> String {
    let name: String = name.chars().map(|c| if c == ',' || c.is_whitespace() { '-' } else { c }).collect();
    format!("Tag={kind}:{name},")
}

/// The text that the JSON report has too.
fn encoded(histogram: &DurationHistogram) -> Result<String, serde_json::Error> {
    serde_json::to_value(histogram).map(|value| value.as_str().unwrap_or_default().to_owned())
}
