//! What was predicted at scale-ups, and what happened then: so that people see how far predictions can be trusted.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::clock::time;
use super::model::TimeLag;
use super::persisted::{Recent, persisted};
use super::policy::Objective;
use super::units::{Replicas, short};

/// Predictions that are kept.
const KEPT: usize = 5;
/// What has not come true by then counts as not come true. What takes longer is never predicted.
const LONGEST: Duration = Duration::from_secs(2 * 3_600);

/// A prediction that was made at a scale-up, and what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PredictionRecord {
    /// When the scale-up was decided, in seconds: since 1970, or on the clock of what was replayed.
    #[serde(rename = "atSeconds", serialize_with = "whole_seconds", deserialize_with = "time::deserialize")]
    #[schemars(with = "u64")]
    pub at: Duration,
    /// Replicas before.
    pub from: Replicas,
    /// Replicas after.
    pub to: Replicas,
    /// Seconds that were predicted until the time lag is within the objective.
    pub said_seconds: u32,
    /// Seconds that it took; null where it was not within the objective after two hours.
    pub took_seconds: Option<u32>,
}
persisted!(PredictionRecord { at, from, to, said_seconds, took_seconds });

impl PredictionRecord {
    /// What was said and what happened: `said 50s, took 41s`.
    pub fn outcome(&self) -> String {
        let seconds = |seconds: u32| short(Duration::from_secs(u64::from(seconds)));
        let said = seconds(self.said_seconds);
        match self.took_seconds {
            Some(took) => format!("said {said}, took {}", seconds(took)),
            None => format!("said {said}, did not come true in 2h"),
        }
    }
}

impl fmt::Display for PredictionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {} {}", self.from.0, self.to.0, self.outcome())
    }
}

/// The predictions of scale-ups, those that have been followed to their end and the present one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct PredictionLog {
    past: Recent<PredictionRecord, KEPT>,
    /// What was predicted at the last decision, until its change is seen.
    #[serde(skip)]
    decided: Option<PredictionRecord>,
    /// Whose change has been made, and which has not come true yet.
    #[serde(skip)]
    pending: Option<PredictionRecord>,
}
persisted!(PredictionLog { past } not { decided, pending });

impl PredictionLog {
    /// A scale-up was decided, after which the time lag is predicted to be within the objective in `within_seconds`.
    pub(super) fn note_decision(&mut self, at: Duration, from: Replicas, to: Replicas, within_seconds: Option<u64>) {
        let said_seconds =
            within_seconds.and_then(|seconds| u32::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
        self.decided =
            said_seconds.map(|said_seconds| PredictionRecord { at, from, to, said_seconds, took_seconds: None });
    }

    /// The replicas were changed, by whomever: what was predicted for the counts before is never known.
    pub(super) fn note_change(&mut self, to: Replicas) {
        self.pending = self.decided.take().filter(|decided| decided.to == to);
    }

    /// Looks whether what was predicted has come true.
    pub(super) fn observe(&mut self, now: Duration, time_lag: TimeLag, objective: Objective) {
        let Some(mut pending) = self.pending else { return };
        let elapsed = now.saturating_sub(pending.at);
        let is_within = matches!(time_lag, TimeLag::Seconds(age) if age <= objective.time_lag());
        if !is_within && elapsed < LONGEST {
            return;
        }
        pending.took_seconds = is_within.then(|| u32::try_from(elapsed.as_secs()).unwrap_or(u32::MAX));
        self.past.push(pending);
        self.pending = None;
    }

    /// Those that have been followed to their end, oldest first.
    pub(super) fn past(&self) -> Vec<PredictionRecord> {
        self.past.iter().copied().collect()
    }
}

fn whole_seconds<S: Serializer>(at: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(at.as_secs())
}
