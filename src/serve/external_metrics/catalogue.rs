//! The metrics that are served, and their names. It knows nothing of their values.

/// A metric of a ScaledConsumer. The name says the unit, and is the same that `/metrics` has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// How many replicas there should be.
    DesiredReplicas,
    /// Records not yet read.
    LagRecords,
    /// The age of the oldest record not yet read, in seconds.
    TimeLagSeconds,
    /// Records that arrive, per second.
    ArrivalRecordsPerSecond,
}

impl Metric {
    /// Every metric, in the order of discovery.
    pub const ALL: [Self; 4] =
        [Self::DesiredReplicas, Self::LagRecords, Self::TimeLagSeconds, Self::ArrivalRecordsPerSecond];

    /// The name that an HPA gives.
    pub fn name(self) -> &'static str {
        match self {
            Self::DesiredReplicas => "paceline_desired_replicas",
            Self::LagRecords => "paceline_lag_records",
            Self::TimeLagSeconds => "paceline_time_lag_seconds",
            Self::ArrivalRecordsPerSecond => "paceline_arrival_records_per_second",
        }
    }

    /// The metric of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }
}
