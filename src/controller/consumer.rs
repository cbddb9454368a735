//! One ScaledConsumer in the loop: its target's `/scale`, and everything that is told about it. The only place where a
//! decision becomes a write.

use std::sync::Arc;

use kube::Client;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::control_loop::{Acted, Target};
use crate::core::{Decision, Engine, Observation, Replicas, Workload};
use crate::kafka::now;
use crate::kubernetes::conflict::{Claims, Rival, TugOfWar};
use crate::kubernetes::hpa::{Judgement, NotServed, Situation};
use crate::kubernetes::lease::Leadership;
use crate::kubernetes::scaledconsumer::resource::Mode;
use crate::kubernetes::scaledconsumer::status::{Outcome, Reporter};
use crate::kubernetes::scaledconsumer::validate::Validated;
use crate::kubernetes::scaledconsumer::watch::{Object, Record};
use crate::kubernetes::workload::pods::Pods;
use crate::kubernetes::workload::scale::{Read, ScaleError, Scales};
use crate::serve::metrics::Metrics;

use super::clusters::Subscription;
use super::postings::Postings;

/// What all ScaledConsumers share.
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) scales: Scales,
    pub(super) claims: Claims,
    pub(super) leadership: Leadership,
    pub(super) metrics: Arc<Metrics>,
    pub(super) postings: Postings,
    pub(super) identity: String,
    /// Why the external metrics are not served, as long as they are not.
    pub(super) not_served: watch::Receiver<Option<NotServed>>,
}

/// A ScaledConsumer as it is now; what changes it sends a new one.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) validated: Validated,
    pub(super) record: Option<Record>,
}

/// One ScaledConsumer's target.
pub(super) struct Consumer {
    shared: Arc<Shared>,
    asked: watch::Receiver<Asked>,
    subscription: Subscription,
    leadership: Leadership,
    reporter: Reporter,
    read: Option<Read>,
    pods: Pods,
    war: TugOfWar,
}

impl Consumer {
    pub(super) fn new(
        shared: Arc<Shared>,
        object: &Object,
        asked: watch::Receiver<Asked>,
        subscription: Subscription,
    ) -> Self {
        let reporter =
            Reporter::new(shared.client.clone(), object.key.clone(), object.record.clone(), shared.identity.clone());
        let leadership = shared.leadership.clone();
        Self {
            shared,
            asked,
            subscription,
            leadership,
            reporter,
            read: None,
            pods: Pods::default(),
            war: TugOfWar::default(),
        }
    }

    fn validated(&self) -> Validated {
        self.asked.borrow().validated.clone()
    }

    async fn report(&mut self, outcome: Outcome<'_>) {
        if !self.shared.leadership.is_leader() {
            self.step_back();
            return;
        }
        let record = self.asked.borrow().record.clone();
        self.reporter.renew(record);
        self.reporter.report(&outcome, &self.shared.leadership).await;
    }

    /// While another one leads, the status is its own, and what it writes to the target sets nothing back.
    fn step_back(&mut self) {
        self.reporter.step_back();
        self.war = TugOfWar::default();
    }

    /// Writes the replicas, if that is our business at all.
    async fn write(&mut self, asked: &Validated, decision: &Decision) -> Result<(), ScaleError> {
        let Some(read) = &self.read else { return Ok(()) };
        let (namespace, name) = (&asked.namespace, &asked.name);
        let written =
            self.shared.scales.write(namespace, &asked.target, read, decision.desired, &self.shared.leadership).await;
        let result = match &written {
            Ok(Some(())) => {
                let (from, to) = (decision.current().0, decision.desired.0);
                info!(namespace, name, from, to, reason = decision.reason.name(), "Scaled the target.");
                self.war.wrote(decision.desired);
                "done"
            }
            // Somebody else leads now.
            Ok(None) => return Ok(()),
            Err(ScaleError::Conflict(_)) => "conflict",
            Err(error) => {
                warn!(namespace, name, %error, "The target was not scaled.");
                "failed"
            }
        };
        self.shared.metrics.wrote(namespace, name, result);
        written.map(|_| ())
    }

    /// Whether an HPA acts as was decided, where that is its business.
    fn autoscaled(&self, asked: &Validated, decision: &Decision) -> Option<Judgement> {
        match asked.mode {
            Mode::Scale | Mode::DryRun => None,
            Mode::Metrics => {
                let not_served = self.shared.not_served.borrow().clone();
                Some(self.shared.claims.judge(&Situation {
                    consumer: asked,
                    current: decision.current(),
                    most_useful: most_useful(asked, decision),
                    not_served: not_served.as_ref(),
                }))
            }
        }
    }

    /// Who else scales the target, the one who keeps changing it back included.
    async fn rival(&mut self, asked: &Validated, current: Replicas) -> Option<Rival> {
        let rival = self.shared.claims.rival_of(asked);
        match asked.mode {
            Mode::Scale | Mode::DryRun => {}
            // The HPA sets the replicas now; what was written before is none of its business.
            Mode::Metrics => self.war = TugOfWar::default(),
        }
        if !self.war.read(current, Instant::now()) || rival.as_ref().is_some_and(Rival::forbids_writing) {
            return rival;
        }
        let read = self.read.as_ref()?;
        let manager = self.shared.scales.last_writer(&asked.namespace, &asked.target, read).await;
        Some(Rival::ChangedBack(manager))
    }
}

/// Whether all replicas that are wanted are there and ready, as far as is known.
fn is_settled(workload: &Workload) -> bool {
    [workload.actual, workload.ready].into_iter().flatten().all(|replicas| replicas == workload.spec)
}

/// The most replicas that the partitions can use.
fn most_useful(asked: &Validated, decision: &Decision) -> Option<u32> {
    Some(asked.policy.sizing().replicas(decision.model.useful_members?))
}

impl Target for Consumer {
    type Error = ScaleError;

    async fn read(&mut self) -> Result<Workload, ScaleError> {
        let asked = self.validated();
        let read = self.shared.scales.read(&asked.namespace, &asked.target).await?;
        let read_at = Some(now());
        let workload = self.pods.complete(&self.shared.scales, &asked.namespace, &asked.target, &read).await;
        let workload = Workload { read_at, ..workload };
        self.read = Some(read);
        Ok(workload)
    }

    async fn act(&mut self, seen: &Observation, decision: &Decision, engine: &Engine) -> Acted {
        let asked = self.validated();
        self.subscription.members.are_changing(decision.is_change() || !is_settled(&decision.workload));
        // Every controller serves what it knows, whoever leads.
        self.shared.postings.decided(&asked, seen, decision, self.subscription.interval);
        self.shared.metrics.decided(&asked.namespace, &asked.name, decision);
        if !self.shared.leadership.is_leader() {
            self.step_back();
            return Acted::Done;
        }
        if decision.is_change() && !self.shared.claims.are_complete() {
            // An HPA may scale the same workload and not have been seen yet; the next poll knows.
            return Acted::Done;
        }
        let rival = self.rival(&asked, decision.current()).await;
        let allowed = match asked.mode {
            Mode::Scale => !rival.as_ref().is_some_and(Rival::forbids_writing),
            Mode::DryRun | Mode::Metrics => false,
        };
        let mut failed = None;
        if allowed && decision.is_change() {
            match self.write(&asked, decision).await {
                Ok(()) => {}
                // What was decided was for another number: read and decide again.
                Err(ScaleError::Conflict(_)) => return Acted::Retry,
                Err(error) => failed = Some((error.name(), error.to_string())),
            }
        }
        let autoscaled = self.autoscaled(&asked, decision);
        let expiring = self.subscription.expiring.borrow().clone();
        self.report(Outcome::Decided { decision, engine, mode: asked.mode, autoscaled, rival, failed, expiring }).await;
        Acted::Done
    }

    async fn unreadable(&mut self, seen: &Observation, error: ScaleError) {
        self.read = None;
        let (name, text) = (error.name(), error.to_string());
        let asked = self.validated();
        self.shared.postings.undecided(
            &asked,
            seen,
            &format!("its target can't be read: {text}"),
            self.subscription.interval,
        );
        let mode = asked.mode;
        self.report(Outcome::Unreadable { name, text, failure: seen.failure.as_ref(), mode }).await;
    }

    async fn nudged(&mut self) {
        // Whoever has just become the leader acts on what it knows, and not only at the next poll.
        let (leadership, asked) = (&mut self.leadership, &mut self.asked);
        tokio::select! {
            () = leadership.changed() => {}
            Ok(()) = asked.changed() => {}
        }
    }
}
