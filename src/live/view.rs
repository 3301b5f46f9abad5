//! The view of a drive on the whole terminal: what is offered and achieved, latencies, and the verdict so far. It is a pure
//! function of the last two snapshots, and fits 80 columns and 24 rows; smaller terminals show less of it, and no number in
//! part. A terminal that is too small for that shows one line.

use std::sync::Arc;
use std::time::Duration;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Style, Stylize},
    text::Line,
    widgets::{LineGauge, Paragraph, Table, Wrap},
};
use sluice_loadgen::{
    drive::{Phase, Progress, StoreCounts},
    measure::DurationHistogram,
    number::{percent, separated},
    scenario::exact_duration,
    verdict::{Judged, Verdict},
};

use super::numbers::{millis, rate};
use super::pace::clock;
use super::phase::phase;
use super::table::{Cells, Column, cut, row, table};
use crate::screen::MIN_SIZE;

/// What the view shows.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Name of the scenario.
    pub(super) scenario: String,
    /// The newest snapshot.
    pub(super) now: Arc<Progress>,
    /// The snapshot before it, from which rates are computed.
    pub(super) before: Arc<Progress>,
    /// Records that the ingest worker has not landed yet, if there is one.
    pub(super) lag: Option<u64>,
}

impl View {
    /// Takes the next snapshot.
    pub(super) fn advance(&mut self, now: &Arc<Progress>) {
        self.before = std::mem::replace(&mut self.now, Arc::clone(now));
    }

    /// Growth of a count per second, since the snapshot before.
    fn rate(&self, count: impl Fn(&Progress) -> u64) -> f64 {
        let since = if self.before.phase == self.now.phase {
            self.now.elapsed.saturating_sub(self.before.elapsed)
        } else {
            // Each phase has its own clock, and the snapshot before it is up to a second old when it starts.
            self.now.elapsed + Duration::from_secs(1)
        };
        let seconds = since.as_secs_f64();
        let more = count(&self.now).saturating_sub(count(&self.before)) as f64;
        if seconds > 0.0 { more / seconds } else { 0.0 }
    }
}

/// Rows of the table of writes.
const WRITES_ROWS: u16 = 3;
/// Rows of the title, the progress, the generator and the gaps.
const OTHER_ROWS: u16 = 5;
/// Rows for objectives that are kept free on a low terminal: the header, two objectives, and how many more there are.
const LEAST_OBJECTIVES: usize = 4;

/// Draws the view.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let area = frame.area();
    if area.width < MIN_SIZE.0 || area.height < MIN_SIZE.1 {
        return frame.render_widget(too_small(&view.now), area);
    }
    let stores = view.now.asked().count() as u16;
    let questions = stores.max(1) + 1;
    // The verdicts so far need the room first.
    let room = area.height.saturating_sub(OTHER_ROWS + questions);
    let shows_writes = !view.now.is_read_only && room >= WRITES_ROWS + 1 + objectives_rows(&view.now);
    let writes = if shows_writes { WRITES_ROWS } else { 0 };
    let rows = [1, 1, 1, questions, writes.min(1), writes, 1].map(Constraint::Length);
    let [title, gauge, _, questions, _, writes, _, slos, generator] =
        Layout::vertical(rows.into_iter().chain([Constraint::Fill(1), Constraint::Length(1)])).areas(area);
    frame.render_widget(title_line(view, title.width), title);
    frame.render_widget(progress(&view.now), gauge);
    frame.render_widget(by_store(view, questions.width), questions);
    frame.render_widget(by_kind(view, writes.width), writes);
    frame.render_widget(objectives(&view.now, slos), slos);
    frame.render_widget(generator_line(&view.now, generator.width), generator);
}

fn objectives_rows(now: &Progress) -> u16 {
    (now.slos.len() + 1).min(LEAST_OBJECTIVES) as u16
}

/// What a terminal shows that no view fits.
fn too_small(now: &Progress) -> Paragraph<'static> {
    let (columns, rows) = MIN_SIZE;
    let text = format!("terminal too small (needs {columns}x{rows}); {}", phase(now));
    Paragraph::new(text).wrap(Wrap { trim: true })
}

fn title_line(view: &View, width: u16) -> Line<'static> {
    let (program, gap, phase) = ("sluice  ", "   ", phase(&view.now));
    let rest: usize = [program, gap, &phase].map(|text| text.chars().count()).iter().sum();
    let room = usize::from(width).saturating_sub(rest);
    if room == 0 {
        // The time must not be cut.
        return Line::from(phase);
    }
    let scenario = cut(&view.scenario, room);
    Line::from(vec![program.bold(), scenario.into(), gap.into(), phase.into()])
}

fn progress(now: &Progress) -> LineGauge<'static> {
    let share = if now.length.is_zero() { 0.0 } else { now.elapsed.div_duration_f64(now.length).min(1.0) };
    let left = now.length.saturating_sub(now.elapsed);
    let label = match now.phase {
        Phase::WarmUp | Phase::Driving => {
            format!("{:>3.0} %, {} left ", share * 100.0, clock(left))
        }
        Phase::Preparing | Phase::AwaitingAnswers | Phase::AwaitingEvents => String::new(),
    };
    LineGauge::default()
        .ratio(share)
        .label(label)
        .filled_symbol("█")
        .unfilled_symbol("░")
        .filled_style(Style::new().fg(Color::Cyan))
}

fn by_store(view: &View, width: u16) -> Table<'static> {
    let row = |store| {
        let StoreCounts { offered, answered, failed } = view.now.counts(store);
        let latency = view.now.latency(store);
        let cells = [
            rate(view.rate(|one| one.counts(store).offered)),
            rate(view.rate(|one| one.counts(store).answered)),
            separated(offered.saturating_sub(answered)),
        ];
        let quantiles = [0.5, 0.95, 0.99].map(|quantile| millis(latency.quantile(quantile)));
        let cells = cells.into_iter().chain(quantiles).chain([separated(failed)]);
        row(store.as_str().to_owned(), cells, &[])
    };
    let columns = [
        Column::wide("offered/s", 9),
        Column::always("answered/s", 10),
        Column::always("waiting", 9),
        Column::wide("p50", 7),
        Column::always("p95", 7),
        Column::always("p99", 7),
        Column::always("failed", 8),
    ];
    table("questions to", &columns, view.now.asked().map(row).collect(), width)
}

fn by_kind(view: &View, width: u16) -> Table<'static> {
    let kafka =
        [rate(view.rate(|one| one.sent.through_kafka())), rate(view.rate(|one| one.acknowledged.through_kafka()))];
    let postgres =
        [rate(view.rate(|one| one.sent.communications)), rate(view.rate(|one| one.acknowledged.communications))];
    let (sent, acknowledged) = (view.now.sent, view.now.acknowledged);
    let rest = |sent: u64, acknowledged: u64| [separated(sent.saturating_sub(acknowledged)), separated(acknowledged)];
    let lag = view.lag.map_or_else(|| "-".to_owned(), separated);
    let kafka = kafka.into_iter().chain(rest(sent.through_kafka(), acknowledged.through_kafka())).chain([lag]);
    let postgres =
        postgres.into_iter().chain(rest(sent.communications, acknowledged.communications)).chain(["-".to_owned()]);
    let columns = [
        Column::wide("sent/s", 9),
        Column::always("written/s", 10),
        Column::always("waiting", 9),
        Column::always("written", 11),
        Column::always("not yet landed", 14),
    ];
    let rows = vec![row("kafka".to_owned(), kafka, &[]), row("postgres".to_owned(), postgres, &[])];
    table("writes to", &columns, rows, width)
}

/// The verdict so far in a word, and its color.
pub(super) fn so_far(judged: &Judged) -> (&'static str, Color) {
    match judged.test.verdict {
        _ if judged.counts.wrong > 0 => ("WRONG", Color::Red),
        Verdict::Pass => ("PASS", Color::Green),
        Verdict::Fail => ("FAIL", Color::Red),
        Verdict::Inconclusive => ("undecided", Color::Yellow),
    }
}

/// The SLOs; if they don't fit, those that are not met come first.
fn objectives(now: &Progress, area: Rect) -> Table<'static> {
    let room = usize::from(area.height.saturating_sub(1));
    let mut slos: Vec<&Judged> = now.slos.iter().collect();
    let hidden = slos.len().saturating_sub(room);
    if hidden > 0 {
        slos.sort_by_key(|one| urgency(one.test.verdict));
        slos.truncate(room.saturating_sub(1));
    }
    let mut rows: Vec<Cells> = slos.into_iter().map(objective).collect();
    if hidden > 0 {
        rows.push(vec![Line::from(format!("… and {} more", hidden + 1)).dim()]);
    }
    let columns = [
        Column::always("limit", 6),
        Column::wide("p50", 7),
        Column::always("p95", 7),
        Column::wide("p99", 7),
        Column::always("over", 8),
        Column::wide("allowed", 8),
        Column::always("so far", 9),
    ];
    table("objective", &columns, rows, area.width)
}

fn urgency(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Fail => 0,
        Verdict::Inconclusive => 1,
        Verdict::Pass => 2,
    }
}

fn objective(judged: &Judged) -> Cells {
    let Judged { slo, counts, test, latency } = judged;
    let quantiles = [latency.p50_us, latency.p95_us, latency.p99_us].map(|us| millis(us.map(Duration::from_micros)));
    let over =
        if counts.samples == 0 { "-".to_owned() } else { percent(counts.exceedances as f64 / counts.samples as f64) };
    let (verdict, color) = so_far(judged);
    let cells = std::iter::once(exact_duration(slo.within)).chain(quantiles);
    let cells = cells.chain([over, percent(test.allowed), verdict.to_owned()]);
    row(slo.name.clone(), cells, &[(7, color)])
}

fn generator_line(now: &Progress, width: u16) -> Line<'static> {
    let mut lag = DurationHistogram::default();
    now.questions.iter().for_each(|question| lag.merge(&question.lag));
    let wrong: u64 = now.questions.iter().map(|question| question.counts.wrong).sum();
    let (lag, held_back) = (millis(lag.quantile(0.99)), separated(now.held_back));
    let line = format!("send lag p99 {lag}   held back {held_back}   wrong answers {}", separated(wrong));
    let hint = "   Ctrl-C stops the run";
    let fits = line.chars().count() + hint.chars().count() <= usize::from(width);
    Line::from(if fits { line + hint } else { line })
}

#[cfg(test)]
pub(super) mod tests;
