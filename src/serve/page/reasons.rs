//! The explanation of a decision as labelled lines: why, what happens next, why not more and why not fewer replicas.

use super::view::ConsumerView;
use crate::core::Explanation;

/// Why, what happens next, why not more or fewer, and what else the explanation says, each with its label.
pub(super) fn reasons(view: &ConsumerView, explanation: &Explanation) -> Vec<(&'static str, String)> {
    let label = |label| match label {
        "problem" => "Problem",
        "why" => "Why",
        "then" => "Next",
        "lacks" => "Missing",
        "group" => "Group",
        "kind" => "Kind",
        "each" => "Capacity",
        "trust" => "Predictions",
        _ => "Note",
    };
    let mut lines: Vec<(&'static str, String)> =
        explanation.lines.iter().map(|(name, text)| (label(*name), text.clone())).collect();
    let after_next = lines.iter().position(|(label, _)| *label == "Next").map_or(0, |next| next + 1);
    lines.splice(after_next..after_next, alternatives(view, explanation));
    lines
}

/// Why there are not more replicas, and why not fewer, by the counts that were considered beside the chosen one.
fn alternatives(view: &ConsumerView, explanation: &Explanation) -> Vec<(&'static str, String)> {
    let Some(decision) = &view.decision else { return Vec::new() };
    let (desired, summary) = (decision.desired_replicas, &view.summary);
    let counts = || decision.candidates.iter().map(|candidate| candidate.replicas);
    let verdict = |row: usize| {
        let verdict = explanation.candidates.rows.get(row).and_then(|row| row.last());
        verdict.map(|verdict| format!("{} replicas: {verdict}", decision.candidates[row].replicas.0))
    };
    let useful = summary.figures.useful_replicas.filter(|useful| desired.0 >= *useful);
    let maximum = summary.max_replicas.filter(|max| desired >= *max);
    let minimum = summary.min_replicas.filter(|min| desired <= *min);
    let more = if let Some(useful) = useful {
        Some(format!("the partitions keep {useful} replicas busy, and no more"))
    } else if let Some(max) = maximum {
        Some(format!("spec.maxReplicas is {}", max.0))
    } else {
        counts().position(|count| count > desired).and_then(verdict)
    };
    let fewer = match minimum {
        Some(min) => Some(format!("spec.minReplicas is {}", min.0)),
        None => counts().filter(|count| *count < desired).count().checked_sub(1).and_then(verdict),
    };
    [more.map(|text| ("Not more", text)), fewer.map(|text| ("Not fewer", text))].into_iter().flatten().collect()
}
