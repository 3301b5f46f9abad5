//! The correction of FAILs for the number of objectives that a run tests (Holm, 1979): of twenty objectives exactly at
//! their limits, one fails by chance in 64 % of runs if each is tested alone, and in at most alpha of runs after it.
//! A PASS of the run needs no correction, since it needs a PASS of every objective. The correction only withdraws
//! FAILs.

use super::proportion::Proportion;
use crate::binomial::Verdict;

/// One test of a family.
pub(crate) struct Step {
    /// Whether its hypothesis is rejected.
    pub(crate) rejected: bool,
    /// The probability up to which it would be, if those before it are.
    pub(crate) threshold: f64,
}

/// Tests a family together: each by its probability and its alpha. The results are in the order of the tests.
pub(crate) fn step_down(tests: &[(f64, f64)]) -> Vec<Step> {
    // In order of the probabilities, each in units of its own alpha.
    let mut order: Vec<usize> = (0..tests.len()).collect();
    let scaled = |index: usize| tests[index].0 / tests[index].1;
    order.sort_by(|&one, &two| scaled(one).total_cmp(&scaled(two)));
    let mut steps: Vec<Step> = tests.iter().map(|_| Step { rejected: false, threshold: 0.0 }).collect();
    let mut rejected = true;
    for (rank, index) in order.into_iter().enumerate() {
        let (probability, alpha) = tests[index];
        let threshold = alpha / (tests.len() - rank) as f64;
        rejected &= probability <= threshold;
        steps[index] = Step { rejected, threshold };
    }
    steps
}

/// Withdraws the FAILs that may be chance among so many tests. Each test comes with its alpha.
pub(super) fn correct(tests: &mut [(f64, &mut Proportion)]) {
    let count = tests.len();
    let family: Vec<(f64, f64)> = tests.iter().map(|(alpha, test)| (test.fail_probability, *alpha)).collect();
    for ((_, test), Step { rejected, threshold }) in tests.iter_mut().zip(step_down(&family)) {
        if test.verdict == Verdict::Fail && !rejected {
            let probability = test.fail_probability * 100.0;
            test.withdraw(format!(
                "it would FAIL alone, but one of {count} objectives comes this close by chance: probability \
                 {probability:.1} %, and a FAIL needs {:.2} %",
                threshold * 100.0
            ));
        }
    }
}
