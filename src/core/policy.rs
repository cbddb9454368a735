//! What the user configures: objective, bounds and limits. Values that make no sense can't be built.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::GroupKind;
use super::sizing::Sizing;
use super::units::{RecordsPerSecond, Replicas};

/// Everything a decision depends on besides what was observed.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// How the number of replicas follows from what was seen.
    pub rule: Rule,
    /// The least and the most replicas.
    pub bounds: Bounds,
    /// Group members that one replica runs.
    pub threads_per_replica: NonZeroU32,
    /// What a partition without a commit means; nothing where that follows from the kind of group.
    pub offset_reset: Option<OffsetReset>,
    /// ScalingRules on going up.
    pub scale_up: ScalingRules,
    /// ScalingRules on going down.
    pub scale_down: ScalingRules,
    /// When there is nothing to do.
    pub idle: Idle,
    /// What to do once nothing could be read for long.
    pub fallback: Fallback,
    /// A pause by annotation.
    pub pause: Option<Pause>,
    /// The capacity of a replica, in records/s, as long as none has been measured.
    pub capacity_hint: Option<RecordsPerSecond>,
    /// The longest time between two observations that still count as consecutive. After a longer one it is unknown what
    /// happened in between. See [`max_observation_gap`].
    pub max_observation_gap: Duration,
}

impl Policy {
    /// The rule with every default.
    pub fn new(rule: Rule, bounds: Bounds) -> Self {
        Self {
            rule,
            bounds,
            threads_per_replica: NonZeroU32::MIN,
            offset_reset: None,
            scale_up: ScalingRules::up(),
            scale_down: ScalingRules::down(rule),
            idle: Idle::default(),
            fallback: Fallback::default(),
            pause: None,
            capacity_hint: None,
            max_observation_gap: max_observation_gap(DEFAULT_POLL_INTERVAL, DEFAULT_POLL_DEADLINE),
        }
    }

    /// What a partition without a commit means for such a group.
    pub fn offset_reset_of(&self, kind: GroupKind) -> OffsetReset {
        self.offset_reset.unwrap_or_else(|| OffsetReset::default_of(kind))
    }

    /// Members and replicas, as far as the policy alone says it.
    pub fn sizing(&self) -> Sizing {
        Sizing::new(self.threads_per_replica)
    }
}

/// The time between two polls of a group that is being measured, where it is not polled more often anyway. Five polls
/// then show as many commits of a consumer with Kafka's default interval of 5 s as there are.
pub const MEASURING_INTERVAL: Duration = Duration::from_secs(2);

/// The time between two polls of a Kafka cluster where nothing is configured. Consumers commit every 5 s by default: polling
/// faster reads the same commits again.
pub const DEFAULT_POLL_INTERVAL: Duration = Duration::from_secs(10);

/// How long one poll of a Kafka cluster may take where nothing is configured. Two phases of it may each run into the
/// request time-out of 3 s, with 2 s to spare.
pub const DEFAULT_POLL_DEADLINE: Duration = Duration::from_secs(8);

/// The deadline of a poll where none is configured: a poll ends before the next one is due.
pub fn default_poll_deadline(poll_interval: Duration) -> Duration {
    DEFAULT_POLL_DEADLINE.min(poll_interval)
}

/// The longest time between two observations that still count as consecutive. Up to two polls in a row may fail, and the
/// next one may take until its deadline.
pub fn max_observation_gap(poll_interval: Duration, deadline: Duration) -> Duration {
    poll_interval * 3 + deadline
}

/// How the number of replicas follows from what was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The fewest replicas that are predicted to keep the time lag within the objective: the default.
    TimeLag(Objective),
    /// `ceil(lag / threshold)`, in records: the rule of KEDA's `lagThreshold`.
    LagPerReplica(NonZeroU64),
}

/// The age that the oldest unread record may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Objective(Duration);

impl Objective {
    /// Shorter ones can't be seen in offsets that are polled and committed every few seconds.
    pub const SHORTEST: Duration = Duration::from_secs(1);
    /// A longer one is a typing error.
    pub const LONGEST: Duration = Duration::from_secs(24 * 3600);

    /// An objective, where it lies between the shortest and the longest.
    pub fn new(time_lag: Duration) -> Option<Self> {
        (Self::SHORTEST..=Self::LONGEST).contains(&time_lag).then_some(Self(time_lag))
    }

    /// The age that is allowed.
    pub fn time_lag(self) -> Duration {
        self.0
    }
}

impl Default for Objective {
    fn default() -> Self {
        Self(Duration::from_secs(60))
    }
}

/// The least and the most replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    min: u32,
    max: Option<NonZeroU32>,
}

impl Bounds {
    /// From `min` (0 allows scale to zero) to `max` (as many as the partitions can use, where absent).
    pub fn new(min: u32, max: Option<u32>) -> Result<Self, ImpossibleBounds> {
        let Some(max) = max else { return Ok(Self { min, max: None }) };
        let Some(max) = NonZeroU32::new(max) else { return Err(ImpossibleBounds::NoneAllowed) };
        if min > max.get() {
            return Err(ImpossibleBounds::MinAboveMax { min, max: max.get() });
        }
        Ok(Self { min, max: Some(max) })
    }

    /// The least replicas.
    pub fn min(self) -> Replicas {
        Replicas(self.min)
    }

    /// The most replicas, where the user set a limit.
    pub fn max(self) -> Option<Replicas> {
        self.max.map(|max| Replicas(max.get()))
    }

    /// Whether scale to zero is allowed.
    pub fn allow_zero(self) -> bool {
        self.min == 0
    }
}

/// Bounds that exclude everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImpossibleBounds {
    /// No replica is allowed at all.
    #[error("maxReplicas is 0; leave it out, or set the paused-replicas annotation to \"0\" to stop the workload")]
    NoneAllowed,
    /// The least is more than the most.
    #[error("minReplicas is {min}, above maxReplicas, which is {max}")]
    MinAboveMax {
        /// The least replicas configured.
        min: u32,
        /// The most replicas configured.
        max: u32,
    },
}

/// What a partition without a committed offset means (the consumers' `auto.offset.reset`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OffsetReset {
    /// The group starts at the end.
    #[default]
    Latest,
    /// The group starts at the oldest record.
    Earliest,
}

impl OffsetReset {
    /// Where the consumers of such a group begin if nobody sets it. Kafka Streams and Kafka Connect set
    /// `auto.offset.reset` to earliest (`StreamsConfig`, `Worker.baseConsumerConfigs`); Kafka's own default is latest.
    fn default_of(kind: GroupKind) -> Self {
        match kind {
            GroupKind::Streams | GroupKind::ClassicStreams | GroupKind::ConnectSink => Self::Earliest,
            GroupKind::Classic
            | GroupKind::Consumer
            | GroupKind::ConnectWorkers
            | GroupKind::Share
            | GroupKind::CommitsOnly
            | GroupKind::NeverSeen
            | GroupKind::Expired
            | GroupKind::Unknown => Self::Latest,
        }
    }
}

/// How fast replicas may change in one direction, in the words of the HPA's `behavior` (autoscaling/v2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalingRules {
    /// Going up takes the lowest, going down the highest recommendation of this time.
    pub stabilization: Duration,
    /// Which of the steps binds.
    pub select: Select,
    /// The steps. None: any step.
    pub steps: Vec<ScalingStep>,
}

impl ScalingRules {
    /// Up at once, by any step.
    pub fn up() -> Self {
        Self { stabilization: Duration::ZERO, select: Select::Max, steps: Vec::new() }
    }

    /// Down by any step: after 300 s, the HPA's default, where the rule follows the lag; at once where it has proved
    /// by itself that fewer are enough.
    pub fn down(rule: Rule) -> Self {
        let stabilization = match rule {
            Rule::LagPerReplica(_) => Duration::from_secs(300),
            Rule::TimeLag(_) => Duration::ZERO,
        };
        Self { stabilization, select: Select::Max, steps: Vec::new() }
    }
}

/// Which of several steps binds (`selectPolicy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    /// The one that allows most.
    Max,
    /// The one that allows least.
    Min,
    /// No change in this direction.
    Disabled,
}

/// The change that is allowed within a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScalingStep {
    /// How much.
    pub size: StepSize,
    /// Within how long.
    pub period: Duration,
}

/// How much may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepSize {
    /// So many replicas.
    Pods(NonZeroU32),
    /// So many per cent of the replicas at the start of the period.
    Percent(NonZeroU32),
}

/// When a group counts as idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idle {
    /// For this long nothing to do, before the last replica is stopped.
    pub after: Duration,
    /// Lag up to here, in records, is nothing to do: what transaction markers leave behind for ever.
    pub activation_lag: u64,
}

impl Default for Idle {
    fn default() -> Self {
        Self { after: Duration::from_secs(300), activation_lag: 0 }
    }
}

/// What to do once nothing could be read for `after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// For this long nothing could be read.
    pub after: Duration,
    /// What then.
    pub action: FallbackAction,
}

impl Default for Fallback {
    fn default() -> Self {
        Self { after: Duration::from_secs(180), action: FallbackAction::Hold }
    }
}

/// What to do when Kafka can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FallbackAction {
    /// Stay.
    Hold,
    /// At least so many: up, never down.
    AtLeast(Replicas),
    /// Exactly so many, even down.
    Exactly(Replicas),
}

/// A pause by annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Leave the replicas as they are; nothing is written.
    AsIs,
    /// Hold at so many.
    At(Replicas),
}
