//! Workloads of real consumers: the Deployments and StatefulSets that tests let Paceline scale.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use paceline::core::duration_argument;
use serde_json::{Value, json};

use super::control_plane::ControlPlane;
use super::kafka::Kafka;
use super::kubelet::START_DELAY;
use super::{equal, unique, wait_for};

/// A workload whose pods are consumers of one group. Its fields may be changed before it is created.
#[derive(Debug, Clone)]
pub(crate) struct Workers {
    /// The workload's name, and the label `app` of its pods.
    pub(crate) name: String,
    pub(crate) bootstrap: String,
    pub(crate) group: String,
    pub(crate) topics: Vec<String>,
    pub(crate) replicas: i32,
    /// Records/s that each handles.
    pub(crate) capacity: f64,
    pub(crate) commit_interval: Duration,
    /// From the pod's binding to the start of its process.
    pub(crate) start_delay: Duration,
    /// The address of what they share, e.g. a [`super::downstream::Downstream`].
    pub(crate) downstream: Option<String>,
    /// `TOPIC/PARTITION@OFFSET` of the record that they can't handle.
    pub(crate) stuck: Option<String>,
    /// Settings of librdkafka, e.g. ("group.protocol", "consumer").
    pub(crate) properties: Vec<(String, String)>,
    /// Consumers of other groups, of which each pod runs one as well.
    pub(crate) beside: Vec<Self>,
}

/// How far a workload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Replicas {
    pub(crate) wanted: i32,
    pub(crate) existing: i32,
    pub(crate) ready: i32,
}

impl Workers {
    /// One replica of 100 records/s that commits each second and starts at once.
    pub(crate) fn new(kafka: &Kafka, name: &str, group: &str, topic: &str) -> Self {
        Self {
            name: name.to_owned(),
            bootstrap: kafka.bootstrap(),
            group: group.to_owned(),
            topics: vec![topic.to_owned()],
            replicas: 1,
            capacity: 100.0,
            commit_interval: Duration::from_secs(1),
            start_delay: Duration::ZERO,
            downstream: None,
            stuck: None,
            properties: Vec::new(),
            beside: Vec::new(),
        }
    }

    /// Workers that look at a topic of their own, so that nobody but the scaler changes anything.
    pub(crate) fn elsewhere(kafka: &Kafka, name: &str) -> Self {
        let elsewhere = unique("elsewhere");
        kafka.create_topic(&elsewhere, 1);
        Self::new(kafka, name, &elsewhere, &elsewhere)
    }

    /// The same workers in the new group protocol (KIP-848).
    pub(crate) fn with_new_protocol(mut self) -> Self {
        self.properties.push(("group.protocol".to_owned(), "consumer".to_owned()));
        self
    }

    /// The command line of one worker, after `paceline`.
    pub(crate) fn args(&self) -> Vec<String> {
        let mut args = vec!["worker".to_owned()];
        let mut add = |name: &str, value: String| args.push(format!("--{name}={value}"));
        add("bootstrap-servers", self.bootstrap.clone());
        add("group", self.group.clone());
        add("capacity", self.capacity.to_string());
        add("commit-interval", duration_argument(self.commit_interval));
        for topic in &self.topics {
            add("topic", topic.clone());
        }
        if let Some(downstream) = &self.downstream {
            add("downstream", downstream.clone());
        }
        if let Some(stuck) = &self.stuck {
            add("stuck", stuck.clone());
        }
        for (key, value) in &self.properties {
            add("property", format!("{key}={value}"));
        }
        args
    }

    /// The container of a pod: one consumer, or a shell with several. Its group gets the signal to end, so the shell waits until
    /// they have left theirs.
    fn container(&self) -> Value {
        let mut container = json!({"name": "worker", "image": "paceline"});
        if self.beside.is_empty() {
            container["args"] = json!(self.args());
            return container;
        }
        let mut script = "trap : TERM\n".to_owned();
        for worker in std::iter::once(self).chain(&self.beside) {
            let words = std::iter::once(env!("CARGO_BIN_EXE_paceline").to_owned()).chain(worker.args());
            let quoted: Vec<String> = words.map(|word| format!("'{word}'")).collect();
            script.push_str(&format!("{} &\n", quoted.join(" ")));
        }
        script.push_str("wait\nwait\n");
        container["command"] = json!(["sh", "-c", script]);
        container
    }

    /// Creates a Deployment of them.
    pub(crate) async fn deploy(&self, client: Client, namespace: &str) {
        let deployment: Deployment = serde_json::from_value(json!({
            "metadata": {"name": self.name},
            "spec": self.spec(),
        }))
        .expect("it is a Deployment");
        Api::namespaced(client, namespace)
            .create(&PostParams::default(), &deployment)
            .await
            .expect("a Deployment can be created");
    }

    /// Deletes the Deployment; its consumers end in their own time.
    pub(crate) async fn remove(&self, client: Client, namespace: &str) {
        let deployments: Api<Deployment> = Api::namespaced(client, namespace);
        deployments.delete(&self.name, &DeleteParams::default()).await.expect("a Deployment can be deleted");
    }

    /// Creates a StatefulSet of them.
    pub(crate) async fn deploy_stateful(&self, client: Client, namespace: &str) {
        let mut spec = self.spec();
        spec["serviceName"] = json!(self.name);
        let set: StatefulSet = serde_json::from_value(json!({"metadata": {"name": self.name}, "spec": spec}))
            .expect("it is a StatefulSet");
        Api::namespaced(client, namespace)
            .create(&PostParams::default(), &set)
            .await
            .expect("a StatefulSet can be created");
    }

    fn spec(&self) -> Value {
        let labels = json!({"app": self.name});
        json!({
            "replicas": self.replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {START_DELAY: duration_argument(self.start_delay)},
                },
                "spec": {"containers": [self.container()]},
            },
        })
    }
}

/// How far a Deployment is.
pub(crate) async fn deployment_replicas(client: Client, namespace: &str, name: &str) -> Replicas {
    let found: Deployment = Api::namespaced(client, namespace).get(name).await.expect("the Deployment exists");
    let status = found.status.unwrap_or_default();
    Replicas {
        wanted: found.spec.and_then(|spec| spec.replicas).unwrap_or(1),
        existing: status.replicas.unwrap_or(0),
        ready: status.ready_replicas.unwrap_or(0),
    }
}

/// Waits until somebody has set a Deployment's replicas to this.
pub(crate) async fn wait_for_wanted(cluster: &ControlPlane, namespace: &str, name: &str, replicas: i32) {
    wait_for(&format!("{name} at {replicas}"), Duration::from_secs(90), || async {
        equal(&deployment_replicas(cluster.admin(), namespace, name).await.wanted, &replicas)
    })
    .await;
}

/// How far a StatefulSet is.
pub(crate) async fn stateful_set_replicas(client: Client, namespace: &str, name: &str) -> Replicas {
    let found: StatefulSet = Api::namespaced(client, namespace).get(name).await.expect("the StatefulSet exists");
    let status = found.status.unwrap_or_default();
    Replicas {
        wanted: found.spec.and_then(|spec| spec.replicas).unwrap_or(1),
        existing: status.replicas,
        ready: status.ready_replicas.unwrap_or(0),
    }
}

/// The names of a workload's pods, those that are ending included.
pub(crate) async fn pods(client: Client, namespace: &str, name: &str) -> Vec<String> {
    let params = ListParams::default().labels(&format!("app={name}"));
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let list = pods.list(&params).await.expect("pods can be listed");
    list.items.into_iter().filter_map(|pod| pod.metadata.name).collect()
}

/// A group with a lag that asks for four replicas, and a Deployment of one that does nothing about it.
pub(crate) async fn with_lag(
    kafka: &Kafka,
    cluster: &ControlPlane,
    namespace: &str,
    deployment: &str,
) -> (String, String) {
    let (topic, group) = (unique("lag"), unique("lag"));
    kafka.create_topic(&topic, 4);
    kafka.commit(&group, &[0, 1, 2, 3].map(|partition| (topic.as_str(), partition, 0)));
    kafka.produce_to_all(&topic, 4, 100);
    let elsewhere = unique("elsewhere");
    kafka.create_topic(&elsewhere, 1);
    Workers::new(kafka, deployment, &elsewhere, &elsewhere).deploy(cluster.admin(), namespace).await;
    (topic, group)
}
