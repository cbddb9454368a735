//! Which workload is meant, whatever version of its API group names it.

use crate::kubernetes::scaledconsumer::validate::TargetRef;

/// A workload of the cluster: versions of one API group share their objects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkloadKey {
    /// Its namespace.
    pub namespace: String,
    /// Its API group; empty for the core group.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl WorkloadKey {
    /// The workload that a reference in this namespace names.
    pub fn of(namespace: &str, target: &TargetRef) -> Self {
        Self {
            namespace: namespace.to_owned(),
            group: target.group().to_owned(),
            kind: target.kind.clone(),
            name: target.name.clone(),
        }
    }
}
