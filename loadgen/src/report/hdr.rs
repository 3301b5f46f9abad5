//! The latencies as an HdrHistogram log (version 1.3 of its format), which HistogramLogProcessor and other tools read.
//! Its intervals are those of the questions' latencies: for each a line for all questions that are asked at a rate, which has no tag,
//! and a tagged line for each question. Each SLO has one tagged line, for the whole drive. Values are in microseconds. It never
//! writes a file, and never adds the service times of users to latencies.

use crate::measure::DurationHistogram;

use super::contents::{QuestionReport, Report};

/// The log of a report.
pub(super) fn log(report: &Report) -> Result<String, serde_json::Error> {
    let run = &report.run;
    let start = run.started_at.timestamp_millis() as f64 / 1_000.0;
    let drive = run.scenario.duration.as_secs_f64();
    let mut lines = vec![
        "#[sluice: latencies in microseconds, from the intended start; those of users are service times]".to_owned(),
        "#[Histogram log format version 1.3]".to_owned(),
        format!("#[StartTime: {start:.3} (seconds since epoch), {}]", run.started_at.to_rfc3339()),
        format!("#[BaseTime: {start:.3} (seconds since epoch)]"),
        "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"".to_owned(),
    ];
    for slo in &report.slos {
        lines.push(line(&tag("slo", &slo.name), (0.0, drive), &slo.histogram)?);
    }
    let (length, count) = intervals(&report.questions).unwrap_or((drive, 1));
    for index in 0..count {
        let start = index as f64 * length;
        let time = (start, length.min(drive - start));
        let mut all = DurationHistogram::default();
        let mut tagged = Vec::with_capacity(report.questions.len());
        for question in &report.questions {
            let histogram = match &question.intervals {
                Some(intervals) => intervals.histograms.get(index),
                None => Some(&question.histogram).filter(|_| index == 0),
            };
            if let Some(histogram) = histogram {
                if question.users.is_none() {
                    all.merge(histogram);
                }
                tagged.push(line(&tag("question", &question.name()), time, histogram)?);
            }
        }
        lines.push(line("", time, &all)?);
        lines.extend(tagged);
    }
    Ok(lines.join("\n") + "\n")
}

/// Length and number of the intervals; `None` in a report without them.
fn intervals(questions: &[QuestionReport]) -> Option<(f64, usize)> {
    let intervals = questions.iter().filter_map(|one| one.intervals.as_ref());
    intervals.map(|one| (one.length_s, one.histograms.len())).max_by_key(|(_, count)| *count)
}

/// The line of an interval, from its start and its length in seconds.
fn line(tag: &str, (start, length): (f64, f64), histogram: &DurationHistogram) -> Result<String, serde_json::Error> {
    let max = histogram.max().map_or(0.0, |longest| longest.as_secs_f64() * 1_000.0);
    Ok(format!("{tag}{start:.3},{length:.3},{max:.3},{}", encoded(histogram)?))
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
