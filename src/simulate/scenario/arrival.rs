//! The `arrival` section of a scenario: what producers send.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::core::duration;

/// What producers send, in records/s over all topics. The counts are drawn around it (Poisson).
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Arrival {
    /// A constant rate.
    pub constant: Option<f64>,
    /// A rate from each time on.
    pub steps: Vec<StepTo>,
    /// A linear change from one rate to another, which then stays.
    pub ramp: Option<Ramp>,
    /// A sine between two rates, which starts at the low one.
    pub wave: Option<SineArrival>,
    /// A flash crowd: a rate that rises, stays and falls.
    pub flash: Option<FlashCrowd>,
    /// A batch of records, repeated.
    pub batch: Option<Batch>,
    /// At random times for random lengths (both exponentially distributed).
    pub bursts: Option<Bursts>,
    /// Lines of `seconds,rate`; each rate holds until the next. Relative to the scenario's file.
    pub csv: Option<PathBuf>,
    /// Observations as `recommend --record` writes them: exactly the records that arrived then, with its topics and
    /// partitions. Relative to the scenario's file.
    pub trace: Option<PathBuf>,
}

/// A rate from a time on.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepTo {
    /// The time from which the rate applies.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub at: Duration,
    /// In records/s.
    pub rate: f64,
}

/// A linear change.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ramp {
    /// In records/s, before and at `start`.
    pub from: f64,
    /// In records/s, at `end` and after.
    pub to: f64,
    /// The start of the change.
    #[serde(deserialize_with = "duration::required", default)]
    #[schemars(with = "String")]
    pub start: Duration,
    /// The end of the change.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub end: Duration,
}

/// A sine.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SineArrival {
    /// In records/s.
    pub low: f64,
    /// In records/s.
    pub high: f64,
    /// The time from low to low.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub period: Duration,
}

/// A flash crowd.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FlashCrowd {
    /// In records/s, added to everything else.
    pub rate: f64,
    /// The start of the rise.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub at: Duration,
    /// How long it rises from 0 to `rate`.
    #[serde(deserialize_with = "duration::required", default)]
    #[schemars(with = "String")]
    pub rise: Duration,
    /// How long the full rate lasts.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub lasts: Duration,
    /// How long it falls from `rate` to 0.
    #[serde(deserialize_with = "duration::required", default)]
    #[schemars(with = "String")]
    pub fall: Duration,
    /// The time from one start to the next; once where absent.
    #[serde(deserialize_with = "duration::optional", default)]
    #[schemars(with = "Option<String>")]
    pub every: Option<Duration>,
}

/// A batch of records.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Batch {
    /// Records per batch.
    pub records: f64,
    /// The time from one batch to the next.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub every: Duration,
    /// How long one batch takes to be written.
    #[serde(deserialize_with = "duration::required", default = "a_second")]
    #[schemars(with = "String")]
    pub over: Duration,
    /// The start of the first one; one `every` after the start where absent.
    #[serde(deserialize_with = "duration::optional", default)]
    #[schemars(with = "Option<String>")]
    pub first: Option<Duration>,
}

fn a_second() -> Duration {
    Duration::from_secs(1)
}

/// Random bursts.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bursts {
    /// In records/s while one lasts.
    pub rate: f64,
    /// The mean time between the end of one and the start of the next.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub pause: Duration,
    /// The mean length.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub lasts: Duration,
}
