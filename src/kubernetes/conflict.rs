//! Who else scales the same workload: HorizontalPodAutoscalers, other ScaledConsumers, and whoever keeps setting the
//! replicas back. It finds them; what follows is the caller's business.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
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

use crate::core::Replicas;
use crate::kubernetes::hpa::{Autoscaler, Judgement, Labels, Situation, judge};
use crate::kubernetes::scaledconsumer::resource::Mode;
use crate::kubernetes::scaledconsumer::validate::{TargetRef, Validated};

/// Somebody else who scales the workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Competitor {
    /// An HPA, by name; KEDA's are among them.
    HorizontalPodAutoscaler(String),
    /// An older ScaledConsumer, by name.
    Older(String),
    /// A younger ScaledConsumer, by name. It gives way.
    Newer(String),
    /// Somebody who sets the replicas back, by field manager where that can be read.
    ChangedBack(Option<String>),
}

impl Competitor {
    /// Whether nothing may be written while it is there.
    pub fn forbids_writing(&self) -> bool {
        match self {
            Self::HorizontalPodAutoscaler(_) | Self::Older(_) | Self::ChangedBack(_) => true,
            Self::Newer(_) => false,
        }
    }

    /// A short name for conditions, in the CamelCase of Kubernetes' reasons.
    pub fn name(&self) -> &'static str {
        match self {
            Self::HorizontalPodAutoscaler(_) => "HorizontalPodAutoscaler",
            Self::Older(_) | Self::Newer(_) => "ScaledConsumer",
            Self::ChangedBack(_) => "ChangedBack",
        }
    }
}

impl std::fmt::Display for Competitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::HorizontalPodAutoscaler(name) => write!(
                f,
                "HorizontalPodAutoscaler \"{name}\" scales the same workload, so nothing is written; delete one of the two (an HPA keda-hpa-… belongs to KEDA's ScaledObject)."
            ),
            Self::Older(name) => write!(
                f,
                "ScaledConsumer \"{name}\" is older and scales the same workload, so nothing is written by this one; delete one of the two."
            ),
            Self::Newer(name) => write!(
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
    /// The namespaces whose HPAs are seen; `None` is all of them.
    seen: BTreeSet<Option<String>>,
    /// HPAs by namespace and name.
    autoscalers: BTreeMap<(String, String), Autoscaler>,
    /// ScaledConsumers by namespace and name.
    consumers: BTreeMap<(String, String), Claim>,
}

struct Claim {
    target: TargetRef,
    mode: Mode,
    created: Option<Timestamp>,
    labels: Labels,
}

impl Claim {
    /// Whether two on one workload are one too many. In dry run nothing is claimed, so that a policy can be tried beside
    /// another; and of two that only serve numbers, an HPA takes the higher one.
    fn excludes(&self, other: &Self) -> bool {
        let is_rivalry = match (self.mode, other.mode) {
            (Mode::DryRun, _) | (_, Mode::DryRun) | (Mode::Metrics, Mode::Metrics) => false,
            (Mode::Scale, Mode::Scale | Mode::Metrics) | (Mode::Metrics, Mode::Scale) => true,
        };
        is_rivalry && self.target.is_same_workload(&other.target)
    }
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

    /// Notes what a ScaledConsumer targets.
    pub fn set(&self, consumer: &Validated, created: Option<Timestamp>) {
        let key = (consumer.namespace.clone(), consumer.name.clone());
        let (target, labels) = (consumer.target.clone(), Labels::of(consumer));
        let claim = Claim { target, mode: consumer.mode, created, labels };
        self.state().consumers.insert(key, claim);
    }

    /// Forgets a ScaledConsumer.
    pub fn remove(&self, namespace: &str, name: &str) {
        self.state().consumers.remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// Who else scales what this ScaledConsumer scales; first those that forbid to write. The older of two
    /// ScaledConsumers goes first (by creation, then by name), so that a new one never takes over what runs. In mode
    /// `Metrics` an HPA is no rival but the one who acts.
    pub fn competitor_of(&self, consumer: &Validated) -> Option<Competitor> {
        let state = self.state();
        let autoscaler = state.autoscalers_of(consumer).next();
        match consumer.mode {
            Mode::Scale | Mode::DryRun => {
                if let Some(autoscaler) = autoscaler {
                    return Some(Competitor::HorizontalPodAutoscaler(autoscaler.name.clone()));
                }
            }
            Mode::Metrics => {}
        }
        let rank = |name: &str, claim: &Claim| (claim.created, name.to_owned());
        let own = state.consumers.get(&(consumer.namespace.clone(), consumer.name.clone()))?;
        let others = in_namespace(&state.consumers, &consumer.namespace)
            .filter(|(name, claim)| *name != consumer.name && claim.excludes(own))
            .map(|(name, claim)| rank(name, claim));
        let (created, name) = others.min()?;
        let is_elder = (created, name.clone()) < rank(&consumer.name, own);
        Some(if is_elder { Competitor::Older(name) } else { Competitor::Newer(name) })
    }

    /// Whether an HPA does what a ScaledConsumer in mode `Metrics` decides.
    pub fn judge(&self, situation: &Situation<'_>) -> Judgement {
        let state = self.state();
        let consumer = situation.consumer;
        let autoscalers = state.sees(&consumer.namespace).then(|| state.autoscalers_of(consumer).collect::<Vec<_>>());
        judge(situation, autoscalers.as_deref(), |selector| {
            let all = in_namespace(&state.consumers, &consumer.namespace);
            let others = all.filter(|(name, claim)| *name != consumer.name && selector.matches(&claim.labels));
            others.map(|(name, _)| name.to_owned()).collect()
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is a single insertion or removal, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, object: &HorizontalPodAutoscaler) {
        if let Some(autoscaler) = Autoscaler::of(object) {
            self.state().autoscalers.insert(key(object), autoscaler);
        }
    }
}

impl State {
    fn sees(&self, namespace: &str) -> bool {
        self.seen.contains(&None) || self.seen.contains(&Some(namespace.to_owned()))
    }

    fn autoscalers_of<'a>(&'a self, consumer: &'a Validated) -> impl Iterator<Item = &'a Autoscaler> {
        in_namespace(&self.autoscalers, &consumer.namespace)
            .map(|(_, autoscaler)| autoscaler)
            .filter(|autoscaler| autoscaler.target.is_same_workload(&consumer.target))
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
                let mut state = claims.state();
                state.autoscalers.retain(|key, _| !is_ours(&key.0) || listed.contains(key));
                state.seen.insert(namespace.clone());
                drop(state);
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
                if is_refusal(&error) {
                    claims.state().seen.remove(&namespace);
                    if !std::mem::replace(&mut told, true) {
                        claims.listed();
                    }
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
pub struct ConflictDetector {
    written: Option<Replicas>,
    set_back: VecDeque<Instant>,
    truce_until: Option<Instant>,
}

impl ConflictDetector {
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
    use crate::kubernetes::scaledconsumer::validate::validate;

    #[test]
    fn who_else_there_is_is_known_once_every_list_has_come() {
        let claims = Claims::awaiting(2);
        for complete in [false, true, true] {
            claims.listed();
            assert_eq!(claims.are_complete(), complete);
        }
    }

    fn consumer(name: &str, mode: Mode, target: &str) -> Validated {
        let object = serde_json::json!({
            "apiVersion": "paceline.dev/v1alpha1", "kind": "ScaledConsumer",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {
                "scaleTargetRef": {"name": target}, "mode": mode, "policy": {},
                "kafka": {"cluster": "main", "consumerGroup": name},
            },
        });
        validate(&serde_json::from_value(object).expect("it has the fields")).expect("it makes sense")
    }

    #[test]
    fn the_older_of_two_scaled_consumers_goes_first_where_both_may_have_a_say() {
        use Mode::{DryRun, Metrics, Scale};
        let elder = |name: &str| Some(Competitor::Older(name.to_owned()));
        let younger = |name: &str| Some(Competitor::Newer(name.to_owned()));
        // The modes of a, which is the older one, and of b; the rival of a, and that of b.
        let rows = [
            (Scale, Scale, younger("b"), elder("a")),
            (Scale, Metrics, younger("b"), elder("a")),
            (Metrics, Scale, younger("b"), elder("a")),
            (Metrics, Metrics, None, None),
            (DryRun, Scale, None, None),
            (DryRun, Metrics, None, None),
            (Scale, DryRun, None, None),
        ];
        for (first, second, of_first, of_second) in rows {
            let claims = Claims::default();
            let (a, b) = (consumer("a", first, "shared"), consumer("b", second, "shared"));
            for consumer in [&a, &b, &consumer("c", Scale, "another")] {
                claims.set(consumer, None);
            }
            assert_eq!(
                (claims.competitor_of(&a), claims.competitor_of(&b)),
                (of_first, of_second),
                "{first:?} {second:?}"
            );
        }
    }

    #[test]
    fn an_hpa_is_a_rival_but_where_it_is_the_one_who_acts() {
        let hpa = serde_json::json!({
            "metadata": {"name": "hpa", "namespace": "shop"},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shared"}, "maxReplicas": 3},
        });
        let hpa = serde_json::from_value(hpa).expect("it is one");
        let rival = || Some(Competitor::HorizontalPodAutoscaler("hpa".to_owned()));
        for (mode, wanted) in [(Mode::Scale, rival()), (Mode::DryRun, rival()), (Mode::Metrics, None)] {
            let claims = Claims::default();
            claims.apply(&hpa);
            let consumer = consumer("a", mode, "shared");
            claims.set(&consumer, None);
            assert_eq!(claims.competitor_of(&consumer), wanted, "{mode:?}");
        }
    }

    #[test]
    fn whoever_sets_the_replicas_back_three_times_is_left_alone_for_a_while() {
        let mut war = ConflictDetector::default();
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
        let mut war = ConflictDetector::default();
        let start = Instant::now();
        for round in 0..6 {
            war.wrote(Replicas(6));
            assert!(!war.read(Replicas(2), start + FIGHT * round));
        }
    }
}
