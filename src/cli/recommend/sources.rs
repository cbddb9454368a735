//! Several sources of one workload: what each needs is not what the workload needs, which is the most of them.

use std::collections::BTreeMap;

use super::need::GroupNeed;
use super::report::Recommendation;
use crate::core::Replicas;

/// Corrects what is said of sources by what the others of the same ScaledConsumer need. What more or fewer replicas would be
/// counts once, for the source that needs most, and only where all of them are known.
pub(super) fn settle(recommendations: &mut [Recommendation]) {
    let mut consumers: BTreeMap<(Option<String>, String), Vec<usize>> = BTreeMap::new();
    for (at, it) in recommendations.iter().enumerate().filter(|(_, it)| it.decision.source.is_some()) {
        consumers.entry((it.namespace.clone(), it.name.clone())).or_default().push(at);
    }
    for sources in consumers.values() {
        let desired = sources.iter().map(|at| recommendations[*at].decision.desired_replicas).max();
        let enough = |at: usize| recommendations[at].enough.replicas;
        let spec = sources.first().and_then(|at| recommendations[*at].observed.target.spec.clone());
        let are_all_known = spec.and_then(|spec| Some(spec.sources.as_ref()?.len())) == Some(sources.len())
            && sources.iter().all(|at| enough(*at).is_some());
        let neediest = sources.iter().copied().rev().max_by_key(|at| enough(*at)).filter(|_| are_all_known);
        for at in sources {
            let it = &mut recommendations[*at];
            it.workload_replicas = desired;
            if neediest == Some(*at) {
                continue;
            }
            (it.replica_difference, it.cost_difference_per_hour) = (None, None);
            if it.need == GroupNeed::TooLarge {
                it.need = GroupNeed::Fine;
                it.why = why(it.enough.replicas, desired);
            }
        }
    }
}

/// Why a source that needs fewer replicas than there are is not too large.
fn why(enough: Option<Replicas>, desired: Option<Replicas>) -> String {
    let [enough, desired] = [enough, desired].map(|it| it.map_or("?".to_owned(), |it| it.0.to_string()));
    format!("{enough} would do for this source. The workload gets what its neediest source asks for: {desired} now.")
}
