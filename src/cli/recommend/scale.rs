//! The current replicas: from the `/scale` of the cluster in the kubeconfig, as given, or from the group's members. Reads,
//! and never writes.

use crate::connect::ConnectorState;
use crate::core::{GroupState, Observation, Policy, Replicas, Sizing, member_count_differs};
use crate::kubernetes::{TargetRef, WorkloadReader};

/// Where the current replicas come from.
#[derive(Clone, Debug)]
pub(super) enum CurrentReplicas {
    /// They are those of the workload.
    OfWorkload(Replicas),
    /// They were given. Members that are in the group count for more.
    Given(Replicas),
    /// They are those that run the group's members.
    OfMembers,
    /// Why they are not known. The replicas that would run the group's members are assumed instead.
    Unknown(String),
}

impl CurrentReplicas {
    pub(super) fn unknown(&self) -> Option<&str> {
        match self {
            Self::OfWorkload(_) | Self::Given(_) | Self::OfMembers => None,
            Self::Unknown(why) => Some(why),
        }
    }

    /// The replicas to decide for, by what a poll saw of the group.
    pub(super) fn decided_for(&self, policy: &Policy, observation: &Observation) -> KnownReplicas {
        let members = observation.group.as_ref().ok().map(|group| group.members.len()).filter(|members| *members > 0);
        let live = members.and_then(|members| u32::try_from(members).ok());
        let live = live.map(|members| (members, Replicas(policy.sizing().replicas(members))));
        let is_stable = observation.group.as_ref().is_ok_and(|group| group.state == GroupState::Stable);
        let known = |replicas| KnownReplicas { replicas, note: None, unknown: None };
        let assumed = |why: String| {
            let replicas = live.map_or(policy.bounds.min(), |(_, replicas)| replicas);
            KnownReplicas { replicas, note: None, unknown: Some(why) }
        };
        match (self, live) {
            (Self::OfWorkload(replicas), _) => {
                let sizing = Sizing::of(policy.threads_per_replica, observation);
                let differs = is_stable.then(|| member_count_differs(observation, *replicas, &sizing)).flatten();
                KnownReplicas { note: differs.map(|differs| differs.to_string()), ..known(*replicas) }
            }
            (Self::Given(given), Some((members, replicas))) if is_stable && replicas != *given => {
                let (given, replicas_of) = (given.0, runs(members, replicas));
                KnownReplicas {
                    note: Some(format!("--current {given} is left aside: {replicas_of}.")),
                    ..known(replicas)
                }
            }
            (Self::Given(given), _) => known(*given),
            (Self::OfMembers, Some((members, replicas))) => {
                let note = format!("The current replicas are taken from the group: {}.", runs(members, replicas));
                KnownReplicas { note: Some(note), ..known(replicas) }
            }
            (Self::OfMembers, None) => assumed(match &observation.group {
                Ok(_) => "nobody is in the group".to_owned(),
                Err(reason) => format!("its members can't be read: {reason}"),
            }),
            (Self::Unknown(why), _) => assumed(why.clone()),
        }
    }
}

fn runs(members: u32, replicas: Replicas) -> String {
    let plural = if members == 1 { "member" } else { "members" };
    format!("it has {members} {plural}, which {replicas} would run")
}

/// The replicas that a decision is for.
#[derive(Clone, Debug)]
pub(super) struct KnownReplicas {
    pub(super) replicas: Replicas,
    /// Where they come from, if that is not what was said.
    pub(super) note: Option<String>,
    /// Why they are assumed only.
    pub(super) unknown: Option<String>,
}

/// The replicas that a workload has, read as the controller reads them, or why they are not known.
pub(super) async fn current(workloads: &WorkloadReader, namespace: &str, target: &TargetRef) -> CurrentReplicas {
    match workloads.read(namespace, target).await {
        Ok(workload) => CurrentReplicas::OfWorkload(workload.spec),
        Err(error) => CurrentReplicas::Unknown(format!(
            "the scale of {target} in namespace \"{namespace}\" can't be read: {error}"
        )),
    }
}

/// The tasks of a connector, or why they are not known.
pub(super) fn of_connector(target: &TargetRef, read: Result<ConnectorState, String>) -> CurrentReplicas {
    match read {
        Ok(state) => CurrentReplicas::OfWorkload(state.workload().spec),
        Err(error) => CurrentReplicas::Unknown(format!("the tasks of {target} can't be read: {error}")),
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
