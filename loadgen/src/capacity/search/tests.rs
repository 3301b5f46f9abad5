//! Searches on stores whose limits are known, with noise, with disturbances and with a generator that gives way.

use proptest::prelude::*;

use super::*;
use crate::population::rng::KeyedRng;

/// Most steps of a search.
const MOST: usize = 60;

/// Searches on a store whose outcome at a factor is drawn; returns the result and the number of steps.
fn search(mut outcome: impl FnMut(f64, Hold) -> Outcome) -> (Found, usize) {
    let mut search = Search::new(1.0, (1.0 / 16.0, 64.0));
    for step in 0..MOST {
        match search.next() {
            Next::Done(found) => return (found, step),
            Next::Try(factor, hold) => search.record(factor, hold, outcome(factor, hold)),
        }
    }
    panic!("the search does not end: {search:?}");
}

/// A store with a limit: the closer a factor is to it, the less certain the outcome. Disturbances fail one step in
/// thirty at any rate, and a longer hold is more certain.
fn noisy(limit: f64, rng: &mut KeyedRng) -> impl FnMut(f64, Hold) -> Outcome {
    move |factor, hold| {
        let noise = if hold == Hold::Confirm { 0.02 } else { 0.04 };
        let distance = (factor / limit).ln() + noise * (rng.unit() + rng.unit() + rng.unit() - 1.5);
        if rng.chance(1.0 / 30.0) || distance > 0.01 {
            Outcome::Failed
        } else if distance > -0.01 {
            Outcome::Undecided
        } else {
            Outcome::Passed
        }
    }
}

#[test]
fn the_limit_is_found_within_15_percent_in_95_percent_of_runs() {
    let mut rng = KeyedRng::new(5, "capacity", [0, 0]);
    let (mut close, mut steps) = (0, 0);
    for _ in 0..2_000 {
        let limit = 0.1 * 500_f64.powf(rng.unit());
        let (found, taken) = search(noisy(limit, &mut rng));
        steps += taken;
        close += u32::from(found.passed().is_some_and(|passed| (passed / limit).ln().abs() < 0.15));
    }
    assert!(close >= 1_900, "{close} of 2,000");
    assert!(steps / 2_000 <= 16, "{} steps on average", steps / 2_000);
}

#[test]
fn without_the_second_try_disturbances_are_taken_for_limits() {
    // The control: the first FAIL at a factor is final.
    let mut rng = KeyedRng::new(5, "capacity", [0, 0]);
    let mut close = 0;
    for _ in 0..2_000 {
        let limit = 0.1 * 500_f64.powf(rng.unit());
        let mut outcome = noisy(limit, &mut rng);
        let mut failed: Vec<f64> = Vec::new();
        let (found, _) = search(|factor, hold| {
            let known = failed.iter().any(|&at| is_same(at, factor));
            let outcome = if known { Outcome::Failed } else { outcome(factor, hold) };
            failed.extend((outcome == Outcome::Failed).then_some(factor));
            outcome
        });
        close += u32::from(found.passed().is_some_and(|passed| (passed / limit).ln().abs() < 0.15));
    }
    assert!(close < 1_900, "{close} of 2,000");
}

#[test]
fn a_store_without_a_limit_is_said_to_have_none() {
    assert_eq!(search(|_, _| Outcome::Passed), (Found::NoLimit { passed: 64.0 }, 8));
}

#[test]
fn a_limit_below_the_first_step_is_found_and_one_below_the_range_is_said() {
    let limit = |limit: f64| search(move |factor, _| if factor <= limit { Outcome::Passed } else { Outcome::Failed }).0;
    let Found::Limit { passed, failed } = limit(0.3) else { panic!("{:?}", limit(0.3)) };
    assert!(passed <= 0.3 && failed > 0.3 && failed / passed <= RESOLUTION);
    assert_eq!(limit(0.01), Found::BelowFirst { failed: 1.0 / 16.0 });
}

#[test]
fn a_rate_with_too_few_samples_ends_the_search_at_once() {
    assert_eq!(search(|_, _| Outcome::TooFewSamples), (Found::TooFewSamples { at: 1.0 }, 1));
    let below = search(|factor, _| if factor >= 1.0 { Outcome::Failed } else { Outcome::TooFewSamples });
    assert_eq!(below, (Found::TooFewSamples { at: 0.5 }, 2));
}

#[test]
fn a_generator_that_gives_way_twice_ends_the_search() {
    let found = search(|factor, _| if factor > 3.0 { Outcome::GeneratorGaveWay } else { Outcome::Passed }).0;
    let Found::GeneratorGaveWay { passed: Some(passed), at } = found else { panic!("{found:?}") };
    assert!(passed <= 3.0 && at > 3.0 && at / passed <= RESOLUTION, "{found:?}");
    let never = search(|_, _| Outcome::GeneratorGaveWay).0;
    assert_eq!(never, Found::GeneratorGaveWay { passed: None, at: 1.0 / 16.0 });
    let mut first = true;
    let once = search(|factor, _| {
        let gave_way = factor > 3.0 && std::mem::take(&mut first);
        if gave_way { Outcome::GeneratorGaveWay } else { Outcome::Passed }
    });
    assert_eq!(once.0, Found::NoLimit { passed: 64.0 }, "a disturbance of the generator is not its limit");
}

#[test]
fn a_store_that_fails_below_the_limit_of_the_generator_is_found() {
    let (found, _) = search(|factor, _| match factor {
        ..=2.5 => Outcome::Passed,
        ..=3.8 => Outcome::Failed,
        _ => Outcome::GeneratorGaveWay,
    });
    let Found::Limit { passed, failed } = found else { panic!("{found:?}") };
    assert!(passed <= 2.5 && failed > 2.5 && failed / passed <= RESOLUTION, "{found:?}");
}

#[test]
fn a_generator_that_gives_way_only_in_longer_holds_ends_the_search() {
    let never = search(|factor, hold| match hold {
        Hold::Confirm => Outcome::GeneratorGaveWay,
        Hold::Step if factor <= 2.0 => Outcome::Passed,
        Hold::Step => Outcome::Failed,
    });
    assert!(matches!(never.0, Found::GeneratorGaveWay { passed: None, .. }), "{never:?}");
    let below = search(|factor, hold| match hold {
        Hold::Confirm if factor > 1.5 => Outcome::GeneratorGaveWay,
        _ if factor <= 2.0 => Outcome::Passed,
        _ => Outcome::Failed,
    });
    let passed = below.0.passed().unwrap();
    assert!((1.35..=1.5).contains(&passed), "{below:?}");
}

#[test]
fn a_rate_that_fails_its_longer_hold_is_not_the_result() {
    let (found, _) = search(|factor, hold| {
        let limit = if hold == Hold::Confirm { 2.0 } else { 2.5 };
        if factor <= limit { Outcome::Passed } else { Outcome::Failed }
    });
    let passed = found.passed().unwrap();
    assert!((1.75..=2.0).contains(&passed), "{found:?}");
}

proptest! {
    #[test]
    fn without_noise_the_limit_is_within_the_resolution(limit in 0.07_f64..60.0) {
        let (found, steps) = search(|factor, _| if factor <= limit { Outcome::Passed } else { Outcome::Failed });
        let Found::Limit { passed, failed } = found else { panic!("{found:?}") };
        prop_assert!(passed <= limit && limit < failed && failed / passed <= RESOLUTION);
        prop_assert!(steps <= 16, "{} steps", steps);
    }

    #[test]
    fn whatever_happens_the_search_ends(seed in any::<u64>()) {
        let mut rng = KeyedRng::new(seed, "capacity", [1, 0]);
        let outcomes = [Outcome::Passed, Outcome::Failed, Outcome::Undecided, Outcome::GeneratorGaveWay];
        let mut search = Search::new(1.0, (1.0 / 16.0, 64.0));
        let ended = (0..400).any(|_| match search.next() {
            Next::Done(_) => true,
            Next::Try(factor, hold) => {
                search.record(factor, hold, rng.pick(&outcomes));
                false
            }
        });
        prop_assert!(ended);
    }
}
