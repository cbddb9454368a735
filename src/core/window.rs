//! The highest or lowest recommendation of a sliding window, in memory that does not grow with the number of polls.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::clock::time;
use super::persisted::{Persisted, PersistedValue, Recent, persisted};
use super::units::Replicas;

/// The highest of the recommendations of a sliding window.
pub(super) type SlidingHighest = SlidingExtreme<true>;
/// The lowest of the recommendations of a sliding window.
pub(super) type SlidingLowest = SlidingExtreme<false>;

/// Entries at most: with 30 bytes each, two windows leave most of a saved memory's 16 KiB to the rest. A backlog that
/// drains through more replica counts than this within one window keeps the last one for longer.
const MOST_ENTRIES: usize = 128;

/// Recommendations of the recent past of which only those are kept that can still be the extreme of some time that
/// ends now. So it never holds more entries than there are different replica counts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct SlidingExtreme<const HIGHEST: bool>(Recent<WindowEntry, MOST_ENTRIES>);

impl<const HIGHEST: bool> Persisted for SlidingExtreme<HIGHEST> {
    fn visit(&mut self, visit: &mut dyn FnMut(PersistedValue<'_>)) {
        self.0.visit(visit);
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct WindowEntry {
    #[serde(with = "time")]
    at: Duration,
    replicas: Replicas,
}
persisted!(WindowEntry { at, replicas });

impl<const HIGHEST: bool> SlidingExtreme<HIGHEST> {
    /// Whether the first is more extreme than the second.
    fn exceeds(one: Replicas, other: Replicas) -> bool {
        if HIGHEST { one > other } else { one < other }
    }

    /// Adds a recommendation and forgets all that are older than `length`.
    pub(super) fn push(&mut self, at: Duration, replicas: Replicas, length: Duration) {
        while self.0.back().is_some_and(|newest| !Self::exceeds(newest.replicas, replicas)) {
            self.0.pop_newest();
        }
        if self.0.len() < MOST_ENTRIES {
            self.0.push(WindowEntry { at, replicas });
        } else if let Some(newest) = self.0.newest_mut() {
            newest.at = at;
        }
        let oldest = at.saturating_sub(length);
        while self.0.front().is_some_and(|first| first.at < oldest) {
            self.0.pop_oldest();
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The extreme of all that was added at `since` or later.
    pub(super) fn extreme_since(&self, since: Duration) -> Option<Replicas> {
        self.0.iter().find(|entry| entry.at >= since).map(|entry| entry.replicas)
    }

    /// When the last recommendation was added that is more extreme than `replicas`.
    pub(super) fn last_beyond(&self, replicas: Replicas) -> Option<Duration> {
        self.0.iter().rev().find(|entry| Self::exceeds(entry.replicas, replicas)).map(|entry| entry.at)
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
            let (mut highest, mut lowest) = (SlidingHighest::default(), SlidingLowest::default());
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
