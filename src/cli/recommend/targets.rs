//! What to observe: from files or from the cluster, each with its Kafka cluster and its current replicas. Groups without a
//! manifest are found by `groups`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::arguments::RecommendArguments;
use super::failure::LookupFailures;
use super::groups::{self, FoundTargets};
use super::scale::{self, CurrentReplicas};
use super::target::GroupTarget;
use crate::cli::outcome::WrongInput;
use crate::cli::output::{print_message, print_note};
use crate::cli::{cluster, clusters, connector, manifests};
use crate::config::Configuration;
use crate::core::{Replicas, format_duration};
use crate::kafka::ClusterSettings;
use crate::kubernetes::scaledconsumer::manifest::Manifests;
use crate::kubernetes::scaledconsumer::{ClusterRef, ScaledConsumer, Validated, ValidatedSource, validate};
use crate::kubernetes::{ApiClient, WorkloadReader};

/// Finds what to observe. One thing that can't be read does not hide the others; an error means that nothing is left.
pub(super) async fn find(arguments: &RecommendArguments) -> anyhow::Result<FoundTargets> {
    let configuration = match &arguments.config {
        Some(file) => Configuration::read(file)?,
        None => Configuration::default(),
    };
    if arguments.all || !arguments.groups.is_empty() {
        return groups::find(arguments, &configuration).await;
    }
    let is_of_cluster = arguments.namespace.is_some() || arguments.all_namespaces;
    let (consumers, client, mut is_incomplete) = if is_of_cluster {
        let (client, address) = cluster::client()
            .await
            .context("No cluster can be reached: there is no usable kubeconfig (KUBECONFIG or ~/.kube/config)")?;
        let (consumers, is_incomplete) = of_cluster(&client, &address, arguments).await?;
        (consumers, Some(client), is_incomplete)
    } else {
        let (Manifests { consumers, notes, .. }, broken) = manifests::read_valid(&arguments.files)?;
        notes.iter().for_each(|note| print_note(note));
        let client =
            if arguments.current.is_none() { cluster::client().await.ok().map(|(client, _)| client) } else { None };
        (consumers, client, broken)
    };
    let is_wanted = |source: &ValidatedSource| {
        let is_named = |name: &str| arguments.sources.iter().any(|wanted| wanted == name);
        arguments.sources.is_empty() || source.name.as_deref().is_some_and(is_named)
    };
    let workloads = client.as_ref().map(WorkloadReader::new);
    let mut targets = Vec::with_capacity(consumers.len());
    // One for each cluster, so that it has one client.
    let mut clusters: Vec<(ClusterRef, ClusterSettings)> = Vec::new();
    let mut failures = LookupFailures::default();
    for consumer in consumers {
        let connector = if arguments.current.is_none() { connector::read(&consumer).await } else { None };
        let current = match (arguments.current, connector, &workloads) {
            (Some(current), _, _) => CurrentReplicas::Given(Replicas(current)),
            (None, Some(connector), _) => scale::of_connector(&consumer.target, connector),
            (None, None, Some(workloads)) => scale::current(workloads, &consumer.namespace, &consumer.target).await,
            (None, None, None) => CurrentReplicas::Unknown("no Kubernetes cluster can be reached".to_owned()),
        };
        for source in consumer.sources.iter().filter(|source| is_wanted(source)) {
            let cluster = match clusters.iter().find(|(cluster, _)| *cluster == source.cluster) {
                Some((_, settings)) => settings.clone(),
                None => match cluster(&consumer.name, &source.cluster, arguments, &configuration).await {
                    Ok(settings) => {
                        clusters.push((source.cluster.clone(), settings.clone()));
                        settings
                    }
                    Err(error) => {
                        failures.add(error);
                        continue;
                    }
                },
            };
            targets.push(GroupTarget {
                namespace: Some(consumer.namespace.clone()),
                name: consumer.name.clone(),
                source: source.name.clone(),
                cluster,
                query: source.query.clone(),
                policy: source.policy.clone(),
                spec: Some(Arc::clone(&consumer.spec)),
                current: current.clone(),
            });
        }
    }
    is_incomplete |= failures.print_unless_all(targets.is_empty())?;
    if targets.is_empty() && !arguments.sources.is_empty() {
        let names = arguments.sources.join("\", \"");
        return Err(WrongInput(format!("No ScaledConsumer has a source \"{names}\"")).into());
    }
    Ok(FoundTargets { targets, finder: None, is_incomplete })
}

/// Time-out for the API server: it lists the objects within milliseconds.
const API_TIMEOUT: Duration = Duration::from_secs(10);

async fn of_cluster(
    client: &ApiClient,
    address: &str,
    arguments: &RecommendArguments,
) -> anyhow::Result<(Vec<Validated>, bool)> {
    let (api, place): (Api<ScaledConsumer>, String) = match &arguments.namespace {
        Some(namespace) => (Api::namespaced(client.kube.clone(), namespace), format!("in namespace \"{namespace}\"")),
        None => (Api::all(client.kube.clone()), "in all namespaces".to_owned()),
    };
    let mut failures = LookupFailures::default();
    let mut objects = Vec::new();
    for name in &arguments.names {
        let what = format!("Can't read ScaledConsumer \"{name}\" {place} of {address}");
        match answered(what, api.get(name)).await {
            Ok(object) => objects.push(object),
            Err(error) => failures.add(error),
        }
    }
    if arguments.names.is_empty() {
        let what = format!("Can't list the ScaledConsumers {place} of {address}");
        objects = answered(what, api.list(&ListParams::default())).await?.items;
        if objects.is_empty() {
            return Err(WrongInput(format!("There is no ScaledConsumer {place}")).into());
        }
    }
    let mut is_incomplete = failures.print_unless_all(objects.is_empty())?;
    let mut valid = Vec::with_capacity(objects.len());
    for object in &objects {
        match validate(object) {
            Ok(consumer) => valid.push(consumer),
            Err(invalid) => {
                is_incomplete = true;
                let namespace = object.namespace().unwrap_or_default();
                print_message(&format!(
                    "ScaledConsumer \"{}\" in namespace \"{namespace}\": {invalid}",
                    object.name_any()
                ));
            }
        }
    }
    Ok((valid, is_incomplete))
}

/// The API server's answer, within its time-out.
async fn answered<T>(what: String, request: impl Future<Output = kube::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(API_TIMEOUT, request)
        .await
        .with_context(|| format!("{what}: no answer within {}", format_duration(API_TIMEOUT)))?
        .map_err(|error| scale::plainly(&error))
        .context(what)
}

async fn cluster(
    consumer: &str,
    cluster: &ClusterRef,
    arguments: &RecommendArguments,
    configuration: &Configuration,
) -> anyhow::Result<ClusterSettings> {
    let named = match (&arguments.bootstrap_servers, cluster) {
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
            "ScaledConsumer \"{consumer}\" names the Kafka cluster \"{named}\", but {there}; give the controller's configuration with --config FILE, or --bootstrap-servers HOST:PORT"
        ))
        .into());
    };
    clusters::configured(cluster, &arguments.properties).await
}
