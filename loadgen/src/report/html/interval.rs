//! The interval of a share beside its limit: whether an objective is met at a glance. It decides nothing.

use maud::{Markup, html};

use crate::number::percent;
use crate::report::wording::word;
use crate::verdict::Proportion;

const WIDTH: f64 = 320.0;
/// The smallest share that is drawn; the scale is logarithmic.
const LEAST: f64 = 1e-5;

/// The share of bad samples between its bounds, and the share that the test allows.
pub(super) fn markup(test: &Proportion) -> Markup {
    let allowed = test.allowed;
    let (low, high, limit) = (place(test.low), place(test.high), place(allowed));
    let label = format!(
        "between {} and {} miss the objective, and {} may",
        percent(test.low),
        percent(test.high),
        percent(allowed)
    );
    html! {
        svg.interval viewBox=(format!("0 0 {WIDTH} 34")) role="img" aria-label=(label) {
            title { (label) }
            rect.allowed x="0" y="6" width=(limit) height="10" rx="2" {}
            rect.beyond x=(limit) y="6" width=(WIDTH - limit) height="10" rx="2" {}
            rect.share.(word(test.verdict).to_lowercase()) x=(low) y="8" width=((high - low).max(3.0)) height="6" rx="3" {}
            line.limit x1=(limit) x2=(limit) y1="2" y2="20" {}
            text.tick x="0" y="31" { "0.001 %" }
            text.tick x=(limit.clamp(88.0, WIDTH - 80.0)) y="31" text-anchor="middle" { "limit " (percent(allowed)) }
            text.tick x=(WIDTH) y="31" text-anchor="end" { "100 %" }
        }
    }
}

fn place(share: f64) -> f64 {
    let place = (share.clamp(LEAST, 1.0) / LEAST).log10() / -LEAST.log10();
    (place * WIDTH * 10.0).round() / 10.0
}
