//! A scenario: what is simulated, as people write it in YAML. Every field has a default; what makes no sense is named
//! with file, line and field. Nothing wrong leaves this file and its checks.

mod check;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::recorded::{Rates, Trace};
use crate::yaml::{Invalid, Source};

/// What is simulated.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Scenario {
    /// The file's name without its ending, unless it says otherwise.
    pub name: String,
    /// One sentence for whoever reads the results.
    pub description: String,
    /// How much virtual time passes.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub duration: Duration,
    /// The age that a record may reach before it is processed.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub objective: Duration,
    /// What producers send; what several kinds give is added up.
    pub arrival: Arrival,
    /// Where to.
    pub topics: Vec<Topic>,
    /// The consumers.
    pub members: Members,
    /// How they share the work.
    pub group: Group,
    /// The workload that runs them.
    pub pods: Pods,
    /// What all members share, such as a database.
    pub downstream: Option<Downstream>,
    /// Records older than this are deleted.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "Option<String>")]
    pub retention: Option<Duration>,
    /// How the policies see the group.
    pub polls: Polls,
    /// What the policies may do.
    pub policy: PolicySettings,
    /// What happens when.
    pub events: Vec<Event>,
    /// What `arrival.csv` holds.
    #[serde(skip)]
    pub rates: Option<Arc<Rates>>,
    /// What `arrival.trace` holds.
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
            topics: vec![Topic::default()],
            members: Members::default(),
            group: Group::default(),
            pods: Pods::default(),
            downstream: None,
            retention: None,
            polls: Polls::default(),
            policy: PolicySettings::default(),
            events: Vec::new(),
            rates: None,
            recording: None,
        }
    }
}

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
    #[serde(with = "humantime_serde")]
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
    #[serde(with = "humantime_serde", default)]
    #[schemars(with = "String")]
    pub start: Duration,
    /// When it is there.
    #[serde(with = "humantime_serde")]
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
    #[serde(with = "humantime_serde")]
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
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub at: Duration,
    /// From nothing to all of it.
    #[serde(with = "humantime_serde", default)]
    #[schemars(with = "String")]
    pub rise: Duration,
    /// How long all of it stays.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub lasts: Duration,
    /// From all of it to nothing.
    #[serde(with = "humantime_serde", default)]
    #[schemars(with = "String")]
    pub fall: Duration,
    /// Once, or again so long after it began.
    #[serde(with = "humantime_serde", default)]
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
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub every: Duration,
    /// How long one takes to be written.
    #[serde(with = "humantime_serde", default = "a_second")]
    #[schemars(with = "String")]
    pub over: Duration,
    /// When the first one comes; one `every` after the start where absent.
    #[serde(with = "humantime_serde", default)]
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
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub pause: Duration,
    /// The mean length.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub lasts: Duration,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: u32,
    /// Its share of the records, beside the other topics' shares.
    pub share: f64,
    /// The partitions' shares of the topic's records, from partition 0 on; those without one have 1.
    pub weights: Vec<f64>,
}

impl Default for Topic {
    fn default() -> Self {
        Self { name: "orders".to_owned(), partitions: 12, share: 1.0, weights: Vec::new() }
    }
}

/// The consumers.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Members {
    /// What one member processes, in records/s.
    pub capacity: f64,
    /// How much that varies from minute to minute: the standard deviation, as a share of the capacity.
    pub noise: f64,
    /// How much members differ from each other: each has between 1 - spread and 1 + spread of the capacity.
    pub spread: f64,
    /// The time between two commits of a member.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub commit_interval: Duration,
    /// Whether members commit before they give partitions away. Otherwise what was read since the last commit is read
    /// again by the next owner.
    pub commit_on_revoke: bool,
    /// Whether the group has committed before the start.
    pub committed_before: bool,
    /// Where a partition without a commit begins.
    pub offset_reset: Reset,
    /// Members that one replica runs.
    pub threads_per_replica: u32,
}

impl Default for Members {
    fn default() -> Self {
        Self {
            capacity: 100.0,
            noise: 0.05,
            spread: 0.0,
            commit_interval: Duration::from_secs(5),
            commit_on_revoke: true,
            committed_before: true,
            offset_reset: Reset::Earliest,
            threads_per_replica: 1,
        }
    }
}

/// The consumers' `auto.offset.reset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reset {
    /// At the end.
    Latest,
    /// At the oldest record.
    Earliest,
}

/// How members share the work.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Group {
    /// Who stops during a rebalance.
    pub protocol: Protocol,
    /// Who gets which partition.
    pub assignor: Assignor,
    /// How long a rebalance takes.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub pause: Duration,
    /// When the group notices that a member died.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub session_timeout: Duration,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            protocol: Protocol::Eager,
            assignor: Assignor::Range,
            pause: Duration::from_secs(3),
            // The Java consumer's default since Kafka 3.0 (KIP-735).
            session_timeout: Duration::from_secs(45),
        }
    }
}

/// How a rebalance goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Every member stops until it has its new assignment (classic).
    Eager,
    /// Only partitions that move stop (KIP-429).
    Cooperative,
    /// The coordinator assigns, and only partitions that move stop (KIP-848).
    Consumer,
}

/// An assignor's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Assignor {
    /// `RangeAssignor`.
    Range,
    /// `RoundRobinAssignor`.
    #[serde(rename = "roundrobin")]
    RoundRobin,
    /// `StickyAssignor`.
    Sticky,
    /// `CooperativeStickyAssignor`.
    CooperativeSticky,
    /// The `uniform` assignor of KIP-848.
    Uniform,
}

impl Assignor {
    /// The name as Kafka gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::Sticky => "sticky",
            Self::CooperativeSticky => "cooperative-sticky",
            Self::Uniform => "uniform",
        }
    }
}

/// The workload that runs the members.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Pods {
    /// How many there are at the start, at work.
    pub replicas: u32,
    /// From a new pod to its members in the group.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub start_delay: Duration,
    /// How much later each further pod of the same scale-up is there.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub stagger: Duration,
}

impl Default for Pods {
    fn default() -> Self {
        Self { replicas: 1, start_delay: Duration::from_secs(10), stagger: Duration::from_secs(1) }
    }
}

/// What all members share.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Downstream {
    /// The most that all members together can do, in records/s.
    pub limit: f64,
    /// How much less that is for each member above `freeMembers` (locks, connections), in records/s.
    #[serde(default)]
    pub loss_per_member: f64,
    /// Members that cost nothing.
    #[serde(default)]
    pub free_members: u32,
}

/// How the policies see the group.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Polls {
    /// Paceline's poll interval. The baselines have their own: 15 s and 30 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub interval: Duration,
    /// The share of polls in which some partitions can't be read.
    pub partial: f64,
    /// The share of polls that fail.
    pub failed: f64,
}

impl Default for Polls {
    fn default() -> Self {
        Self { interval: Duration::from_secs(10), partial: 0.0, failed: 0.0 }
    }
}

/// What the policies may do, and the numbers that some need.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicySettings {
    /// The least replicas; 0 allows scale to zero.
    pub min_replicas: u32,
    /// The most replicas.
    pub max_replicas: Option<u32>,
    /// Of `lagPerReplica`, of KEDA and of the HPA on lag, in records.
    pub lag_per_replica: u64,
    /// What Paceline is told of a replica's capacity, in records/s.
    pub capacity_hint: Option<f64>,
    /// Of the HPA on the rate: how full a replica shall be.
    pub target_utilization: f64,
    /// Of the static level; as many as the busiest minute takes where absent.
    pub static_replicas: Option<u32>,
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self {
            min_replicas: 1,
            max_replicas: None,
            lag_per_replica: 1000,
            capacity_hint: None,
            target_utilization: 0.8,
            static_replicas: None,
        }
    }
}

/// Something that happens. Exactly one of the kinds.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Event {
    /// When.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub at: Duration,
    /// Until when; for ever where absent. For `capacity`, `stuck`, `weight` and `downstream`.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "Option<String>")]
    pub until: Option<Duration>,
    /// Every member's capacity, times this.
    pub capacity: Option<f64>,
    /// A new version of the consumer, rolled out pod by pod, whose capacity is that of the first times this.
    pub rollout: Option<f64>,
    /// A partition stops: `3`, or `payments/3` where there are several topics.
    pub stuck: Option<PartitionName>,
    /// A partition gets another share of its topic's records.
    pub weight: Option<Weight>,
    /// The shared limit, in records/s.
    pub downstream: Option<f64>,
    /// So many pods die without a word, and are started again.
    pub crash: Option<u32>,
    /// The controller is started again.
    pub restart: Option<Restart>,
}

/// Another share.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Weight {
    /// Of this partition.
    pub partition: PartitionName,
    /// Beside the others' shares.
    pub share: f64,
}

/// `3` or `payments/3`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a partition such as 3 or payments/3")]
pub enum PartitionName {
    /// Of the first topic.
    Number(u32),
    /// With its topic.
    Text(String),
}

/// What a controller that starts again knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Restart {
    /// What the one before saved.
    Warm,
    /// Nothing.
    Cold,
}

/// Reads a scenario from its file.
pub fn read(file: &Path) -> Result<Scenario, Invalid> {
    let source = Source::read(file).map_err(|error| {
        Invalid(vec![crate::yaml::Problem {
            file: file.display().to_string(),
            line: None,
            field: String::new(),
            message: format!("can't be read: {error}"),
        }])
    })?;
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    parse(&source, &stem, file.parent().unwrap_or(Path::new("")))
}

/// Reads a scenario from text. `name` is used where the text gives none; files are found from `folder`.
pub fn parse(source: &Source, name: &str, folder: &Path) -> Result<Scenario, Invalid> {
    let schema = schemars::schema_for!(Scenario).to_value();
    let document = source.documents()?.into_iter().next().unwrap_or_default();
    let mut scenario = if document.is_null() { Scenario::default() } else { source.parse(0, &schema, &[])? };
    if scenario.name.is_empty() {
        name.clone_into(&mut scenario.name);
    }
    let length = load(&mut scenario, folder)?;
    if let Some(length) = length.filter(|_| document.get("duration").is_none()) {
        scenario.duration = length;
    }
    check::check(source, &scenario)?;
    Ok(scenario)
}

/// Reads what the scenario refers to; a recording brings its own topics. Returns how long it is.
fn load(scenario: &mut Scenario, folder: &Path) -> Result<Option<Duration>, Invalid> {
    let mut length = None;
    if let Some(file) = &scenario.arrival.csv {
        let rates = Rates::read(&folder.join(file))?;
        length = Some(rates.length());
        scenario.rates = Some(Arc::new(rates));
    }
    if let Some(file) = &scenario.arrival.trace {
        let (trace, topics) = Trace::read(&folder.join(file))?;
        length = Some(trace.length());
        (scenario.recording, scenario.topics) = (Some(Arc::new(trace)), topics);
    }
    Ok(length.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
}

impl Scenario {
    /// All partitions as (topic's index, number), topic by topic.
    pub fn partitions(&self) -> Vec<(usize, i32)> {
        let of = |(index, topic): (usize, &Topic)| (0..topic.partitions as i32).map(move |p| (index, p)).collect();
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
        let of = |topic: &Topic| topic.partitions;
        let members = match self.group.assignor {
            Assignor::Range => self.topics.iter().map(of).max(),
            Assignor::RoundRobin | Assignor::Sticky | Assignor::CooperativeSticky | Assignor::Uniform => {
                Some(self.topics.iter().map(of).sum())
            }
        };
        members.unwrap_or(0).div_ceil(self.members.threads_per_replica.max(1))
    }

    /// Each partition's share of all records, in the order of [`Scenario::partitions`].
    pub fn shares(&self) -> Vec<f64> {
        let all: f64 = self.topics.iter().map(|topic| topic.share).sum();
        let of = |topic: &Topic| {
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
