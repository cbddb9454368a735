//! Many ScaledConsumers of 12 partitions with the policy `timeLag`. Their groups have no members, and their Deployments have no
//! pods: what is tested or measured is the controller alone.
//!
//! Every second group moves: records arrive in its topic and its commits follow. The others stand still with a lag.

use std::collections::HashSet;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::{StreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use paceline::kubernetes::scaledconsumer::ScaledConsumer;
use serde_json::{Value, json};

use super::kafka::clients::Clients;
use super::producer::Producer;
use super::unique;

const PARTITIONS: usize = 12;
/// Even, so that a topic is either of groups that move or of groups that stand still.
const TOPICS: usize = 20;
/// Records in each partition before anything moves; the lag of each partition that stands still.
const RECORDS: u64 = 100;
/// Records/s of each topic whose groups move.
const RATE: f64 = 24.0;
/// How often groups that move commit. With up to 12 records left behind, no record waits longer than the policy's objective.
const COMMIT_INTERVAL: Duration = Duration::from_secs(10);
/// Requests under way at once while objects are made.
const AT_ONCE: usize = 16;
/// Groups whose commits are sent together.
const CHUNK: usize = 500;

/// Consumer groups, by number, and what scales them.
#[derive(Clone)]
pub(crate) struct Consumers {
    prefix: String,
    pub(crate) count: usize,
    /// Of the policy. Below a poll, a rebalance and a commit together, each decision would say that it is too short.
    objective: &'static str,
}

impl Consumers {
    /// Makes the topics and a commit of each group in each of its partitions.
    pub(crate) fn prepare(kafka: &Clients, count: usize, objective: &'static str) -> Self {
        let consumers = Self { prefix: unique("many"), count, objective };
        for index in 0..TOPICS {
            kafka.create_topic(&consumers.topic(index), PARTITIONS as i32);
            kafka.produce_to_all(&consumers.topic(index), PARTITIONS as i32, RECORDS);
        }
        let committed = |index| if moves(index) { RECORDS as i64 } else { 0 };
        let commits: Vec<_> = (0..count)
            .map(|index| (consumers.group(index), consumers.topic(index), vec![committed(index); PARTITIONS]))
            .collect();
        commits.chunks(CHUNK).for_each(|chunk| kafka.commit_all(chunk));
        consumers
    }

    /// The first ones only.
    pub(crate) fn first(&self, count: usize) -> Self {
        Self { count, ..self.clone() }
    }

    /// The name of a ScaledConsumer and of its Deployment.
    pub(crate) fn name(&self, index: usize) -> String {
        format!("consumer-{index}")
    }

    fn topic(&self, index: usize) -> String {
        format!("{}-{}", self.prefix, index % TOPICS)
    }

    fn group(&self, index: usize) -> String {
        format!("{}-group-{index}", self.prefix)
    }

    /// Creates the Deployments and the ScaledConsumers.
    pub(crate) async fn create(&self, client: &Client, namespace: &str) {
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
        let objects: Api<ScaledConsumer> = Api::namespaced(client.clone(), namespace);
        let create = async |index: usize| {
            let params = PostParams::default();
            let deployment = serde_json::from_value(deployment(&self.name(index))).expect("it is a Deployment");
            let deployment = deployments.create(&params, &deployment).await.expect("a Deployment can be created");
            settle(&deployments, &deployment).await;
            let object = serde_json::from_value(self.scaled_consumer(index)).expect("it is a ScaledConsumer");
            objects.create(&params, &object).await.expect("a ScaledConsumer can be created");
        };
        stream::iter(0..self.count).for_each_concurrent(AT_ONCE, create).await;
    }

    fn scaled_consumer(&self, index: usize) -> Value {
        json!({
            "apiVersion": "paceline.dev/v1alpha1",
            "kind": "ScaledConsumer",
            "metadata": {"name": self.name(index)},
            "spec": {
                "scaleTargetRef": {"name": self.name(index)},
                "maxReplicas": 24,
                "kafka": {"cluster": "main", "consumerGroup": self.group(index), "topics": [self.topic(index)]},
                "policy": {"timeLag": {"objective": self.objective}},
            },
        })
    }

    /// Lets records arrive and commits follow, until what is given back is dropped.
    pub(crate) fn start_load(&self, kafka: &Clients) -> Load {
        let partitions = PARTITIONS as i32;
        let moving: Vec<usize> = (0..self.count.max(TOPICS)).filter(|index| moves(*index)).collect();
        let topics: Vec<String> = moving.iter().take(TOPICS / 2).map(|index| self.topic(*index)).collect();
        let ends = |topic: &String| (0..partitions).map(|partition| kafka.bounds(topic, partition).1).collect();
        let starts: Vec<Vec<i64>> = topics.iter().map(ends).collect();
        let producers: Vec<_> = topics.iter().map(|topic| kafka.start_producer(topic, partitions, RATE)).collect();
        let (stop, stopped) = mpsc::channel();
        let (consumers, clients) = (self.clone(), Clients::new(kafka.bootstrap()));
        let work = move || {
            let mut round = 0;
            while stopped.recv_timeout(COMMIT_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let ends: Vec<Vec<i64>> =
                    producers.iter().zip(&starts).map(|(producer, starts)| ends_of(producer, starts)).collect();
                let commit = |index: usize| {
                    // No two groups and no two rounds have the same lag.
                    let behind = |partition| ((index + 5 * partition + 7 * round) % 12) as i64;
                    let ends = &ends[index / 2 % ends.len()];
                    let offsets = ends.iter().enumerate().map(|(partition, end)| (end - behind(partition)).max(0));
                    (consumers.group(index), consumers.topic(index), offsets.collect())
                };
                let commits: Vec<_> = (0..consumers.count).filter(|index| moves(*index)).map(commit).collect();
                commits.chunks(CHUNK).for_each(|chunk| clients.commit_all(chunk));
                round += 1;
            }
        };
        Load { stop, thread: Some(std::thread::spawn(work)) }
    }

    /// Waits until the controller has written a first decision into each status.
    pub(crate) async fn wait_for_statuses(&self, client: Client, namespace: &str) {
        let objects: Api<DynamicObject> =
            Api::namespaced_with(client, namespace, &ApiResource::erase::<ScaledConsumer>(&()));
        let mut changes = watcher(objects, watcher::Config::default()).default_backoff().boxed();
        let mut decided = HashSet::new();
        while decided.len() < self.count {
            if let Some(Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object))) = changes.next().await
                && object.data["status"]["desired"].is_number()
            {
                decided.insert(object.name_any());
            }
        }
    }
}

/// Whether records arrive for a group and its commits follow.
pub(crate) fn moves(index: usize) -> bool {
    index.is_multiple_of(2)
}

fn ends_of(producer: &Producer, starts: &[i64]) -> Vec<i64> {
    starts.iter().zip(producer.delivered()).map(|(start, more)| start + i64::try_from(more).unwrap_or(0)).collect()
}

/// Reports Deployments as running what they should, where they do not. Gives their number.
pub(crate) async fn settle_all(client: &Client, namespace: &str) -> usize {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let all = deployments.list(&ListParams::default()).await.expect("Deployments can be listed").items;
    let unsettled: Vec<_> = all.into_iter().filter(|deployment| !is_settled(deployment)).collect();
    stream::iter(&unsettled).for_each_concurrent(AT_ONCE, |deployment| settle(&deployments, deployment)).await;
    unsettled.len()
}

fn is_settled(deployment: &Deployment) -> bool {
    let status = deployment.status.clone().unwrap_or_default();
    status.observed_generation == deployment.metadata.generation
        && status.replicas == deployment.spec.as_ref().and_then(|spec| spec.replicas)
}

async fn settle(deployments: &Api<Deployment>, deployment: &Deployment) {
    let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    let status = json!({"status": {
        "observedGeneration": deployment.metadata.generation,
        "replicas": replicas,
        "updatedReplicas": replicas,
        "readyReplicas": replicas,
        "availableReplicas": replicas,
    }});
    let params = PatchParams::default();
    let patched = deployments.patch_status(&deployment.name_any(), &params, &Patch::Merge(status)).await;
    patched.expect("a Deployment's status can be patched");
}

fn deployment(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "consumer", "image": "consumer"}]},
            },
        },
    })
}

/// Producers and the commits that follow them. Dropping it stops both.
pub(crate) struct Load {
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.stop.send(());
        let ended = self.thread.take().map(JoinHandle::join);
        // A failed commit has failed the test already where it matters; a panic while dropping would hide why.
        if matches!(ended, Some(Err(_))) {
            eprintln!("The commits ended with a panic.");
        }
    }
}
