//! The verdict on each change, for all of them together: Holm's correction (1979) for how many are tested, so that of
//! many quantities that did not change, one is called worse by chance in at most alpha of the comparisons. It computes
//! no probability itself.

use serde::Serialize;

use super::effect::Effect;
use super::observed::ALPHA;
use crate::verdict::step_down;

/// What a comparison says about a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is higher, more than chance explains, and not certainly by less than the margin.
    Worse,
    /// It is not higher by the margin or more.
    NoWorse,
    /// It is lower, more than chance explains.
    Better,
    /// Neither is shown.
    Undecided,
}

/// The verdict on each effect, with the margin below which a higher value is no worse.
pub(super) fn judge(effects: &[(Effect, f64)]) -> Vec<Change> {
    let worse = rejected(effects.iter().map(|(effect, _)| effect.worse_probability));
    let better = rejected(effects.iter().map(|(effect, _)| effect.better_probability));
    let change = |(index, (effect, margin)): (usize, &(Effect, f64))| {
        if better[index] {
            Change::Better
        } else if effect.high < *margin {
            Change::NoWorse
        } else if worse[index] {
            Change::Worse
        } else {
            Change::Undecided
        }
    };
    effects.iter().enumerate().map(change).collect()
}

/// Which of the hypotheses "nothing changed" are rejected, tested together.
fn rejected(probabilities: impl Iterator<Item = f64>) -> Vec<bool> {
    let family: Vec<(f64, f64)> = probabilities.map(|probability| (probability, ALPHA)).collect();
    step_down(&family).into_iter().map(|step| step.rejected).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(estimate: f64, high: f64, worse_probability: f64) -> (Effect, f64) {
        let better_probability = 1.0 - worse_probability;
        (Effect { estimate, low: 2.0 * estimate - high, high, worse_probability, better_probability }, 0.1)
    }

    #[test]
    fn a_small_but_certain_change_is_no_worse_and_an_uncertain_one_undecided() {
        let all = [
            effect(0.03, 0.04, 0.001), // certain, and below the margin
            effect(0.2, 0.3, 0.001),   // certain
            effect(0.2, 0.5, 0.04),    // certain alone, and not among five
            effect(0.0, 0.05, 0.5),    // no change
            effect(-0.2, -0.1, 0.9999),
        ];
        let expected = [Change::NoWorse, Change::Worse, Change::Undecided, Change::NoWorse, Change::Better];
        assert_eq!(judge(&all), expected);
        assert_eq!(judge(&all[2..3]), [Change::Worse]);
    }
}
