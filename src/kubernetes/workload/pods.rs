//! What a workload's pods are like: how many are ready, and whether their template has changed. Only Deployments and
//! StatefulSets tell it, and it is asked for only where something has happened, as the scale is read far more often.

use std::time::Duration;

use kube::api::DynamicObject;
use tokio::time::Instant;

use crate::core::{Replicas, Workload};
use crate::kubernetes::scaledconsumer::validate::TargetRef;
use crate::kubernetes::workload::scale::{Read, Scales};

/// A roll-out changes the workload at every step; of a thousand workloads that roll out at once, 33 are asked a second.
const SELDOM: Duration = Duration::from_secs(30);

/// What was last seen of one workload.
#[derive(Debug, Default)]
pub struct Pods {
    seen: Option<Seen>,
}

#[derive(Debug)]
struct Seen {
    at: Instant,
    /// The workload's version: the same version has the same pods.
    version: String,
    ready: Option<Replicas>,
    template: Option<u64>,
}

impl Pods {
    /// Adds to a workload what is known of its pods; reads it where it may have changed, but not often.
    pub async fn complete(&mut self, scales: &Scales, namespace: &str, target: &TargetRef, read: &Read) -> Workload {
        let kind = Kind::of(target);
        let is_due = match &self.seen {
            None => true,
            Some(seen) => seen.version != read.version() && seen.at.elapsed() >= SELDOM,
        };
        if let (Some(kind), true) = (kind, is_due) {
            let object = scales.object(namespace, target, read).await;
            self.note(read.version(), object.as_ref().map(|object| kind.pods(object)));
        }
        let Some(seen) = &self.seen else { return read.workload };
        // How many are ready changes all the time; the template seldom, so the last one known is most likely the one.
        let ready = seen.ready.filter(|_| seen.version == read.version());
        Workload { ready, template: seen.template, ..read.workload }
    }

    fn note(&mut self, version: &str, pods: Option<(Option<Replicas>, Option<u64>)>) {
        let before = self.seen.as_ref().and_then(|seen| seen.template);
        // What could not be read is asked for again, whether it changes or not.
        let version = if pods.is_some() { version.to_owned() } else { String::new() };
        let (at, (ready, template)) = (Instant::now(), pods.unwrap_or_default());
        self.seen = Some(Seen { at, version, ready, template: template.or(before) });
    }
}

/// The kinds that tell about their pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Deployment,
    StatefulSet,
}

impl Kind {
    fn of(target: &TargetRef) -> Option<Self> {
        match (target.group(), target.kind.as_str()) {
            ("apps", "Deployment") => Some(Self::Deployment),
            ("apps", "StatefulSet") => Some(Self::StatefulSet),
            (_, _) => None,
        }
    }

    /// How many are ready, and what stands for their template.
    fn pods(self, object: &DynamicObject) -> (Option<Replicas>, Option<u64>) {
        let status = object.data.get("status");
        // The API server leaves a 0 out, but never the whole status of what its controller has seen.
        let observed = status.filter(|status| status.get("observedGeneration").is_some());
        let ready = observed.map(|status| status.get("readyReplicas").and_then(serde_json::Value::as_u64).unwrap_or(0));
        let revision = match self {
            // The Deployment's controller counts the templates.
            Self::Deployment => object
                .metadata
                .annotations
                .as_ref()
                .and_then(|annotations| annotations.get("deployment.kubernetes.io/revision"))
                .map(String::as_str),
            Self::StatefulSet => status.and_then(|status| status.get("updateRevision")?.as_str()),
        };
        (ready.and_then(|ready| u32::try_from(ready).ok()).map(Replicas), revision.map(fingerprint))
    }
}

/// FNV-1a, 64 bits: the same in every version of this program, as what is remembered outlives it.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_are_those_of_the_status_and_a_new_template_is_another_number() {
        let deployment = |revision: &str, status: serde_json::Value| {
            let annotations = json!({"deployment.kubernetes.io/revision": revision});
            json!({"metadata": {"annotations": annotations}, "status": status})
        };
        let set = |revision: &str| json!({"metadata": {}, "status": {"updateRevision": revision, "readyReplicas": 2, "observedGeneration": 1}});
        let pods =
            |kind: Kind, object: serde_json::Value| kind.pods(&serde_json::from_value(object).expect("an object"));
        let ready = json!({"readyReplicas": 3, "observedGeneration": 4});
        let (first, second) = (fingerprint("1"), fingerprint("2"));
        assert_ne!(first, second);
        let rows = [
            (pods(Kind::Deployment, deployment("1", ready.clone())), (Some(3), Some(first))),
            (pods(Kind::Deployment, deployment("2", ready)), (Some(3), Some(second))),
            (pods(Kind::Deployment, deployment("1", json!({"observedGeneration": 4}))), (Some(0), Some(first))),
            (pods(Kind::Deployment, json!({"metadata": {}, "status": {}})), (None, None)),
            (pods(Kind::StatefulSet, set("orders-5d")), (Some(2), Some(fingerprint("orders-5d")))),
        ];
        for (seen, (ready, template)) in rows {
            assert_eq!(seen, (ready.map(Replicas), template));
        }
        // The published value for "a" (FNV-1a, 64 bits).
        assert_eq!(fingerprint("a"), 0xaf63_dc4c_8601_ec8c);
    }
}
