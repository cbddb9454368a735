//! How far an observation is, on stderr where that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::core::grouped;

/// One line that is rewritten every second.
pub(super) struct ObservationProgress {
    bar: ProgressBar,
}

impl ObservationProgress {
    /// Of an observation that takes so long; nothing is shown of one poll.
    pub(super) fn new(length: Duration, groups: usize) -> Self {
        let bar = if length.is_zero() { ProgressBar::hidden() } else { ProgressBar::new(length.as_secs()) };
        let what = if groups == 1 { "1 group".to_owned() } else { format!("{} groups", grouped(groups as u64)) };
        let template = "Observing {prefix} {wide_bar} {pos} s of {len} s, {msg} (Ctrl-C: print now)";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸ "));
        }
        Self { bar: bar.with_prefix(what) }
    }

    /// After so long, with the lag of all groups, where one has been read.
    pub(super) fn show(&self, elapsed: Duration, lag: Option<u64>) {
        self.bar.set_length(self.bar.length().unwrap_or(0).max(elapsed.as_secs()));
        self.bar.set_message(lag.map_or("connecting".to_owned(), |lag| format!("lag {}", grouped(lag))));
        self.bar.set_position(elapsed.as_secs());
    }

    /// Takes the line away.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
