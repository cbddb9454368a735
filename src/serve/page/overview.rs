//! The overview: the controller and its clusters, the states with their counts, and a row for each ScaledConsumer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::access::{AccessError, Viewer, Visibility};
use super::charts::sparkline;
use super::layout::{Fragment, chip, count, document, duration, rate, records, time};
use super::list::{ConsumerPage, ListQuery, encoded};
use super::reasons::reasons;
use super::sources::{ControllerRole, PageSources};
use super::state::ConsumerState;
use super::summary::ConsumerSummary;
use super::view::{ConsumerView, known};
use crate::core::{Replicas, explain, printable};
use crate::registry::{Entry, Point, Registry};

/// What a sparkline shows, in seconds.
const SPARK_SPAN: u32 = 3600;
/// The shortest span of a sparkline, in seconds.
const SHORTEST_SPAN: u32 = 60;
/// Points of a sparkline: more can't be told apart in its width.
const SPARK_POINTS: usize = 60;
/// Kafka clusters that are listed; the rest is summed up.
const MAX_CLUSTERS: usize = 12;

/// The whole page.
pub(super) async fn overview(
    State(sources): State<Arc<PageSources>>,
    Extension(viewer): Extension<Viewer>,
    Query(query): Query<ListQuery>,
) -> Result<Response, AccessError> {
    if let Err(why) = query.check() {
        return Ok((StatusCode::BAD_REQUEST, format!("{why}\n")).into_response());
    }
    let visible = viewer.visible(&sources.registry).await?;
    let page = ConsumerPage::of(&sources.registry, &visible, &query, sources.time());
    let [controller, worst, states, consumers] = parts(&sources, &visible, &query, &page);
    let body = html! {
        h1 { "ScaledConsumers" }
        (controller.html)
        (worst.html)
        (filter(&query, &page))
        (states.html)
        (consumers.html)
    };
    let events = format!("/events{}", query.with(&query.state, query.page.unwrap_or(1)));
    Ok(document("ScaledConsumers", &viewer, &(sources.role)(), Some(&events), &body).into_response())
}

/// What changes of the page.
pub(super) fn fragments(sources: &PageSources, visible: &Visibility, query: &ListQuery) -> Vec<Fragment> {
    let page = ConsumerPage::of(&sources.registry, visible, query, sources.time());
    parts(sources, visible, query, &page).into()
}

fn parts(sources: &PageSources, visible: &Visibility, query: &ListQuery, page: &ConsumerPage) -> [Fragment; 4] {
    [
        Fragment { id: "controller", html: controller(sources, visible) },
        Fragment { id: "worst", html: worst(sources, query, page) },
        Fragment { id: "states", html: states(query, page) },
        Fragment { id: "consumers", html: consumers(sources, query, page) },
    ]
}

/// A Kafka cluster, by what was last read of its groups.
#[derive(Default)]
struct ClusterSummary {
    consumers: usize,
    /// Of how many nothing at all could be read.
    failed: usize,
    last_read: Option<Duration>,
    poll_interval: Option<Duration>,
}

/// The clusters of what may be seen.
fn clusters(registry: &Registry, visible: &Visibility) -> BTreeMap<String, ClusterSummary> {
    let mut clusters: BTreeMap<String, ClusterSummary> = BTreeMap::new();
    for entry in registry.entries().iter().filter(|entry| visible.includes(&entry.key.namespace)) {
        let Some(spec) = &entry.spec else { continue };
        let mut seen = entry.snapshot.iter().flat_map(|snapshot| &snapshot.sources);
        for source in spec.sources.iter() {
            let cluster = clusters.entry(source.cluster.to_string()).or_default();
            cluster.consumers += 1;
            let Some(seen) = seen.next() else { continue };
            cluster.failed += usize::from(seen.observation.failure.is_some());
            cluster.last_read = cluster.last_read.max(Some(seen.observation.at));
            cluster.poll_interval = Some(seen.poll_interval);
        }
    }
    clusters
}

/// Who leads, in a sentence.
fn role(role: &ControllerRole) -> Markup {
    html! {
        @match role {
            ControllerRole::Leader { name: None } => { "This controller writes the replicas." }
            ControllerRole::Leader { name: Some(name) } => {
                "Leader: " strong { (printable(name)) } ", this replica of the controller. It writes the replicas."
            }
            ControllerRole::Follower { leader: None } => {
                "No leader is known. This replica of the controller reads and decides, and writes nothing."
            }
            ControllerRole::Follower { leader: Some(leader) } => {
                "Leader: " strong { (printable(leader)) } ". This replica of the controller reads and decides, and writes nothing."
            }
            ControllerRole::Demo { speed } => {
                "The demo: it scales processes on this machine. Its clock runs " (speed) " times as fast as yours."
            }
        }
    }
}

fn controller(sources: &PageSources, visible: &Visibility) -> Markup {
    let clusters = clusters(&sources.registry, visible);
    html! {
        section #controller aria-label="Controller and Kafka clusters" {
            p { (role(&(sources.role)())) }
            ul.clusters {
                @for (name, cluster) in clusters.iter().take(MAX_CLUSTERS) {
                    li {
                        strong { (printable(name)) }
                        " " (cluster.consumers) @if cluster.consumers == 1 { " consumer group" } @else { " consumer groups" }
                        @match cluster.last_read {
                            Some(at) => {
                                ", read at " (time(at.as_secs_f64()))
                                @if let Some(interval) = cluster.poll_interval { ", every " (duration(interval.as_secs_f64())) }
                            }
                            None => { ", not read yet" }
                        }
                        @if cluster.failed > 0 { ", " span.bad-text { (cluster.failed) " can't be read" } }
                    }
                }
                @if clusters.len() > MAX_CLUSTERS { li { "and " (clusters.len() - MAX_CLUSTERS) " clusters more" } }
            }
        }
    }
}

/// The worst of those that are selected, and what there is to know of it at once.
fn worst(sources: &PageSources, query: &ListQuery, page: &ConsumerPage) -> Markup {
    let (now, is_at_top) = (sources.time(), page.page == 1 && query.sort != "name");
    let first = page.entries.first().filter(|_| is_at_top);
    let worst = first.filter(|entry| ConsumerState::of(entry, now).is_trouble());
    let view = worst.map(|entry| ConsumerView::of(entry, now));
    html! {
        section #worst .card[view.is_some()] aria-label="The worst" {
            @if let Some(view) = view {
                @let summary = &view.summary;
                p {
                    (chip(summary.state)) " "
                    a href=(path(&summary.namespace, &summary.name)) { (summary.namespace) "/" (summary.name) }
                    @if let Some(since) = summary.late_since_seconds {
                        " " span.since { "since " (time(f64::from(since))) ", for " (duration(now.as_secs_f64() - f64::from(since))) }
                    }
                    " is the worst of " (page.matching) "."
                }
                @if let Some(decision) = &view.decision {
                    @let explanation = explain(decision);
                    p { strong { (explanation.headline) } }
                    dl.lines {
                        @for (label, text) in reasons(&view, &explanation).into_iter().filter(|(label, _)| AT_ONCE.contains(label)) {
                            div { dt { (label) } dd { (text) } }
                        }
                    }
                } @else if let Some(sentence) = summary.sentence() { p { (sentence) } }
            } @else if page.matching > 0 && is_at_top {
                p { "Nothing is late, and everything can be read." }
            }
        }
    }
}

fn filter(query: &ListQuery, page: &ConsumerPage) -> Markup {
    html! {
        form.filter method="get" action="/" role="search" aria-label="Filter" {
            label { "Namespace " input type="text" name="namespace" list="namespaces" value=(query.namespace) autocomplete="off" spellcheck="false"; }
            datalist #namespaces { @for namespace in &page.namespaces { option value=(namespace) {} } }
            label { "Text " input type="search" name="q" value=(query.text) placeholder="name, group or target" autocomplete="off" spellcheck="false"; }
            label { "Sort by "
                select name="sort" {
                    option value="trouble" selected[query.sort != "name"] { "trouble" }
                    option value="name" selected[query.sort == "name"] { "name" }
                }
            }
            @if !query.state.is_empty() { input type="hidden" name="state" value=(query.state); }
            button type="submit" { "Filter" }
            @if *query != ListQuery::default() { a href="/" { "Reset" } }
        }
    }
}

fn states(query: &ListQuery, page: &ConsumerPage) -> Markup {
    let all: usize = page.states.values().sum();
    let current = |state: &str| (query.state == state).then_some("true");
    html! {
        nav #states aria-label="States" {
            ul {
                li { a href={ "/" (query.with("", 1)) } aria-current=[current("")] { "All " span.count { (all) } } }
                @for (state, count) in &page.states {
                    li { a href={ "/" (query.with(state.name(), 1)) } aria-current=[current(state.name())] {
                        span class={ "dot " (state.class()) } {} (state) " " span.count { (count) }
                    } }
                }
            }
        }
    }
}

fn consumers(sources: &PageSources, query: &ListQuery, page: &ConsumerPage) -> Markup {
    let now = sources.time();
    html! {
        section #consumers aria-label="ScaledConsumers" {
            @if page.total == 0 {
                p.empty { "There is no ScaledConsumer." }
            } @else if page.matching == 0 {
                p.empty { "None of the " (page.total) " ScaledConsumers is selected. " a href="/" { "Show all" } }
            } @else {
                // With explicit roles, because the small screen's layout would take those of a table away.
                table.consumers role="table" {
                    caption.hidden { "ScaledConsumers, " @if query.sort == "name" { "by name" } @else { "the worst first" } }
                    thead role="rowgroup" { tr role="row" {
                        @for (name, class) in COLUMNS { th scope="col" role="columnheader" class=[class] { (name) } }
                    } }
                    tbody role="rowgroup" { @for entry in &page.entries { (row(entry, now)) } }
                }
                (pages(query, page))
            }
        }
    }
}

/// What of the reasons is on the overview.
const AT_ONCE: [&str; 4] = ["Problem", "Why", "Next", "Not more"];

const COLUMNS: [(&str, Option<&str>); 8] = [
    ("State", None),
    ("ScaledConsumer", None),
    ("Lag", Some("number")),
    ("Time lag", Some("number")),
    ("Arrival, consumption", Some("number")),
    ("Replicas", Some("number")),
    ("Lag, last hour", None),
    ("Why", None),
];

/// The page of a ScaledConsumer.
pub(super) fn path(namespace: &str, name: &str) -> String {
    format!("/namespaces/{}/scaledconsumers/{}", encoded(namespace), encoded(name))
}

fn row(entry: &Entry, now: Duration) -> Markup {
    let summary = ConsumerSummary::of(entry, now);
    html! {
        tr role="row" {
            td.state role="cell" {
                (chip(summary.state))
                @if let Some(since) = summary.late_since_seconds {
                    span.since { "for " (duration(now.as_secs_f64() - f64::from(since))) }
                }
            }
            th.name scope="row" role="rowheader" {
                a href=(path(&summary.namespace, &summary.name)) { (summary.name) }
                span.detail {
                    (summary.namespace)
                    @if let Some(group) = &summary.consumer_group { " · group " (printable(group)) }
                    @for source in &summary.sources { " · " (source.name) " " (source.figures.lag_text()) ", " (source.figures.time_lag_text()) }
                }
            }
            td.number.lag role="cell" data-label="Lag" { (summary.figures.lag_text()) }
            td.number role="cell" data-label="Time lag" {
                (summary.figures.time_lag_text())
                @if let Some(objective) = summary.figures.objective_seconds { span.detail { "of " (duration(objective as f64)) } }
                @if let Some(threshold) = summary.figures.lag_per_replica { span.detail { (records(threshold as f64)) " records each" } }
            }
            td.number role="cell" data-label="Arrival, consumption" {
                (rate(summary.figures.arrival_records_per_second))
                span.detail { (rate(summary.figures.consumption_records_per_second)) }
            }
            td.number role="cell" data-label="Replicas" { (replicas(&summary)) }
            td.trend role="cell" { (spark(entry, now)) }
            td.why role="cell" { (summary.sentence().unwrap_or("Nothing has been read yet.")) }
        }
    }
}

/// The replicas: how many there are, how many there should be, and what bounds them.
pub(super) fn replicas(summary: &ConsumerSummary) -> Markup {
    let number = |replicas: Option<Replicas>| count(replicas.map(|replicas| replicas.0));
    html! {
        @if summary.current_replicas == summary.figures.desired_replicas {
            (number(summary.current_replicas))
        } @else {
            (number(summary.current_replicas)) " → " strong { (number(summary.figures.desired_replicas)) }
        }
        span.detail {
            @match (summary.min_replicas, summary.max_replicas) {
                (Some(min), Some(max)) => { (min.0) " to " (max.0) }
                (Some(min), None) => { "from " (min.0) }
                (None, _) => {}
            }
            @if let Some(useful) = summary.figures.useful_replicas { ", useful " (useful) }
        }
    }
}

fn spark(entry: &Entry, now: Duration) -> Markup {
    let now = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
    let is_recent = |point: &Point| point.at_seconds >= now.saturating_sub(SPARK_SPAN);
    let mut points: Vec<_> = entry.history.points().rev().take_while(is_recent).collect();
    points.reverse();
    let from = points.first().map_or(0, |point| point.at_seconds);
    let span = f64::from(now.saturating_sub(from).max(SHORTEST_SPAN));
    // The highest of each few points: a peak must not vanish.
    let few = points.len().div_ceil(SPARK_POINTS).max(1);
    let values: Vec<(f64, Option<f64>)> = points
        .chunks(few)
        .map(|few| {
            let highest = few.iter().filter_map(|point| known(point.lag_records)).reduce(f64::max);
            (f64::from(few[0].at_seconds.saturating_sub(from)) / span, highest)
        })
        .collect();
    let highest = values.iter().filter_map(|(_, value)| *value).reduce(f64::max);
    let label = highest.map_or("Lag of the last hour: not known".to_owned(), |highest| {
        format!("Lag of the last hour: at most {}", records(highest))
    });
    sparkline(&values, &label)
}

fn pages(query: &ListQuery, page: &ConsumerPage) -> Markup {
    let link = |number: usize| format!("/{}", query.with(&query.state, number));
    html! {
        nav.pages aria-label="Pages" {
            span { (page.entries.len()) " of " (page.matching) @if page.pages > 1 { ", page " (page.page) " of " (page.pages) } }
            @if page.page > 1 { a href=(link(page.page - 1)) rel="prev" { "Previous" } }
            @if page.page < page.pages { a href=(link(page.page + 1)) rel="next" { "Next" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_no_character_that_ends_it() {
        assert_eq!(path("shop", "a/b?c"), "/namespaces/shop/scaledconsumers/a%2Fb%3Fc");
    }
}
