//! What to observe: from files, from the cluster, or from the command line alone, each with its Kafka cluster and its
//! current replicas.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::arguments::{GroupPolicy, RecommendArguments};
use super::scale::{self, CurrentReplicas};
use crate::cli::outcome::WrongInput;
use crate::cli::{cluster, clusters, manifests};
use crate::config::Configuration;
use crate::core::{
    Bounds, GroupQuery, Pattern, Policy, Replicas, Rule, TopicSelection, check_group, check_topic, format_duration,
};
use crate::kafka::ClusterSettings;
use crate::kubernetes::scaledconsumer::manifest::Manifests;
use crate::kubernetes::scaledconsumer::{ClusterRef, ScaledConsumer, ScaledConsumerSpec, Validated, validate};
use crate::kubernetes::{ApiClient, WorkloadReader};

/// One consumer group to decide on.
#[derive(Clone, Debug)]
pub(super) struct GroupTarget {
    /// The namespace, where there is one.
    pub(super) namespace: Option<String>,
    /// The ScaledConsumer's name, or the group's where there is none.
    pub(super) name: String,
    /// Where its group is.
    pub(super) cluster: ClusterSettings,
    /// What to read.
    pub(super) query: GroupQuery,
    /// The policy.
    pub(super) policy: Policy,
    /// The ScaledConsumer that all of this comes from, where there is one.
    pub(super) spec: Option<Arc<ScaledConsumerSpec>>,
    /// The current replicas.
    pub(super) current: CurrentReplicas,
}

/// The groups, and whether some of the ScaledConsumers are invalid, which has been printed.
pub(super) async fn find(arguments: &RecommendArguments) -> anyhow::Result<(Vec<GroupTarget>, bool)> {
    let configuration = match &arguments.config {
        Some(file) => Configuration::read(file)?,
        None => Configuration::default(),
    };
    if let Some(group) = &arguments.group {
        return Ok((vec![of_group(group, arguments)?], false));
    }
    let (consumers, client, broken) = match &arguments.namespace {
        Some(namespace) => {
            let (client, address) = cluster::client()
                .await
                .context("No cluster can be reached: there is no usable kubeconfig (KUBECONFIG or ~/.kube/config)")?;
            let (consumers, broken) = of_cluster(&client, &address, namespace, arguments.name.as_deref()).await?;
            (consumers, Some(client), broken)
        }
        None => {
            let (Manifests { consumers, notes, .. }, broken) = manifests::read_valid(&arguments.files)?;
            notes.iter().for_each(|note| eprintln!("note: {note}"));
            let client =
                if arguments.current.is_none() { cluster::client().await.ok().map(|(client, _)| client) } else { None };
            (consumers, client, broken)
        }
    };
    let workloads = client.as_ref().map(WorkloadReader::new);
    let mut targets = Vec::with_capacity(consumers.len());
    // One for each cluster, so that it has one client.
    let mut clusters: Vec<(ClusterRef, ClusterSettings)> = Vec::new();
    for consumer in consumers {
        let cluster = match clusters.iter().find(|(cluster, _)| *cluster == consumer.cluster) {
            Some((_, settings)) => settings.clone(),
            None => {
                let settings = cluster(&consumer, arguments, &configuration).await?;
                clusters.push((consumer.cluster.clone(), settings.clone()));
                settings
            }
        };
        let current = match (arguments.current, &workloads) {
            (Some(current), _) => CurrentReplicas::Known(Replicas(current)),
            (None, Some(workloads)) => scale::current(workloads, &consumer.namespace, &consumer.target).await,
            (None, None) => CurrentReplicas::Unknown("no Kubernetes cluster can be reached".to_owned()),
        };
        let Validated { namespace, name, query, policy, spec, .. } = consumer;
        let namespace = Some(namespace);
        targets.push(GroupTarget { namespace, name, cluster, query, policy, spec: Some(spec), current });
    }
    Ok((targets, broken))
}

/// Time-out for the API server: it lists one namespace within milliseconds.
const API_TIMEOUT: Duration = Duration::from_secs(10);

async fn of_cluster(
    client: &ApiClient,
    address: &str,
    namespace: &str,
    name: Option<&str>,
) -> anyhow::Result<(Vec<Validated>, bool)> {
    let api: Api<ScaledConsumer> = Api::namespaced(client.kube.clone(), namespace);
    let what = match name {
        Some(name) => format!("Can't read ScaledConsumer \"{name}\" in namespace \"{namespace}\" of {address}"),
        None => format!("Can't list the ScaledConsumers in namespace \"{namespace}\" of {address}"),
    };
    let read = async {
        match name {
            Some(name) => api.get(name).await.map(|object| vec![object]),
            None => api.list(&ListParams::default()).await.map(|list| list.items),
        }
    };
    let objects = tokio::time::timeout(API_TIMEOUT, read)
        .await
        .with_context(|| format!("{what}: no answer within {}", format_duration(API_TIMEOUT)))?
        .map_err(|error| scale::plainly(&error))
        .context(what)?;
    if objects.is_empty() {
        return Err(WrongInput(format!("There is no ScaledConsumer in namespace \"{namespace}\"")).into());
    }
    let mut broken = false;
    let mut valid = Vec::with_capacity(objects.len());
    for object in &objects {
        match validate(object) {
            Ok(consumer) => valid.push(consumer),
            Err(invalid) => {
                broken = true;
                eprintln!("error: ScaledConsumer \"{}\" in namespace \"{namespace}\": {invalid}", object.name_any());
            }
        }
    }
    Ok((valid, broken))
}

fn of_group(group: &str, arguments: &RecommendArguments) -> anyhow::Result<GroupTarget> {
    let given = &arguments.group_policy;
    let bounds = Bounds::new(given.min, given.max).map_err(|error| WrongInput(format!("--min and --max: {error}")))?;
    let query = query(group, given)?;
    let policy = Policy {
        threads_per_replica: given.threads_per_replica,
        offset_reset: given.offset_reset,
        capacity_hint: given.capacity,
        ..Policy::new(given.lag_per_replica.map_or(Rule::TimeLag(given.objective), Rule::LagPerReplica), bounds)
    };
    let servers = arguments.bootstrap_servers.as_deref().unwrap_or_default();
    let cluster = clusters::inline(servers, &arguments.properties)?;
    let current = match arguments.current {
        Some(current) => CurrentReplicas::Known(Replicas(current)),
        None => CurrentReplicas::Unknown("no workload is named".to_owned()),
    };
    Ok(GroupTarget { namespace: None, name: group.to_owned(), cluster, query, policy, spec: None, current })
}

/// What to read, from the flags. They are checked here and not by clap, whose errors repeat any value as it is.
fn query(group: &str, given: &GroupPolicy) -> Result<GroupQuery, WrongInput> {
    check_group(group).map_err(|wrong| WrongInput(format!("--group: {wrong}")))?;
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
        group: group.to_owned(),
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

async fn cluster(
    consumer: &Validated,
    arguments: &RecommendArguments,
    configuration: &Configuration,
) -> anyhow::Result<ClusterSettings> {
    let named = match (&arguments.bootstrap_servers, &consumer.cluster) {
        (Some(servers), _) => return clusters::inline(servers, &arguments.properties),
        (None, ClusterRef::Inline(inline)) => return clusters::of_consumer(inline, &arguments.properties).await,
        (None, ClusterRef::Named(name)) => name,
    };
    let Some(cluster) = configuration.clusters.get(named) else {
        let known: Vec<_> = configuration.clusters.keys().map(String::as_str).collect();
        let there = match (&arguments.config, known.is_empty()) {
            (None, _) => "no configuration was given".to_owned(),
            (Some(file), true) => format!("{} defines none", file.display()),
            (Some(file), false) => format!("{} defines {}", file.display(), known.join(", ")),
        };
        return Err(WrongInput(format!(
            "ScaledConsumer \"{}\" names the Kafka cluster \"{named}\", but {there}; give the controller's configuration with --config FILE, or --bootstrap-servers HOST:PORT",
            consumer.name
        ))
        .into());
    };
    clusters::configured(cluster, &arguments.properties).await
}
