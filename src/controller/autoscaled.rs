//! Whether HorizontalPodAutoscalers act on what ScaledConsumers in mode `Metrics` decide, judged from the registry and the
//! HPAs that are watched.

use tokio::sync::watch;

use crate::core::Decision;
use crate::kubernetes::hpa::{self, Autoscalers, Judgement, NotServed, Situation};
use crate::kubernetes::scaledconsumer::resource::Mode;
use crate::kubernetes::scaledconsumer::validate::Validated;
use crate::registry::{Entry, Registry};

/// What the judgement rests on.
pub(super) struct AutoscalerCheck {
    pub(super) registry: Registry,
    pub(super) autoscalers: Autoscalers,
    /// Why the external metrics are not served, as long as they are not.
    pub(super) not_served: watch::Receiver<Option<NotServed>>,
}

impl AutoscalerCheck {
    /// Whether an HPA acts as was decided; nothing where that is not an HPA's task, or nothing was decided.
    pub(super) fn judge(&self, entry: &Entry) -> Option<Judgement> {
        let spec = entry.spec.as_deref()?;
        let decision = entry.snapshot.as_ref()?.decision()?;
        match spec.mode {
            Mode::Scale | Mode::DryRun => return None,
            Mode::Metrics => {}
        }
        let not_served = self.not_served.borrow().clone();
        let situation = Situation {
            consumer: spec,
            current: decision.current(),
            most_useful: most_useful(spec, decision),
            not_served: not_served.as_ref(),
        };
        let autoscalers = self.autoscalers.of(&spec.namespace, &spec.target);
        let autoscalers: Vec<_> = autoscalers.iter().map(AsRef::as_ref).collect();
        let is_listed = self.registry.watches().is_listed(hpa::store::RESOURCE, &spec.namespace);
        Some(hpa::judge(&situation, is_listed.then_some(autoscalers.as_slice()), |selector| {
            let others = self.registry.in_namespace(&spec.namespace);
            let others = others.iter().filter(|other| other.key.name != spec.name);
            let matched = others
                .filter(|other| other.spec.as_deref().is_some_and(|spec| selector.matches(&hpa::Labels::of(spec))));
            matched.map(|other| other.key.name.clone()).collect()
        }))
    }
}

/// The most replicas that the partitions can use.
fn most_useful(spec: &Validated, decision: &Decision) -> Option<u32> {
    let members = decision.model.useful_members?;
    Some(members.div_ceil(spec.policy.threads_per_replica.get()))
}
