//! Checks a ScaledConsumer that scales a Strimzi KafkaConnector. Its replicas are the connector's tasks (`spec.tasksMax`), of
//! which there is at least one, and its `/scale` has no label selector.

use kube::ResourceExt;

use super::problems::Problems;
use crate::kubernetes::TargetRef;
use crate::kubernetes::scaledconsumer::resource::{Mode, PAUSED_REPLICAS, ScaledConsumer};

/// The API group of Strimzi.
const STRIMZI: &str = "kafka.strimzi.io";
/// Its kind of connectors.
const CONNECTOR: &str = "KafkaConnector";

const NO_ZERO: &str =
    "a KafkaConnector has at least 1 task; set 1 or more, and to stop the connector set its spec.state to stopped";

/// Adds what a KafkaConnector can't do; nothing for other targets.
pub(super) fn check(object: &ScaledConsumer, target: &TargetRef, problems: &mut Problems) {
    if target.group() != STRIMZI || target.kind != CONNECTOR {
        return;
    }
    let spec = &object.spec;
    if spec.min_replicas == 0 {
        problems.add("spec.minReplicas", format!("is 0, and {NO_ZERO}"));
    }
    if object.annotations().get(PAUSED_REPLICAS).is_some_and(|replicas| replicas.trim() == "0") {
        problems.add("metadata.annotations", format!("{PAUSED_REPLICAS} is \"0\", and {NO_ZERO}"));
    }
    if spec.threads_per_replica > 1 {
        let given = spec.threads_per_replica;
        problems.add(
            "spec.threadsPerReplica",
            format!("is {given}, and each task of a KafkaConnector is one member of the group; leave it out"),
        );
    }
    match spec.mode {
        Mode::Scale | Mode::DryRun => {}
        Mode::Metrics => problems.add(
            "spec.mode",
            "is Metrics, and an HPA can't scale a KafkaConnector, whose scale has no label selector; use Scale",
        ),
    }
}
