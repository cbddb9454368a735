//! Who else scales the same workload: HorizontalPodAutoscalers, other ScaledConsumers, and whoever keeps setting the
//! replicas back. It finds them; what follows is the caller's business.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::resource::Mode;
use super::validate::{TargetRef, Validated};
use crate::core::Replicas;

/// Somebody else who scales the workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rival {
    /// An HPA, by name; KEDA's are among them.
    HorizontalPodAutoscaler(String),
    /// An older ScaledConsumer, by name.
    Elder(String),
    /// A younger ScaledConsumer, by name. It gives way.
    Younger(String),
    /// Somebody who sets the replicas back, by field manager where that can be read.
    ChangedBack(Option<String>),
}

impl Rival {
    /// Whether nothing may be written while it is there.
    pub fn forbids_writing(&self) -> bool {
        match self {
            Self::HorizontalPodAutoscaler(_) | Self::Elder(_) | Self::ChangedBack(_) => true,
            Self::Younger(_) => false,
        }
    }

    /// A short name for conditions, in the CamelCase of Kubernetes' reasons.
    pub fn name(&self) -> &'static str {
        match self {
            Self::HorizontalPodAutoscaler(_) => "HorizontalPodAutoscaler",
            Self::Elder(_) | Self::Younger(_) => "ScaledConsumer",
            Self::ChangedBack(_) => "ChangedBack",
        }
    }
}

impl std::fmt::Display for Rival {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::HorizontalPodAutoscaler(name) => write!(
                f,
                "HorizontalPodAutoscaler \"{name}\" scales the same workload, so nothing is written; delete one of the two (an HPA keda-hpa-… belongs to KEDA's ScaledObject)."
            ),
            Self::Elder(name) => write!(
                f,
                "ScaledConsumer \"{name}\" is older and scales the same workload, so nothing is written; delete one of the two."
            ),
            Self::Younger(name) => write!(
                f,
                "ScaledConsumer \"{name}\" names the same workload; it is younger, so it writes nothing. Delete one of the two."
            ),
            Self::ChangedBack(manager) => {
                let who = manager.as_ref().map_or_else(|| "somebody".to_owned(), |manager| format!("\"{manager}\""));
                write!(
                    f,
                    "{who} has set the replicas back {ROUNDS} times, so nothing is written for {} min; take replicas out of what it applies, or pause this ScaledConsumer.",
                    TRUCE.as_secs() / 60
                )
            }
        }
    }
}

/// Who lays claim to which workload. Shared by all; bounded by the objects in the cluster.
#[derive(Clone, Default)]
pub struct Claims(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Lists that are still to come before it is known who else there is.
    awaited: usize,
    /// HPAs by namespace and name.
    autoscalers: BTreeMap<(String, String), TargetRef>,
    /// ScaledConsumers that write, by namespace and name.
    consumers: BTreeMap<(String, String), Claim>,
}

struct Claim {
    target: TargetRef,
    created: Option<Timestamp>,
}

impl Claims {
    /// With so many lists to come: until then a rival may be there that was not seen yet.
    pub fn awaiting(lists: usize) -> Self {
        let claims = Self::default();
        claims.state().awaited = lists;
        claims
    }

    /// One of the lists has come for the first time, or it can't come.
    pub fn listed(&self) {
        let mut state = self.state();
        state.awaited = state.awaited.saturating_sub(1);
    }

    /// Whether everybody who was there at the start is known.
    pub fn are_complete(&self) -> bool {
        self.state().awaited == 0
    }

    /// Notes what a ScaledConsumer targets. One in dry run claims nothing, so that a policy can be tried beside another.
    pub fn set(&self, consumer: &Validated, created: Option<Timestamp>) {
        let key = (consumer.namespace.clone(), consumer.name.clone());
        match consumer.mode {
            Mode::Scale => {
                let claim = Claim { target: consumer.target.clone(), created };
                self.state().consumers.insert(key, claim);
            }
            Mode::DryRun => {
                self.state().consumers.remove(&key);
            }
        }
    }

    /// Forgets a ScaledConsumer.
    pub fn remove(&self, namespace: &str, name: &str) {
        self.state().consumers.remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// Who else scales what this ScaledConsumer scales; first those that forbid to write. The older of two
    /// ScaledConsumers goes first (by creation, then by name), so that a new one never takes over what runs.
    pub fn rival_of(&self, consumer: &Validated) -> Option<Rival> {
        let state = self.state();
        let autoscaler = in_namespace(&state.autoscalers, &consumer.namespace)
            .find(|(_, target)| target.is_same_workload(&consumer.target))
            .map(|(name, _)| Rival::HorizontalPodAutoscaler(name.to_owned()));
        if autoscaler.is_some() {
            return autoscaler;
        }
        let rank = |name: &str, claim: &Claim| (claim.created, name.to_owned());
        let own = state.consumers.get(&(consumer.namespace.clone(), consumer.name.clone()))?;
        let others: Vec<_> = in_namespace(&state.consumers, &consumer.namespace)
            .filter(|(name, claim)| *name != consumer.name && claim.target.is_same_workload(&consumer.target))
            .map(|(name, claim)| rank(name, claim))
            .collect();
        let (created, name) = others.into_iter().min()?;
        let is_elder = (created, name.clone()) < rank(&consumer.name, own);
        Some(if is_elder { Rival::Elder(name) } else { Rival::Younger(name) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is a single insertion or removal, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, autoscaler: &HorizontalPodAutoscaler) {
        let target = autoscaler.spec.as_ref().map(|spec| &spec.scale_target_ref);
        let Some(target) = target else { return };
        let target = TargetRef {
            api_version: target.api_version.clone().unwrap_or_default(),
            kind: target.kind.clone(),
            name: target.name.clone(),
        };
        self.state().autoscalers.insert(key(autoscaler), target);
    }
}

fn in_namespace<'a, T>(
    all: &'a BTreeMap<(String, String), T>,
    namespace: &str,
) -> impl Iterator<Item = (&'a str, &'a T)> {
    let namespace = namespace.to_owned();
    all.range((namespace.clone(), String::new())..)
        .take_while(move |((of, _), _)| *of == namespace)
        .map(|((_, name), value)| (name.as_str(), value))
}

fn key(object: &HorizontalPodAutoscaler) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// Watches the HPAs of a namespace, or of all, and notes what they target. Without the right to, it says so once and
/// keeps trying: then only the other ScaledConsumers are seen, and nobody waits for a list that can't come.
pub async fn watch_autoscalers(client: Client, namespace: Option<String>, claims: Claims, stop: CancellationToken) {
    let api: Api<HorizontalPodAutoscaler> = match &namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
    let mut listed = Vec::new();
    let mut complained = false;
    let mut told = false;
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            Some(Ok(watcher::Event::Init)) => listed.clear(),
            Some(Ok(watcher::Event::InitApply(object))) => {
                claims.apply(&object);
                listed.push(key(&object));
            }
            Some(Ok(watcher::Event::InitDone)) => {
                let is_ours = |of: &str| namespace.as_ref().is_none_or(|namespace| namespace == of);
                claims.state().autoscalers.retain(|key, _| !is_ours(&key.0) || listed.contains(key));
                complained = false;
                if !std::mem::replace(&mut told, true) {
                    claims.listed();
                }
            }
            Some(Ok(watcher::Event::Apply(object))) => claims.apply(&object),
            Some(Ok(watcher::Event::Delete(object))) => {
                claims.state().autoscalers.remove(&key(&object));
            }
            Some(Err(error)) => {
                if is_refusal(&error) && !std::mem::replace(&mut told, true) {
                    claims.listed();
                }
                if !complained {
                    warn!(%error, "HorizontalPodAutoscalers can't be watched, so one on the same workload would not be seen; grant list and watch.");
                    complained = true;
                }
            }
            None => return,
        }
    }
}

/// Whether RBAC is what stands in the way: that does not pass by itself, as an outage does.
fn is_refusal(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.is_forbidden(),
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => false,
        watcher::Error::WatchError(status) => status.is_forbidden(),
    }
}

/// So many times somebody may set the replicas back before we stop: one is a person, two a person who insists.
const ROUNDS: usize = 3;
/// Changes further apart than this are not a fight.
const FIGHT: Duration = Duration::from_secs(600);
/// For so long nothing is written after a fight.
const TRUCE: Duration = Duration::from_secs(600);

/// Notices when somebody keeps setting the replicas back to something else.
#[derive(Debug, Default)]
pub struct TugOfWar {
    written: Option<Replicas>,
    set_back: VecDeque<Instant>,
    truce_until: Option<Instant>,
}

impl TugOfWar {
    /// We wrote so many.
    pub fn wrote(&mut self, replicas: Replicas) {
        self.written = Some(replicas);
    }

    /// There are so many now. Whether nothing may be written for a while.
    pub fn read(&mut self, replicas: Replicas, now: Instant) -> bool {
        if self.written.is_some_and(|written| written != replicas) {
            self.written = None;
            self.set_back.push_back(now);
        }
        self.set_back.retain(|then| now.duration_since(*then) < FIGHT);
        if self.set_back.len() >= ROUNDS {
            self.set_back.clear();
            self.truce_until = Some(now + TRUCE);
        }
        self.truce_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_else_there_is_is_known_once_every_list_has_come() {
        let claims = Claims::awaiting(2);
        for complete in [false, true, true] {
            claims.listed();
            assert_eq!(claims.are_complete(), complete);
        }
    }

    #[test]
    fn whoever_sets_the_replicas_back_three_times_is_left_alone_for_a_while() {
        let mut war = TugOfWar::default();
        let start = Instant::now();
        for round in 0..3_u64 {
            let now = start + Duration::from_secs(20 * round);
            war.wrote(Replicas(6));
            assert!(!war.read(Replicas(6), now), "what we wrote is no attack");
            assert_eq!(war.read(Replicas(2), now), round == 2, "round {round}");
        }
        let end = start + Duration::from_secs(40) + TRUCE;
        assert!(war.read(Replicas(2), end - Duration::from_secs(1)));
        assert!(!war.read(Replicas(2), end));
    }

    #[test]
    fn changes_far_apart_are_no_fight() {
        let mut war = TugOfWar::default();
        let start = Instant::now();
        for round in 0..6 {
            war.wrote(Replicas(6));
            assert!(!war.read(Replicas(2), start + FIGHT * round));
        }
    }
}
