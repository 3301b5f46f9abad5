//! Line charts as SVG, with a text for those who cannot see them. The page's script reads values back from the drawing to
//! show them under the pointer, so it knows these coordinates too. A chart computes nothing.

use maud::{Markup, html};

use super::axis::Axis;

/// The coordinates of the drawing; the page scales it.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 50.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 26.0;

/// One line.
pub(crate) struct Line {
    /// Style of the line, and of its legend.
    pub(crate) class: &'static str,
    /// Its name.
    pub(crate) label: String,
    /// Its points by x; a missing value interrupts the line.
    pub(crate) points: Vec<(f64, Option<f64>)>,
}

/// A limit, as a dashed line.
pub(crate) struct Limit {
    pub(crate) label: String,
    pub(crate) y: f64,
}

/// A chart.
pub(crate) struct Chart {
    /// What the chart shows, in a sentence.
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
    pub(crate) limit: Option<Limit>,
    /// Places on x where something failed.
    pub(crate) failures: Vec<f64>,
}

impl Chart {
    /// The drawing with its legend.
    pub(crate) fn markup(&self) -> Markup {
        html! {
            figure {
                figcaption { (self.title) }
                (self.legend())
                svg.chart viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(self.title)
                    data-x=(self.x.description()) data-y=(self.y.description())
                {
                    (self.grid())
                    @for at in &self.failures {
                        rect.failure x=(round(self.left(*at) - 1.0)) y=(TOP) width="2" height=(HEIGHT - TOP - BOTTOM) {}
                    }
                    @if let Some(limit) = &self.limit {
                        line.limit x1=(LEFT) x2=(WIDTH - RIGHT) y1=(self.top(limit.y)) y2=(self.top(limit.y)) {}
                    }
                    @for line in &self.lines { path.line.(line.class) data-name=(line.label) d=(self.path(line)) {} }
                }
            }
        }
    }

    fn legend(&self) -> Markup {
        html! {
            ul.legend {
                @for line in &self.lines { li { i.(line.class) {} (line.label) } }
                @if let Some(limit) = &self.limit { li { i.limit {} (limit.label) } }
                @if !self.failures.is_empty() { li { i.failure {} "failed" } }
            }
        }
    }

    fn grid(&self) -> Markup {
        let bottom = HEIGHT - BOTTOM;
        html! {
            @for (value, label) in &self.y.ticks {
                @let y = self.top(*value);
                line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y) y2=(y) {}
                text.tick x=(LEFT - 6.0) y=(y) dy="0.32em" text-anchor="end" { (label) }
            }
            @for (value, label) in &self.x.ticks {
                @let x = self.left(*value);
                line.mark x1=(x) x2=(x) y1=(bottom) y2=(bottom + 4.0) {}
                text.tick x=(x) y=(bottom + 17.0) text-anchor=(anchor(x)) { (label) }
            }
            line.axis x1=(LEFT) x2=(WIDTH - RIGHT) y1=(bottom) y2=(bottom) {}
        }
    }

    /// The points as a path; a value without neighbors is a dot.
    fn path(&self, line: &Line) -> String {
        let has_value = |index: Option<usize>| {
            index.and_then(|index| line.points.get(index)).is_some_and(|(_, value)| value.is_some())
        };
        let point = |(index, (x, y)): (usize, &(f64, Option<f64>))| {
            let (x, y) = (self.left(*x), self.top((*y)?));
            let (follows, precedes) = (has_value(index.checked_sub(1)), has_value(Some(index + 1)));
            let (step, dot) = (if follows { "L" } else { "M" }, if follows || precedes { "" } else { "h0" });
            Some(format!("{step}{x} {y}{dot}"))
        };
        line.points.iter().enumerate().filter_map(point).collect()
    }

    fn left(&self, x: f64) -> f64 {
        round(LEFT + self.x.place(x) * (WIDTH - LEFT - RIGHT))
    }

    fn top(&self, y: f64) -> f64 {
        round(HEIGHT - BOTTOM - self.y.place(y) * (HEIGHT - TOP - BOTTOM))
    }
}

/// Labels at the right edge end there.
fn anchor(x: f64) -> &'static str {
    if x > WIDTH - RIGHT - 20.0 { "end" } else { "middle" }
}

/// A tenth of a pixel is enough.
fn round(coordinate: f64) -> f64 {
    (coordinate * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn chart(points: Vec<(f64, Option<f64>)>) -> Chart {
        let lines = vec![Line { class: "p50", label: "p50".to_owned(), points }];
        let (x, y) = (Axis::time(Duration::from_secs(100)), Axis::rates(100.0));
        Chart { title: "t".to_owned(), x, y, lines, limit: None, failures: Vec::new() }
    }

    #[test]
    fn a_missing_value_interrupts_the_line_and_a_lonely_one_is_a_dot() {
        let points = vec![(0.0, Some(0.0)), (50.0, Some(0.0)), (60.0, None), (100.0, Some(0.0))];
        let chart = chart(points);
        assert_eq!(chart.path(&chart.lines[0]), "M50 174L229 174M408 174h0");
    }

    #[test]
    fn titles_and_labels_are_escaped() {
        let chart = Chart { title: "<script>\"".to_owned(), ..chart(Vec::new()) };
        let text = chart.markup().into_string();
        assert!(!text.contains("<script>") && text.contains("aria-label=\"&lt;script&gt;&quot;\""), "{text}");
    }
}
