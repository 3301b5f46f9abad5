//! Progress on standard error while the stack starts or stops: bars on a terminal, a few plain lines elsewhere.
//! It never prompts and never fails.

use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shows concurrent tasks.
#[derive(Debug, Clone)]
pub struct Progress {
    bars: MultiProgress,
    lines: bool,
}

impl Progress {
    /// Bars if standard error is a terminal, else a plain line when a task begins a long step or ends.
    pub fn stderr() -> Self {
        let target = ProgressDrawTarget::stderr();
        let lines = target.is_hidden();
        Self { bars: MultiProgress::with_draw_target(target), lines }
    }

    /// Shows nothing.
    pub fn silent() -> Self {
        Self { bars: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()), lines: false }
    }

    /// Adds a task.
    pub(crate) fn task(&self, name: &str) -> Task {
        let bar = self.bars.add(ProgressBar::new_spinner());
        bar.set_style(style("{spinner} {prefix:14} {msg}"));
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        Task { bar, name: name.to_owned(), lines: self.lines, started: Instant::now() }
    }
}

/// One task, which is removed from the display when it is dropped unfinished.
#[derive(Debug)]
pub(crate) struct Task {
    bar: ProgressBar,
    name: String,
    lines: bool,
    started: Instant,
}

impl Task {
    /// Shows the current step on a terminal only.
    pub(crate) fn update(&self, text: impl Into<String>) {
        self.bar.set_message(text.into());
    }

    /// Shows the current step, also as a plain line.
    pub(crate) fn announce(&self, text: &str) {
        self.bar.set_message(text.to_owned());
        self.line(text);
    }

    /// Shows a bar of `total` bytes.
    pub(crate) fn set_length(&self, total: u64) {
        self.bar.set_length(total);
        self.bar.set_style(style("{spinner} {prefix:14} {msg} [{bar:24}] {bytes} of about {total_bytes}"));
    }

    /// Sets the number of bytes received.
    pub(crate) fn set_position(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    /// Finishes the task with its result and duration.
    pub(crate) fn finish(self, text: &str) {
        let line = format!("{text} after {:.1} s", self.started.elapsed().as_secs_f64());
        self.bar.set_style(style("✓ {prefix:14} {msg}"));
        self.bar.finish_with_message(line.clone());
        self.line(&line);
    }

    #[expect(clippy::print_stderr, reason = "progress is this file's job, and standard error its place")]
    fn line(&self, text: &str) {
        if self.lines {
            eprintln!("{:14} {text}", self.name);
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.bar.is_finished() {
            self.bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are written in this file").progress_chars("=> ")
}
