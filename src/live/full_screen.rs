//! The whole terminal as a canvas for a view. It gives the terminal back when it is dropped. It draws nothing of its
//! own.

use std::io::{self, Stderr};

use ratatui::{Frame, Terminal, backend::CrosstermBackend};

use crate::screen;

/// The terminal, taken over.
#[derive(Debug)]
pub(super) struct FullScreen(Terminal<CrosstermBackend<Stderr>>);

impl FullScreen {
    /// Takes the terminal over.
    pub(super) fn open() -> io::Result<Self> {
        // From here on, an error gives the terminal back.
        let opened = screen::cover().and_then(|()| Terminal::new(CrosstermBackend::new(io::stderr())));
        opened.map(Self).inspect_err(|_| screen::uncover())
    }

    /// Draws a frame, in the terminal's current size; a failure to draw is ignored.
    pub(super) fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) {
        drop(self.0.draw(render));
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        screen::uncover();
    }
}
