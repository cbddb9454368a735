//! The arguments of `recommend`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args, ValueEnum};

use super::money::ReplicaCost;
use crate::core::{IsolationLevel, Objective, OffsetReset, RecordsPerSecond, parse_duration};

const EXAMPLES: &str = "Examples:
  Every consumer group of a Kafka, on one screen:
    paceline recommend --bootstrap-servers localhost:9092 --all
  Some of them, with each partition:
    paceline recommend --bootstrap-servers localhost:9092 --group 'shop-*' --exclude '*-test' -v
  One group, and what it would save:
    paceline recommend --bootstrap-servers localhost:9092 --group orders --replica-cost 0.05/h
  A manifest, before it is applied:
    paceline recommend -f orders.yaml --bootstrap-servers localhost:9092 --current 3
  The ScaledConsumers of the cluster:
    paceline recommend -n shop orders --config paceline.yaml
  A pipeline that fails where replicas are missing:
    paceline recommend --all --bootstrap-servers localhost:9092 -o csv --fail-on short";

/// What `recommend` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("source").args(["files", "namespace", "all_namespaces", "groups", "all"]).required(true))]
#[command(group = ArgGroup::new("kafka_groups").args(["groups", "all"]))]
pub(in crate::cli) struct RecommendArguments {
    /// Every consumer group of the Kafka cluster, or of all clusters in --config.
    #[arg(long, help_heading = "What to observe")]
    pub(super) all: bool,
    /// A consumer group, or all whose names match a pattern with `*` and `?`; may be given more than once.
    #[arg(long = "group", value_name = "GROUP", help_heading = "What to observe")]
    pub(super) groups: Vec<String>,
    /// Groups to leave out, as a pattern with `*` and `?`; may be given more than once.
    #[arg(long, value_name = "PATTERN", requires = "kafka_groups", help_heading = "What to observe")]
    pub(super) exclude: Vec<String>,
    /// ScaledConsumer manifests; `-` reads stdin. Documents of other kinds are passed over.
    #[arg(short = 'f', long = "filename", value_name = "FILE", num_args = 1.., help_heading = "What to observe")]
    pub(super) files: Vec<PathBuf>,
    /// The ScaledConsumers of a namespace, read from the cluster of the kubeconfig.
    #[arg(short, long, value_name = "NAMESPACE", help_heading = "What to observe")]
    pub(super) namespace: Option<String>,
    /// The ScaledConsumers of all namespaces.
    #[arg(short = 'A', long, help_heading = "What to observe")]
    pub(super) all_namespaces: bool,
    /// Only these ScaledConsumers of the namespace.
    #[arg(value_name = "NAME", requires = "namespace", help_heading = "What to observe")]
    pub(super) names: Vec<String>,
    /// Only these sources of ScaledConsumers that have several; may be given more than once.
    #[arg(long = "source", value_name = "NAME", conflicts_with = "kafka_groups", help_heading = "What to observe")]
    pub(super) sources: Vec<String>,
    /// Kafka's addresses, separated by commas; with -f or -n instead of the manifest's cluster.
    #[arg(
        long,
        value_name = "HOST:PORT,…",
        env = "PACELINE_BOOTSTRAP_SERVERS",
        hide_env_values = true,
        help_heading = "Kafka"
    )]
    pub(super) bootstrap_servers: Option<String>,
    /// A setting of Kafka's, such as security.protocol=SSL; may be given more than once. docs/kafka-settings.md has all.
    /// Secrets are better kept in the files that --config names.
    #[arg(long = "property", value_name = "KEY=VALUE", value_parser = property, help_heading = "Kafka")]
    pub(super) properties: Vec<(String, String)>,
    /// The controller's configuration, which defines the clusters that manifests name.
    #[arg(long, value_name = "FILE", env = "PACELINE_CONFIG", hide_env_values = true, help_heading = "Kafka")]
    pub(super) config: Option<PathBuf>,

    /// The current replicas, where no Kubernetes cluster can be reached. Members that are in the group count for more.
    #[arg(long, value_name = "N", conflicts_with = "all")]
    pub(super) current: Option<u32>,
    /// How long to observe: rates and time lag need some polls, and a commit or two in between [default: 30s, and up to 30s
    /// more where it is one group that is being measured].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(super) observe: Option<Duration>,
    /// Poll once: gives the lag, but neither rates nor time lag.
    #[arg(long, conflicts_with_all = ["observe", "watch"])]
    pub(super) once: bool,
    /// Keep what is observed as JSON lines, for `paceline replay`. One group only.
    #[arg(long, value_name = "FILE")]
    pub(super) record: Option<PathBuf>,
    /// Replace the recording that --record names, where there is one.
    #[arg(long, requires = "record")]
    pub(super) force: bool,

    /// How to print.
    #[arg(short, long, value_enum, default_value = "table", help_heading = "What to print")]
    pub(super) output: OutputFormat,
    /// Each group in detail, with its partitions.
    #[arg(short, long, help_heading = "What to print")]
    pub(super) verbose: bool,
    /// What comes first.
    #[arg(long, value_enum, default_value = "need", help_heading = "What to print")]
    pub(super) sort: SortKey,
    /// Only groups whose replicas are not right.
    #[arg(long, help_heading = "What to print")]
    pub(super) only_changes: bool,
    /// Observe on and draw the table again after each poll, until Ctrl-C.
    #[arg(long, conflicts_with_all = ["observe", "record", "fail_on"], help_heading = "What to print")]
    pub(super) watch: bool,
    /// What one replica costs: 0.05/h, 1.2/day or 36/month. Adds what enough replicas cost more or less than the current ones.
    #[arg(long, value_name = "COST", help_heading = "What to print")]
    pub(super) replica_cost: Option<ReplicaCost>,
    /// Exit with 3 where a group is short of replicas, or where the controller would change any.
    #[arg(long, value_name = "WHAT", value_enum, help_heading = "What to print")]
    pub(super) fail_on: Option<FailOn>,
    // The last, because its heading is also that of what follows.
    #[command(flatten)]
    pub(super) group_policy: GroupPolicy,
}

/// The policy of a group without a manifest.
#[derive(Debug, Args)]
#[command(next_help_heading = "With --group and --all")]
pub(super) struct GroupPolicy {
    /// A topic of the group, may be given more than once; every topic that it has committed to without it.
    #[arg(long = "topic", value_name = "TOPIC", requires = "groups")]
    pub(super) topics: Vec<String>,
    /// Instead of topics: a regular expression for their whole names.
    #[arg(long, value_name = "REGEX", requires = "groups", conflicts_with = "topics")]
    pub(super) topic_pattern: Option<String>,
    /// Without topics or with a pattern: a regular expression for the whole names of those that are left out.
    #[arg(long, value_name = "REGEX", requires = "kafka_groups", conflicts_with = "topics")]
    pub(super) topic_exclude: Option<String>,
    /// The age that the oldest record not yet read may reach.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = objective, requires = "kafka_groups")]
    pub(super) objective: Objective,
    /// Instead of an objective: records of lag that one replica may have.
    #[arg(long, value_name = "RECORDS", requires = "kafka_groups", conflicts_with = "objective")]
    pub(super) lag_per_replica: Option<std::num::NonZeroU64>,
    /// The capacity of a replica, in records/s, as long as nothing has been measured.
    #[arg(long, value_name = "RECORDS/S", value_parser = capacity, requires = "kafka_groups")]
    pub(super) capacity: Option<RecordsPerSecond>,
    /// The least replicas.
    #[arg(long, value_name = "N", default_value = "1", requires = "kafka_groups")]
    pub(super) min: u32,
    /// The most replicas; as many as the partitions can use without it.
    #[arg(long, value_name = "N", requires = "kafka_groups")]
    pub(super) max: Option<u32>,
    /// Group members that one replica runs.
    #[arg(long, value_name = "N", default_value = "1", requires = "kafka_groups")]
    pub(super) threads_per_replica: std::num::NonZeroU32,
    /// Where the group starts in a partition without a commit: the consumers' auto.offset.reset. Default: earliest for Kafka
    /// Streams and sinks of Kafka Connect, latest for others.
    #[arg(long, value_parser = offset_reset(), requires = "kafka_groups")]
    pub(super) offset_reset: Option<OffsetReset>,
    /// The consumers' isolation.level: with read_committed the lag ends where the first open transaction begins.
    #[arg(long, default_value = "read_uncommitted", value_parser = isolation_level(), requires = "kafka_groups")]
    pub(super) isolation_level: IsolationLevel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    /// For people.
    Table,
    /// With more columns, and nothing cut.
    Wide,
    /// An array of objects.
    Json,
    /// The same as YAML.
    Yaml,
    /// A line for each group.
    Csv,
    /// A table for a document.
    Markdown,
}

/// The order of the groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SortKey {
    /// Short of replicas, hot or stuck, too large, fine, read by nobody.
    Need,
    /// By name.
    Name,
    /// The largest lag first.
    Lag,
    /// The oldest record first.
    Oldest,
    /// The highest arrival rate first.
    Arrival,
    /// Most members first.
    Members,
    /// Most replicas to save first.
    Saving,
}

/// What makes the exit code 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum FailOn {
    /// A group is short of replicas.
    Short,
    /// The controller would change the replicas of a group now.
    Change,
}

/// Never fails, because clap's own error would repeat the text, and that may be a password. What is not KEY=VALUE has no
/// key, and is refused later.
fn property(text: &str) -> Result<(String, String), std::convert::Infallible> {
    let (key, value) = text.split_once('=').unwrap_or_default();
    Ok((key.trim().to_owned(), value.to_owned()))
}

fn objective(text: &str) -> Result<Objective, String> {
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    Objective::new(duration).ok_or_else(|| "it must be between 1s and 24h".to_owned())
}

fn capacity(text: &str) -> Result<RecordsPerSecond, String> {
    let capacity = text.parse().ok().filter(|capacity: &f64| capacity.is_finite() && *capacity > 0.0);
    capacity.map(RecordsPerSecond).ok_or_else(|| "it must be a number above 0".to_owned())
}

fn offset_reset() -> impl TypedValueParser<Value = OffsetReset> {
    PossibleValuesParser::new(["latest", "earliest"])
        .map(|text| if text == "earliest" { OffsetReset::Earliest } else { OffsetReset::Latest })
}

fn isolation_level() -> impl TypedValueParser<Value = IsolationLevel> {
    PossibleValuesParser::new(["read_uncommitted", "read_committed"]).map(|text| {
        if text == "read_committed" { IsolationLevel::ReadCommitted } else { IsolationLevel::ReadUncommitted }
    })
}
