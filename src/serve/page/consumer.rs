//! One ScaledConsumer: the decision and why, its past, the replica counts considered, what was learned of it, its changes, its
//! conditions, its spec, and the command that decides the same dry.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde_json::json;

use super::access::{AccessError, Viewer};
use super::layout::{
    Fragment, UNKNOWN, chip, count, date, document, duration, not_found, rate, records, text_table, time,
};
use super::overview::{path, replicas};
use super::part::PagePart;
use super::partitions::{members, partitions};
use super::reasons::reasons;
use super::sources::{ControllerRole, PageSources};
use super::summary::ConsumerSummary;
use super::timeline::{SpanQuery, timeline};
use super::view::{ChangeView, ConsumerView};
use crate::core::{
    CandidateVerdict, DecisionView, Explanation, Pause, PredictionRecord, RecordsPerSecond, explain, printable,
};
use crate::kubernetes::scaledconsumer::{ClusterRef, PAUSED, PAUSED_REPLICAS, Validated};
use crate::registry::Entry;
use crate::yaml;

/// The whole page.
pub(super) async fn consumer(
    State(sources): State<Arc<PageSources>>,
    Extension(viewer): Extension<Viewer>,
    Path((namespace, name)): Path<(String, String)>,
    Query(span): Query<SpanQuery>,
) -> Result<Response, AccessError> {
    viewer.check_read(&namespace, &name).await?;
    let Some(entry) = sources.entry(namespace, name) else {
        return Ok(not_found(State(sources), Extension(viewer)).await);
    };
    let path = path(&entry.key.namespace, &entry.key.name);
    let body = html! {
        nav.crumbs aria-label="Breadcrumbs" { a href="/" { "All ScaledConsumers" } }
        @for fragment in fragments(&sources, &entry, &span) { (fragment.html) }
        p { a href={ "/api/v1" (path) } { "The same as JSON" } }
    };
    let events = format!("/events{path}{}", span.text());
    let title = format!("{}/{}", entry.key.namespace, entry.key.name);
    Ok(document(&title, &viewer, &(sources.role)(), Some(&events), &body).into_response())
}

/// What changes of the page: all of it.
pub(super) fn fragments(sources: &PageSources, entry: &Entry, span: &SpanQuery) -> Vec<Fragment> {
    let view = ConsumerView::of(entry, sources.time());
    let mut explanation = view.decision.as_ref().map(explain);
    if let (Some(explanation), ControllerRole::Demo { .. }) = (&mut explanation, (sources.role)()) {
        // Its embedded broker describes no groups, and nobody can change that.
        explanation.lines.retain(|(label, _)| *label != "group");
    }
    let html = |id, html| Fragment { id, html };
    let mut fragments =
        vec![html("decision", decision(&view, explanation.as_ref(), span, sources.time().as_secs_f64()))];
    fragments.push(html(
        "timeline",
        html! { section #timeline aria-label="Timeline" { (timeline(&view, span)) (changes(&view)) } },
    ));
    let parts = PagePart::of_all(entry, &view, explanation.as_ref());
    fragments.push(html("what-if", what_if(&parts)));
    fragments.push(html("partitions", partitions(&parts)));
    fragments.push(html("members", members(&parts)));
    fragments.push(html("learned", learned(&parts)));
    fragments.push(html("conditions", conditions(&view)));
    fragments.push(html("spec", spec(sources, entry, &view)));
    fragments
}

/// What is decided, and why.
fn decision(view: &ConsumerView, explanation: Option<&Explanation>, span: &SpanQuery, now: f64) -> Markup {
    let summary = &view.summary;
    html! {
        section #decision aria-label="Decision" {
            div.title-row {
                h1 { (summary.name) }
                (chip(summary.state))
                @if let Some(since) = summary.late_since_seconds {
                    span.since { "since " (time(f64::from(since))) ", for " (duration(now - f64::from(since))) }
                }
            }
            p.subject {
                "Namespace " strong { (summary.namespace) }
                @if let Some(group) = &summary.consumer_group { " · consumer group " strong { (printable(group)) } }
                @if let Some(cluster) = &summary.cluster { " · Kafka cluster " strong { (printable(cluster)) } }
                @if let Some(target) = &summary.target { " · scales " strong { (target.kind) " " (target.name) } }
                @if let Some(mode) = summary.mode { " · mode " strong { (format!("{mode:?}")) } }
                @if let Some(at) = summary.figures.observed_at_seconds { " · read at " (time(at)) }
            }
            @if let Some(explanation) = explanation {
                p.headline { (explanation.headline) }
                dl.lines {
                    @for (label, text) in reasons(view, explanation) { div { dt { (label) } dd { (text) } } }
                }
            } @else if view.refused.is_none() && view.summary.problems.is_empty() {
                p.headline { "Nothing has been read yet." }
            }
            (problems(summary, explanation))
            (tiles(view))
            @if !summary.sources.is_empty() { (sources(summary, span)) }
        }
    }
}

/// What is known of each of several sources.
fn sources(summary: &ConsumerSummary, span: &SpanQuery) -> Markup {
    html! {
        h3 #sources-title { "Sources" }
        div.scroll #sources-scroll tabindex="0" role="region" aria-labelledby="sources-title" {
            table {
                caption { "What each source asks for; the target gets the most of them" }
                thead { tr {
                    th scope="col" { "Source" } th scope="col" { "Consumer group" } th scope="col" { "Kafka cluster" }
                    th.number scope="col" { "Lag" } th.number scope="col" { "Time lag" } th.number scope="col" { "Allowed" }
                    th.number scope="col" { "Arrival" } th.number scope="col" { "Consumption" }
                    th.number scope="col" { "Asks for" } th scope="col" { "Why" }
                } }
                tbody { @for source in &summary.sources { tr {
                    th scope="row" { a href={ (span.of_source(Some(&source.name))) "#timeline" } { (source.name) } }
                    td { (printable(&source.consumer_group)) }
                    td { (printable(&source.cluster)) }
                    td.number { (source.figures.lag_text()) }
                    td.number { (source.figures.time_lag_text()) }
                    td.number {
                        @if let Some(objective) = source.figures.objective_seconds { (duration(objective as f64)) }
                        @if let Some(threshold) = source.figures.lag_per_replica { (records(threshold as f64)) " records per replica" }
                    }
                    td.number { (rate(source.figures.arrival_records_per_second)) }
                    td.number { (rate(source.figures.consumption_records_per_second)) }
                    td.number { (count(source.figures.desired_replicas.map(|replicas| replicas.0))) }
                    td.sentence { @if let Some(reason) = &source.figures.reason { strong { (reason.name) } " " (reason.message) } }
                } } }
            }
        }
    }
}

/// What is wrong and not in the lines of the explanation already.
fn problems(summary: &ConsumerSummary, explanation: Option<&Explanation>) -> Markup {
    let is_said = |message: &str| {
        explanation.is_some_and(|explanation| explanation.lines.iter().any(|(_, text)| text.contains(message)))
    };
    let left: Vec<_> = summary
        .problems
        .iter()
        .filter(|problem| !is_said(&problem.message) && (explanation.is_none() || problem.name != "DataIncomplete"))
        .collect();
    html! {
        @if !left.is_empty() {
            ul.problems { @for problem in left { li { strong { (problem.name) } " " (problem.message) } } }
        }
    }
}

fn tiles(view: &ConsumerView) -> Markup {
    let summary = &view.summary;
    let event_time_lag = view.decision.as_ref().and_then(|decision| decision.event_time_lag);
    html! {
        dl.tiles {
            div { dt { "Lag" } dd { (summary.figures.lag_text()) span.detail { "records" } } }
            div { dt { "Time lag" } dd {
                (summary.figures.time_lag_text())
                @if let Some(objective) = summary.figures.objective_seconds { span.detail { "objective " (duration(objective as f64)) } }
                @if let Some(threshold) = summary.figures.lag_per_replica { span.detail { "policy: " (records(threshold as f64)) " records per replica" } }
            } }
            @if let Some(behind) = event_time_lag {
                div { dt { "Event time lag" } dd { (behind.text()) span.detail { "of what was processed" } } }
            }
            div { dt { "Arrival" } dd { (rate(summary.figures.arrival_records_per_second)) span.detail { "records" } } }
            div { dt { "Consumption" } dd { (rate(summary.figures.consumption_records_per_second)) span.detail { "records" } } }
            div { dt { "Replicas" } dd {
                (replicas(summary))
                @if let Some(ready) = summary.ready_replicas { span.detail { (ready.0) " ready" } }
            } }
        }
    }
}

fn changes(view: &ConsumerView) -> Markup {
    html! {
        h3 #changes-title { "Changes" }
        @if view.changes.is_empty() {
            p.empty { "No change of the replicas is known since this controller has started." }
        } @else {
            div.scroll #changes-scroll tabindex="0" role="region" aria-labelledby="changes-title" {
                table {
                    caption { "Changes of the replicas, newest first; the numbers are those in the chart of the replicas" }
                    thead { tr {
                        th.number scope="col" { "No." } th scope="col" { "Time" } th.number scope="col" { "From" }
                        th.number scope="col" { "To" } th scope="col" { "Why" } th scope="col" { "Prediction" }
                    } }
                    tbody {
                        @for (i, change) in view.changes.iter().rev().enumerate() {
                            tr {
                                td.number { (i + 1) }
                                td { (time(change.at_seconds)) }
                                td.number { (change.from.0) }
                                td.number { (change.to.0) }
                                td.sentence { strong { (change.reason.name) } " " (change.reason.message) }
                                td { @if let Some(record) = prediction(view, change) { (record.outcome()) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What was predicted at a change, where that is known to have come true or not.
fn prediction<'a>(view: &'a ConsumerView, change: &ChangeView) -> Option<&'a PredictionRecord> {
    let predictions = &view.decision.as_ref()?.predictions;
    let is_of = |record: &&PredictionRecord| {
        record.to == change.to && (record.at.as_secs_f64() - change.at_seconds).abs() < 1.0
    };
    predictions.iter().find(is_of)
}

/// The replica counts considered, of each source.
fn what_if(parts: &[PagePart<'_>]) -> Markup {
    let class = |part: &PagePart<'_>, row: usize| match part.decision?.candidates.get(row)?.verdict {
        CandidateVerdict::Chosen => Some("chosen"),
        CandidateVerdict::Wanted => Some("wanted"),
        CandidateVerdict::MissesObjective
        | CandidateVerdict::MoreThanNeeded
        | CandidateVerdict::NotProvedYet
        | CandidateVerdict::Unmeasured
        | CandidateVerdict::OutOfBounds => None,
    };
    html! {
        section #what-if aria-label="What if" {
            h2 { "What if there were more or fewer replicas?" }
            @for part in parts {
                (part.title())
                @match &part.explanation {
                    Some(explanation) if !explanation.candidates.rows.is_empty() => {
                        (text_table(&part.id("what-if-scroll"), "Replica counts considered, and what each would bring", &explanation.candidates, |row| class(part, row)))
                    }
                    Some(_) | None => { p.empty { "No replica counts have been compared." } }
                }
            }
        }
    }
}

/// The conditions of its status in the API server; nothing for one from a file.
fn conditions(view: &ConsumerView) -> Markup {
    html! {
        section #conditions aria-label="Conditions" {
            h2 { "Conditions" }
            @match &view.conditions {
                None => { p.empty { "It is not in the API server, so it has no status." } }
                Some(conditions) if conditions.is_empty() => { p.empty { "None has been written yet." } }
                Some(conditions) => {
                    div.scroll #conditions-scroll tabindex="0" role="region" aria-label="Conditions" {
                        table {
                            caption { "As in the status of the ScaledConsumer" }
                            thead { tr {
                                th scope="col" { "Condition" } th scope="col" { "Status" } th scope="col" { "Since" } th scope="col" { "Why" }
                            } }
                            tbody { @for condition in conditions { tr {
                                th scope="row" { (condition.kind) }
                                td { (condition.status) }
                                td { (date(condition.since_seconds)) }
                                td.sentence { strong { (condition.reason) } " " (condition.message) }
                            } } }
                        }
                    }
                }
            }
        }
    }
}

/// What was estimated from all observations so far.
fn learned(parts: &[PagePart<'_>]) -> Markup {
    html! {
        section #learned aria-label="What was learned" {
            h2 { "What was learned" }
            @for part in parts {
                (part.title())
                @match part.decision {
                    None => { p.empty { "Nothing yet." } }
                    Some(decision) => {
                        dl.facts { @for (label, value) in learned_rows(decision) { div { dt { (label) } dd { (value) } } } }
                    }
                }
            }
        }
    }
}

fn learned_rows(decision: &DecisionView) -> Vec<(&'static str, String)> {
    let model = &decision.model;
    let capacity = &model.capacity;
    let per_second =
        |rate: Option<RecordsPerSecond>| rate.map_or(UNKNOWN.to_owned(), |rate| format!("{rate} records/s"));
    let seconds = |seconds: Option<f64>| seconds.map_or(UNKNOWN.to_owned(), duration);
    let mut rows = vec![
        ("Capacity of a replica", per_second(capacity.per_replica)),
        ("Source of the capacity", format!("{:?}", capacity.source)),
        ("Seen at full load for", duration(capacity.evidence_seconds)),
        ("Last at full load, ago", seconds(capacity.age_seconds)),
        ("Start of a replica", duration(model.start_delay_seconds)),
        ("Pause of a rebalance", duration(model.rebalance_pause_seconds)),
        ("Between two commits", seconds(model.commit_interval_seconds)),
        ("Members that can have a partition", super::layout::count(model.useful_members)),
    ];
    if model.ceiling.is_some() {
        rows.push(("Throughput ceiling of the group", per_second(model.ceiling)));
    }
    rows
}

fn spec(sources: &PageSources, entry: &Entry, view: &ConsumerView) -> Markup {
    html! {
        section #spec aria-label="Spec" {
            h2 { "Decide the same dry" }
            @if let Some(spec) = &entry.spec {
                pre.scroll #command tabindex="0" role="region" aria-label="Command" { code { (command(sources, entry, spec, view)) } }
                @if entry.record.is_none() { p.note { "Save the manifest below as " code { (file_name(spec)) } " first." } }
                h2 { "Manifest" }
                pre.scroll #manifest tabindex="0" role="region" aria-label="Manifest" { code { (manifest(spec)) } }
            } @else {
                p.empty { "The spec can't be used." }
            }
        }
    }
}

fn file_name(spec: &Validated) -> String {
    format!("{}.yaml", spec.name)
}

/// The command that decides the same dry.
fn command(sources: &PageSources, entry: &Entry, spec: &Validated, view: &ConsumerView) -> String {
    let mut command = "paceline recommend".to_owned();
    if entry.record.is_some() {
        command.push_str(&format!(" -n {} {}", spec.namespace, spec.name));
    } else {
        command.push_str(&format!(" -f {}", file_name(spec)));
    }
    match (&sources.bootstrap_servers, &spec.sources.first().cluster) {
        (Some(servers), _) => command.push_str(&format!(" --bootstrap-servers {servers}")),
        (None, ClusterRef::Named(_)) => command.push_str(" --config paceline.yaml"),
        (None, ClusterRef::Inline(_)) => {}
    }
    if let (None, Some(current)) = (&entry.record, view.summary.current_replicas) {
        command.push_str(&format!(" --current {}", current.0));
    }
    command
}

/// The custom resource, as YAML.
fn manifest(spec: &Validated) -> String {
    let mut metadata = json!({"name": spec.name, "namespace": spec.namespace});
    match spec.pause() {
        None => {}
        Some(Pause::AsIs) => metadata["annotations"] = json!({PAUSED: "true"}),
        Some(Pause::At(replicas)) => metadata["annotations"] = json!({PAUSED_REPLICAS: replicas.0.to_string()}),
    }
    let object = json!({
        "apiVersion": "paceline.dev/v1alpha1",
        "kind": "ScaledConsumer",
        "metadata": metadata,
        "spec": &*spec.spec,
    });
    yaml::to_string(&object).unwrap_or_default()
}
