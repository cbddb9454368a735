//! The product's own parts in the test's process: poller, engine and loop as in `run`, on a real Deployment. So a test sees whole
//! decisions and not only what the status tells of them.

use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client};
use paceline::core::*;
use paceline::kafka::{ClusterSettings, Poller, now};
use paceline::kubernetes::leadership::{self, Leadership};
use paceline::kubernetes::scale::{Read, ScaleError, Scales};
use paceline::kubernetes::validate::TargetRef;
use paceline::steer::{Acted, Target, steer};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What is steered and how.
pub(super) struct Order {
    pub(super) namespace: String,
    pub(super) deployment: String,
    pub(super) group: String,
    pub(super) topic: String,
    pub(super) policy: Policy,
    pub(super) settings: ClusterSettings,
}

/// A running loop.
pub(super) struct Steering {
    stop: CancellationToken,
    task: JoinHandle<()>,
    decisions: mpsc::UnboundedReceiver<Decision>,
}

impl Steering {
    pub(super) fn start(client: Client, order: Order) -> Self {
        let (stop, settings) = (CancellationToken::new(), order.settings.clone());
        let query = GroupQuery {
            group: order.group.clone(),
            topics: TopicSelection::Named(vec![order.topic.clone()]),
            partitions: None,
            isolation: IsolationLevel::default(),
        };
        let (sender, decisions) = mpsc::unbounded_channel();
        let token = stop.clone();
        let task = tokio::spawn(async move {
            let poller = Poller::start(settings, now, &token).expect("the settings are valid");
            let observations = poller.subscribe(query);
            let (standing, leadership) = leadership::alone();
            let (policy, policies) = watch::channel(order.policy.clone());
            let target = Workers::new(client, &order, leadership, sender);
            steer(Engine::new(order.policy), observations, policies, target, token).await;
            poller.ended().await;
            drop((standing, policy));
        });
        Self { stop, task, decisions }
    }

    /// What was decided since the last call.
    pub(super) fn decisions(&mut self) -> Vec<Decision> {
        std::iter::from_fn(|| self.decisions.try_recv().ok()).collect()
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("the loop does not panic");
    }
}

/// A Deployment as a target.
struct Workers {
    scales: Scales,
    deployments: Api<Deployment>,
    leadership: Leadership,
    namespace: String,
    target: TargetRef,
    read: Option<Read>,
    decisions: mpsc::UnboundedSender<Decision>,
}

impl Workers {
    fn new(client: Client, order: &Order, leadership: Leadership, decisions: mpsc::UnboundedSender<Decision>) -> Self {
        let target = TargetRef {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            name: order.deployment.clone(),
        };
        Self {
            scales: Scales::new(client.clone()),
            deployments: Api::namespaced(client, &order.namespace),
            leadership,
            namespace: order.namespace.clone(),
            target,
            read: None,
            decisions,
        }
    }
}

impl Target for Workers {
    type Error = ScaleError;

    async fn read(&mut self) -> Result<Workload, ScaleError> {
        let read = self.scales.read(&self.namespace, &self.target).await?;
        let found = self.deployments.get(&self.target.name).await;
        let found = found.map_err(|error| ScaleError::Other(error.to_string()))?;
        let ready = found.status.and_then(|status| status.ready_replicas).unwrap_or(0);
        let workload = Workload {
            read_at: Some(now()),
            ready: Some(Replicas(u32::try_from(ready).unwrap_or(0))),
            ..read.workload
        };
        self.read = Some(read);
        Ok(workload)
    }

    async fn act(&mut self, _seen: &Observation, decision: &Decision) -> Acted {
        let Some(read) = self.read.as_ref().filter(|_| decision.is_change()) else {
            let _ = self.decisions.send(decision.clone());
            return Acted::Done;
        };
        match self.scales.write(&self.namespace, &self.target, read, decision.desired, &self.leadership).await {
            Err(ScaleError::Conflict(_)) => Acted::Retry,
            written => {
                // A write that fails is tried again at the next poll; the audit log has what was written.
                if let Err(error) = written {
                    eprintln!("{} was not scaled: {error}", self.namespace);
                }
                let _ = self.decisions.send(decision.clone());
                Acted::Done
            }
        }
    }

    async fn unreadable(&mut self, _seen: &Observation, error: ScaleError) {
        eprintln!("{} can't be read for now: {error}", self.namespace);
    }
}
