//! Takes over the whole terminal for a view, and gives it back as it was: at the end of the view, on a panic, and before
//! an exit. Notes that come meanwhile are kept, and written when the terminal is given back. It draws nothing.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal},
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::sys::termios::{self, FlushArg, LocalFlags, SetArg, Termios};
use nix::unistd::{getpgrp, tcgetpgrp};
use ratatui::crossterm::{
    cursor::{Hide, Show},
    execute,
    terminal::{self, EnterAlternateScreen, LeaveAlternateScreen},
};

/// Notes that are kept; older ones are dropped, since a log may be long.
const MAX_NOTES: usize = 1_000;
/// Columns and rows below which no view fits.
pub(crate) const MIN_SIZE: (u16, u16) = (60, 14);

/// The terminal while it is taken over.
struct Covered {
    /// How it was.
    before: Option<Termios>,
    notes: VecDeque<String>,
    dropped: usize,
}

static COVERED: Mutex<Option<Covered>> = Mutex::new(None);

fn covered() -> MutexGuard<'static, Option<Covered>> {
    COVERED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the terminal says that it can't move its cursor.
pub(crate) fn is_dumb() -> bool {
    std::env::var("TERM").is_ok_and(|term| term == "dumb" || term.is_empty())
}

/// Whether standard error is a terminal that can show a view, and that this process may change.
pub(crate) fn is_available() -> bool {
    let is_foreground = || tcgetpgrp(io::stderr()).is_ok_and(|group| group == getpgrp());
    let is_large = || terminal::size().is_ok_and(|(columns, rows)| columns >= MIN_SIZE.0 && rows >= MIN_SIZE.1);
    io::stderr().is_terminal() && !is_dumb() && is_foreground() && is_large()
}

/// Takes over the terminal. Keys are not shown; Ctrl-C still sends its signal.
pub(crate) fn cover() -> io::Result<()> {
    let mut covered = covered();
    let before = termios::tcgetattr(io::stderr()).ok();
    if let Some(mut silent) = before.clone() {
        silent.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON);
        termios::tcsetattr(io::stderr(), SetArg::TCSANOW, &silent)?;
    }
    *covered = Some(Covered { before, notes: VecDeque::new(), dropped: 0 });
    execute!(io::stderr(), EnterAlternateScreen, Hide)
}

/// Gives the terminal back, if it was taken over, and writes the notes that were kept.
pub(crate) fn uncover() {
    if let Some(covered) = covered().take() {
        covered.end();
    }
}

/// Gives the terminal back before a panic is reported.
pub(crate) fn uncover_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // The thread that panics may hold the lock.
        let covered = COVERED.try_lock().ok().and_then(|mut covered| covered.take());
        if let Some(covered) = covered {
            covered.end();
        }
        report(panic);
    }));
}

/// Keeps a note, if the terminal is taken over.
pub(super) fn keep(text: &str) -> bool {
    let mut covered = covered();
    let Some(covered) = &mut *covered else { return false };
    if covered.notes.len() == MAX_NOTES {
        covered.notes.pop_front();
        covered.dropped += 1;
    }
    covered.notes.push_back(text.to_owned());
    true
}

impl Covered {
    fn end(self) {
        drop(execute!(io::stderr(), Show, LeaveAlternateScreen));
        if let Some(before) = self.before {
            // What was typed meanwhile was not meant for the shell.
            termios::tcsetattr(io::stderr(), SetArg::TCSANOW, &before).ok();
            termios::tcflush(io::stderr(), FlushArg::TCIFLUSH).ok();
        }
        if self.dropped > 0 {
            super::write_note(&format!("({} older lines were not kept)", self.dropped));
        }
        for note in self.notes {
            super::write_note(&note);
        }
    }
}
