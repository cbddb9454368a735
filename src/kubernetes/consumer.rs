//! One ScaledConsumer from its spec to its target: subscribes to what is seen of its group, steers its workload, and
//! reports. A task each, so that none delays another.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::catalog::{Id, Listed};
use super::conflict::{Claims, Rival, TugOfWar};
use super::keeper::Keeper;
use super::leadership::Leadership;
use super::resource::Mode;
use super::scale::{Read, ScaleError, Scales};
use super::status::{Deed, Found};
use super::validate::{ClusterRef, TargetRef, Validated};
use crate::core::{Decision, Engine, GroupQuery, Observation, Pause, Policy, Workload};
use crate::steer::{Acted, Target, steer};

/// Where observations come from.
pub trait Sources: Send + Sync {
    /// Observations of a group from now on, until the subscription is dropped. The error says what the user must do.
    fn subscribe(&self, cluster: &ClusterRef, query: &GroupQuery) -> Result<Subscription, String>;
}

/// Observations of a group.
pub struct Subscription {
    /// What was seen last.
    pub observations: watch::Receiver<Option<Arc<Observation>>>,
    /// Two observations further apart than this leave a gap.
    pub gap: Duration,
    /// What must live as long as the subscription.
    pub keep: Box<dyn Send + Sync>,
}

/// Who wants to know what happens, such as metrics.
pub trait Witness: Send + Sync {
    /// It was decided upon, whether or not anything is done about it.
    fn decided(&self, id: &Id, decision: &Decision);
    /// A write to the target was tried.
    fn wrote(&self, id: &Id, result: Written);
    /// The ScaledConsumer is no longer there.
    fn gone(&self, id: &Id);
}

/// How a write to a target ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The replicas were set.
    Done,
    /// The workload was changed in between; it is read and decided upon again.
    Conflict,
    /// The API server said no, or nothing.
    Failed,
}

/// What all ScaledConsumers share.
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) scales: Scales,
    pub(super) claims: Claims,
    pub(super) leadership: Leadership,
    pub(super) identity: String,
    pub(super) sources: Arc<dyn Sources>,
    pub(super) witness: Arc<dyn Witness>,
}

/// What can't be subscribed to now may be later: a cluster's files that are mounted late, for example.
const TRY_AGAIN: Duration = Duration::from_secs(30);

/// Tends to one ScaledConsumer until `stop`.
pub(super) async fn tend(shared: Arc<Shared>, mut listed: watch::Receiver<Arc<Listed>>, stop: CancellationToken) {
    let mut keeper = Keeper::new(shared.client.clone(), shared.leadership.clone(), shared.identity.clone());
    let mut leadership = shared.leadership.clone();
    while !stop.is_cancelled() {
        let now = listed.borrow_and_update().clone();
        match start(&shared, &now) {
            Ok((spec, subscription)) => {
                scale(&shared, spec, subscription, &mut listed, &mut keeper, &stop).await;
            }
            Err((reason, message)) => {
                // What it last said is no longer true.
                shared.witness.gone(&now.id);
                keeper.report(&now, &Found::Problem { reason, message, seen: None }).await;
                tokio::select! {
                    () = stop.cancelled() => {}
                    _ = listed.changed() => {}
                    () = leadership.changed() => {}
                    () = tokio::time::sleep(TRY_AGAIN) => {}
                }
            }
        }
    }
}

/// The valid spec with what it needs, or a reason and a message.
fn start(shared: &Shared, listed: &Listed) -> Result<(Validated, Subscription), (&'static str, String)> {
    let spec = listed.spec.clone().map_err(|problem| ("Invalid", problem))?;
    let subscription =
        shared.sources.subscribe(&spec.cluster, &spec.query).map_err(|problem| ("ClusterUnusable", problem))?;
    Ok((spec, subscription))
}

/// Scales as long as the group that is looked at stays the same.
async fn scale(
    shared: &Shared,
    spec: Validated,
    subscription: Subscription,
    listed: &mut watch::Receiver<Arc<Listed>>,
    keeper: &mut Keeper,
    stop: &CancellationToken,
) {
    let Subscription { observations, gap, keep } = subscription;
    let (policy, policies) = watch::channel(with_gap(&spec, gap));
    let target = Scaled {
        shared,
        listed: listed.clone(),
        keeper,
        leadership: shared.leadership.clone(),
        target: spec.target.clone(),
        read: None,
        war: TugOfWar::default(),
        truce: None,
    };
    let engine = Engine::new(policy.borrow().clone());
    let enough = stop.child_token();
    let mut steering = pin!(steer(engine, observations, policies, target, enough.clone()));
    loop {
        tokio::select! {
            biased;
            () = &mut steering => break,
            changed = listed.changed() => {
                let now = listed.borrow_and_update().clone();
                match &now.spec {
                    Ok(new) if changed.is_ok() && new.cluster == spec.cluster && new.query == spec.query => {
                        policy.send_replace(with_gap(new, gap));
                    }
                    Ok(_) | Err(_) => {
                        enough.cancel();
                        steering.await;
                        break;
                    }
                }
            }
        }
    }
    drop(keep);
}

fn with_gap(spec: &Validated, gap: Duration) -> Policy {
    Policy { gap, ..spec.policy.clone() }
}

/// A workload with a scale subresource.
struct Scaled<'a> {
    shared: &'a Shared,
    listed: watch::Receiver<Arc<Listed>>,
    keeper: &'a mut Keeper,
    leadership: Leadership,
    /// The workload that the rest is about.
    target: TargetRef,
    read: Option<Read>,
    war: TugOfWar,
    /// Who set the replicas back, while we keep still.
    truce: Option<Rival>,
}

impl Scaled<'_> {
    /// The ScaledConsumer as it is now, while it is valid.
    fn spec(&self) -> Option<(Arc<Listed>, Validated)> {
        let listed = self.listed.borrow().clone();
        let spec = listed.spec.clone().ok()?;
        Some((listed, spec))
    }

    async fn keep_the_peace(&mut self, namespace: &str, read: &Read) {
        let now = Instant::now();
        match (self.war.read(read.workload.spec, now), &self.truce) {
            (true, None) => {
                let manager = self.shared.scales.last_writer(namespace, &self.target, read).await;
                self.truce = Some(Rival::ChangedBack(manager));
            }
            (false, Some(_)) => self.truce = None,
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// Writes what was decided, where it may be written.
    async fn write(&mut self, spec: &Validated, decision: &Decision, rival: Option<&Rival>) -> Result<Deed, Acted> {
        let is_forbidden = rival.is_some_and(Rival::forbids_writing) || spec.policy.pause == Some(Pause::AsIs);
        let Some(read) = self.read.as_ref().filter(|_| decision.is_change()) else { return Ok(Deed::Nothing) };
        match spec.mode {
            Mode::Scale if !is_forbidden => {}
            Mode::Scale | Mode::DryRun => return Ok(Deed::Nothing),
        }
        let id = Id { namespace: spec.namespace.clone(), name: spec.name.clone() };
        let Shared { scales, witness, .. } = self.shared;
        match scales.write(&spec.namespace, &spec.target, read, decision.desired, &self.leadership).await {
            Ok(Some(())) => {
                self.war.wrote(decision.desired);
                witness.wrote(&id, Written::Done);
                Ok(Deed::Scaled)
            }
            Ok(None) => Err(Acted::Done),
            Err(ScaleError::Conflict(_)) => {
                witness.wrote(&id, Written::Conflict);
                Err(Acted::Retry)
            }
            Err(error) => {
                witness.wrote(&id, Written::Failed);
                Ok(Deed::Failed { reason: error.name(), message: error.to_string() })
            }
        }
    }
}

impl Target for Scaled<'_> {
    type Error = ScaleError;

    async fn read(&mut self) -> Result<Workload, ScaleError> {
        let Some((_, spec)) = self.spec() else {
            return Err(ScaleError::Other("the ScaledConsumer is no longer valid".to_owned()));
        };
        if self.target != spec.target {
            self.target = spec.target.clone();
            self.war = TugOfWar::default();
            self.truce = None;
        }
        let read = self.shared.scales.read(&spec.namespace, &spec.target).await?;
        self.keep_the_peace(&spec.namespace, &read).await;
        let workload = read.workload;
        self.read = Some(read);
        Ok(workload)
    }

    async fn act(&mut self, seen: &Observation, decision: &Decision) -> Acted {
        let Some((listed, spec)) = self.spec() else { return Acted::Done };
        if spec.target != self.target {
            // The spec was changed since the read: what was decided is about another workload.
            return Acted::Retry;
        }
        self.shared.witness.decided(&listed.id, decision);
        if !self.leadership.is_leader() {
            return Acted::Done;
        }
        let rival = match (self.shared.claims.rival_of(&spec), &self.truce) {
            (None | Some(Rival::Younger(_)), Some(truce)) => Some(truce.clone()),
            (rival, _) => rival,
        };
        let deed = match self.write(&spec, decision, rival.as_ref()).await {
            Ok(deed) => deed,
            Err(acted) => return acted,
        };
        let (mode, pause) = (spec.mode, spec.policy.pause);
        let found = Found::Decided { seen, decision, deed, rival: rival.as_ref(), mode, pause };
        self.keeper.report(&listed, &found).await;
        Acted::Done
    }

    async fn unreadable(&mut self, seen: &Observation, error: ScaleError) {
        let Some((listed, _)) = self.spec() else { return };
        let found = Found::Problem { reason: error.name(), message: error.to_string(), seen: Some(seen) };
        self.keeper.report(&listed, &found).await;
    }

    async fn nudged(&mut self) {
        self.leadership.changed().await;
    }
}
