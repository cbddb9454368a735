//! The past of one ScaledConsumer as charts: lag, time lag, rates and replicas, with its changes; of all its sources together,
//! or of one of them.

use maud::{Markup, html};
use serde::Deserialize;

use super::charts::{Chart, Mark, Series, round_up, round_up_seconds};
use super::layout::{UNKNOWN, clock, count, duration, rate, records};
use super::list::encoded;
use super::summary::SummaryFigures;
use super::view::{ConsumerView, PointView};
use crate::core::RecordsPerSecond;

/// Spans that can be shown: the name and its seconds.
const SPANS: [(&str, u32); 3] = [("15m", 900), ("1h", 3600), ("5h", 18_000)];
/// The shortest span that is drawn, in seconds: two points of a poll's distance are no line over a whole chart.
const SHORTEST_SPAN: u32 = 60;
/// Rows of the table that has the same as the charts.
const TABLE_ROWS: usize = 24;

/// The span that is asked for, and the source.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SpanQuery {
    span: String,
    /// The name of one of several sources; all of them where it is empty.
    source: String,
}

impl SpanQuery {
    fn chosen(&self) -> (&'static str, u32) {
        SPANS.into_iter().find(|(name, _)| *name == self.span).unwrap_or(SPANS[1])
    }

    /// The query string that asks for the same.
    pub(super) fn text(&self) -> String {
        self.of_source(Some(&self.source))
    }

    /// The query string that asks for the same span of a source, or of all.
    pub(super) fn of_source(&self, source: Option<&str>) -> String {
        let span = self.chosen().0;
        match source.filter(|source| !source.is_empty()) {
            Some(source) => format!("?span={span}&source={}", encoded(source)),
            None => format!("?span={span}"),
        }
    }
}

/// Whose past is shown.
struct Shown<'v> {
    /// Of one of several sources.
    source: Option<&'v str>,
    figures: &'v SummaryFigures,
    history: &'v [PointView],
    /// What a replica can read. That of one source says nothing about all of them.
    capacity: Option<RecordsPerSecond>,
}

impl<'v> Shown<'v> {
    /// The source that is asked for; all together where there is none of that name.
    fn of(view: &'v ConsumerView, query: &SpanQuery) -> Self {
        let mut both = view.summary.sources.iter().zip(&view.sources);
        if let Some((summary, source)) = both.find(|(summary, _)| summary.name == query.source) {
            let decision = source.decision.as_ref();
            return Self {
                source: Some(&summary.name),
                figures: &summary.figures,
                history: &source.history,
                capacity: decision.and_then(|decision| decision.model.capacity.per_replica),
            };
        }
        let only = view.decision.as_ref().filter(|_| view.sources.is_empty());
        Self {
            source: None,
            figures: &view.summary.figures,
            history: &view.history,
            capacity: only.and_then(|decision| decision.model.capacity.per_replica),
        }
    }
}

/// The charts, their table, and links to other spans.
pub(super) fn timeline(view: &ConsumerView, query: &SpanQuery) -> Markup {
    let (name, seconds) = query.chosen();
    let shown = Shown::of(view, query);
    let last = shown.history.last().map_or(0, |point| point.at_seconds);
    let points: Vec<&PointView> =
        shown.history.iter().filter(|point| point.at_seconds >= last.saturating_sub(seconds)).collect();
    let other_span = |span: &'static str| SpanQuery { span: span.to_owned(), ..query.clone() };
    html! {
        div.title-row {
            h2 { "Timeline" }
            @if !view.sources.is_empty() {
                nav.spans aria-label="Sources of the timeline" {
                    a href=(query.of_source(None)) aria-current=[shown.source.is_none().then_some("true")] { "All sources" }
                    @for source in &view.sources {
                        @let is_shown = shown.source == Some(source.name.as_str());
                        a href=(query.of_source(Some(&source.name))) aria-current=[is_shown.then_some("true")] { (source.name) }
                    }
                }
            }
            nav.spans aria-label="Span of the timeline" {
                @for (span, _) in SPANS {
                    a href=(other_span(span).text()) aria-current=[(span == name).then_some("true")] { (span) }
                }
            }
        }
        @if points.is_empty() {
            p { "Nothing has been read yet." }
        } @else {
            div.charts { @for (chart, words) in charts(view, &shown, &points) { (chart.render(&words)) } }
            (table(&points))
        }
    }
}

fn charts(view: &ConsumerView, shown: &Shown<'_>, points: &[&PointView]) -> Vec<(Chart, String)> {
    let (summary, figures) = (&view.summary, shown.figures);
    let line = |class, label, of: &dyn Fn(&PointView) -> Option<f64>, is_step| Series {
        class,
        label,
        values: points.iter().map(|point| (point.at_seconds, of(point))).collect(),
        is_step,
    };
    let constant = |class, label, value: f64| line(class, label, &|_| Some(value), true);
    let lag = line("lag", format!("lag {}", figures.lag_text()), &|point| point.lag_records, false);
    let mut time_lag =
        vec![line("time-lag", format!("time lag {}", figures.time_lag_text()), &|point| point.time_lag_seconds, false)];
    let objective = figures.objective_seconds.map(|objective| objective as f64);
    time_lag.extend(objective.map(|value| constant("objective", format!("objective {}", duration(value)), value)));
    let mut rates = vec![
        line(
            "arrival",
            format!("arrival {}", rate(figures.arrival_records_per_second)),
            &|point| point.arrival_records_per_second,
            false,
        ),
        line(
            "consumption",
            format!("consumption {}", rate(figures.consumption_records_per_second)),
            &|point| point.consumption_records_per_second,
            false,
        ),
    ];
    rates.extend(shown.capacity.map(|each| {
        let label = format!("capacity of the replicas, at {each}/s each as known now");
        line("capacity", label, &|point| Some(each.0 * f64::from(point.replicas)), true)
    }));
    let current = count(summary.current_replicas.map(|replicas| replicas.0));
    let desired = count(figures.desired_replicas.map(|replicas| replicas.0));
    let desired = match shown.source {
        Some(source) => format!("{source} asks for {desired}"),
        None => format!("desired {desired}"),
    };
    let mut replicas = vec![
        line("desired", desired, &|point| Some(f64::from(point.desired_replicas)), true),
        line("replicas", format!("replicas {current}"), &|point| Some(f64::from(point.replicas)), true),
    ];
    replicas.extend(
        figures
            .useful_replicas
            .map(|bound| constant("bound", format!("useful at most {bound}, by the partitions"), f64::from(bound))),
    );
    replicas.extend(
        summary.max_replicas.map(|max| constant("bound", format!("maximum {} of the spec", max.0), f64::from(max.0))),
    );
    vec![
        chart("Lag, in records", vec![lag], view, points, records, round_up, false),
        chart("Time lag", time_lag, view, points, duration, round_up_seconds, false),
        chart("Records per second", rates, view, points, records, round_up, false),
        chart("Replicas", replicas, view, points, records, round_up, true),
    ]
}

fn chart(
    title: &'static str,
    series: Vec<Series>,
    view: &ConsumerView,
    points: &[&PointView],
    format: fn(f64) -> String,
    round: fn(f64) -> f64,
    is_numbered: bool,
) -> (Chart, String) {
    let from = points.first().map_or(0, |point| point.at_seconds);
    let to = points.last().map_or(0, |point| point.at_seconds).max(from + SHORTEST_SPAN);
    let highest = series.iter().flat_map(|series| &series.values).filter_map(|(_, value)| *value).fold(0.0, f64::max);
    // As in the list beside: the newest is number 1.
    let changes = view.changes.iter().rev().enumerate();
    let marks = changes.filter(|(_, change)| change.at_seconds >= f64::from(from)).map(|(i, change)| Mark {
        at: change.at_seconds,
        number: if is_numbered { i + 1 } else { 0 },
        title: format!(
            "{} {} -> {}: {}",
            clock(change.at_seconds as u32),
            change.from.0,
            change.to.0,
            change.reason.message
        ),
    });
    let poll = view.poll_interval_seconds.unwrap_or(10.0);
    let words = words(title, &series, format);
    let chart = Chart {
        title,
        marks: marks.collect(),
        lower_bounds: lower_bounds(points),
        span: (from, to),
        // Older points are ten polls apart.
        longest_gap: (poll * 15.0) as u32,
        top: round(highest * 1.05),
        series,
        format,
    };
    (chart, words)
}

/// A chart in words.
fn words(title: &str, series: &[Series], format: fn(f64) -> String) -> String {
    let mut text = title.to_owned();
    for series in series {
        let known = || series.values.iter().filter_map(|(_, value)| *value);
        let range = match known().next() {
            None => "never known".to_owned(),
            Some(first) => {
                format!(
                    "lowest {}, highest {}",
                    format(known().fold(first, f64::min)),
                    format(known().fold(first, f64::max))
                )
            }
        };
        text.push_str(&format!("; {}: {range}", series.label));
    }
    text
}

/// The spans in which not everything could be read.
fn lower_bounds(points: &[&PointView]) -> Vec<(u32, u32)> {
    let mut spans: Vec<(u32, u32)> = Vec::new();
    let mut is_open = false;
    for point in points {
        match spans.last_mut() {
            Some((_, to)) if is_open => *to = point.at_seconds,
            _ if !point.complete => spans.push((point.at_seconds, point.at_seconds)),
            _ => {}
        }
        is_open = !point.complete;
    }
    spans
}

/// The same as the charts, as numbers.
fn table(points: &[&PointView]) -> Markup {
    let step = points.len().div_ceil(TABLE_ROWS).max(1);
    let number = |value: Option<f64>, format: fn(f64) -> String| value.map_or(UNKNOWN.to_owned(), format);
    html! {
        details #timeline-table {
            summary #timeline-table-summary { "The same as a table" }
            div.scroll #timeline-scroll tabindex="0" role="region" aria-label="Timeline as a table" {
                table {
                    caption { "Timeline, newest first" }
                    thead { tr {
                        @for name in ["Time", "Lag", "Time lag", "Arrival", "Consumption", "Replicas", "Desired"] {
                            th scope="col" class="number" { (name) }
                        }
                    } }
                    tbody {
                        @for point in points.iter().rev().step_by(step) {
                            tr {
                                th scope="row" class="number" { (super::layout::time(f64::from(point.at_seconds))) }
                                td.number { @if !point.complete && point.lag_records.is_some() { ">=" } (number(point.lag_records, records)) }
                                td.number { (number(point.time_lag_seconds, duration)) }
                                td.number { (rate(point.arrival_records_per_second)) }
                                td.number { (rate(point.consumption_records_per_second)) }
                                td.number { (point.replicas) }
                                td.number { (point.desired_replicas) }
                            }
                        }
                    }
                }
            }
        }
    }
}
