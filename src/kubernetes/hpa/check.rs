//! Checks whether the native HPA applies what a ScaledConsumer in mode `Metrics` decides, and if not, says why and what
//! to do. Pure. The HPA's behavior is that of pkg/controller/podautoscaler in Kubernetes 1.35.

use std::sync::Arc;

use super::{Autoscaler, ExternalMetric, Labels, Metric, MetricTarget, NAME_LABEL, Selector};
use crate::core::Replicas;
use crate::kubernetes::scaledconsumer::Validated;

/// Why external metrics are not served: a CamelCase reason and a sentence.
pub type NotServed = (&'static str, String);

/// The reasons with which the HPA acts, but not in full.
const BOUNDS_DIFFER: &str = "BoundsDiffer";
const TOLERANCE_SWALLOWS_STEPS: &str = "ToleranceSwallowsSteps";

/// The HPA's tolerance unless it or the flag --horizontal-pod-autoscaler-tolerance sets another.
const DEFAULT_TOLERANCE: f64 = 0.1;
/// The largest `maxReplicas` of a ScaledConsumer; steps above it are not checked.
const MAX_REPLICAS: u32 = 10_000;
/// HPAs on one target that are checked in detail. The message only counts the rest.
const MAX_CHECKED: usize = 3;

/// A ScaledConsumer in mode `Metrics` that is checked.
#[derive(Clone, Copy, Debug)]
pub struct CheckedConsumer<'a> {
    /// Its spec.
    pub consumer: &'a Validated,
    /// The target's replicas.
    pub current: Replicas,
    /// The maximum of replicas that the partitions can use, where known.
    pub most_useful: Option<u32>,
    /// Why external metrics are not served, if they are not.
    pub not_served: Option<&'a NotServed>,
}

impl CheckedConsumer<'_> {
    fn labels(&self) -> Labels<'_> {
        Labels::of(&self.consumer.name, Some(self.consumer))
    }
}

/// The condition `Autoscaled`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoscaledCondition {
    /// `None`: HPAs can't be listed.
    pub is: Option<bool>,
    /// One CamelCase word.
    pub reason: &'static str,
    /// Sentences, the most important first.
    pub message: String,
}

impl AutoscaledCondition {
    /// Whether an HPA acts although the condition is False for this reason.
    pub fn is_applied(reason: &str) -> bool {
        matches!(reason, BOUNDS_DIFFER | TOLERANCE_SWALLOWS_STEPS)
    }
}

/// The reason where external metrics are off.
pub fn off() -> NotServed {
    let text = "The external metrics API is off: set externalMetrics.enabled in the controller's configuration (manifests/external-metrics does).";
    ("NotServed", text.to_owned())
}

/// Checks the HPAs on the target. `autoscalers` is `None` where they have not been listed. `others` returns the names
/// of the other ScaledConsumers in the namespace that a selector matches. It is not called for a selector that only
/// matches this one.
pub fn check(
    checked: &CheckedConsumer<'_>,
    autoscalers: Option<&[Arc<Autoscaler>]>,
    others: impl Fn(&Selector) -> Vec<String>,
) -> AutoscaledCondition {
    let mut faults = Faults::default();
    if let Some((reason, text)) = checked.not_served {
        faults.add(reason, text.clone());
    }
    let target = &checked.consumer.target;
    match autoscalers {
        None => {}
        Some([]) => faults.add(
            "NoAutoscaler",
            format!("No HorizontalPodAutoscaler targets {target}, so nothing scales it: create one on {} (manifests/examples/hpa.yaml), or set mode Scale.", Metric::DesiredReplicas.name()),
        ),
        Some([one]) => faults.of_autoscaler(checked, one, &others),
        Some(several) => {
            let names: Vec<_> = several.iter().take(MAX_CHECKED).map(|one| format!("\"{}\"", one.name)).collect();
            let more = several.len() - names.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let names = names.join(", ");
            faults.add(
                "SeveralAutoscalers",
                format!("The HorizontalPodAutoscalers {names}{more} target {target}, and then none of them acts (their condition is AmbiguousSelector): keep one."),
            );
            several.iter().take(MAX_CHECKED).for_each(|one| faults.of_autoscaler(checked, one, &others));
        }
    }
    match (faults.reason, autoscalers) {
        (Some(reason), _) => AutoscaledCondition { is: Some(false), reason, message: faults.sentences.join(" ") },
        (None, None) => AutoscaledCondition {
            is: None,
            reason: "NotListed",
            message: "The HorizontalPodAutoscalers of this namespace are not listed yet; if that lasts, grant the controller list and watch on them.".to_owned(),
        },
        (None, Some(autoscalers)) => autoscaling(checked, autoscalers),
    }
}

/// The condition where nothing is wrong: there is one HPA, with a metric of this ScaledConsumer.
fn autoscaling(checked: &CheckedConsumer<'_>, autoscalers: &[Arc<Autoscaler>]) -> AutoscaledCondition {
    let labels = checked.labels();
    let sentences = autoscalers.iter().map(|autoscaler| {
        let names: Vec<_> = for_us(autoscaler, &labels).map(|metric| metric.metric.name()).collect();
        let beside = match autoscaler.others.as_slice() {
            [] => String::new(),
            others => {
                format!(" It has {} as well, and uses the highest result of its metrics.", others.join(", "))
            }
        };
        format!("HorizontalPodAutoscaler \"{}\" acts on {}.{beside}", autoscaler.name, names.join(" and "))
    });
    AutoscaledCondition { is: Some(true), reason: "Autoscaling", message: sentences.collect::<Vec<_>>().join(" ") }
}

/// The metrics of an HPA that select this ScaledConsumer.
fn for_us<'a>(autoscaler: &'a Autoscaler, labels: &Labels<'_>) -> impl Iterator<Item = &'a ExternalMetric> {
    autoscaler.metrics.iter().filter(|metric| metric.selector.matches(|key| labels.get(key)))
}

/// What is wrong: the reason of the first fault, and a sentence for each.
#[derive(Default)]
struct Faults {
    reason: Option<&'static str>,
    sentences: Vec<String>,
}

impl Faults {
    fn add(&mut self, reason: &'static str, sentence: String) {
        self.reason.get_or_insert(reason);
        if !self.sentences.contains(&sentence) {
            self.sentences.push(sentence);
        }
    }

    fn of_autoscaler(
        &mut self,
        checked: &CheckedConsumer<'_>,
        autoscaler: &Autoscaler,
        others: &impl Fn(&Selector) -> Vec<String>,
    ) {
        let labels = checked.labels();
        let metrics: Vec<_> = for_us(autoscaler, &labels).collect();
        if metrics.is_empty() {
            return self.add("OtherMetric", no_metric_for_us(autoscaler, &labels));
        }
        if checked.current == Replicas(0) && autoscaler.min_replicas > 0 {
            self.add(
                "ScalingDisabled",
                format!(
                    "{} has 0 replicas, and a HorizontalPodAutoscaler never scales up from 0: scale it to {} by hand.",
                    checked.consumer.target, autoscaler.min_replicas
                ),
            );
        }
        for metric in &metrics {
            // A selector by name matches no other ScaledConsumer, so the namespace need not be searched.
            let is_by_name = metric.selector.only_value_of(NAME_LABEL).is_some();
            let others = if is_by_name { Vec::new() } else { others(&metric.selector) };
            self.of_metric(&autoscaler.name, metric, &others, &labels);
        }
        for sentence in bounds(checked, autoscaler, &metrics) {
            self.add(BOUNDS_DIFFER, sentence);
        }
        let is_on_desired = metrics.iter().any(|metric| metric.metric == Metric::DesiredReplicas);
        if let Some(sentence) = tolerance(checked, autoscaler).filter(|_| is_on_desired) {
            self.add(TOLERANCE_SWALLOWS_STEPS, sentence);
        }
    }

    fn of_metric(&mut self, autoscaler: &str, metric: &ExternalMetric, others: &[String], labels: &Labels<'_>) {
        let name = metric.metric.name();
        if let [first, rest @ ..] = others {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            let selector = match metric.selector.to_string() {
                none if none.is_empty() => "without a selector".to_owned(),
                some => format!("with the selector {some}"),
            };
            self.add(
                "OtherMetric",
                format!("HorizontalPodAutoscaler \"{autoscaler}\" reads {name} {selector}, which also matches ScaledConsumer \"{first}\"{more}, and sums the values: add matchLabels scaledconsumer: {}.", labels.scaled_consumer),
            );
        }
        let is_one = metric.target == MetricTarget::AverageValue(1.0);
        if metric.metric == Metric::DesiredReplicas && !is_one {
            let instead = match metric.target {
                MetricTarget::AverageValue(number) => format!("averageValue {number}"),
                MetricTarget::Value(number) => format!("value {number}"),
                MetricTarget::Unclear => "a target that can't be read".to_owned(),
            };
            self.add(
                "OtherMetric",
                format!("HorizontalPodAutoscaler \"{autoscaler}\" compares {name} with {instead}, which gives another number: set target type AverageValue and averageValue \"1\"."),
            );
        }
    }
}

fn no_metric_for_us(autoscaler: &Autoscaler, labels: &Labels<'_>) -> String {
    let name = &autoscaler.name;
    if let Some(metric) = autoscaler.metrics.first() {
        let (ours, selector) = (metric.metric.name(), &metric.selector);
        return format!(
            "HorizontalPodAutoscaler \"{name}\" reads {ours} with the selector {selector}, which does not match this ScaledConsumer ({labels}): set matchLabels scaledconsumer: {}.",
            labels.scaled_consumer
        );
    }
    let has = match autoscaler.others.as_slice() {
        [] => "has no metric".to_owned(),
        others => format!("acts on {}", others.join(", ")),
    };
    format!(
        "HorizontalPodAutoscaler \"{name}\" {has}, none of which Paceline serves: give it the external metric {} with matchLabels scaledconsumer: {} (or one of {}).",
        Metric::DesiredReplicas.name(),
        labels.scaled_consumer,
        Metric::ALL[1..].iter().map(|metric| metric.name()).collect::<Vec<_>>().join(", ")
    )
}

/// Where the HPA's bounds contradict those of the ScaledConsumer. The HPA acts within its own.
fn bounds(checked: &CheckedConsumer<'_>, autoscaler: &Autoscaler, metrics: &[&ExternalMetric]) -> Vec<String> {
    let ours = checked.consumer.bounds();
    let (low, high) = (autoscaler.min_replicas, autoscaler.max_replicas);
    let name = &autoscaler.name;
    let mut found = Vec::new();
    let wanted = match (ours.max(), checked.most_useful) {
        (Some(max), _) => Some((max.0, "maxReplicas here")),
        (None, useful) => useful.map(|useful| (useful, "what the partitions can use")),
    };
    if let Some((wanted, what)) = wanted.filter(|(wanted, _)| high < *wanted) {
        found.push(format!("HorizontalPodAutoscaler \"{name}\" acts, but its maxReplicas {high} is below {what} ({wanted}): make the two equal."));
    }
    // The desired replicas are within the bounds; the other metrics are not.
    let free = metrics.iter().find(|metric| metric.metric != Metric::DesiredReplicas);
    let most = [ours.max().map(|max| max.0), checked.most_useful].into_iter().flatten().min();
    if let Some((metric, most)) = free.zip(most.filter(|most| high > *most)) {
        found.push(format!("HorizontalPodAutoscaler \"{name}\" acts on {}, which has no bounds, and its maxReplicas {high} is above the {most} replicas that are useful: set it to {most}.", metric.metric.name()));
    }
    match (ours.min().0, low) {
        (0, 1..) => found.push(format!("minReplicas is 0 here, but HorizontalPodAutoscaler \"{name}\" has minReplicas {low}: an HPA scales to 0 only with the feature gate HPAScaleToZero (alpha) and minReplicas 0 of its own; set minReplicas {low} here, or mode Scale.")),
        (ours, low) if low > ours => found.push(format!("HorizontalPodAutoscaler \"{name}\" acts, but its minReplicas {low} is above minReplicas here ({ours}): make the two equal.")),
        (ours, low) if low < ours => found.push(format!("HorizontalPodAutoscaler \"{name}\" acts, but its minReplicas {low} is below minReplicas here ({ours}): make the two equal.")),
        (_, _) => {}
    }
    found
}

/// The first steps that the HPA ignores because of its tolerance, within the bounds of both.
fn tolerance(checked: &CheckedConsumer<'_>, autoscaler: &Autoscaler) -> Option<String> {
    let (up, down) = (autoscaler.tolerance_up, autoscaler.tolerance_down);
    let bounds = checked.consumer.bounds();
    let lowest = autoscaler.min_replicas.max(bounds.min().0).max(1);
    let limits =
        [bounds.max().map(|max| max.0), checked.most_useful, Some(autoscaler.max_replicas), Some(MAX_REPLICAS)];
    let highest = limits.into_iter().flatten().min()?;
    let first_up = (lowest..highest).find(|now| is_within(up, down, *now, now + 1));
    let first_down = (lowest + 1..=highest).find(|now| is_within(up, down, *now, now - 1));
    let said = |tolerance: Option<f64>| {
        tolerance.map_or_else(|| format!("{DEFAULT_TOLERANCE}, the default"), |tolerance| tolerance.to_string())
    };
    let steps = [
        first_up.map(|now| format!("{now} -> {} (scaleUp.tolerance {})", now + 1, said(up))),
        first_down.map(|now| format!("{now} -> {} (scaleDown.tolerance {})", now - 1, said(down))),
    ];
    let steps: Vec<_> = steps.into_iter().flatten().collect();
    if steps.is_empty() {
        return None;
    }
    let name = &autoscaler.name;
    Some(format!(
        "HorizontalPodAutoscaler \"{name}\" ignores small steps because of its tolerance: {} never happens; set behavior.scaleUp.tolerance and behavior.scaleDown.tolerance to 0 (on by default from Kubernetes 1.35, before that the feature gate HPAConfigurableTolerance).",
        steps.join(" or ")
    ))
}

/// Whether the HPA treats a desired number as no change (Tolerances.isWithin and GetExternalPerPodMetricReplicas).
fn is_within(up: Option<f64>, down: Option<f64>, current: u32, desired: u32) -> bool {
    let ratio = f64::from(desired) / f64::from(current);
    1.0 - down.unwrap_or(DEFAULT_TOLERANCE) <= ratio && ratio <= 1.0 + up.unwrap_or(DEFAULT_TOLERANCE)
}

#[cfg(test)]
mod tests;
