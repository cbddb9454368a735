//! The names of the policies that are compared.

use clap::ValueEnum;

/// A policy to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "camelCase")]
pub enum PolicyName {
    /// Paceline, with the scenario's objective.
    TimeLag,
    /// Paceline, ceil(lag / policy.lagPerReplica).
    LagPerReplica,
    /// KEDA's Kafka scaler, which feeds an HPA, with policy.lagPerReplica as its lagThreshold.
    Keda,
    /// An HPA on the group's lag, as an exporter shows it every 30 s.
    Hpa,
    /// An HPA on the arrival rate that is given a replica's true capacity.
    Rate,
    /// policy.staticReplicas all the time, or what the busiest minute needs.
    Static,
    /// The oracle: all arrivals are known beforehand, and pods start and rebalance as for the others.
    Oracle,
}

impl PolicyName {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 7] =
        [Self::TimeLag, Self::LagPerReplica, Self::Keda, Self::Hpa, Self::Rate, Self::Static, Self::Oracle];

    /// Those that are compared where none is named.
    pub const DEFAULT: [Self; 2] = [Self::TimeLag, Self::Keda];

    /// The name as it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::TimeLag => "timeLag",
            Self::LagPerReplica => "lagPerReplica",
            Self::Keda => "keda",
            Self::Hpa => "hpa",
            Self::Rate => "rate",
            Self::Static => "static",
            Self::Oracle => "oracle",
        }
    }
}
