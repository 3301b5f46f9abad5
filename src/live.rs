//! What the terminal shows while a run goes on: one line for each step that ends, and under it a bar and a line per SLO
//! that move. Where standard error is no terminal, a plain line every ten seconds. Decides nothing.

use std::{
    collections::BTreeMap,
    io::IsTerminal,
    sync::Mutex,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sluice_loadgen::drive::{Phase, Progress};
use tokio::sync::watch;

use crate::screen;

/// How often a plain line is written where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// The steps of a run on standard error.
#[derive(Debug)]
pub(crate) struct Live {
    bar: ProgressBar,
    terminal: bool,
    started: Instant,
}

impl Live {
    /// Starts the clock.
    pub(crate) fn start() -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bar: ProgressBar::with_draw_target(None, target), terminal, started: Instant::now() }
    }

    /// A step begins: it is shown, with a spinner, until the next one or [`Live::done`].
    pub(crate) fn step(&self, what: &str) {
        self.bar.set_style(spinner());
        self.bar.enable_steady_tick(Duration::from_millis(120));
        self.bar.set_message(what.to_owned());
        if !self.terminal {
            screen::note(&format!("{:>6.1} s  {what}", self.started.elapsed().as_secs_f64()));
        }
    }

    /// A step has ended: it stays on the screen.
    pub(crate) fn done(&self, what: &str) {
        let line = format!("{:>6.1} s  {what}", self.started.elapsed().as_secs_f64());
        self.bar.disable_steady_tick();
        self.bar.set_message("");
        self.say(&line);
    }

    /// A line that stays.
    pub(crate) fn say(&self, what: &str) {
        if self.terminal { self.bar.suspend(|| screen::note(what)) } else { screen::note(what) }
    }

    /// What the step under way has come to; moves only where there is a terminal.
    pub(crate) fn moving(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    /// Nothing moves any more.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// A counter for the load: records per kind, added up as they land.
    pub(crate) fn counter(&self, expected: &BTreeMap<String, u64>) -> Counter<'_> {
        self.bar.set_style(bar());
        self.bar.set_length(expected.values().sum());
        self.bar.set_position(0);
        Counter { live: self, landed: Mutex::new(BTreeMap::new()) }
    }

    /// Follows a drive until its sender goes away.
    pub(crate) async fn follow(&self, mut progress: watch::Receiver<Progress>) {
        self.bar.set_style(bar());
        let mut plain = Instant::now();
        while progress.changed().await.is_ok() {
            let now = progress.borrow_and_update().clone();
            self.bar.set_length(now.length.as_millis() as u64);
            self.bar.set_position(now.elapsed.min(now.length).as_millis() as u64);
            self.bar.set_message(describe(&now));
            if !self.terminal && plain.elapsed() >= PLAIN_EVERY {
                plain = Instant::now();
                screen::note(&format!("{:>6.1} s  {}", self.started.elapsed().as_secs_f64(), one_line(&now)));
            }
        }
    }
}

/// Adds up what a load reports.
#[derive(Debug)]
pub(crate) struct Counter<'a> {
    live: &'a Live,
    landed: Mutex<BTreeMap<String, u64>>,
}

impl Counter<'_> {
    /// `more` records of a kind have landed.
    pub(crate) fn add(&self, kind: &str, more: u64) {
        let mut landed = self.landed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *landed.entry(kind.to_owned()).or_default() += more;
        self.live.bar.inc(more);
        let lines: Vec<String> = landed.iter().map(|(kind, count)| format!("{:>9}  {kind} {count}", "")).collect();
        self.live.bar.set_message(lines.join("\n"));
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner:>7}    {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn bar() -> ProgressStyle {
    ProgressStyle::with_template("           {wide_bar:.cyan/blue} {percent:>3} %\n{msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn describe(now: &Progress) -> String {
    let lines = now.slos.iter().map(|slo| {
        format!(
            "\n           {:<20} {:>7} samples  {:>6} over the limit  {:>4} failed  {:>4} wrong  p95 {:>8.1} ms",
            slo.name,
            slo.samples,
            slo.exceedances,
            slo.failed,
            slo.wrong,
            slo.p95.as_secs_f64() * 1_000.0
        )
    });
    format!("           {}{}", one_line(now), lines.collect::<String>())
}

fn one_line(now: &Progress) -> String {
    let phase = match now.phase {
        Phase::Preparing => "preparing",
        Phase::WarmUp => "warming up",
        Phase::Driving => "driving",
        Phase::Flushing => "flushing",
    };
    let acknowledged = now.acknowledged;
    format!(
        "{phase} {:.0} of {:.0} s: {} communications, {} events, {} interactions, {} metrics written; {} in flight, {} held back",
        now.elapsed.as_secs_f64(),
        now.length.as_secs_f64(),
        acknowledged.communications,
        acknowledged.events,
        acknowledged.interactions,
        acknowledged.metrics,
        now.in_flight,
        now.held_back
    )
}
