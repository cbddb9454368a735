//! Whether a time that is predicted again and again counts down as time goes by. One that does not is not worth saying.

use std::time::Duration;

use super::clock::seconds_between;
use super::persisted::Recent;

/// Predictions that are remembered.
const KEPT: usize = 64;
/// Seconds that a countdown is looked at, back from now: the shorter and the longer time. Where it began later, since then.
const SHORT_S: f64 = 20.0;
const LONG_S: f64 = 180.0;
/// Seconds that must be counted down for each second that goes by, at least and at most.
const PACE: std::ops::RangeInclusive<f64> = 0.5..=2.0;

/// The predictions of something that goes on.
#[derive(Clone, Debug, Default)]
pub(super) struct Countdown {
    /// When each was made, and how many seconds were left by it.
    predictions: Recent<(Duration, f64), KEPT>,
}

impl Countdown {
    /// What was predicted is over, or something else is predicted.
    pub(super) fn clear(&mut self) {
        self.predictions.clear();
    }

    /// Adds a prediction; gives whether the last ones have counted down.
    pub(super) fn is_kept(&mut self, now: Duration, left_s: f64) -> bool {
        self.predictions.retain(|(at, _)| *at < now && seconds_between(*at, now) <= LONG_S);
        let pace = |(at, before_s): &(Duration, f64)| (before_s - left_s) / seconds_between(*at, now);
        let short = self.predictions.iter().rev().find(|(at, _)| seconds_between(*at, now) >= SHORT_S);
        let is_kept = short.into_iter().chain(self.predictions.front()).all(|it| PACE.contains(&pace(it)));
        let is_kept = is_kept && short.is_some();
        self.predictions.push((now, left_s));
        is_kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Polls every ten seconds; gives which predictions are worth saying.
    fn said(predictions: &[f64]) -> Vec<bool> {
        let mut countdown = Countdown::default();
        (0..)
            .zip(predictions)
            .map(|(poll, left_s)| countdown.is_kept(Duration::from_secs(10 * poll), *left_s))
            .collect()
    }

    #[test]
    fn what_counts_down_is_said_once_that_was_seen() {
        assert_eq!(said(&[100.0, 90.0, 80.0, 70.0, 60.0]), [false, false, true, true, true]);
        assert_eq!(said(&[100.0, 94.0, 88.0, 82.0, 76.0]), [false, false, true, true, true], "a little slower");
    }

    #[test]
    fn what_is_always_about_to_come_is_not_said() {
        assert_eq!(said(&[1.0; 30]), [false; 30]);
        assert_eq!(said(&[200.0, 210.0, 195.0, 205.0, 200.0, 195.0]), [false; 6]);
        // Good for a moment, but not over three minutes.
        let saw: Vec<f64> = (0..60).map(|poll| 300.0 - 10.0 * f64::from(poll % 4)).collect();
        assert!(said(&saw)[12..].iter().all(|is_said| !is_said));
        assert_eq!(said(&[300.0, 200.0, 100.0, 50.0]), [false, false, false, false], "gone sooner and sooner");
    }

    #[test]
    fn it_begins_anew_where_something_else_is_predicted() {
        let mut countdown = Countdown::default();
        for poll in 0..5 {
            countdown.is_kept(Duration::from_secs(10 * poll), 100.0 - 10.0 * poll as f64);
        }
        countdown.clear();
        assert!(!countdown.is_kept(Duration::from_secs(50), 50.0));
    }

    #[test]
    fn a_poll_that_is_decided_again_counts_once() {
        let mut countdown = Countdown::default();
        for poll in [0, 1, 2, 2, 3, 3] {
            countdown.is_kept(Duration::from_secs(10 * poll), 100.0 - 10.0 * poll as f64);
        }
        assert!(countdown.is_kept(Duration::from_secs(40), 60.0));
        assert_eq!(countdown.predictions.len(), 5);
    }
}
