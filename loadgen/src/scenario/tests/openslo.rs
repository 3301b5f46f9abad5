//! SLOs from OpenSLO files: what is read, and the error of each mistake.

use super::*;

/// An SLO of searches in the form of OpenSLO.
const SEARCHES: &str = "\
apiVersion: openslo/v1
kind: SLO
metadata:
  name: quick-search
  displayName: Searches are quick
spec:
  description: Agents wait for these.
  service: communications
  indicator:
    metadata:
      name: search-latency
    spec:
      thresholdMetric:
        metricSource:
          type: Sluice
          spec:
            questions: [search]
            unit: ms
  timeWindow:
    - duration: 4w
      isRolling: true
  budgetingMethod: Occurrences
  objectives:
    - displayName: most
      op: lte
      value: 250
      target: 0.99
";

/// The same indicator in a document of its own, with two objectives for commits.
const REFERENCED: &str = "\
apiVersion: openslo/v1
kind: Service
metadata:
  name: communications
---
# Writes.
apiVersion: openslo/v1
kind: SLO
metadata:
  name: commits
spec:
  service: communications
  indicatorRef: commit-latency
  budgetingMethod: Occurrences
  objectives:
    - op: lt
      value: 0.1
      targetPercent: 95
    - op: lt
      value: 0.5
      targetPercent: 99
---
apiVersion: openslo/v1
kind: SLI
metadata:
  name: commit-latency
spec:
  thresholdMetric:
    metricSource:
      type: Sluice
      spec:
        of: commits
        in_every: 30 s
        unit: s
";

/// The smoke scenario with the SLOs of a file.
fn with_file(yaml: &str) -> Result<Scenario, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("slo.yaml"), yaml).unwrap();
    let scenario = folder.path().join("scenario.toml");
    std::fs::write(&scenario, format!("slo_files = [\"slo.yaml\"]\n{SMOKE}")).unwrap();
    let read = Scenario::read(&scenario);
    read.map_err(|error| error.to_string().replace(&folder.path().display().to_string(), "FOLDER"))
}

/// The SLOs of a file.
fn slos(yaml: &str) -> Vec<Slo> {
    with_file(yaml).unwrap().slos.split_off(smoke().slos.len())
}

/// [`SEARCHES`], edited.
fn searches(from: &str, to: &str) -> String {
    assert!(SEARCHES.contains(from), "{from}");
    SEARCHES.replacen(from, to, 1)
}

#[test]
fn objectives_of_a_file_are_slos_of_the_scenario() {
    let slos = slos(&format!("{SEARCHES}---\n{REFERENCED}"));
    let [search, most, all] = &slos[..] else { panic!("{slos:?}") };
    assert_eq!(
        (search.name.as_str(), search.objective, search.within),
        ("quick-search", 0.99, Duration::from_millis(250))
    );
    assert_eq!((search.of, search.questions.as_slice()), (Operation::Questions, [Question::Search].as_slice()));
    assert_eq!((most.name.as_str(), all.name.as_str()), ("commits", "commits-2"));
    assert_eq!((most.of, most.objective, most.within), (Operation::Commits, 0.95, Duration::from_millis(100)));
    assert_eq!((all.objective, all.within), (0.99, Duration::from_millis(500)));
    assert_eq!(all.in_every, Some(Duration::from_secs(30)));
}

#[test]
fn a_list_and_json_are_read_as_documents_are() {
    let item = SEARCHES.replace('\n', "\n  ");
    let list = format!("- {}\n", item.trim_end());
    let json = r#"[{"apiVersion": "openslo/v1", "kind": "SLO", "metadata": {"name": "quick-search"}, "spec": {
        "service": "communications", "budgetingMethod": "Occurrences",
        "indicator": {"metadata": {"name": "search-latency"}, "spec": {"thresholdMetric": {"metricSource":
            {"type": "Sluice", "spec": {"questions": ["search"], "unit": "ms"}}}}},
        "objectives": [{"op": "lte", "value": 250, "target": 0.99}]}}]"#;
    let expected = slos(SEARCHES);
    assert_eq!((slos(&list), slos(json)), (expected.clone(), expected.clone()));
    let anchored = searches("metadata:\n  name: quick-search", "metadata: &name\n  name: quick-search");
    assert_eq!(slos(&format!("# Ours.\n--- # first\n{anchored}...\n")), expected);
    let doubled = format!("{list}- {}\n", item.replace("quick-search", "again").trim_end());
    assert_eq!(slos(&doubled).len(), 2);
}

#[test]
fn limits_keep_their_fractions() {
    let within = |value: &str| slos(&searches("value: 250", &format!("value: {value}")))[0].within;
    assert_eq!(within("1.5"), Duration::from_micros(1_500));
    assert_eq!(within("1"), Duration::from_millis(1));
    assert_eq!(within("6.1e2"), Duration::from_millis(610));
}

#[test]
fn a_file_is_relative_to_the_one_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("base")).unwrap();
    std::fs::write(folder.path().join("base/slo.yaml"), SEARCHES).unwrap();
    std::fs::write(folder.path().join("base/base.toml"), format!("slo_files = [\"slo.yaml\"]\n{SMOKE}")).unwrap();
    let own = folder.path().join("own.toml");
    std::fs::write(&own, "include = [\"base/base.toml\"]\nname = \"own\"\n").unwrap();
    assert_eq!(Scenario::read(&own).unwrap().slos.len(), smoke().slos.len() + 1);
    let set = format!("slo_files=[{:?}]", folder.path().join("base/slo.yaml"));
    let shipped = Scenario::parse_with(SMOKE, "smoke", &[set], None).unwrap();
    assert_eq!(shipped.slos.len(), smoke().slos.len() + 1);
    let in_text = Scenario::parse(&format!("slo_files = [\"slo.yaml\"]\n{SMOKE}"), "smoke").unwrap_err();
    assert_eq!(in_text.to_string(), "read scenario smoke:1: `slo_files`: only a scenario in a file can name others");
}

#[test]
fn what_a_run_would_judge_differently_is_refused_with_its_line() {
    let metric = SEARCHES.split_once("      thresholdMetric:\n").unwrap().1.split_once("  timeWindow").unwrap().0;
    let ratio =
        "        good:\n          metricSource: { type: Any }\n        total:\n          metricSource: { type: Any }\n";
    let referenced = "metricSourceRef: my-prometheus\n          spec: { query: latency }\n";
    let source = metric.split_once("          type: Sluice").unwrap().0;
    let indicator = SEARCHES.split_once("  indicator:\n").unwrap().1.split_once("  timeWindow").unwrap().0;
    sentences(&[
        ("another version", searches("openslo/v1", "openslo/v1alpha")),
        ("a source that nothing here measures", searches("type: Sluice", "type: Prometheus")),
        ("a source by reference", searches(metric, &format!("{source}          {referenced}"))),
        ("a ratio", searches(metric, ratio).replace("thresholdMetric", "ratioMetric")),
        ("time slices", searches("Occurrences", "Timeslices")),
        ("ratios of time slices", searches("Occurrences", "RatioTimeslices")),
        ("a target of time slices", searches("target: 0.99", "target: 0.99\n      timeSliceTarget: 0.9")),
        ("a composite SLO", searches("  indicator:\n", "").replace(indicator, "")),
        ("a part of a composite SLO", searches("target: 0.99", "target: 0.99\n      compositeWeight: 2")),
        ("an operator for throughput", searches("op: lte", "op: gte")),
        ("a file of other kinds", "apiVersion: openslo/v1\nkind: Service\nmetadata: { name: shop }\n".to_owned()),
    ]);
}

#[test]
fn aliases_that_never_end_or_take_all_memory_are_refused() {
    let tenfold = |level: usize| format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(", "));
    let laughs: String = (1..9).map(tenfold).collect();
    let nested = format!("deep: {}{}\n", "[".repeat(5_000), "]".repeat(5_000));
    sentences(&[
        ("a value within itself", searches("metadata:\n", "metadata: &name\n  labels: *name\n")),
        ("aliases of aliases", format!("a0: &a0 x\n{laughs}{SEARCHES}")),
        ("lists in lists", format!("{nested}{SEARCHES}")),
    ]);
}

#[test]
fn each_mistake_in_a_file_gets_one_sentence_with_its_line_and_the_remedy() {
    let metadata = "metadata:\n  name: quick-search\n  displayName: Searches are quick\n";
    sentences(&[
        ("an unknown kind", searches("kind: SLO", "kind: Slo")),
        ("an indicator that is missing", REFERENCED.replacen("commit-latency", "commit-time", 1)),
        ("an indicator twice", format!("{REFERENCED}---{}", REFERENCED.rsplit_once("---").unwrap().1)),
        ("no name", searches("  name: quick-search\n", "")),
        ("a name that is no file's", searches("quick-search", "Quick Search")),
        ("no objectives", searches("  objectives:\n", "  objectives: []\n  alertPolicies:\n")),
        ("no operator", searches("op: lte\n      value", "value")),
        ("no limit", searches("      value: 250\n", "")),
        ("no target", searches("      target: 0.99\n", "")),
        ("two targets", searches("target: 0.99", "target: 0.99\n      targetPercent: 99")),
        ("a target in percent", searches("target: 0.99", "target: 95")),
        ("a target that no SLO may have", searches("target: 0.99", "target: 0.3")),
        ("a limit below zero", searches("value: 250", "value: -1")),
        ("a limit that is no number", searches("value: 250", "value: .nan")),
        ("a limit that is too long", searches("value: 250", "value: 1e9")),
        ("a unit that is none", searches("unit: ms", "unit: parsecs")),
        ("an unknown key of the source", searches("unit: ms", "unit: ms\n            quantile: 0.9")),
        ("an unknown key of the SLO", searches("budgetingMethod", "budgetMethod")),
        ("an unknown key of the objective", searches("op: lte", "opp: lte")),
        ("an unknown question", searches("[search]", "[serach]")),
        ("a question for a list", searches("[search]", "search")),
        ("a number for text", searches("unit: ms", "unit: ms\n            alpha: 5")),
        ("text for a number", searches("value: 250", "value: fast")),
        ("text for a mapping", searches(metadata, "metadata: quick-search\n")),
        ("a mapping for a list", searches("    - displayName: most\n", "      displayName: most\n")),
        ("a key twice", searches("kind: SLO", "kind: SLO\nkind: SLO")),
        ("text alone", "SLO\n".to_owned()),
        ("an empty file", String::new()),
        ("no YAML", "kind: [SLO\n".to_owned()),
    ]);
}

#[test]
fn a_mistake_in_a_file_hides_none_of_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("first.yaml", &searches("op: lte", "op: gte"));
    write("second.yaml", &searches("[search]", "[serach]"));
    write("scenario.toml", &format!("slo_files = [\"first.yaml\", \"none.yaml\", \"second.yaml\"]\n{SMOKE}"));
    let mistakes = Scenario::read_with(&folder.path().join("scenario.toml"), &[], None).unwrap_err();
    let keys = mistakes.iter().map(|mistake| mistake.message.split(':').next().unwrap());
    assert_eq!(keys.collect::<Vec<_>>(), ["`slo_files`", "`op`", "`slo.questions`"]);
}

/// Compares what each file is refused with, a sentence each.
fn sentences(mistakes: &[(&str, String)]) {
    let mut text = String::new();
    for (what, yaml) in mistakes {
        let error = with_file(yaml).expect_err(what);
        assert!(!error.contains('\n'), "{error}");
        writeln!(text, "{what}:\n  {error}").unwrap();
    }
    insta::assert_snapshot!(std::thread::current().name().unwrap().rsplit("::").next().unwrap(), text);
}
