//! The forms for browsers, CI servers and other tools.

use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

use super::*;

/// A run whose names and sentences are as hostile as a file allows.
fn hostile() -> Report {
    let mut report = report(12, 3);
    report.run.scenario.name = "a<b>&\"c\"|d".to_owned();
    report.run.scenario.description = "</title><script>alert(1)</script>".to_owned();
    report.findings.slos[0].slo.name = "search, <b>fast</b> | x".to_owned();
    report.slos[0].name = "search, fast".to_owned();
    report.findings.failures.push("line one\nline \u{1}two ]]> | <i>".to_owned());
    report
}

/// Attribute values of every element of that name, in order.
fn attributes(xml: &str, element: &str, attribute: &str) -> Vec<String> {
    let mut reader = quick_xml::Reader::from_str(xml);
    let mut values = Vec::new();
    loop {
        use quick_xml::events::Event;
        match reader.read_event().unwrap() {
            Event::Start(tag) | Event::Empty(tag) if tag.name().as_ref() == element => {
                let value = tag
                    .try_get_attribute(attribute)
                    .unwrap()
                    .map(|found| found.normalized_value(quick_xml::XmlVersion::Explicit1_0).unwrap());
                values.extend(value.map(std::borrow::Cow::into_owned));
            }
            Event::Eof => return values,
            _ => {}
        }
    }
}

#[test]
fn junit_has_a_case_for_each_objective() {
    insta::assert_snapshot!(report(12, 3).render(Format::Junit).unwrap());
}

#[test]
fn junit_counts_its_cases_and_stays_xml_whatever_the_names_are() {
    for report in [report(1_000, 0), hostile(), report_of(silent(&scenario()), 0, None)] {
        let xml = report.render(Format::Junit).unwrap();
        let count = |element: &str, attribute: &str| attributes(&xml, element, attribute).len().to_string();
        for (counted, element) in
            [("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")]
        {
            let attribute = if element == "testcase" { "name" } else { "message" };
            assert_eq!(attributes(&xml, "testsuite", counted), [count(element, attribute)], "{counted}");
        }
        assert_eq!(attributes(&xml, "failure", "type").len(), attributes(&xml, "failure", "message").len());
    }
}

#[test]
fn an_invalid_run_fails_no_store_in_junit() {
    let mut report = report(12, 0);
    report.findings.validity = crate::verdict::Validity::Invalid(vec!["late".to_owned()]);
    report.verdict = report.findings.overall();
    let xml = report.render(Format::Junit).unwrap();
    assert_eq!((report.verdict, attributes(&xml, "error", "type")), (Overall::Invalid, vec!["INVALID".to_owned()]));
    assert_eq!(attributes(&xml, "failure", "type"), [""; 0]);
}

#[test]
fn wrong_answers_fail_a_case_in_junit_even_if_the_generator_was_at_fault() {
    let mut report = report(12, 0);
    report.findings.validity = crate::verdict::Validity::Invalid(vec!["late".to_owned()]);
    report.findings.slos[1].counts.wrong = 3;
    let xml = report.render(Format::Junit).unwrap();
    let failure = format!("{}: 3 wrong answers", report.findings.slos[1].slo.name);
    assert_eq!(attributes(&xml, "failure", "message"), [failure]);
}

#[test]
fn a_run_without_an_slo_is_no_success_in_junit() {
    let mut report = report(12, 0);
    report.findings.slos.clear();
    report.verdict = report.findings.overall();
    assert_eq!(report.verdict, Overall::Inconclusive);
    let xml = report.render(Format::Junit).unwrap();
    assert_eq!(attributes(&xml, "error", "type"), ["INCONCLUSIVE"]);
}

#[test]
fn the_summary_is_short() {
    insta::assert_snapshot!(report(1_000, 0).render(Format::Markdown).unwrap());
    let mut bad = hostile();
    bad.findings.failures.extend((0..30).map(|n| format!("failure {n}")));
    let summary = bad.render(Format::Markdown).unwrap();
    assert!(summary.lines().count() < 60 && summary.contains("and 22 more"), "{summary}");
    assert!(!summary.contains("<b>"), "{summary}");
}

/// Start, duration, tag and number of latencies of each line of a log.
fn intervals(log: &str) -> Vec<(Duration, Duration, String, u64)> {
    // This parser does not know the line with the names of the columns, which the Java tools write and skip.
    let log: String = log.split_inclusive('\n').filter(|line| !line.starts_with('"')).collect();
    let entries = IntervalLogIterator::new(log.as_bytes()).map(|entry| match entry.unwrap() {
        LogEntry::Interval(interval) => {
            let text = serde_json::Value::from(interval.encoded_histogram());
            let histogram: crate::measure::DurationHistogram = serde_json::from_value(text).unwrap();
            let tag = interval.tag().map_or_else(String::new, |tag| tag.as_str().to_owned());
            Some((interval.start_timestamp(), interval.duration(), tag, histogram.len()))
        }
        _ => None,
    });
    entries.flatten().collect()
}

#[test]
fn an_hdr_log_has_lines_by_interval_for_all_questions_and_for_each() {
    let report = hostile();
    let read = intervals(&report.render(Format::Hdr).unwrap());
    let count_of = |tag: &str| read.iter().filter(|one| one.2 == tag).map(|one| one.3).sum::<u64>();
    let all: u64 = report.questions.iter().map(|one| one.histogram.len()).sum();
    assert_eq!(count_of(""), all);
    for question in &report.questions {
        assert_eq!(count_of(&format!("question:{}", question.name())), question.histogram.len());
    }
    assert_eq!(count_of("slo:search--fast"), report.slos[0].histogram.len());
    let drive = report.run.scenario.duration;
    let untagged: Vec<_> = read.iter().filter(|one| one.2.is_empty()).collect();
    let starts: Vec<u64> = untagged.iter().map(|one| one.0.as_secs()).collect();
    assert_eq!(starts, (0..drive.as_secs()).step_by(10).collect::<Vec<_>>());
    assert_eq!(untagged.iter().map(|one| one.1).sum::<Duration>(), drive);
    assert_eq!(read.len(), report.slos.len() + untagged.len() * (1 + report.questions.len()));
}

#[test]
fn an_hdr_log_of_a_report_without_intervals_has_one_for_the_drive() {
    let mut report = report(12, 3);
    report.questions.iter_mut().for_each(|question| question.intervals = None);
    let read = intervals(&report.render(Format::Hdr).unwrap());
    assert!(read.iter().all(|one| (one.0, one.1) == (Duration::ZERO, report.run.scenario.duration)), "{read:?}");
    assert_eq!(read.len(), report.slos.len() + 1 + report.questions.len());
}

#[test]
fn the_page_is_one_file_and_complete() {
    for report in [report(1_000, 0), report(12, 3), report_of(silent(&scenario()), 0, None)] {
        let page = report.render(Format::Html).unwrap();
        let anchors: Vec<&str> = page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        for anchor in &anchors {
            let id = anchor.strip_prefix('#').expect("a link stays on the page");
            assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
        }
        for reference in ["src=", "url(", "@import", "<link", "https://", "fetch(", "import("] {
            assert!(!page.contains(reference), "{reference}");
        }
        // A namespace is no address.
        assert_eq!(page.replace("http://www.w3.org/2000/svg", "").matches("http://").count(), 0);
        for question in &report.questions {
            assert!(page.contains(question.question.as_str()));
        }
        for reason in report.findings.slos.iter().map(|one| &one.test.reason) {
            assert!(page.contains(reason.as_str()), "{reason}");
        }
        assert!(page.contains(&report.run.digest) && page.contains("26.7.1") && !page.contains("NaN"));
        let charts = 2 * report.questions.len() + 4 + report.writes.len();
        assert_eq!(page.matches("<svg class=\"chart\"").count(), charts);
    }
}

#[test]
fn the_page_shows_hostile_names_as_text() {
    let page = hostile().render(Format::Html).unwrap();
    assert_eq!((page.matches("<script>").count(), page.matches("alert(1)").count()), (1, 2));
    assert!(!page.contains("<b>") && page.contains("a&lt;b&gt;&amp;"));
}

#[test]
fn a_run_that_was_interrupted_before_its_account_says_so_in_every_form() {
    let whole = report(1_000, 0);
    let reason = "the run was interrupted while waiting for its records to land: the account is missing";
    let findings = Findings { interrupted: Some("waiting for its records to land".to_owned()), ..whole.findings };
    let verdict = findings.overall();
    let interrupted = Report { account: None, findings, verdict, ..whole };
    assert_eq!(interrupted.verdict, Overall::Invalid);
    let said = "interrupted before its account";
    for format in [Format::Table, Format::Html, Format::Markdown] {
        let text = interrupted.render(format).unwrap();
        let sentences = unwrapped(&text);
        assert!(sentences.contains(said) && sentences.contains(reason), "{text}");
        assert!(!text.contains("Nothing was written"), "{text}");
    }
    let junit = interrupted.render(Format::Junit).unwrap();
    assert!(junit.contains("not judged, since the run is not valid"), "{junit}");
    assert_eq!(attributes(&junit, "error", "message"), [reason], "the generator is not blamed");
}
