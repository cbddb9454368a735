//! The highest or lowest recommendation of a sliding window, in memory that does not grow with the number of polls.

use std::collections::VecDeque;
use std::time::Duration;

use super::units::Replicas;

/// Recommendations of the recent past of which only those are kept that can still be the extreme of some time that
/// ends now. So it never holds more entries than there are different replica counts.
#[derive(Clone, Debug)]
pub(super) struct Window {
    entries: VecDeque<(Duration, Replicas)>,
    keeps: fn(Replicas, Replicas) -> bool,
}

impl Window {
    /// A window that knows its highest.
    pub(super) fn highest() -> Self {
        Self { entries: VecDeque::new(), keeps: |old, new| old > new }
    }

    /// A window that knows its lowest.
    pub(super) fn lowest() -> Self {
        Self { entries: VecDeque::new(), keeps: |old, new| old < new }
    }

    /// Adds a recommendation and forgets all that are older than `length`.
    pub(super) fn push(&mut self, at: Duration, replicas: Replicas, length: Duration) {
        while self.entries.back().is_some_and(|(_, old)| !(self.keeps)(*old, replicas)) {
            self.entries.pop_back();
        }
        self.entries.push_back((at, replicas));
        let oldest = at.saturating_sub(length);
        while self.entries.front().is_some_and(|(time, _)| *time < oldest) {
            self.entries.pop_front();
        }
    }

    /// What it holds, oldest first.
    pub(super) fn entries(&self) -> impl Iterator<Item = &(Duration, Replicas)> {
        self.entries.iter()
    }

    /// Goes on from what another one held.
    pub(super) fn restore(&mut self, entries: impl Iterator<Item = (Duration, Replicas)>) {
        self.entries = entries.collect();
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// The extreme of all that was added at `since` or later.
    pub(super) fn extreme_since(&self, since: Duration) -> Option<Replicas> {
        self.entries.iter().find(|(time, _)| *time >= since).map(|(_, replicas)| *replicas)
    }

    /// When the last recommendation was added that is more extreme than `replicas`.
    pub(super) fn last_beyond(&self, replicas: Replicas) -> Option<Duration> {
        self.entries.iter().rev().find(|(_, old)| (self.keeps)(*old, replicas)).map(|(time, _)| *time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_the_extreme_of_any_time_that_ends_now() {
        let second = Duration::from_secs;
        let samples = [3, 5, 4, 4, 2, 3, 1, 1];
        for length in 1..10_u64 {
            let (mut highest, mut lowest) = (Window::highest(), Window::lowest());
            for (t, replicas) in samples.iter().enumerate() {
                highest.push(second(t as u64), Replicas(*replicas), second(length));
                lowest.push(second(t as u64), Replicas(*replicas), second(length));
                for since in t.saturating_sub(length as usize)..=t {
                    let seen = &samples[since..=t];
                    assert_eq!(highest.extreme_since(second(since as u64)), seen.iter().max().copied().map(Replicas));
                    assert_eq!(lowest.extreme_since(second(since as u64)), seen.iter().min().copied().map(Replicas));
                }
            }
        }
    }
}
