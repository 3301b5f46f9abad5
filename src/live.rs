//! The progress of a run on standard error: one line per finished step; below them a bar for a load, and a view of the
//! whole terminal for a drive. If standard error is not a terminal that can show them, or with `--plain`, it prints a plain
//! line every ten seconds. It decides nothing.
//!
//! # Layout
//! - `pace`, `load`: rates and the time left; `phase`: the phase of a drive; `numbers`: rates and latencies
//! - `plain`: the plain lines of a drive; `table`, `view`: what the view of a drive shows; `full_screen`: the terminal that shows it

mod full_screen;
mod load;
mod numbers;
mod pace;
mod phase;
mod plain;
mod table;
mod view;

use std::{
    collections::BTreeMap,
    io::IsTerminal,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sluice_loadgen::{drive::Progress, observer::Observer};

use sluice_schemas::concurrency::lock;

use crate::screen;
use full_screen::FullScreen;
use load::LoadCounts;
use view::View;

/// Interval of plain lines if there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// The steps of a run on standard error.
#[derive(Debug)]
pub(crate) struct Live {
    /// The live part below the permanent lines; `None` between two steps, since other progress is drawn there too.
    bar: Mutex<Option<ProgressBar>>,
    /// Start of the current load, and what it has written.
    load: Mutex<(Instant, LoadCounts)>,
    /// The view of the current drive, and the terminal that shows it.
    drive: Mutex<(View, Option<FullScreen>)>,
    /// Time of the last plain line.
    plain: Mutex<Instant>,
    /// Whether a bar and a view are drawn.
    terminal: bool,
    started: Instant,
}

impl Live {
    /// Starts the clock. `plain` prints plain lines even on a terminal.
    pub(crate) fn start(plain: bool) -> Self {
        let now = Instant::now();
        Self {
            bar: Mutex::new(None),
            load: Mutex::new((now, LoadCounts::default())),
            drive: Mutex::default(),
            plain: Mutex::new(now),
            terminal: std::io::stderr().is_terminal() && !screen::is_dumb() && !plain,
            started: now,
        }
    }

    /// Sets the name of the scenario, for the view.
    pub(crate) fn set_scenario(&self, name: &str) {
        name.clone_into(&mut lock(&self.drive).0.scenario);
    }

    /// Sets how many records the ingest worker has not landed yet.
    pub(crate) fn set_lag(&self, records: Option<u64>) {
        lock(&self.drive).0.lag = records;
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
        lock(&self.drive).1 = None;
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

    /// Prints a plain line if none was printed for a while, unless a bar shows the same.
    fn print_plain(&self, text: impl FnOnce() -> String) {
        if self.terminal && lock(&self.bar).is_some() {
            return;
        }
        let mut plain = lock(&self.plain);
        if plain.elapsed() >= PLAIN_EVERY {
            *plain = Instant::now();
            drop(plain);
            self.print_with_time(&text());
        }
    }
}

impl Observer for Live {
    fn step_started(&self, text: &str) {
        let bar = self.draw(spinner());
        bar.enable_steady_tick(Duration::from_millis(120));
        bar.set_message(text.to_owned());
        if !self.terminal {
            *lock(&self.plain) = Instant::now();
            self.print_with_time(text);
        }
    }

    fn step_advanced(&self, text: &str) {
        if let Some(bar) = &*lock(&self.bar) {
            bar.set_message(text.to_owned());
        }
        self.print_plain(|| text.to_owned());
    }

    fn step_finished(&self, text: &str) {
        self.end();
        self.print_with_time(text);
    }

    fn load_started(&self, expected: &BTreeMap<String, u64>) {
        *lock(&self.load) = (Instant::now(), LoadCounts::expecting(expected));
        *lock(&self.plain) = Instant::now();
        self.draw(counting()).set_length(expected.values().sum());
    }

    fn kept(&self, kind: &str, count: u64) {
        let mut load = lock(&self.load);
        load.1.keep(kind, count);
        if let Some(bar) = &*lock(&self.bar) {
            bar.set_length(load.1.totals().1);
        }
    }

    fn loaded(&self, kind: &str, more: u64) {
        let mut load = lock(&self.load);
        let at = load.0.elapsed();
        load.1.add(at, kind, more);
        if let Some(bar) = &*lock(&self.bar) {
            let (loaded, expected) = load.1.totals();
            bar.set_length(expected);
            bar.set_position(loaded);
            bar.set_message(format!("          {}\n{}", load.1.summary(at), load.1.lines(at)));
        }
        self.print_plain(|| load.1.summary(at));
    }

    fn drive_started(&self) {
        self.end();
        *lock(&self.plain) = Instant::now();
        let mut drive = lock(&self.drive);
        drive.0 = View { scenario: std::mem::take(&mut drive.0.scenario), ..View::default() };
        if self.terminal && screen::is_available() {
            // Without it, there are plain lines.
            drive.1 = FullScreen::open().ok();
        }
        let (view, screen) = &mut *drive;
        if let Some(screen) = screen {
            screen.draw(|frame| view::draw(frame, view));
        }
    }

    fn driving(&self, now: &Arc<Progress>) {
        let (view, screen) = &mut *lock(&self.drive);
        view.advance(now);
        if let Some(screen) = screen {
            screen.draw(|frame| view::draw(frame, view));
            return;
        }
        self.print_plain(|| plain::describe(now));
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner:>8}  {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn counting() -> ProgressStyle {
    ProgressStyle::with_template("          {bar:60.cyan/blue} {percent:>3} %\n{msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
