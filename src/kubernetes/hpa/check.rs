//! Whether the native HPA does what a ScaledConsumer in mode `Metrics` decides, and if not, why and what to do. A pure
//! function; the HPA's side of it is that of pkg/controller/podautoscaler in Kubernetes 1.35.

use std::sync::Arc;

use super::{Autoscaler, ExternalMetric, Labels, Metric, MetricTarget, NAME_LABEL, Selector};
use crate::core::Replicas;
use crate::kubernetes::scaledconsumer::Validated;

/// Why the external metrics are not served, by name and in a sentence.
pub type NotServed = (&'static str, String);

/// The HPA's tolerance where neither it nor the flag --horizontal-pod-autoscaler-tolerance says otherwise.
const DEFAULT_TOLERANCE: f64 = 0.1;
/// The largest `maxReplicas` of a ScaledConsumer; the search for lost steps ends there.
const MAX_REPLICAS: u32 = 10_000;
/// HPAs on one target that are checked one by one. Of more, only the number is in the message.
const MAX_CHECKED: usize = 3;

/// What is known of a ScaledConsumer in mode `Metrics`, beside its HPAs.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// What it asks for.
    pub consumer: &'a Validated,
    /// The target's replicas.
    pub current: Replicas,
    /// The most replicas that the partitions can use, where that is known.
    pub most_useful: Option<u32>,
    /// Why the metrics are not served, if they are not.
    pub not_served: Option<&'a NotServed>,
}

impl Situation<'_> {
    fn labels(&self) -> Labels<'_> {
        Labels::of(&self.consumer.name, Some(self.consumer))
    }
}

/// Whether an HPA acts as was decided: a condition without its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// `None`: HPAs can't be seen.
    pub is: Option<bool>,
    /// In one word.
    pub reason: &'static str,
    /// In sentences, the most important first.
    pub message: String,
}

/// Why nothing is served where external metrics are off.
pub fn off() -> NotServed {
    let text = "The external metrics API is off: set externalMetrics.enabled in the controller's configuration (manifests/external-metrics does).";
    ("NotServed", text.to_owned())
}

/// Whether the HPAs on the target act as decided. `autoscalers` is nothing where they have not been listed. `others` gives
/// the names of the other ScaledConsumers in the namespace that a selector matches; it is not called for a selector that
/// only this one can match.
pub fn judge(
    situation: &Situation<'_>,
    autoscalers: Option<&[Arc<Autoscaler>]>,
    others: impl Fn(&Selector) -> Vec<String>,
) -> Judgement {
    let mut faults = Faults::default();
    if let Some((reason, text)) = situation.not_served {
        faults.add(reason, text.clone());
    }
    let target = &situation.consumer.target;
    match autoscalers {
        None => {}
        Some([]) => faults.add(
            "NoAutoscaler",
            format!("No HorizontalPodAutoscaler targets {target}, so nothing scales it: create one on {} (manifests/examples/hpa.yaml), or set mode Scale.", Metric::DesiredReplicas.name()),
        ),
        Some([one]) => faults.of_autoscaler(situation, one, &others),
        Some(several) => {
            let names: Vec<_> = several.iter().take(MAX_CHECKED).map(|one| format!("\"{}\"", one.name)).collect();
            let more = several.len() - names.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let names = names.join(", ");
            faults.add(
                "SeveralAutoscalers",
                format!("The HorizontalPodAutoscalers {names}{more} target {target}, and then none of them acts (their condition is AmbiguousSelector): keep one."),
            );
            several.iter().take(MAX_CHECKED).for_each(|one| faults.of_autoscaler(situation, one, &others));
        }
    }
    match (faults.reason, autoscalers) {
        (Some(reason), _) => Judgement { is: Some(false), reason, message: faults.sentences.join(" ") },
        (None, None) => Judgement {
            is: None,
            reason: "NotListed",
            message: "The HorizontalPodAutoscalers of this namespace have not been seen; if that lasts, grant the controller list and watch on them.".to_owned(),
        },
        (None, Some(autoscalers)) => acts(situation, autoscalers),
    }
}

/// Nothing is wrong, so there is one HPA and it has a metric for us.
fn acts(situation: &Situation<'_>, autoscalers: &[Arc<Autoscaler>]) -> Judgement {
    let labels = situation.labels();
    let sentences = autoscalers.iter().map(|autoscaler| {
        let names: Vec<_> = for_us(autoscaler, &labels).map(|metric| metric.metric.name()).collect();
        let beside = match autoscaler.others.as_slice() {
            [] => String::new(),
            others => {
                format!(" It has {} as well, and takes the highest of what its metrics ask for.", others.join(", "))
            }
        };
        format!("HorizontalPodAutoscaler \"{}\" acts on {}.{beside}", autoscaler.name, names.join(" and "))
    });
    Judgement { is: Some(true), reason: "Autoscaling", message: sentences.collect::<Vec<_>>().join(" ") }
}

/// The metrics of an HPA that take our values.
fn for_us<'a>(autoscaler: &'a Autoscaler, labels: &Labels<'_>) -> impl Iterator<Item = &'a ExternalMetric> {
    autoscaler.metrics.iter().filter(|metric| metric.selector.matches(|key| labels.get(key)))
}

/// What is wrong: the first one's reason, and a sentence for each.
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
        situation: &Situation<'_>,
        autoscaler: &Autoscaler,
        others: &impl Fn(&Selector) -> Vec<String>,
    ) {
        let labels = situation.labels();
        let metrics: Vec<_> = for_us(autoscaler, &labels).collect();
        if metrics.is_empty() {
            return self.add("OtherMetric", no_metric_for_us(autoscaler, &labels));
        }
        if situation.current == Replicas(0) && autoscaler.min_replicas > 0 {
            self.add(
                "ScalingDisabled",
                format!(
                    "{} has 0 replicas, and a HorizontalPodAutoscaler leaves it so: scale it to {} by hand.",
                    situation.consumer.target, autoscaler.min_replicas
                ),
            );
        }
        for metric in &metrics {
            // A selector by name matches no other one, so that the namespace need not be searched.
            let is_by_name = metric.selector.only_value_of(NAME_LABEL).is_some();
            let others = if is_by_name { Vec::new() } else { others(&metric.selector) };
            self.of_metric(&autoscaler.name, metric, &others, &labels);
        }
        for sentence in bounds(situation, autoscaler, &metrics) {
            self.add("BoundsDiffer", sentence);
        }
        let is_on_desired = metrics.iter().any(|metric| metric.metric == Metric::DesiredReplicas);
        if let Some(sentence) = tolerance(situation, autoscaler).filter(|_| is_on_desired) {
            self.add("ToleranceSwallowsSteps", sentence);
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
                format!("HorizontalPodAutoscaler \"{autoscaler}\" asks for {name} {selector}, which ScaledConsumer \"{first}\"{more} has as well, and it sums what it gets: add matchLabels scaledconsumer: {}.", labels.scaled_consumer),
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
                format!("HorizontalPodAutoscaler \"{autoscaler}\" compares {name} with {instead}, which makes another number of it: set target type AverageValue and averageValue \"1\"."),
            );
        }
    }
}

fn no_metric_for_us(autoscaler: &Autoscaler, labels: &Labels<'_>) -> String {
    let name = &autoscaler.name;
    if let Some(metric) = autoscaler.metrics.first() {
        let (ours, selector) = (metric.metric.name(), &metric.selector);
        return format!(
            "HorizontalPodAutoscaler \"{name}\" asks for {ours} with the selector {selector}, which does not match the labels here ({labels}): set matchLabels scaledconsumer: {}.",
            labels.scaled_consumer
        );
    }
    let has = match autoscaler.others.as_slice() {
        [] => "has no metric".to_owned(),
        others => format!("acts on {}", others.join(", ")),
    };
    format!(
        "HorizontalPodAutoscaler \"{name}\" {has}, and none of it is served here: give it the external metric {} with matchLabels scaledconsumer: {} (or one of {}).",
        Metric::DesiredReplicas.name(),
        labels.scaled_consumer,
        Metric::ALL[1..].iter().map(|metric| metric.name()).collect::<Vec<_>>().join(", ")
    )
}

/// Where the HPA's bounds contradict ours. It acts within its own all the same.
fn bounds(situation: &Situation<'_>, autoscaler: &Autoscaler, metrics: &[&ExternalMetric]) -> Vec<String> {
    let ours = situation.consumer.policy.bounds;
    let (low, high) = (autoscaler.min_replicas, autoscaler.max_replicas);
    let name = &autoscaler.name;
    let mut found = Vec::new();
    let wanted = match (ours.max(), situation.most_useful) {
        (Some(max), _) => Some((max.0, "maxReplicas here")),
        (None, useful) => useful.map(|useful| (useful, "what the partitions can use")),
    };
    if let Some((wanted, what)) = wanted.filter(|(wanted, _)| high < *wanted) {
        found.push(format!("HorizontalPodAutoscaler \"{name}\" acts, but its maxReplicas {high} is below {what} ({wanted}), which it never gets to: make the two equal."));
    }
    // The desired replicas keep to our bounds; the other metrics know none.
    let free = metrics.iter().find(|metric| metric.metric != Metric::DesiredReplicas);
    let most = [ours.max().map(|max| max.0), situation.most_useful].into_iter().flatten().min();
    if let Some((metric, most)) = free.zip(most.filter(|most| high > *most)) {
        found.push(format!("HorizontalPodAutoscaler \"{name}\" acts on {}, which knows no bounds, and its maxReplicas {high} is above the {most} that are of use: make it {most}.", metric.metric.name()));
    }
    match (ours.min().0, low) {
        (0, 1..) => found.push(format!("minReplicas is 0 here, but HorizontalPodAutoscaler \"{name}\" acts from {low} on: an HPA gets to 0 only with the feature gate HPAScaleToZero (alpha) and minReplicas 0 of its own; set minReplicas {low} here, or mode Scale.")),
        (ours, low) if low > ours => found.push(format!("HorizontalPodAutoscaler \"{name}\" acts, but its minReplicas {low} is above minReplicas here ({ours}): make the two equal.")),
        (ours, low) if low < ours => found.push(format!("HorizontalPodAutoscaler \"{name}\" acts, but its minReplicas {low} is below minReplicas here ({ours}): make the two equal.")),
        (_, _) => {}
    }
    found
}

/// The first steps that the HPA's tolerance makes vanish, within both's bounds.
fn tolerance(situation: &Situation<'_>, autoscaler: &Autoscaler) -> Option<String> {
    let (up, down) = (autoscaler.tolerance_up, autoscaler.tolerance_down);
    let bounds = situation.consumer.policy.bounds;
    let lowest = autoscaler.min_replicas.max(bounds.min().0).max(1);
    let limits =
        [bounds.max().map(|max| max.0), situation.most_useful, Some(autoscaler.max_replicas), Some(MAX_REPLICAS)];
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
        "HorizontalPodAutoscaler \"{name}\" acts on larger steps only, as its tolerance makes small ones vanish: {} never happens; set behavior.scaleUp.tolerance and behavior.scaleDown.tolerance to 0 (on by default from Kubernetes 1.35, before that the feature gate HPAConfigurableTolerance).",
        steps.join(" or ")
    ))
}

/// Whether the HPA takes a desired number for no change (Tolerances.isWithin and GetExternalPerPodMetricReplicas).
fn is_within(up: Option<f64>, down: Option<f64>, current: u32, desired: u32) -> bool {
    let ratio = f64::from(desired) / f64::from(current);
    1.0 - down.unwrap_or(DEFAULT_TOLERANCE) <= ratio && ratio <= 1.0 + up.unwrap_or(DEFAULT_TOLERANCE)
}

#[cfg(test)]
mod tests;
