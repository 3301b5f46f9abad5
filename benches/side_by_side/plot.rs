//! Two kinds of chart as self-contained SVG: bars with their spread, and lines over time. It returns text and never
//! writes a file.

use std::fmt::Write;

use crate::figures::{Spread, thousands};

const WIDTH: f64 = 760.0;
const HIGHLIGHT: &str = "#1f6feb";
const NEUTRAL: &str = "#8c959f";
const INK: &str = "#57606a";
const LINE_COLORS: [&str; 4] = ["#1f6feb", "#bc4c00", "#1a7f37", "#8250df"];

/// One bar.
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) spread: Spread,
    pub(crate) is_highlighted: bool,
}

/// One line: points of seconds and values.
pub(crate) struct Line {
    pub(crate) label: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Lines and their axes.
pub(crate) struct Chart<'a> {
    pub(crate) title: &'a str,
    /// Unit of the values.
    pub(crate) unit: &'a str,
    pub(crate) lines: &'a [Line],
    /// A value that must not be exceeded.
    pub(crate) limit: Option<f64>,
}

/// Writes one element to the SVG.
macro_rules! draw {
    ($svg:expr, $($what:tt)*) => {
        writeln!($svg, $($what)*).expect("writing to a String does not fail")
    };
}

fn svg_header(title: &str, height: f64) -> String {
    let mut svg = String::new();
    draw!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12" fill="{INK}">"#
    );
    draw!(svg, r##"<rect width="100%" height="100%" fill="#ffffff"/>"##);
    draw!(svg, r#"<text x="12" y="22" font-size="15" font-weight="bold">{}</text>"#, escape(title));
    svg
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Horizontal bars; the largest value spans the width.
pub(crate) fn bars(title: &str, bars: &[Bar]) -> String {
    const LEFT: f64 = 230.0;
    const STEP: f64 = 22.0;
    let longest = bars.iter().map(|bar| bar.spread.max).fold(1.0, f64::max);
    let scale = (WIDTH - LEFT - 80.0) / longest;
    let mut svg = svg_header(title, 44.0 + STEP * bars.len() as f64);
    for (index, Bar { label, spread, is_highlighted }) in bars.iter().enumerate() {
        let top = 36.0 + STEP * index as f64;
        let (middle, color) = (top + 8.0, if *is_highlighted { HIGHLIGHT } else { NEUTRAL });
        let (from, to) = (LEFT + spread.min * scale, LEFT + spread.max * scale);
        draw!(svg, r#"<text x="{}" y="{}" text-anchor="end">{}</text>"#, LEFT - 8.0, top + 12.0, escape(label));
        draw!(
            svg,
            r#"<rect x="{LEFT}" y="{top:.1}" width="{:.1}" height="16" fill="{color}"/>"#,
            spread.median * scale
        );
        draw!(svg, r##"<path d="M{from:.1} {middle:.1}H{to:.1}" stroke="#24292f" stroke-width="2"/>"##);
        draw!(svg, r#"<text x="{:.1}" y="{:.1}">{}</text>"#, to + 6.0, top + 12.0, thousands(spread.median));
    }
    svg + "</svg>\n"
}

/// Lines over time in seconds, with the limit as a dashed line.
pub(crate) fn lines(chart: &Chart<'_>) -> String {
    const HEIGHT: f64 = 300.0;
    const LEFT: f64 = 70.0;
    const TOP: f64 = 56.0;
    const BOTTOM: f64 = 262.0;
    let points = || chart.lines.iter().flat_map(|line| &line.points);
    let highest = points().map(|point| point.1).chain(chart.limit).fold(1.0, f64::max) * 1.05;
    let last = points().map(|point| point.0).fold(1.0, f64::max);
    let x = |seconds: f64| LEFT + seconds / last * (WIDTH - LEFT - 20.0);
    let y = |value: f64| BOTTOM - value / highest * (BOTTOM - TOP);
    let mut svg = svg_header(chart.title, HEIGHT);
    for quarter in 0..=4 {
        let part = f64::from(quarter) / 4.0;
        let (value, seconds) = (highest * part, last * part);
        draw!(svg, r##"<path d="M{LEFT} {0:.1}H{1}" stroke="#d8dee4"/>"##, y(value), WIDTH - 20.0);
        draw!(
            svg,
            r#"<text x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
            LEFT - 6.0,
            y(value) + 4.0,
            thousands(value)
        );
        draw!(svg, r#"<text x="{:.1}" y="{}" text-anchor="middle">{seconds:.0} s</text>"#, x(seconds), BOTTOM + 18.0);
    }
    draw!(svg, r#"<text x="12" y="42">{}</text>"#, escape(chart.unit));
    if let Some(limit) = chart.limit {
        draw!(
            svg,
            r##"<path d="M{LEFT} {0:.1}H{1}" stroke="#cf222e" stroke-dasharray="6 4"/>"##,
            y(limit),
            WIDTH - 20.0
        );
    }
    for (index, (Line { label, points }, color)) in chart.lines.iter().zip(LINE_COLORS.iter().cycle()).enumerate() {
        let path: Vec<_> = points.iter().map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value))).collect();
        draw!(svg, r#"<polyline fill="none" stroke="{color}" stroke-width="1.5" points="{}"/>"#, path.join(" "));
        let at = 160.0 + 190.0 * index as f64;
        draw!(svg, r#"<text x="{at}" y="42" fill="{color}">{}</text>"#, escape(label));
    }
    svg + "</svg>\n"
}
