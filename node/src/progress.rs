//! Progress output, always on stderr.

use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

/// Interval of progress lines where there is no bar.
const LINE_EVERY: Duration = Duration::from_secs(15);

/// Shows progress as a bar on a terminal, and as lines elsewhere.
#[derive(Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
    terminal: bool,
    said: Arc<Mutex<Instant>>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self::with("{msg:<28} {bar:40} {pos}/{len}")
    }

    /// Creates a bar that estimates the remaining time.
    pub(crate) fn timed() -> Self {
        Self::with("{msg:<28} {bar:40} {percent:>3} %, {eta} left")
    }

    fn with(template: &str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let said = Arc::new(Mutex::new(Instant::now()));
        Self {
            bar,
            terminal,
            said,
        }
    }

    pub(crate) fn begin(&self, name: &str, length: usize) {
        self.bar.set_length(length as u64);
        self.bar.set_position(0);
        self.bar.set_message(name.to_owned());
    }

    pub(crate) fn at(&self, position: usize) {
        self.bar.set_position(position as u64);
        if !self.terminal {
            self.say();
        }
    }

    /// Prints a line of progress, unless one was printed recently.
    fn say(&self) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.elapsed() < LINE_EVERY {
            return;
        }
        *said = Instant::now();
        let percent = self.bar.position() * 100 / self.bar.length().unwrap_or(0).max(1);
        output::talk(format_args!(
            "{}: {percent} %, about {} left",
            self.bar.message(),
            HumanDuration(self.bar.eta())
        ));
    }

    pub(crate) fn step(&self) {
        self.bar.inc(1);
    }

    pub(crate) fn end(&self, text: &str) {
        if self.terminal {
            self.bar.println(text);
        } else {
            output::talk(text);
        }
    }

    /// Prints a message where there is no bar that shows it.
    pub(crate) fn note(&self, text: &str) {
        if !self.terminal {
            output::talk(text);
        }
    }

    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
