//! The correction of FAILs for the number of objectives that a run tests (Holm, 1979): of twenty objectives exactly at
//! their limits, one fails by chance in 64 % of runs if each is tested alone, and in at most alpha of runs after it.
//! A PASS of the run needs no correction, since it needs a PASS of every objective.

use super::binomial::Verdict;
use super::proportion::Proportion;

/// Withdraws the FAILs that may be chance among so many tests. Each test comes with its alpha.
pub(super) fn correct(tests: &mut [(f64, &mut Proportion)]) {
    let count = tests.len();
    // Holm's p-values in order, each in units of its own alpha.
    tests.sort_by(|(a, one), (b, two)| (one.fail_probability / a).total_cmp(&(two.fail_probability / b)));
    let mut rejected = true;
    for (rank, (alpha, test)) in tests.iter_mut().enumerate() {
        let threshold = *alpha / (count - rank) as f64;
        rejected &= test.fail_probability <= threshold;
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
