//! The current replicas, from the `/scale` of the cluster in the kubeconfig. Reads, and never writes.

use crate::core::Replicas;
use crate::kubernetes::{TargetRef, WorkloadReader};

/// The replicas there are now.
#[derive(Clone, Debug)]
pub(super) enum CurrentReplicas {
    /// They are known.
    Known(Replicas),
    /// Why they are not known. The replicas that would run the group's members are assumed instead.
    Unknown(String),
}

impl CurrentReplicas {
    pub(super) fn unknown(&self) -> Option<&str> {
        match self {
            Self::Known(_) => None,
            Self::Unknown(why) => Some(why),
        }
    }
}

/// The replicas that a workload has, read as the controller reads them, or why they are not known.
pub(super) async fn current(workloads: &WorkloadReader, namespace: &str, target: &TargetRef) -> CurrentReplicas {
    match workloads.read(namespace, target).await {
        Ok(workload) => CurrentReplicas::Known(workload.spec),
        Err(error) => CurrentReplicas::Unknown(format!(
            "the scale of {target} in namespace \"{namespace}\" can't be read: {error}"
        )),
    }
}

/// The API server's message, without the client's context.
pub(super) fn plainly(error: &kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => anyhow::anyhow!("{}", status.message),
        other => {
            let mut text = other.to_string();
            let mut cause = std::error::Error::source(other);
            while let Some(deeper) = cause {
                text = deeper.to_string();
                cause = deeper.source();
            }
            anyhow::anyhow!("{text}")
        }
    }
}
