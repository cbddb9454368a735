//! What a policy's rule results in, and its numbers in words: the clauses that reasons are made of.

use std::fmt;
use std::time::Duration;

use super::model::CapacitySource;
use super::units::{Lag, LagUnit, RecordsPerSecond, Replicas, grouped, short};

/// What the rule of the policy results in, with its numbers. Its `Display` is one or two sentences.
#[derive(Clone, Debug, PartialEq)]
pub enum RuleResult {
    /// `lagPerReplica`.
    Lag(LagRule),
    /// `timeLag`.
    TimeLag(Box<Comparison>),
    /// `timeLag`, where the capacity of a replica is unknown.
    Unmeasured,
}

impl RuleResult {
    /// The replicas that the rule needs, before any bound.
    pub fn replicas(&self) -> Option<Replicas> {
        match self {
            Self::Lag(rule) => Some(rule.wanted),
            Self::TimeLag(comparison) => Some(comparison.chosen.replicas),
            Self::Unmeasured => None,
        }
    }
}

impl fmt::Display for RuleResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lag(rule) => rule.fmt(f),
            Self::TimeLag(comparison) => comparison.fmt(f),
            Self::Unmeasured => f.write_str("Capacity unknown: no replica has been at full load yet."),
        }
    }
}

/// The lag rule with its numbers. Its `Display` is a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LagRule {
    /// The lag that is known.
    pub lag: Lag,
    /// Whether that is all of it.
    pub complete: bool,
    /// Records per replica.
    pub threshold: u64,
    /// `ceil(lag / threshold)`.
    pub wanted: Replicas,
}

impl fmt::Display for LagRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lag, complete, threshold, wanted } = self;
        let at_least = if *complete { "" } else { "at least " };
        let per_replica = grouped(*threshold);
        match wanted.0 {
            0 => write!(f, "The lag is {at_least}0."),
            _ => write!(f, "A lag of {at_least}{lag} at {per_replica} per replica needs {wanted}."),
        }
    }
}

/// Replica counts side by side: the one that the rule chose and those next to it. Its `Display` is two sentences: the load,
/// and what each count would bring.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The objective, in whole seconds.
    pub objective: Duration,
    /// Records that arrive per second.
    pub arrival_rate: RecordsPerSecond,
    /// What waits, where their age matters: nothing where the group keeps up.
    pub backlog: Option<Lag>,
    /// What the backlog counts.
    pub unit: LagUnit,
    /// The capacity of a replica.
    pub capacity: RecordsPerSecond,
    /// Where the capacity comes from.
    pub capacity_source: CapacitySource,
    /// The one chosen.
    pub chosen: Forecast,
    /// The next one below it, where it brings less.
    pub fewer: Option<Forecast>,
    /// The next one above it, where records are late and it would cost more than it saves.
    pub more: Option<Forecast>,
}

/// What a replica count is predicted to bring, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// The replicas.
    pub replicas: Replicas,
    /// The highest time lag from now on, within the span that is predicted, in whole seconds.
    pub worst_wait: Duration,
    /// The time until the time lag is within the objective and stays there, in whole seconds; nothing where it never is.
    pub within_objective: Option<Duration>,
}

impl Forecast {
    /// When it is within the objective again: `is back within 20s in 50s`.
    fn is_back(&self, objective: Duration) -> String {
        let objective = short(objective);
        match self.within_objective {
            None => format!("is not back within {objective} in the next hour"),
            Some(after) if after.is_zero() => format!("is within {objective} at once"),
            Some(after) => format!("is back within {objective} in {}", short(after)),
        }
    }

    /// The same of a count that was not chosen: `would be back within 20s in 50s`.
    fn would_be_back(&self, objective: Duration) -> String {
        let objective = short(objective);
        match self.within_objective {
            None => format!("would not be back within {objective} in the next hour"),
            Some(after) if after.is_zero() => format!("would be within {objective} at once"),
            Some(after) => format!("would be back within {objective} in {}", short(after)),
        }
    }
}

impl Comparison {
    /// What arrives, what waits, and what a replica reads.
    fn load(&self) -> String {
        let waiting = self.backlog.filter(|backlog| backlog.0 > 0).map(|backlog| self.unit.wait(backlog));
        let arriving = (self.arrival_rate.0 >= 0.05).then(|| format!("{} records/s arrive", self.arrival_rate));
        let load = match (arriving, waiting) {
            (Some(arriving), Some(waiting)) => format!("{arriving} and {waiting}"),
            (Some(arriving), None) => arriving,
            (None, Some(waiting)) => format!("Nothing arrives, {waiting}"),
            (None, None) => "Nothing arrives".to_owned(),
        };
        let capacity = self.capacity;
        match self.capacity_source {
            CapacitySource::Measured | CapacitySource::Unknown => format!("{load}, one replica reads {capacity}/s."),
            CapacitySource::Hint => format!("{load}, one replica reads {capacity}/s by spec.capacityPerReplica."),
            CapacitySource::LowerBound => format!("{load}, one replica reads at least {capacity}/s."),
        }
    }

    /// What the counts bring.
    fn outcome(&self) -> String {
        let Self { objective, chosen, fewer, more, .. } = self;
        let (count, wait) = (chosen.replicas.0, short(chosen.worst_wait));
        let is_kept = chosen.worst_wait <= *objective;
        let within = short(*objective);
        let Some(other) = fewer else {
            if is_kept {
                return format!("With {count} the oldest record waits {wait} at most (objective {within}).");
            }
            let more = more.map_or(String::new(), |more| {
                format!(" {} {}, but cost more than that saves.", more.replicas.0, more.would_be_back(*objective))
            });
            return format!("With {count} the oldest record waits {wait} and {}.{more}", chosen.is_back(*objective));
        };
        let fewer_count = other.replicas.0;
        // What has waited for long already is as old with any count.
        if !is_kept && other.worst_wait.as_secs() <= chosen.worst_wait.as_secs() * 11 / 10 {
            return format!(
                "The oldest record waits {wait}. With {fewer_count} it {}; with {count} it {}.",
                other.would_be_back(*objective),
                chosen.is_back(*objective)
            );
        }
        let would_wait = short(other.worst_wait);
        let chosen = if is_kept {
            format!("it waits {wait} at most")
        } else {
            format!("it waits {wait} and {}", chosen.is_back(*objective))
        };
        format!(
            "With {fewer_count} the oldest record would wait {would_wait} (objective {within}); with {count} {chosen}."
        )
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.load(), self.outcome())
    }
}

/// A lower replica count that has been followed, and what going there saves and costs. Its `Display` is one or two
/// sentences.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleDownSaving {
    /// The replica count.
    pub replicas: Replicas,
    /// Replica-seconds that it is expected to save before it fails, by how long it would have carried the load.
    pub saving_replica_seconds: u64,
    /// Replica-seconds that it must save to be worth it.
    pub switching_cost_replica_seconds: u64,
    /// For how many seconds it has kept up with the arrivals, or would have.
    pub steady_seconds: u64,
    /// How much longer it takes if all stays as it is, in whole seconds; nothing while it saves nothing, because the last
    /// change is pending or members have just changed.
    pub remaining: Option<Duration>,
    /// Why it is not released all the same.
    pub obstacle: Option<ScaleDownObstacle>,
}

/// Why a replica count that has saved enough would be left again at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleDownObstacle {
    /// A member of it would get more than it can read.
    Overloaded,
    /// More would be late than the replicas are worth.
    LateRecords,
}

impl fmt::Display for ScaleDownSaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let replicas = self.replicas;
        match self.steady_seconds {
            // It fails as the present one does: something that they share is at its end.
            0 => write!(f, "{replicas} would read as much as the present ones")?,
            seconds => write!(f, "{replicas} would have carried the load for {}", short(Duration::from_secs(seconds)))?,
        }
        let saving = grouped(self.saving_replica_seconds);
        let cost = grouped(self.switching_cost_replica_seconds);
        match self.obstacle {
            Some(ScaleDownObstacle::Overloaded) => f.write_str(", but now a member would get more than it can read."),
            Some(ScaleDownObstacle::LateRecords) => f.write_str(", but now too many records would be late."),
            None => match self.remaining {
                Some(Duration::ZERO) => {
                    write!(f, ": going down is worth it ({saving} of {cost} replica-seconds saved).")
                }
                Some(after) => {
                    let after = short(after);
                    write!(f, ". Going down is worth it in about {after} ({saving} of {cost} replica-seconds saved).")
                }
                None => {
                    write!(f, ". Going down is worth it once {cost} replica-seconds are saved; {saving} are.")
                }
            },
        }
    }
}
