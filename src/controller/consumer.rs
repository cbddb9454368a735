//! One ScaledConsumer in the control loop: its workload and its competitors. The only place where a decision becomes a
//! write.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::warn;

use super::clusters::Subscription;
use super::missing_tasks::MissingTasks;
use super::target::{NotScaled, ScaledTarget};
use crate::control_loop::{Acted, Actuator, ClusterContext};
use crate::core::{Decisions, Replicas, Workload};
use crate::kafka::now;
use crate::kubernetes::hpa::{self, Autoscalers};
use crate::kubernetes::scaledconsumer::{self, Mode, Validated};
use crate::kubernetes::{
    Competitor, ConflictDetector, LastError, Leadership, ScalerIdentity, Workloads, competitor_of,
};
use crate::registry::{ActionResult, Entry, EntryWriter, RegistryWriter, TargetError};

/// Shared by all ScaledConsumers.
pub(super) struct ConsumerContext {
    pub(super) registry: RegistryWriter,
    pub(super) workloads: Workloads,
    pub(super) autoscalers: Autoscalers,
    pub(super) leadership: Leadership,
}

/// One ScaledConsumer's workload.
pub(super) struct Consumer {
    shared: Arc<ConsumerContext>,
    entry: EntryWriter,
    /// Of each source.
    subscriptions: Vec<Subscription>,
    leadership: Leadership,
    target: ScaledTarget,
    conflicts: ConflictDetector,
    missing_tasks: MissingTasks,
    /// Why the last write failed. Each reason is logged once, and not at each poll.
    last_error: LastError,
}

impl Consumer {
    pub(super) fn new(
        shared: Arc<ConsumerContext>,
        entry: EntryWriter,
        subscriptions: Vec<Subscription>,
        target: ScaledTarget,
    ) -> Self {
        let leadership = shared.leadership.clone();
        let (conflicts, missing_tasks, last_error) = Default::default();
        Self { shared, entry, subscriptions, leadership, target, conflicts, missing_tasks, last_error }
    }

    /// Writes the replicas.
    async fn write(&mut self, spec: &Validated, decisions: &Decisions) -> Result<ActionResult, NotScaled> {
        let (namespace, name) = (&spec.namespace, &spec.name);
        match self.target.write(decisions.current(), decisions.desired(), &self.shared.leadership).await {
            Ok(true) => {
                self.conflicts.wrote(decisions.desired());
                self.last_error.clear();
                Ok(ActionResult::Written)
            }
            Ok(false) => Ok(ActionResult::NotLeader),
            Err(NotScaled::Failed(error)) => {
                if self.last_error.is_new(&error.message) {
                    let (current, desired, error) = (decisions.current().0, decisions.desired().0, &error.message);
                    warn!(
                        namespace,
                        name, current, desired, error, "The target was not scaled; trying again at each poll."
                    );
                }
                Err(NotScaled::Failed(error))
            }
            Err(other) => Err(other),
        }
    }

    /// Whether all other possible scalers of the workload are known.
    fn are_scalers_known(&self, namespace: &str) -> bool {
        let watches = self.entry.registry().watches();
        [hpa::RESOURCE, scaledconsumer::RESOURCE].iter().all(|resource| watches.is_settled(resource, namespace))
    }

    /// Who else scales the workload, including a client that keeps changing it back.
    async fn competitor(&mut self, spec: &Validated, current: Replicas) -> Option<Competitor> {
        let own = scaler_identity(&self.entry.entry())?;
        let others = self.entry.registry().of_workload(&spec.namespace, &spec.target);
        let others = others.iter().filter_map(|entry| scaler_identity(entry));
        let autoscalers = self.shared.autoscalers.of(&spec.namespace, &spec.target);
        let competitor = competitor_of(&own, autoscalers.first().map(|first| first.name.as_str()), others);
        match spec.mode {
            Mode::Scale | Mode::DryRun => {}
            // The HPA sets the replicas, so earlier writes no longer matter.
            Mode::Metrics => self.conflicts = ConflictDetector::default(),
        }
        let is_set_back = self.conflicts.read(current, Instant::now());
        if !is_set_back || competitor.as_ref().is_some_and(Competitor::forbids_writing) {
            return competitor;
        }
        Some(Competitor::ChangedBack(Box::pin(self.target.last_writer()).await))
    }

    /// Why no task is added, where the target is a connector whose worker has left.
    fn missing_tasks(&mut self, spec: &Validated, decisions: &Decisions) -> Option<TargetError> {
        let members = decisions.chosen().members.as_ref().ok().copied();
        let missing =
            spec.is_connector().then(|| self.missing_tasks.seen(members, decisions.current(), Instant::now()));
        missing.flatten()
    }

    /// Carries out the decision that is chosen. Returns the result and the competitor; `None` where it must be decided again.
    async fn carry_out(
        &mut self,
        spec: &Validated,
        decisions: &Decisions,
    ) -> Option<(ActionResult, Option<Competitor>)> {
        let missing = self.missing_tasks(spec, decisions);
        if !self.shared.leadership.is_leader() {
            // Writes of another leader are no conflict.
            self.conflicts = ConflictDetector::default();
            return Some((ActionResult::NotLeader, None));
        }
        if decisions.is_change() && !self.are_scalers_known(&spec.namespace) {
            return Some((ActionResult::WaitingForLists, None));
        }
        let competitor = self.competitor(spec, decisions.current()).await;
        let is_forbidden = competitor.as_ref().is_some_and(Competitor::forbids_writing);
        // Reported for as long as tasks are missing, whether or not more are wanted at this poll.
        let waits_for = missing.filter(|_| decisions.desired() >= decisions.current());
        let action = match (spec.mode, decisions.is_change(), waits_for) {
            (Mode::DryRun | Mode::Metrics, true, _) => ActionResult::NotWritten,
            (Mode::Scale, true, _) if is_forbidden => ActionResult::Refused,
            (Mode::Scale, _, Some(error)) => ActionResult::Postponed(error),
            (Mode::Scale, true, None) => match self.write(spec, decisions).await {
                Ok(action) => action,
                Err(NotScaled::Changed) => return None,
                Err(NotScaled::Postponed(error)) => ActionResult::Postponed(error),
                Err(NotScaled::Failed(error)) => ActionResult::Failed(error),
            },
            (Mode::Scale, false, None) | (Mode::DryRun | Mode::Metrics, false, _) => ActionResult::NothingToDo,
        };
        Some((action, competitor))
    }
}

fn scaler_identity(entry: &Entry) -> Option<ScalerIdentity> {
    Some(ScalerIdentity::of(entry.spec.as_deref()?, entry.created))
}

/// Whether all replicas exist and are ready, as far as known.
fn is_settled(workload: &Workload) -> bool {
    [workload.actual, workload.ready].into_iter().flatten().all(|replicas| replicas == workload.spec)
}

impl Actuator for Consumer {
    async fn read(&mut self) -> Result<Workload, TargetError> {
        let workload = self.target.read().await?;
        Ok(Workload { read_at: Some(now()), ..workload })
    }

    async fn act(&mut self, decisions: &Decisions) -> Acted {
        let entry = self.entry.entry();
        let Some(spec) = &entry.spec else {
            // It was refused meanwhile, and this task is about to end.
            return Acted::Done { action: ActionResult::NothingToDo, competitor: None };
        };
        let is_changing = decisions.is_change() || !is_settled(&decisions.chosen().workload);
        for (subscription, decision) in self.subscriptions.iter().zip(decisions.all()) {
            subscription.hint.set_changing(is_changing || decision.members_matter);
            subscription.hint.set_measuring(decision.is_measuring);
        }
        let Some((action, competitor)) = self.carry_out(spec, decisions).await else { return Acted::Retry };
        Acted::Done { action, competitor }
    }

    fn clusters(&self) -> Vec<ClusterContext> {
        let context = |subscription: &Subscription| ClusterContext {
            poll_interval: subscription.interval,
            certificate: subscription.expiring.borrow().clone(),
        };
        self.subscriptions.iter().map(context).collect()
    }

    async fn changed(&mut self) {
        // A new leader acts at once, not only at the next poll.
        let (leadership, target) = (&mut self.leadership, &mut self.target);
        tokio::select! {
            () = leadership.changed() => {}
            () = target.changed() => {}
        }
    }
}
