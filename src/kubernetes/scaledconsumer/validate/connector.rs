//! Checks a ScaledConsumer that scales a connector of Kafka Connect: a Strimzi KafkaConnector, or one that Connect's REST API
//! changes. Its replicas are the connector's tasks, of which there is at least one, and no HPA can scale it.

use kube::ResourceExt;

use super::problems::Problems;
use crate::core::{HttpAddress, http_address};
use crate::kubernetes::scaledconsumer::resource::{
    CONNECTOR_API_VERSION, CONNECTOR_KIND, ConnectSpec, Mode, PAUSED_REPLICAS, ScaledConsumer,
};
use crate::kubernetes::{Key, TargetRef};

/// The workers of a Kafka Connect cluster, as a ScaledConsumer gives them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectRef {
    /// Their REST API.
    pub url: HttpAddress,
    /// The Secret with the user name and the password, in the ScaledConsumer's namespace.
    pub secret: Option<Key>,
    /// The Secret with the workers' CA, in the ScaledConsumer's namespace.
    pub authority: Option<Key>,
}

/// What a kind of connector is called, and what replaces that which it can't do.
pub(super) struct ConnectorKind {
    name: &'static str,
    stop: &'static str,
    without_hpa: &'static str,
}

const STRIMZI: ConnectorKind = ConnectorKind {
    name: "a KafkaConnector",
    stop: "set its spec.state to stopped",
    without_hpa: "whose scale has no label selector",
};
const REST: ConnectorKind = ConnectorKind {
    name: "a connector",
    stop: "send PUT /connectors/NAME/stop to a worker",
    without_hpa: "which is no object of Kubernetes",
};

/// Whether the target is a connector that Connect's REST API changes.
pub(super) fn is_rest(target: &TargetRef) -> bool {
    target.api_version == CONNECTOR_API_VERSION && target.kind == CONNECTOR_KIND
}

/// The kind of connector that the target is.
pub(super) fn kind(target: &TargetRef) -> Option<ConnectorKind> {
    let is_strimzi = target.group() == "kafka.strimzi.io" && target.kind == "KafkaConnector";
    let rest = || is_rest(target).then_some(REST);
    is_strimzi.then_some(STRIMZI).or_else(rest)
}

/// Adds what a connector can't do; nothing for other targets.
pub(super) fn check(object: &ScaledConsumer, target: &TargetRef, problems: &mut Problems) {
    let Some(ConnectorKind { name, stop, without_hpa }) = kind(target) else { return };
    let no_zero = format!("{name} has at least 1 task; set 1 or more, and to stop the connector {stop}");
    let spec = &object.spec;
    if spec.min_replicas == 0 {
        problems.add("spec.minReplicas", format!("is 0, and {no_zero}"));
    }
    if object.annotations().get(PAUSED_REPLICAS).is_some_and(|replicas| replicas.trim() == "0") {
        problems.add("metadata.annotations", format!("{PAUSED_REPLICAS} is \"0\", and {no_zero}"));
    }
    if spec.threads_per_replica > 1 {
        let given = spec.threads_per_replica;
        problems.add(
            "spec.threadsPerReplica",
            format!("is {given}, and each task of {name} is one member of the group; leave it out"),
        );
    }
    if spec.sources.is_some() {
        problems.add("spec.sources", format!("is given, and {name} has one consumer group; use spec.kafka"));
    }
    match spec.mode {
        Mode::Scale | Mode::DryRun => {}
        Mode::Metrics => {
            problems.add("spec.mode", format!("is Metrics, and an HPA can't scale {name}, {without_hpa}; use Scale"));
        }
    }
}

/// The workers that `spec.connect` names.
pub(super) fn workers(
    spec: Option<&ConnectSpec>,
    target: &TargetRef,
    namespace: &str,
    problems: &mut Problems,
) -> Option<ConnectRef> {
    const FIELD: &str = "spec.connect";
    let Some(ConnectSpec { url, secret_ref, ca_secret_ref }) = spec else {
        if is_rest(target) {
            problems.add(FIELD, "is missing; give the REST API of the workers as connect.url");
        }
        return None;
    };
    if !is_rest(target) {
        problems.add(
            FIELD,
            format!("goes with a connector only; set apiVersion {CONNECTOR_API_VERSION} and kind {CONNECTOR_KIND} of scaleTargetRef, or leave it out"),
        );
    }
    let url = http_address(url).map_err(|why| problems.add("spec.connect.url", why)).ok();
    if ca_secret_ref.is_some() && url.as_ref().is_some_and(|url| !url.encrypted) {
        problems.add("spec.connect.caSecretRef", "goes with https:// only; correct spec.connect.url, or leave it out");
    }
    let secret = problems.secret("spec.connect.secretRef", secret_ref.as_ref(), namespace);
    let authority = problems.secret("spec.connect.caSecretRef", ca_secret_ref.as_ref(), namespace);
    Some(ConnectRef { url: url?, secret, authority })
}
