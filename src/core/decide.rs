//! Facts, the policy and its state -> what is decided, by the rule in force.

mod behavior;
mod input;
pub(super) mod lag_rule;
mod time_lag;

use super::decision::Workload;
use super::observation::Observation;
use super::policy::Rule;
use super::sizing::Sizing;
use super::state::{PolicyState, RuleState};
pub(super) use input::{RuleInput, RuleOutput};

/// Decides by the rule in force.
pub(super) fn decide(input: &RuleInput<'_>, state: &mut PolicyState) -> RuleOutput {
    let recommendations = &mut state.recommendations;
    match (input.policy.rule, &mut state.rule) {
        (Rule::LagPerReplica(threshold), RuleState::LagPerReplica(state)) => {
            lag_rule::decide(input, recommendations, state, threshold)
        }
        (Rule::TimeLag(objective), RuleState::TimeLag(state)) => {
            time_lag::decide(input, recommendations, state, objective)
        }
        (Rule::LagPerReplica(_), RuleState::TimeLag(_)) | (Rule::TimeLag(_), RuleState::LagPerReplica(_)) => {
            unreachable!("the engine begins a new state with each new rule")
        }
    }
}

/// What has not followed the last change of the workload yet. `restoring`: why members that have joined are not at work.
pub(super) fn awaited(
    observation: &Observation,
    workload: Workload,
    sizing: &Sizing,
    restoring: Option<String>,
) -> Option<String> {
    let Workload { spec, actual, ready, .. } = workload;
    if let Some(actual) = actual.filter(|actual| *actual != spec) {
        return Some(format!("{} of {spec} are there", actual.0));
    }
    if let Some(ready) = ready.filter(|ready| *ready < spec) {
        return Some(format!("{} of {spec} are ready", ready.0));
    }
    let group = observation.group.as_ref().ok()?;
    if group.state.is_rebalancing() {
        return Some("the group is rebalancing".to_owned());
    }
    let expected = sizing.busy_members(spec.0);
    let members = group.members.len();
    let joined = (members < expected as usize).then(|| format!("{members} of {expected} members have joined"));
    joined.or(restoring)
}
