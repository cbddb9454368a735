//! Finds who else scales the same workload: HorizontalPodAutoscalers, other ScaledConsumers, and any client that keeps
//! setting the replicas back. The caller decides what follows.

use std::collections::VecDeque;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use crate::core::Replicas;
use crate::kubernetes::scaledconsumer::{Mode, Validated};

/// Another client that scales the workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Competitor {
    /// An HPA, by name; KEDA's are among them.
    HorizontalPodAutoscaler(String),
    /// An older ScaledConsumer, by name.
    Older(String),
    /// A newer ScaledConsumer, by name. It does not write.
    Newer(String),
    /// A client that sets the replicas back, by field manager where that is known.
    ChangedBack(Option<String>),
}

impl Competitor {
    /// Whether it stops all writes.
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
                "ScaledConsumer \"{name}\" names the same workload; it is newer, so it writes nothing. Delete one of the two."
            ),
            Self::ChangedBack(manager) => {
                let who =
                    manager.as_ref().map_or_else(|| "Another client".to_owned(), |manager| format!("\"{manager}\""));
                write!(
                    f,
                    "{who} has set the replicas back {MAX_CHANGES_BACK} times, so nothing is written for {} min; take replicas out of what it applies, or pause this ScaledConsumer.",
                    BACK_OFF.as_secs() / 60
                )
            }
        }
    }
}

/// A ScaledConsumer as others on the same workload see it. Ordered by age, then by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScalerIdentity {
    /// When it was created; nothing for one from a file.
    pub created: Option<Timestamp>,
    /// Its name.
    pub name: String,
    /// What is done with its decisions.
    pub mode: Mode,
}

impl ScalerIdentity {
    /// The ScaledConsumer with this spec.
    pub fn of(spec: &Validated, created: Option<Timestamp>) -> Self {
        Self { created, name: spec.name.clone(), mode: spec.mode }
    }

    /// Whether two on one workload conflict. A dry run never writes, so it can run beside another. Two in mode
    /// `Metrics` only serve numbers, and an HPA takes the highest.
    fn excludes(&self, other: &Self) -> bool {
        match (self.mode, other.mode) {
            (Mode::DryRun, _) | (_, Mode::DryRun) | (Mode::Metrics, Mode::Metrics) => false,
            (Mode::Scale, Mode::Scale | Mode::Metrics) | (Mode::Metrics, Mode::Scale) => true,
        }
    }
}

/// Who else scales the workload of `own`; first whatever stops writes. The older of two ScaledConsumers wins, so a new
/// one never takes over a workload. In mode `Metrics` an HPA is no competitor, because it is meant to scale.
pub fn competitor_of(
    own: &ScalerIdentity,
    autoscaler: Option<&str>,
    others: impl Iterator<Item = ScalerIdentity>,
) -> Option<Competitor> {
    match (own.mode, autoscaler) {
        (Mode::Scale | Mode::DryRun, Some(name)) => {
            return Some(Competitor::HorizontalPodAutoscaler(name.to_owned()));
        }
        (Mode::Metrics, _) | (_, None) => {}
    }
    let oldest = others.filter(|other| other.name != own.name && other.excludes(own)).min()?;
    Some(if oldest < *own { Competitor::Older(oldest.name) } else { Competitor::Newer(oldest.name) })
}

/// Changes by others within [`CONFLICT_WINDOW`] after which writing stops. One or two may be manual.
const MAX_CHANGES_BACK: usize = 3;
/// Window in which changes by others are counted.
const CONFLICT_WINDOW: Duration = Duration::from_secs(600);
/// How long nothing is written after a conflict.
const BACK_OFF: Duration = Duration::from_secs(600);

/// Detects that another client keeps setting the replicas back.
#[derive(Debug, Default)]
pub struct ConflictDetector {
    written: Option<Replicas>,
    set_back: VecDeque<Instant>,
    back_off_until: Option<Instant>,
}

impl ConflictDetector {
    /// Records that this controller wrote `replicas`.
    pub fn wrote(&mut self, replicas: Replicas) {
        self.written = Some(replicas);
    }

    /// Records the replicas as they are now. Returns whether writes are suspended.
    pub fn read(&mut self, replicas: Replicas, now: Instant) -> bool {
        if self.written.is_some_and(|written| written != replicas) {
            self.written = None;
            self.set_back.push_back(now);
        }
        self.set_back.retain(|then| now.duration_since(*then) < CONFLICT_WINDOW);
        if self.set_back.len() >= MAX_CHANGES_BACK {
            self.set_back.clear();
            self.back_off_until = Some(now + BACK_OFF);
        }
        self.back_off_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaler_identity(name: &str, mode: Mode, created: Option<i64>) -> ScalerIdentity {
        let created = created.map(|at| Timestamp::from_second(at).expect("a time"));
        ScalerIdentity { name: name.to_owned(), mode, created }
    }

    #[test]
    fn the_older_of_two_scaled_consumers_goes_first_where_both_may_have_a_say() {
        use Mode::{DryRun, Metrics, Scale};
        let older = |name: &str| Some(Competitor::Older(name.to_owned()));
        let newer = |name: &str| Some(Competitor::Newer(name.to_owned()));
        // The modes of a, which is the older one, and of b; the competitor of a, and that of b.
        let rows = [
            (Scale, Scale, newer("b"), older("a")),
            (Scale, Metrics, newer("b"), older("a")),
            (Metrics, Scale, newer("b"), older("a")),
            (Metrics, Metrics, None, None),
            (DryRun, Scale, None, None),
            (DryRun, Metrics, None, None),
            (Scale, DryRun, None, None),
        ];
        for (first, second, of_first, of_second) in rows {
            let [a, b] = [("a", first), ("b", second)].map(|(name, mode)| scaler_identity(name, mode, None));
            let all = || [a.clone(), b.clone()].into_iter();
            let found = (competitor_of(&a, None, all()), competitor_of(&b, None, all()));
            assert_eq!(found, (of_first, of_second), "{first:?} {second:?}");
        }
        let (a, z) = (scaler_identity("a", Scale, Some(2)), scaler_identity("z", Scale, Some(1)));
        assert_eq!(competitor_of(&a, None, [z].into_iter()), older("z"), "age counts before the name");
    }

    #[test]
    fn an_hpa_is_a_competitor_but_where_it_is_the_one_who_acts() {
        let hpa = || Some(Competitor::HorizontalPodAutoscaler("hpa".to_owned()));
        for (mode, wanted) in [(Mode::Scale, hpa()), (Mode::DryRun, hpa()), (Mode::Metrics, None)] {
            let own = scaler_identity("a", mode, None);
            assert_eq!(competitor_of(&own, Some("hpa"), std::iter::empty()), wanted, "{mode:?}");
        }
    }

    #[test]
    fn whoever_sets_the_replicas_back_three_times_is_left_alone_for_a_while() {
        let mut detector = ConflictDetector::default();
        let start = Instant::now();
        for round in 0..3_u64 {
            let now = start + Duration::from_secs(20 * round);
            detector.wrote(Replicas(6));
            assert!(!detector.read(Replicas(6), now), "what we wrote is no conflict");
            assert_eq!(detector.read(Replicas(2), now), round == 2, "round {round}");
        }
        let end = start + Duration::from_secs(40) + BACK_OFF;
        assert!(detector.read(Replicas(2), end - Duration::from_secs(1)));
        assert!(!detector.read(Replicas(2), end));
    }

    #[test]
    fn changes_far_apart_are_no_conflict() {
        let mut detector = ConflictDetector::default();
        let start = Instant::now();
        for round in 0..6 {
            detector.wrote(Replicas(6));
            assert!(!detector.read(Replicas(2), start + CONFLICT_WINDOW * round));
        }
    }
}
