//! Reports of shards: merged, they say what one generator would have said; those that do not fit together are refused.

use super::*;
use crate::plan::Shard;

const RUN: &str = "6f2d8a4e-0d0c-4f0e-9a3b-0c1d2e3f4a5b";

fn health() -> GeneratorHealth {
    let minute = Duration::from_mins(1);
    GeneratorHealth { monotonic: minute, system: minute, ..GeneratorHealth::default() }
}

fn json(value: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap()
}

/// The report of the shard of a run that has every `of`th answer.
fn shard(text: &str, run: &str) -> Report {
    let shard: Shard = text.parse().unwrap();
    let scenario = scenario();
    let mut measured = Measurements::new(&scenario);
    let own = |i: u64| i % u64::from(shard.of()) == u64::from(shard.number() - 1);
    answer(&scenario, &mut measured, 1_000, own);
    let whole = report(1_000, 0);
    let (slos, availability) = judge(&scenario, &measured);
    let findings = Findings { slos, availability, ..whole.findings.clone() };
    let account = whole.account.clone().filter(|_| shard.is_first());
    let header = Header { shard: Some(shard), ..whole.run.clone() };
    let health = health();
    let all = (&measured, &health);
    // As it is read: what is written must be enough.
    let report = Report::new(header, findings, all, whole.rates, account).with_parts(run.to_owned(), all);
    serde_json::from_str(&report.render(Format::Json).unwrap()).unwrap()
}

#[test]
fn merged_shards_say_what_one_generator_would_have_said() {
    let merged = merge(vec![shard("2/2", RUN), shard("1/2", RUN)]).unwrap();
    let mut measured = Measurements::new(&scenario());
    answer(&scenario(), &mut measured, 1_000, |_| true);
    let (slos, availability) = judge(&scenario(), &measured);
    assert_eq!((&merged.findings.slos, &merged.findings.availability), (&slos, &availability));
    let one = report(1_000, 0);
    let whole = Report::new(one.run, one.findings, (&measured, &health()), one.rates, one.account);
    assert_eq!(json(&merged.questions), json(&whole.questions));
    assert_eq!(json(&merged.slos), json(&whole.slos));
    assert_eq!(json(&merged.account), json(&whole.account));
    assert_eq!(merged.rates[0].produced, 2 * whole.rates[0].produced);
    assert_eq!((merged.run.shard, merged.run.merged_shards, merged.parts.is_none()), (None, Some(2), true));
    assert!(merged.table().contains("merged from 2 shards"));
    assert!(shard("2/2", RUN).table().contains("shard 2/2"));
}

#[test]
fn an_invalid_shard_makes_the_run_invalid_and_is_named() {
    let mut second = shard("2/2", RUN);
    second.findings.validity = Validity::Invalid(vec!["it was late".to_owned()]);
    let merged = merge(vec![shard("1/2", RUN), second]).unwrap();
    assert_eq!(merged.verdict, Overall::Invalid);
    assert_eq!(merged.findings.validity, Validity::Invalid(vec!["shard 2/2: it was late".to_owned()]));
}

#[test]
fn an_interrupted_shard_is_named_and_no_generator_is_blamed() {
    let mut second = shard("2/2", RUN);
    second.findings.interrupted = Some("waiting for the other shards".to_owned());
    second.verdict = second.findings.overall();
    let merged = merge(vec![shard("1/2", RUN), second.clone()]).unwrap();
    for report in [&second, &merged] {
        assert_eq!((report.verdict, &report.findings.validity), (Overall::Invalid, &Validity::Valid));
        assert!(
            unwrapped(&report.table()).ends_with(
                "INVALID: the run was interrupted before its account, so it proves nothing about the stores"
            )
        );
    }
    let why = "the run was interrupted while waiting for the other shards (shard 2/2): the account is missing";
    assert_eq!(merged.findings.why_invalid(), [why]);
}

#[test]
fn shards_that_do_not_fit_together_are_refused() {
    let mut other = shard("2/2", RUN);
    other.run.digest = "0".repeat(64);
    let mut renamed = shard("2/2", RUN);
    (renamed.run.scenario.name, renamed.run.scenario.seed) = ("mine".to_owned(), 43);
    let first = || shard("1/2", RUN);
    let refused = [
        vec![report(1_000, 0)],
        vec![first(), other],
        vec![first(), renamed],
        vec![first(), shard("2/3", RUN)],
        vec![first(), shard("2/2", "another")],
        vec![first(), first()],
        vec![shard("2/3", RUN)],
        Vec::new(),
    ];
    let refused = refused.map(|reports| merge(reports).unwrap_err().to_string());
    insta::assert_snapshot!(refused.join("\n"));
}
