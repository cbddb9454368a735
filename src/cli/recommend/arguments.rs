//! The arguments of `recommend`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args, ValueEnum};

use crate::core::{IsolationLevel, Objective, OffsetReset, RecordsPerSecond, parse_duration};

const EXAMPLES: &str = "Examples:
  A group, without any file:
    paceline recommend --bootstrap-servers localhost:9092 --group orders --current 3
  A manifest, before it is applied:
    paceline recommend -f orders.yaml --bootstrap-servers localhost:9092 --current 3
  The ScaledConsumers of the cluster:
    paceline recommend -n shop orders --config paceline.yaml
  A pipeline that fails when the replicas are not right:
    paceline recommend -f orders.yaml --current 3 --once -o json --fail-on-change";

/// What `recommend` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("source").args(["files", "namespace", "group"]).required(true))]
pub(in crate::cli) struct RecommendArguments {
    /// ScaledConsumer manifests; `-` reads stdin. Documents of other kinds are passed over.
    #[arg(short = 'f', long = "filename", value_name = "FILE", num_args = 1.., help_heading = "What to observe")]
    pub(super) files: Vec<PathBuf>,
    /// The ScaledConsumers of a namespace, read from the cluster of the kubeconfig.
    #[arg(short, long, value_name = "NAMESPACE", help_heading = "What to observe")]
    pub(super) namespace: Option<String>,
    /// Only this ScaledConsumer of the namespace.
    #[arg(value_name = "NAME", requires = "namespace", help_heading = "What to observe")]
    pub(super) name: Option<String>,
    /// A consumer group, without any file.
    #[arg(long, value_name = "GROUP", requires = "bootstrap_servers", help_heading = "What to observe")]
    pub(super) group: Option<String>,
    #[command(flatten)]
    pub(super) group_policy: GroupPolicy,

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
    #[arg(long, value_name = "FILE", env = "PACELINE_CONFIG", help_heading = "Kafka")]
    pub(super) config: Option<PathBuf>,

    /// The current replicas, where no Kubernetes cluster can be reached.
    #[arg(long, value_name = "N")]
    pub(super) current: Option<u32>,
    /// How long to observe: rates and time lag need some polls, and a commit or two in between.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    pub(super) observe: Duration,
    /// Poll once: gives the lag, but neither rates nor time lag.
    #[arg(long, conflicts_with = "observe")]
    pub(super) once: bool,
    /// Keep what is observed as JSON lines, for `paceline replay`. One group only; of files that exist only a recording is
    /// replaced.
    #[arg(long, value_name = "FILE")]
    pub(super) record: Option<PathBuf>,
    /// How to print.
    #[arg(short, long, value_enum, default_value = "table")]
    pub(super) output: OutputFormat,
    /// Exit with 3 where the recommendation differs from the current replicas.
    #[arg(long)]
    pub(super) fail_on_change: bool,
}

/// The policy of a group without a manifest.
#[derive(Debug, Args)]
#[command(next_help_heading = "With --group")]
pub(super) struct GroupPolicy {
    /// A topic of the group, may be given more than once; every topic that it has committed to without it.
    #[arg(long = "topic", value_name = "TOPIC", requires = "group")]
    pub(super) topics: Vec<String>,
    /// Instead of topics: a regular expression for their whole names.
    #[arg(long, value_name = "REGEX", requires = "group", conflicts_with = "topics")]
    pub(super) topic_pattern: Option<String>,
    /// Without topics or with a pattern: a regular expression for the whole names of those that are left out.
    #[arg(long, value_name = "REGEX", requires = "group", conflicts_with = "topics")]
    pub(super) topic_exclude: Option<String>,
    /// The age that the oldest record not yet read may reach.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = objective, requires = "group")]
    pub(super) objective: Objective,
    /// Instead of an objective: records of lag that one replica may have.
    #[arg(long, value_name = "RECORDS", requires = "group", conflicts_with = "objective")]
    pub(super) lag_per_replica: Option<std::num::NonZeroU64>,
    /// The capacity of a replica, in records/s, as long as nothing has been measured.
    #[arg(long, value_name = "RECORDS/S", value_parser = capacity, requires = "group")]
    pub(super) capacity: Option<RecordsPerSecond>,
    /// The least replicas.
    #[arg(long, value_name = "N", default_value = "1", requires = "group")]
    pub(super) min: u32,
    /// The most replicas; as many as the partitions can use without it.
    #[arg(long, value_name = "N", requires = "group")]
    pub(super) max: Option<u32>,
    /// Group members that one replica runs.
    #[arg(long, value_name = "N", default_value = "1", requires = "group")]
    pub(super) threads_per_replica: std::num::NonZeroU32,
    /// Where the group starts in a partition without a commit: the consumers' auto.offset.reset. Default: earliest for Kafka
    /// Streams and sinks of Kafka Connect, latest for others.
    #[arg(long, value_parser = offset_reset(), requires = "group")]
    pub(super) offset_reset: Option<OffsetReset>,
    /// The consumers' isolation.level: with read_committed the lag ends where the first open transaction begins.
    #[arg(long, default_value = "read_uncommitted", value_parser = isolation_level(), requires = "group")]
    pub(super) isolation_level: IsolationLevel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    /// For people.
    Table,
    /// An array of objects.
    Json,
    /// The same as YAML.
    Yaml,
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
