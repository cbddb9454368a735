//! What producers send, as a scenario says it.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::core::duration;

/// What producers send, in records/s over all topics. The counts are drawn around it (Poisson).
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Arrival {
    /// All the time.
    pub constant: Option<f64>,
    /// From each time on, this rate.
    pub steps: Vec<StepTo>,
    /// In a straight line from one rate to another, and there it stays.
    pub ramp: Option<Ramp>,
    /// A sine between two rates, which begins at the low one.
    pub wave: Option<Wave>,
    /// A crowd that comes, stays and goes.
    pub flash: Option<Flash>,
    /// So many records at once, again and again.
    pub batch: Option<Batch>,
    /// At random times for random lengths (both exponentially distributed).
    pub bursts: Option<Bursts>,
    /// Lines of `seconds,rate`; each rate holds until the next. Relative to the scenario's file.
    pub csv: Option<PathBuf>,
    /// Observations as `recommend --record` writes them: exactly the records that arrived then, with its topics and
    /// partitions. Relative to the scenario's file.
    pub trace: Option<PathBuf>,
}

/// From a time on, a rate.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepTo {
    /// From when on.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub at: Duration,
    /// In records/s.
    pub rate: f64,
}

/// A straight line.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ramp {
    /// In records/s, before and at `start`.
    pub from: f64,
    /// In records/s, at `end` and after.
    pub to: f64,
    /// When it begins.
    #[serde(deserialize_with = "duration::required", default)]
    #[schemars(with = "String")]
    pub start: Duration,
    /// When it is there.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub end: Duration,
}

/// A sine.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wave {
    /// In records/s.
    pub low: f64,
    /// In records/s.
    pub high: f64,
    /// From low to low.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub period: Duration,
}

/// A crowd.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Flash {
    /// On top of everything else, in records/s.
    pub rate: f64,
    /// When it begins to come.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub at: Duration,
    /// From nothing to all of it.
    #[serde(deserialize_with = "duration::required", default)]
    #[schemars(with = "String")]
    pub rise: Duration,
    /// How long all of it stays.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub lasts: Duration,
    /// From all of it to nothing.
    #[serde(deserialize_with = "duration::required", default)]
    #[schemars(with = "String")]
    pub fall: Duration,
    /// Once, or again so long after it began.
    #[serde(deserialize_with = "duration::optional", default)]
    #[schemars(with = "Option<String>")]
    pub every: Option<Duration>,
}

/// Records at once.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Batch {
    /// How many.
    pub records: f64,
    /// From one to the next.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub every: Duration,
    /// How long one takes to be written.
    #[serde(deserialize_with = "duration::required", default = "a_second")]
    #[schemars(with = "String")]
    pub over: Duration,
    /// When the first one comes; one `every` after the start where absent.
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
