//! The numbers of a decision as the status shows them: short, rounded, and only as many as a reader compares.

use crate::core::{Candidate, Decision, Model, Prediction, RecordsPerSecond};
use crate::kubernetes::scaledconsumer::resource::{CANDIDATES_KEPT, ModelStatus, WhatIf};

/// What is believed of the group.
pub(crate) fn model(model: &Model) -> ModelStatus {
    let rate = |rate: Option<RecordsPerSecond>| rate.map(|rate| tenths(rate.0));
    ModelStatus {
        arrival_rate: rate(model.arrival_rate),
        capacity_per_replica: rate(model.capacity.per_replica),
        start_delay: tenths(model.start_delay),
        rebalance_pause: tenths(model.rebalance_pause),
        ceiling: rate(model.ceiling),
    }
}

/// The what-if table: the rows next to what was decided, fewest replicas first.
pub(crate) fn candidates(decision: &Decision) -> Vec<WhatIf> {
    let mut rows: Vec<_> =
        decision.candidates.iter().filter_map(|candidate| Some((candidate, candidate.prediction.as_ref()?))).collect();
    rows.sort_by_key(|(candidate, _)| candidate.replicas.0.abs_diff(decision.desired.0));
    rows.truncate(CANDIDATES_KEPT);
    rows.sort_by_key(|(candidate, _)| candidate.replicas);
    rows.into_iter().map(|(candidate, prediction)| row(candidate, prediction)).collect()
}

fn row(candidate: &Candidate, prediction: &Prediction) -> WhatIf {
    WhatIf {
        replicas: i32::try_from(candidate.replicas.0).unwrap_or(i32::MAX),
        late_records: whole(prediction.late_records),
        restore_seconds: prediction.restore_seconds.map(whole),
        replica_seconds: whole(prediction.replica_seconds),
        cost: whole(prediction.cost),
        shadow_delay: whole(prediction.shadow_delay),
        calm_for: whole(prediction.calm_for),
        past_spells: i64::try_from(prediction.past_spells).unwrap_or(i64::MAX),
        gain: prediction.gain.map(whole),
        need: prediction.need.map(whole),
    }
}

/// To a whole number; the conversion stops at the largest there is.
fn whole(number: f64) -> i64 {
    number.round() as i64
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
