//! Consumer groups without a manifest: by name, by pattern, or all that a Kafka cluster has.

use std::sync::Arc;

use wildmatch::WildMatch;

use super::arguments::{GroupPolicy, RecommendArguments};
use super::failure::{LookupFailures, unlisted};
use super::record::deadline;
use super::scale::CurrentReplicas;
use super::target::GroupTarget;
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

/// What to observe, and whether something of it could not be found, which has been printed.
pub(super) struct FoundTargets {
    pub(super) targets: Vec<GroupTarget>,
    /// What finds groups that come later, where they are found by a pattern.
    pub(super) finder: Option<Arc<GroupFinder>>,
    pub(super) is_incomplete: bool,
}

/// Finds the groups in each cluster.
pub(super) async fn find(
    arguments: &RecommendArguments,
    configuration: &Configuration,
) -> anyhow::Result<FoundTargets> {
    let finder = GroupFinder::of(arguments)?;
    let mut failures = LookupFailures::default();
    let (mut targets, mut is_incomplete) = (Vec::new(), false);
    for cluster in of_arguments(arguments, configuration, &mut failures).await? {
        let patient = ClusterSettings { deadline: deadline(&cluster), ..cluster.clone() };
        let found = match KafkaClient::open(patient) {
            Ok(mut client) => finder.find(&mut client, &cluster.bootstrap_servers).await,
            Err(error) => Err(error.into()),
        };
        match found.and_then(|found| found.unless_empty(&finder.selection, &cluster.bootstrap_servers)) {
            Ok(FoundGroups { names, missing, .. }) => {
                missing.iter().for_each(|missing| print_message(missing));
                is_incomplete |= missing.is_some();
                targets.extend(names.into_iter().map(|group| finder.target(&cluster, group)));
            }
            Err(error) => failures.add(error),
        }
    }
    is_incomplete |= failures.print_unless_all(targets.is_empty())?;
    let finder = Some(finder).filter(|finder| !finder.selection.patterns.is_empty());
    Ok(FoundTargets { targets, finder: finder.map(Arc::new), is_incomplete })
}

/// Finds the groups of a cluster, and again later: groups come and go.
#[derive(Debug)]
pub(super) struct GroupFinder {
    selection: GroupSelection,
    policy: Policy,
    /// Without the group's name.
    query: GroupQuery,
    current: CurrentReplicas,
}

/// The groups of a cluster at one time.
pub(super) struct FoundGroups {
    /// Each once, in the order of the alphabet.
    pub(super) names: Vec<String>,
    /// Why some may be missing.
    pub(super) missing: Option<String>,
    /// What the cluster has, where none of it matches.
    others: Option<String>,
}

impl GroupFinder {
    fn of(arguments: &RecommendArguments) -> Result<Self, WrongInput> {
        let given = &arguments.group_policy;
        let bounds =
            Bounds::new(given.min, given.max).map_err(|error| WrongInput(format!("--min and --max: {error}")))?;
        Ok(Self {
            selection: GroupSelection::of(arguments)?,
            policy: Policy {
                threads_per_replica: given.threads_per_replica,
                offset_reset: given.offset_reset,
                capacity_hint: given.capacity,
                ..Policy::new(given.lag_per_replica.map_or(Rule::TimeLag(given.objective), Rule::LagPerReplica), bounds)
            },
            query: query(given)?,
            current: match arguments.current {
                Some(current) => CurrentReplicas::Given(Replicas(current)),
                None => CurrentReplicas::OfMembers,
            },
        })
    }

    /// The groups that match. An error means that none could be listed.
    pub(super) async fn find(&self, client: &mut KafkaClient, servers: &str) -> anyhow::Result<FoundGroups> {
        let selection = &self.selection;
        let (mut names, mut missing, mut others) = (selection.names.clone(), None, None);
        if !selection.patterns.is_empty() {
            let listed = client.groups().await.map_err(|reason| anyhow::anyhow!(unlisted("the", servers, &reason)))?;
            let GroupList { groups, incomplete_because } = listed;
            missing = incomplete_because.map(|reason| unlisted("all", servers, &reason));
            let matching = names.len();
            names.extend(groups.iter().filter(|group| selection.matches(group)).cloned());
            others = (names.len() == matching).then(|| there_are(groups.iter()));
        }
        names.retain(|name| !selection.excluded.iter().any(|pattern| pattern.matches(name)));
        names.sort();
        names.dedup();
        Ok(FoundGroups { names, missing, others })
    }

    /// What to observe of a group.
    pub(super) fn target(&self, cluster: &ClusterSettings, group: String) -> GroupTarget {
        GroupTarget {
            namespace: None,
            name: group.clone(),
            source: None,
            cluster: cluster.clone(),
            query: GroupQuery { group, ..self.query.clone() },
            policy: self.policy.clone(),
            spec: None,
            current: self.current.clone(),
        }
    }
}

impl FoundGroups {
    /// Fails where there is none.
    fn unless_empty(self, selection: &GroupSelection, servers: &str) -> anyhow::Result<Self> {
        match &self.others {
            _ if !self.names.is_empty() => Ok(self),
            Some(others) if selection.names.is_empty() => {
                anyhow::bail!("No group of {servers} matches {}: {others}", selection.text)
            }
            Some(_) | None => anyhow::bail!("--exclude leaves no group of {servers}"),
        }
    }
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
#[derive(Debug)]
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
