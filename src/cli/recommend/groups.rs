//! Consumer groups without a manifest: by name, by pattern, or all that a Kafka cluster has.

use wildmatch::WildMatch;

use super::arguments::{GroupPolicy, RecommendArguments};
use super::failure::{LookupFailures, unlisted};
use super::record::deadline;
use super::scale::CurrentReplicas;
use super::target::{FoundTargets, GroupTarget};
use crate::cli::clusters;
use crate::cli::outcome::WrongInput;
use crate::cli::output::print_message;
use crate::config::Configuration;
use crate::core::{
    Bounds, GroupQuery, Pattern, Policy, Replicas, Rule, TopicSelection, check_group, check_topic, printable,
};
use crate::kafka::{ClusterSettings, GroupList, KafkaClient};

/// Groups that are named where none matches.
const NAMED: usize = 10;

/// Finds the groups in each cluster.
pub(super) async fn find(
    arguments: &RecommendArguments,
    configuration: &Configuration,
) -> anyhow::Result<FoundTargets> {
    let given = &arguments.group_policy;
    let selection = GroupSelection::of(arguments)?;
    let bounds = Bounds::new(given.min, given.max).map_err(|error| WrongInput(format!("--min and --max: {error}")))?;
    let policy = Policy {
        threads_per_replica: given.threads_per_replica,
        offset_reset: given.offset_reset,
        capacity_hint: given.capacity,
        ..Policy::new(given.lag_per_replica.map_or(Rule::TimeLag(given.objective), Rule::LagPerReplica), bounds)
    };
    let query = query(given)?;
    let current = match arguments.current {
        Some(current) => CurrentReplicas::Given(Replicas(current)),
        None => CurrentReplicas::OfMembers,
    };
    let mut failures = LookupFailures::default();
    let (mut targets, mut is_incomplete) = (Vec::new(), false);
    for cluster in of_arguments(arguments, configuration, &mut failures).await? {
        let names = match selection.find(&cluster).await {
            Ok((names, missing)) => {
                missing.iter().for_each(|missing| print_message(missing));
                is_incomplete |= missing.is_some();
                names
            }
            Err(error) => {
                failures.add(error);
                continue;
            }
        };
        targets.extend(names.into_iter().map(|group| GroupTarget {
            namespace: None,
            name: group.clone(),
            cluster: cluster.clone(),
            query: GroupQuery { group, ..query.clone() },
            policy: policy.clone(),
            spec: None,
            current: current.clone(),
        }));
    }
    is_incomplete |= failures.print_unless_all(targets.is_empty())?;
    Ok(FoundTargets { targets, is_incomplete })
}

/// The cluster of --bootstrap-servers, or all of the configuration.
async fn of_arguments(
    arguments: &RecommendArguments,
    configuration: &Configuration,
    failures: &mut LookupFailures,
) -> anyhow::Result<Vec<ClusterSettings>> {
    if let Some(servers) = &arguments.bootstrap_servers {
        return Ok(vec![clusters::inline(servers, &arguments.properties)?]);
    }
    if configuration.clusters.is_empty() {
        let why = "--group and --all need a Kafka cluster: give --bootstrap-servers HOST:PORT, or --config FILE with clusters";
        return Err(WrongInput(why.to_owned()).into());
    }
    let mut found = Vec::new();
    for cluster in configuration.clusters.values() {
        match clusters::configured(cluster, &arguments.properties).await {
            Ok(settings) => found.push(settings),
            Err(error) => failures.add(error),
        }
    }
    Ok(found)
}

/// Which groups.
struct GroupSelection {
    /// Without `*` and `?`: they need not exist.
    names: Vec<String>,
    patterns: Vec<WildMatch>,
    excluded: Vec<WildMatch>,
    /// As they were given, for messages.
    text: String,
}

impl GroupSelection {
    fn of(arguments: &RecommendArguments) -> Result<Self, WrongInput> {
        let is_pattern = |text: &&String| text.contains(['*', '?']);
        let (patterns, names): (Vec<_>, Vec<_>) = arguments.groups.iter().partition(is_pattern);
        for name in &names {
            check_group(name).map_err(|wrong| WrongInput(format!("--group: {wrong}")))?;
        }
        let patterns = if arguments.all { vec!["*"] } else { patterns.into_iter().map(String::as_str).collect() };
        Ok(Self {
            names: names.into_iter().cloned().collect(),
            text: patterns.iter().map(|it| format!("\"{}\"", printable(it))).collect::<Vec<_>>().join(", "),
            patterns: patterns.into_iter().map(WildMatch::new).collect(),
            excluded: arguments.exclude.iter().map(|pattern| WildMatch::new(pattern)).collect(),
        })
    }

    /// The names of the groups, each once, and why some may be missing.
    async fn find(&self, cluster: &ClusterSettings) -> anyhow::Result<(Vec<String>, Option<String>)> {
        let mut names = self.names.clone();
        let mut missing = None;
        if !self.patterns.is_empty() {
            let patient = ClusterSettings { deadline: deadline(cluster), ..cluster.clone() };
            let mut client = KafkaClient::open(patient)?;
            let servers = &cluster.bootstrap_servers;
            let listed = client.groups().await.map_err(|reason| anyhow::anyhow!(unlisted("the", servers, &reason)))?;
            let GroupList { groups, incomplete_because } = listed;
            missing = incomplete_because.map(|reason| unlisted("all", servers, &reason));
            let matching: Vec<_> = groups.iter().filter(|group| self.matches(group)).cloned().collect();
            if matching.is_empty() && names.is_empty() {
                anyhow::bail!("No group of {servers} matches {}: {}", self.text, there_are(groups.iter()));
            }
            names.extend(matching);
        }
        names.retain(|name| !self.excluded.iter().any(|pattern| pattern.matches(name)));
        names.sort();
        names.dedup();
        if names.is_empty() {
            anyhow::bail!("--exclude leaves no group of {}", cluster.bootstrap_servers);
        }
        Ok((names, missing))
    }

    fn matches(&self, group: &str) -> bool {
        let is = |pattern: &WildMatch| pattern.matches(group);
        self.patterns.iter().any(is) && !self.excluded.iter().any(is)
    }
}

/// The groups that there are, in short.
fn there_are<'g>(groups: impl ExactSizeIterator<Item = &'g String>) -> String {
    let count = groups.len();
    let named: Vec<_> = groups.take(NAMED).map(|group| printable(group).to_string()).collect();
    match count {
        0 => "it has no group that may be seen (the operation Describe on groups shows them)".to_owned(),
        count if count > NAMED => format!("there are {count}, such as {}", named.join(", ")),
        _ => format!("there are {}", named.join(", ")),
    }
}

/// What to read of each group, from the flags. They are checked here and not by clap, whose errors repeat any value as it is.
fn query(given: &GroupPolicy) -> Result<GroupQuery, WrongInput> {
    let mut topics = given.topics.clone();
    topics.sort();
    topics.dedup();
    for topic in &topics {
        let several = if topic.contains(',') { " (--topic a --topic b)" } else { "" };
        check_topic(topic).map_err(|wrong| WrongInput(format!("--topic: {wrong}{several}")))?;
    }
    let pattern = |flag: &str, text: &Option<String>| {
        let pattern = text.as_deref().map(Pattern::new).transpose();
        pattern.map_err(|wrong| WrongInput(format!("--{flag}: {wrong}")))
    };
    Ok(GroupQuery {
        group: String::new(),
        topics: match pattern("topic-pattern", &given.topic_pattern)? {
            Some(pattern) => TopicSelection::Pattern(pattern),
            None if topics.is_empty() => TopicSelection::OfGroup,
            None => TopicSelection::Named(topics),
        },
        exclude: pattern("topic-exclude", &given.topic_exclude)?,
        partitions: None,
        isolation: given.isolation_level,
    })
}
