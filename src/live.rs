//! The progress of a run on the terminal: one line per finished step, and below them a bar and a live line per SLO.
//! If standard error is not a terminal, it prints a plain line every ten seconds. It decides nothing.

use std::{
    collections::BTreeMap,
    io::IsTerminal,
    sync::Mutex,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sluice_loadgen::{
    drive::{Phase, Progress},
    number::separated,
    observer::Observer,
};

use sluice_schemas::concurrency::lock;

use crate::{screen, table::counted};

/// Interval of plain lines if there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// The steps of a run on standard error.
#[derive(Debug)]
pub(crate) struct Live {
    /// The live part below the permanent lines; `None` between two steps, since other progress is drawn there too.
    bar: Mutex<Option<ProgressBar>>,
    /// Records that the current load has written, by kind.
    loaded: Mutex<BTreeMap<String, u64>>,
    /// Time of the last plain line of a drive.
    plain: Mutex<Instant>,
    terminal: bool,
    started: Instant,
}

impl Live {
    /// Starts the clock.
    pub(crate) fn start() -> Self {
        let (loaded, now) = (Mutex::new(BTreeMap::new()), Instant::now());
        let terminal = std::io::stderr().is_terminal();
        Self { bar: Mutex::new(None), loaded, plain: Mutex::new(now), terminal, started: now }
    }

    fn print_with_time(&self, text: &str) {
        self.print(&format!("{:>6.1} s  {text}", self.started.elapsed().as_secs_f64()));
    }

    /// Prints a permanent line.
    pub(crate) fn print(&self, text: &str) {
        match &*lock(&self.bar) {
            Some(bar) if self.terminal => bar.suspend(|| screen::note(text)),
            _ => screen::note(text),
        }
    }

    /// Removes the live part.
    pub(crate) fn end(&self) {
        if let Some(bar) = lock(&self.bar).take() {
            bar.finish_and_clear();
        }
    }

    fn draw(&self, style: ProgressStyle) -> ProgressBar {
        self.end();
        let target = if self.terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target).with_style(style);
        *lock(&self.bar) = Some(bar.clone());
        bar
    }
}

impl Observer for Live {
    fn step_started(&self, text: &str) {
        let bar = self.draw(spinner());
        bar.enable_steady_tick(Duration::from_millis(120));
        bar.set_message(text.to_owned());
        if !self.terminal {
            self.print_with_time(text);
        }
    }

    fn step_advanced(&self, text: &str) {
        if let Some(bar) = &*lock(&self.bar) {
            bar.set_message(text.to_owned());
        }
    }

    fn step_finished(&self, text: &str) {
        self.end();
        self.print_with_time(text);
    }

    fn load_started(&self, expected: &BTreeMap<String, u64>) {
        lock(&self.loaded).clear();
        self.draw(counting()).set_length(expected.values().sum());
    }

    fn loaded(&self, kind: &str, more: u64) {
        let mut loaded = lock(&self.loaded);
        *loaded.entry(kind.to_owned()).or_default() += more;
        let total: u64 = loaded.values().sum();
        let line = |(kind, count): (&String, &u64)| format!("           {:>11} {kind}", separated(*count));
        let lines: Vec<String> = loaded.iter().map(line).collect();
        if let Some(bar) = &*lock(&self.bar) {
            // The number of some kinds is not known in advance, so the length grows with them.
            bar.set_length(bar.length().unwrap_or_default().max(total));
            bar.set_position(total);
            bar.set_message(lines.join("\n"));
        }
    }

    fn drive_started(&self) {
        self.draw(counting());
        *lock(&self.plain) = Instant::now();
    }

    fn driving(&self, now: &Progress) {
        if let Some(bar) = &*lock(&self.bar) {
            bar.set_length(now.length.as_millis() as u64);
            bar.set_position(now.elapsed.min(now.length).as_millis() as u64);
            bar.set_message(describe(now));
        }
        let is_due = |plain: &mut Instant| {
            let is_due = plain.elapsed() >= PLAIN_EVERY;
            if is_due {
                *plain = Instant::now();
            }
            is_due
        };
        if !self.terminal && is_due(&mut lock(&self.plain)) {
            self.print_with_time(&format!("{}: {}", phase(now), describe_writes(now)));
        }
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner:>8}  {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn counting() -> ProgressStyle {
    ProgressStyle::with_template("          {bar:60.cyan/blue} {percent:>3} %\n{msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Fits a terminal of 80 columns.
fn describe(now: &Progress) -> String {
    let lines = now.slos.iter().map(|slo| {
        let p95 = slo.p95.map_or_else(|| "-".to_owned(), |p95| format!("{:.1} ms", p95.as_secs_f64() * 1_000.0));
        format!(
            "\n  {:<18}{:>6} asked{:>5} late{:>4} failed{:>3} wrong  p95 {p95:>10}",
            slo.name, slo.samples, slo.exceedances, slo.failed, slo.wrong
        )
    });
    format!("  {}\n  {}{}", phase(now), describe_writes(now), lines.collect::<String>())
}

fn phase(now: &Progress) -> String {
    let (elapsed, length) = (now.elapsed.as_secs(), now.length.as_secs());
    let phase = match now.phase {
        Phase::Preparing => "preparing".to_owned(),
        Phase::WarmUp => format!("warming up, {elapsed} of {length} s"),
        Phase::Driving => format!("driving, {elapsed} of {length} s"),
        Phase::Flushing => format!("flushing for {elapsed} s"),
    };
    format!("{phase}, {} in flight, {} held back", counted(now.in_flight, "question"), separated(now.held_back))
}

fn describe_writes(now: &Progress) -> String {
    let written = now.acknowledged;
    let [communications, events, interactions, metrics] =
        [written.communications, written.events, written.interactions, written.metrics].map(separated);
    format!("{communications} communications, {events} events, {interactions} interactions, {metrics} metrics")
}
