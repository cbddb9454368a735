//! Checks whether HorizontalPodAutoscalers apply the decisions of ScaledConsumers in mode `Metrics`, from the registry
//! and the watched HPAs.

use crate::core::Decisions;
use crate::kubernetes::hpa::{self, AutoscaledCondition, Autoscalers, CheckedConsumer, Labels};
use crate::kubernetes::scaledconsumer::{Mode, Validated};
use crate::registry::{Entry, Registry};
use crate::serve::external_metrics::ExternalMetricsState;

/// The sources of the check.
pub(super) struct AutoscalerCheck {
    pub(super) registry: Registry,
    pub(super) autoscalers: Autoscalers,
    pub(super) external_metrics: ExternalMetricsState,
}

impl AutoscalerCheck {
    /// The condition `Autoscaled`; `None` in other modes, and before the first decision.
    pub(super) fn check(&self, entry: &Entry) -> Option<AutoscaledCondition> {
        let spec = entry.spec.as_deref()?;
        let decisions = entry.snapshot.as_ref()?.decisions()?;
        match spec.mode {
            Mode::Scale | Mode::DryRun => return None,
            Mode::Metrics => {}
        }
        let not_served = self.external_metrics.not_served();
        let checked = CheckedConsumer {
            consumer: spec,
            current: decisions.current(),
            most_useful: most_useful(spec, decisions),
            not_served: not_served.as_ref(),
        };
        let autoscalers = self.autoscalers.of(&spec.namespace, &spec.target);
        let is_listed = self.registry.watches().is_listed(hpa::RESOURCE, &spec.namespace);
        Some(hpa::check(&checked, is_listed.then_some(autoscalers.as_slice()), |selector| {
            let others = self.registry.in_namespace(&spec.namespace);
            let others = others.iter().filter(|other| other.key.name != spec.name);
            let matched = others.filter(|other| {
                let labels = Labels::of(&other.key.name, other.spec.as_deref());
                selector.matches(|key| labels.get(key))
            });
            matched.map(|other| other.key.name.clone()).collect()
        }))
    }
}

/// The maximum of replicas that the partitions can use: those of the source that can use most.
fn most_useful(spec: &Validated, decisions: &Decisions) -> Option<u32> {
    let sources = spec.sources.iter().zip(decisions.all());
    let useful: Option<Vec<_>> = sources
        .map(|(source, decision)| Some(source.policy.sizing().replicas(decision.model.useful_members?)))
        .collect();
    useful?.into_iter().max()
}
