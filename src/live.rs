//! The progress of a run on the terminal: one line per finished step, and below them a bar and a live line per SLO.
//! If standard error is not a terminal, it prints a plain line every ten seconds. It decides nothing.

use std::{
    collections::BTreeMap,
    io::IsTerminal,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sluice_loadgen::{
    drive::{Phase, Progress},
    report::separated,
};
use tokio::sync::watch;

use crate::{screen, table::counted};

/// Interval of plain lines if there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// The steps of a run on standard error.
#[derive(Debug)]
pub(crate) struct Live {
    /// The live part below the permanent lines; `None` between two steps, since other progress is drawn there too.
    bar: Mutex<Option<ProgressBar>>,
    terminal: bool,
    started: Instant,
}

impl Live {
    /// Starts the clock.
    pub(crate) fn start() -> Self {
        Self { bar: Mutex::new(None), terminal: std::io::stderr().is_terminal(), started: Instant::now() }
    }

    /// Starts a step: shows it with a spinner until the next one or [`Live::finish_step`].
    pub(crate) fn step(&self, text: &str) {
        let bar = self.draw(spinner());
        bar.enable_steady_tick(Duration::from_millis(120));
        bar.set_message(text.to_owned());
        if !self.terminal {
            self.print_with_time(text);
        }
    }

    /// Finishes a step with a permanent line.
    pub(crate) fn finish_step(&self, text: &str) {
        self.end();
        self.print_with_time(text);
    }

    fn print_with_time(&self, text: &str) {
        self.print(&format!("{:>6.1} s  {text}", self.started.elapsed().as_secs_f64()));
    }

    /// Prints a permanent line.
    pub(crate) fn print(&self, text: &str) {
        match &*self.bar() {
            Some(bar) if self.terminal => bar.suspend(|| screen::note(text)),
            _ => screen::note(text),
        }
    }

    /// Updates the current step, if there is a terminal.
    pub(crate) fn update(&self, text: &str) {
        if let Some(bar) = &*self.bar() {
            bar.set_message(text.to_owned());
        }
    }

    /// Removes the live part.
    pub(crate) fn end(&self) {
        if let Some(bar) = self.bar().take() {
            bar.finish_and_clear();
        }
    }

    fn draw(&self, style: ProgressStyle) -> ProgressBar {
        self.end();
        let target = if self.terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target).with_style(style);
        *self.bar() = Some(bar.clone());
        bar
    }

    fn bar(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A counter for the load: records by kind.
    pub(crate) fn counter(&self, expected: &BTreeMap<String, u64>) -> Counter {
        let bar = self.draw(counting());
        bar.set_length(expected.values().sum());
        Counter { bar, landed: Mutex::new(BTreeMap::new()) }
    }

    /// Follows a drive until its sender is dropped.
    pub(crate) async fn follow(&self, mut progress: watch::Receiver<Progress>) {
        let bar = self.draw(counting());
        let mut plain = Instant::now();
        while progress.changed().await.is_ok() {
            let now = progress.borrow_and_update().clone();
            bar.set_length(now.length.as_millis() as u64);
            bar.set_position(now.elapsed.min(now.length).as_millis() as u64);
            bar.set_message(describe(&now));
            if !self.terminal && plain.elapsed() >= PLAIN_EVERY {
                plain = Instant::now();
                self.print_with_time(&format!("{}: {}", phase(&now), describe_writes(&now)));
            }
        }
    }
}

/// Sums the records that a load reports.
#[derive(Debug)]
pub(crate) struct Counter {
    bar: ProgressBar,
    landed: Mutex<BTreeMap<String, u64>>,
}

impl Counter {
    /// Counts `more` landed records of a kind.
    pub(crate) fn add(&self, kind: &str, more: u64) {
        let mut landed = self.landed.lock().unwrap_or_else(PoisonError::into_inner);
        *landed.entry(kind.to_owned()).or_default() += more;
        let total: u64 = landed.values().sum();
        // The number of some kinds is not known in advance, so the length grows with them.
        self.bar.set_length(self.bar.length().unwrap_or_default().max(total));
        self.bar.set_position(total);
        let line = |(kind, count): (&String, &u64)| format!("           {:>11} {kind}", separated(*count));
        let lines: Vec<String> = landed.iter().map(line).collect();
        self.bar.set_message(lines.join("\n"));
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
