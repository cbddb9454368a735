//! A scenario: what is simulated, as users write it in YAML. Every field has a default. `scenario_file` reads and checks it.

mod arrival;
mod consumers;
mod event;
mod topic;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

pub(super) use arrival::*;
pub(super) use consumers::*;
pub(super) use event::*;
pub use topic::*;

use super::recorded::{Rates, Trace};
use crate::core::{InvalidSchedule, Schedule, duration};

/// The durations that are allowed. Shorter runs show nothing, and longer ones nothing that a week does not.
pub const DURATIONS: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(8 * 86_400);

/// What is simulated.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Scenario {
    /// The file's name without its ending, unless it says otherwise.
    pub name: String,
    /// One sentence for readers of the results.
    pub description: String,
    /// How much virtual time passes.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub duration: Duration,
    /// The age that a record may reach before it is processed.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub objective: Duration,
    /// What producers send; the rates of several kinds are added.
    pub arrival: Arrival,
    /// The topics they send to.
    pub topics: Vec<TopicSettings>,
    /// The consumers.
    pub members: MemberSettings,
    /// The group's protocol and assignor.
    pub group: GroupSettings,
    /// The workload that runs them.
    pub pods: PodSettings,
    /// A limit that all members share, such as a database.
    pub downstream: Option<DownstreamSettings>,
    /// Records older than this are deleted.
    #[serde(deserialize_with = "duration::optional")]
    #[schemars(with = "Option<String>")]
    pub retention: Option<Duration>,
    /// How the policies observe the group.
    pub polls: PollSettings,
    /// The bounds and parameters of the policies.
    pub policy: PolicySettings,
    /// Events, with their times.
    pub events: Vec<Event>,
    /// The content of `arrival.csv`.
    #[serde(skip)]
    pub rates: Option<Arc<Rates>>,
    /// The content of `arrival.trace`.
    #[serde(skip)]
    pub recording: Option<Arc<Trace>>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            name: String::new(),
            description: String::new(),
            duration: Duration::from_secs(3 * 3600),
            objective: Duration::from_secs(60),
            arrival: Arrival::default(),
            topics: vec![TopicSettings::default()],
            members: MemberSettings::default(),
            group: GroupSettings::default(),
            pods: PodSettings::default(),
            downstream: None,
            retention: None,
            polls: PollSettings::default(),
            policy: PolicySettings::default(),
            events: Vec::new(),
            rates: None,
            recording: None,
        }
    }
}

/// A limit that all members share.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DownstreamSettings {
    /// The throughput of all members together, in records/s.
    pub limit: f64,
    /// Reduction of the limit for each member above `freeMembers` (locks, connections), in records/s.
    #[serde(default)]
    pub loss_per_member: f64,
    /// Members that do not reduce the limit.
    #[serde(default)]
    pub free_members: u32,
}

/// How the policies observe the group.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PollSettings {
    /// Paceline's poll interval. The baselines have their own: 15 s and 30 s.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub interval: Duration,
    /// The share of polls in which some partitions can't be read.
    pub partial: f64,
    /// The share of polls that fail.
    pub failed: f64,
    /// So many partitions, the last ones, that no poll can read.
    pub unreadable: u32,
}

impl Default for PollSettings {
    fn default() -> Self {
        Self { interval: Duration::from_secs(10), partial: 0.0, failed: 0.0, unreadable: 0 }
    }
}

/// The bounds and parameters of the policies.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicySettings {
    /// The least replicas; 0 allows scale to zero.
    pub min_replicas: u32,
    /// The most replicas.
    pub max_replicas: Option<u32>,
    /// Paceline's schedules. Virtual time begins at 1970-01-01 00:00 UTC, a Thursday.
    pub schedules: Vec<ScheduleSettings>,
    /// For `lagPerReplica`, KEDA and the HPA on lag, in records.
    pub lag_per_replica: u64,
    /// The capacity hint of Paceline's policies, in records/s.
    pub capacity_hint: Option<f64>,
    /// The target utilization of the HPA on the arrival rate.
    pub target_utilization: f64,
    /// The static level; where absent, what the busiest minute needs.
    pub static_replicas: Option<u32>,
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self {
            min_replicas: 1,
            max_replicas: None,
            schedules: Vec::new(),
            lag_per_replica: 1000,
            capacity_hint: None,
            target_utilization: 0.8,
            static_replicas: None,
        }
    }
}

/// More replicas than `minReplicas` for some time.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleSettings {
    /// When it begins: minute, hour, day of month, month, day of week.
    pub cron: String,
    /// The IANA time zone of `cron`. Default: UTC.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// How long it lasts.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub duration: Duration,
    /// The least replicas meanwhile.
    pub min_replicas: u32,
}

impl ScheduleSettings {
    /// As a policy has it.
    pub(super) fn schedule(&self) -> Result<Schedule, InvalidSchedule> {
        Schedule::new(&self.cron, &self.time_zone, self.duration, self.min_replicas)
    }
}

fn utc() -> String {
    "UTC".to_owned()
}

impl Scenario {
    /// All partitions as (topic's index, number), topic by topic.
    pub fn partitions(&self) -> Vec<(usize, i32)> {
        let of =
            |(index, topic): (usize, &TopicSettings)| (0..topic.partitions as i32).map(move |p| (index, p)).collect();
        self.topics.iter().enumerate().flat_map::<Vec<_>, _>(of).collect()
    }

    /// The index of a partition in [`Scenario::partitions`].
    pub fn index_of(&self, name: &PartitionName) -> Option<usize> {
        let (topic, number) = match name {
            PartitionName::Number(number) => (0, *number as i32),
            PartitionName::Text(text) => {
                let (topic, number) = text.rsplit_once('/')?;
                (self.topics.iter().position(|it| it.name == topic)?, number.parse().ok()?)
            }
        };
        self.partitions().iter().position(|it| *it == (topic, number))
    }

    /// The most replicas that can have a partition each.
    pub fn useful_replicas(&self) -> u32 {
        let of = |topic: &TopicSettings| topic.partitions;
        let members = match self.group.assignor {
            AssignorName::Range => self.topics.iter().map(of).max(),
            AssignorName::RoundRobin
            | AssignorName::Sticky
            | AssignorName::CooperativeSticky
            | AssignorName::Uniform => Some(self.topics.iter().map(of).sum()),
        };
        members.unwrap_or(0).div_ceil(self.members.threads_per_replica.max(1))
    }

    /// Each partition's share of all records, in the order of [`Scenario::partitions`].
    pub fn shares(&self) -> Vec<f64> {
        let all: f64 = self.topics.iter().map(|topic| topic.share).sum();
        let of = |topic: &TopicSettings| {
            let weights: Vec<f64> =
                (0..topic.partitions as usize).map(|p| topic.weights.get(p).copied().unwrap_or(1.0)).collect();
            let sum: f64 = weights.iter().sum();
            let share = if all > 0.0 && sum > 0.0 { topic.share / all / sum } else { 0.0 };
            weights.into_iter().map(|weight| weight * share).collect::<Vec<_>>()
        };
        self.topics.iter().flat_map(of).collect()
    }

    /// The share of all records that the busiest of so many members gets.
    pub fn busiest_share(&self, members: u32) -> f64 {
        let topics: Vec<usize> = self.partitions().into_iter().map(|(topic, _)| topic).collect();
        let ids: Vec<u64> = (0..u64::from(members)).collect();
        let owners = super::assignors::assign(self.group.assignor, &topics, &ids, &vec![None; topics.len()]);
        let mut loads = vec![0.0; members as usize];
        for (owner, share) in owners.iter().zip(self.shares()) {
            if let Some(load) = owner.and_then(|owner| loads.get_mut(owner as usize)) {
                *load += share;
            }
        }
        loads.into_iter().fold(0.0, f64::max)
    }
}
