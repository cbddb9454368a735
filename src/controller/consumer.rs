//! One ScaledConsumer in the control loop: its workload, and who else scales it. The only place where a decision becomes
//! a write.

use std::sync::Arc;

use kube::Client;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::clusters::Subscription;
use super::postings::Postings;
use crate::control_loop::{Acted, Actuator, ClusterContext};
use crate::core::{Decision, Replicas, Workload};
use crate::kafka::now;
use crate::kubernetes::conflict::{Claimant, Competitor, ConflictDetector, competitor_of};
use crate::kubernetes::hpa::{self, Autoscalers, Judgement, NotServed, Situation};
use crate::kubernetes::lease::Leadership;
use crate::kubernetes::scaledconsumer::resource::Mode;
use crate::kubernetes::scaledconsumer::status::{Outcome, Reporter};
use crate::kubernetes::scaledconsumer::validate::Validated;
use crate::kubernetes::scaledconsumer::watch::{self as objects, Key};
use crate::kubernetes::workload::pods::Pods;
use crate::kubernetes::workload::scale::{Read, ScaleError, Scales};
use crate::registry::{ActionResult, Entry, EntryWriter, RegistryWriter, TargetError};

/// What all ScaledConsumers share.
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) registry: RegistryWriter,
    pub(super) scales: Scales,
    pub(super) autoscalers: Autoscalers,
    pub(super) leadership: Leadership,
    pub(super) postings: Postings,
    pub(super) identity: String,
    /// Why the external metrics are not served, as long as they are not.
    pub(super) not_served: watch::Receiver<Option<NotServed>>,
}

/// One ScaledConsumer's workload.
pub(super) struct Consumer {
    shared: Arc<Shared>,
    entry: EntryWriter,
    /// The entry's spec. It changes when the entry's does.
    specs: watch::Receiver<Arc<Validated>>,
    subscription: Subscription,
    leadership: Leadership,
    reporter: Reporter,
    read: Option<Read>,
    pods: Pods,
    conflicts: ConflictDetector,
}

impl Consumer {
    pub(super) fn new(
        shared: Arc<Shared>,
        entry: EntryWriter,
        specs: watch::Receiver<Arc<Validated>>,
        subscription: Subscription,
    ) -> Self {
        let known = entry.entry();
        let record = known.record.as_deref().cloned();
        let reporter = Reporter::new(shared.client.clone(), Key::clone(&known.key), record, shared.identity.clone());
        let leadership = shared.leadership.clone();
        Self {
            shared,
            entry,
            specs,
            subscription,
            leadership,
            reporter,
            read: None,
            pods: Pods::default(),
            conflicts: ConflictDetector::default(),
        }
    }

    fn spec(&self) -> Arc<Validated> {
        Arc::clone(&self.specs.borrow())
    }

    async fn report(&mut self, outcome: Outcome<'_>) {
        if !self.shared.leadership.is_leader() {
            self.reporter.step_back();
            return;
        }
        self.reporter.renew(self.entry.entry().record.as_deref().cloned());
        self.reporter.report(&outcome, &self.shared.leadership).await;
    }

    /// Writes the replicas.
    async fn write(&mut self, spec: &Validated, decision: &Decision) -> Result<ActionResult, ScaleError> {
        let Some(read) = &self.read else { return Ok(ActionResult::NothingToDo) };
        let (namespace, name) = (&spec.namespace, &spec.name);
        let leadership = &self.shared.leadership;
        match self.shared.scales.write(namespace, &spec.target, read, decision.desired, leadership).await {
            Ok(Some(())) => {
                let (from, to) = (decision.current().0, decision.desired.0);
                info!(namespace, name, from, to, reason = decision.reason.name(), "Scaled the target.");
                self.conflicts.wrote(decision.desired);
                Ok(ActionResult::Written)
            }
            Ok(None) => Ok(ActionResult::NotLeader),
            Err(error @ ScaleError::Conflict(_)) => Err(error),
            Err(error) => {
                warn!(namespace, name, %error, "The target was not scaled.");
                Err(error)
            }
        }
    }

    /// Whether an HPA acts as was decided, where that is its business.
    fn autoscaled(&self, spec: &Validated, decision: &Decision) -> Option<Judgement> {
        match spec.mode {
            Mode::Scale | Mode::DryRun => None,
            Mode::Metrics => {
                let registry = self.entry.registry();
                let not_served = self.shared.not_served.borrow().clone();
                let situation = Situation {
                    consumer: spec,
                    current: decision.current(),
                    most_useful: most_useful(spec, decision),
                    not_served: not_served.as_ref(),
                };
                let autoscalers = self.shared.autoscalers.of(&spec.namespace, &spec.target);
                let autoscalers: Vec<_> = autoscalers.iter().map(AsRef::as_ref).collect();
                let is_listed = registry.watches().is_listed(hpa::store::RESOURCE, &spec.namespace);
                Some(hpa::judge(&situation, is_listed.then_some(autoscalers.as_slice()), |selector| {
                    let others = registry.in_namespace(&spec.namespace);
                    let others = others.iter().filter(|other| other.key.name != spec.name);
                    let matched = others.filter(|other| {
                        other.spec.as_deref().is_some_and(|spec| selector.matches(&hpa::Labels::of(spec)))
                    });
                    matched.map(|other| other.key.name.clone()).collect()
                }))
            }
        }
    }

    /// Whether everybody is known who may scale the same workload.
    fn are_others_known(&self, namespace: &str) -> bool {
        let watches = self.entry.registry().watches();
        [hpa::store::RESOURCE, objects::RESOURCE].iter().all(|resource| watches.is_settled(resource, namespace))
    }

    /// Who else scales the workload, whoever keeps changing it back included.
    async fn competitor(&mut self, spec: &Validated, current: Replicas) -> Option<Competitor> {
        let own = claimant(&self.entry.entry())?;
        let others = self.entry.registry().of_workload(&spec.namespace, &spec.target);
        let others = others.iter().filter_map(|entry| claimant(entry));
        let autoscalers = self.shared.autoscalers.of(&spec.namespace, &spec.target);
        let competitor = competitor_of(&own, autoscalers.first().map(|first| first.name.as_str()), others);
        match spec.mode {
            Mode::Scale | Mode::DryRun => {}
            // The HPA sets the replicas now; what was written before does not matter to it.
            Mode::Metrics => self.conflicts = ConflictDetector::default(),
        }
        let is_set_back = self.conflicts.read(current, Instant::now());
        if !is_set_back || competitor.as_ref().is_some_and(Competitor::forbids_writing) {
            return competitor;
        }
        let read = self.read.as_ref()?;
        let manager = self.shared.scales.last_writer(&spec.namespace, &spec.target, read).await;
        Some(Competitor::ChangedBack(manager))
    }

    /// What becomes of a decision, and who else scales the workload; nothing where it must be decided again.
    async fn carry_out(&mut self, spec: &Validated, decision: &Decision) -> Option<(ActionResult, Option<Competitor>)> {
        if !self.shared.leadership.is_leader() {
            // What another one writes sets nothing back.
            self.conflicts = ConflictDetector::default();
            return Some((ActionResult::NotLeader, None));
        }
        if decision.is_change() && !self.are_others_known(&spec.namespace) {
            return Some((ActionResult::WaitingForLists, None));
        }
        let competitor = self.competitor(spec, decision.current()).await;
        let is_forbidden = competitor.as_ref().is_some_and(Competitor::forbids_writing);
        let action = match (spec.mode, decision.is_change()) {
            (Mode::DryRun | Mode::Metrics, true) => ActionResult::NotWritten,
            (Mode::Scale, true) if is_forbidden => ActionResult::Refused,
            (Mode::Scale, true) => match self.write(spec, decision).await {
                Ok(action) => action,
                Err(ScaleError::Conflict(_)) => return None,
                Err(error) => ActionResult::Failed(target_error(&error)),
            },
            (Mode::Scale | Mode::DryRun | Mode::Metrics, false) => ActionResult::NothingToDo,
        };
        Some((action, competitor))
    }
}

fn claimant(entry: &Entry) -> Option<Claimant> {
    let spec = entry.spec.as_deref()?;
    Some(Claimant { created: entry.created, name: spec.name.clone(), mode: spec.mode })
}

fn target_error(error: &ScaleError) -> TargetError {
    TargetError { reason: error.name(), message: error.to_string() }
}

/// Whether all replicas that are wanted are there and ready, as far as is known.
fn is_settled(workload: &Workload) -> bool {
    [workload.actual, workload.ready].into_iter().flatten().all(|replicas| replicas == workload.spec)
}

/// The most replicas that the partitions can use.
fn most_useful(spec: &Validated, decision: &Decision) -> Option<u32> {
    let members = decision.model.useful_members?;
    Some(members.div_ceil(spec.policy.threads_per_replica.get()))
}

impl Actuator for Consumer {
    async fn read(&mut self) -> Result<Workload, TargetError> {
        let spec = self.spec();
        self.read = None;
        match self.shared.scales.read(&spec.namespace, &spec.target).await {
            Ok(read) => {
                let read_at = Some(now());
                let workload = self.pods.complete(&self.shared.scales, &spec.namespace, &spec.target, &read).await;
                self.read = Some(read);
                Ok(Workload { read_at, ..workload })
            }
            Err(error) => {
                let (name, text) = (error.name(), error.to_string());
                let seen = self.subscription.observations.borrow().clone();
                if let Some(seen) = seen {
                    let why = format!("its target can't be read: {text}");
                    self.shared.postings.undecided(&spec, &seen, &why, self.subscription.interval);
                    let failure = seen.failure.as_ref();
                    self.report(Outcome::Unreadable { name, text, failure, mode: spec.mode }).await;
                }
                Err(target_error(&error))
            }
        }
    }

    async fn act(&mut self, decision: &Decision) -> Acted {
        let spec = self.spec();
        self.subscription.members.are_changing(decision.is_change() || !is_settled(&decision.workload));
        let seen = self.subscription.observations.borrow().clone();
        if let Some(seen) = seen {
            self.shared.postings.decided(&spec, &seen, decision, self.subscription.interval);
        }
        let Some((action, competitor)) = self.carry_out(&spec, decision).await else { return Acted::Retry };
        let autoscaled = self.autoscaled(&spec, decision);
        let expiring = self.subscription.expiring.borrow().clone();
        let failed = match &action {
            ActionResult::Failed(error) => Some((error.reason, error.message.clone())),
            ActionResult::WaitingForLists => return Acted::Done { action, competitor },
            ActionResult::Pending
            | ActionResult::NothingToDo
            | ActionResult::Written
            | ActionResult::NotLeader
            | ActionResult::Refused
            | ActionResult::NotWritten => None,
        };
        let memory = self.entry.entry().memory.clone();
        let (rival, memory) = (competitor.clone(), memory.as_deref());
        self.report(Outcome::Decided { decision, memory, mode: spec.mode, autoscaled, rival, failed, expiring }).await;
        Acted::Done { action, competitor }
    }

    fn cluster(&self) -> ClusterContext {
        ClusterContext {
            poll_interval: self.subscription.interval,
            certificate: self.subscription.expiring.borrow().clone(),
        }
    }

    async fn changed(&mut self) {
        // Whoever has just become the leader acts on what it knows, and not only at the next poll.
        let (leadership, specs) = (&mut self.leadership, &mut self.specs);
        tokio::select! {
            () = leadership.changed() => {}
            Ok(()) = specs.changed() => {}
        }
    }
}
