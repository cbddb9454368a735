//! The past of one ScaledConsumer as charts: lag, time lag, rates and replicas, with its changes.

use maud::{Markup, html};
use serde::Deserialize;

use super::charts::{Chart, Mark, Series, round_up, round_up_seconds};
use super::layout::{UNKNOWN, clock, count, duration, rate, records};
use super::view::{ConsumerView, PointView};

/// Spans that can be shown: the name and its seconds.
const SPANS: [(&str, u32); 3] = [("15m", 900), ("1h", 3600), ("5h", 18_000)];
/// The shortest span that is drawn, in seconds: two points of a poll's distance are no line over a whole chart.
const SHORTEST_SPAN: u32 = 60;
/// Rows of the table that has the same as the charts.
const TABLE_ROWS: usize = 24;

/// The span that is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SpanQuery {
    span: String,
}

impl SpanQuery {
    fn chosen(&self) -> (&'static str, u32) {
        SPANS.into_iter().find(|(name, _)| *name == self.span).unwrap_or(SPANS[1])
    }

    /// The query string that asks for the same.
    pub(super) fn text(&self) -> String {
        format!("?span={}", self.chosen().0)
    }
}

/// The charts, their table, and links to other spans.
pub(super) fn timeline(view: &ConsumerView, query: &SpanQuery) -> Markup {
    let (name, seconds) = query.chosen();
    let last = view.history.last().map_or(0, |point| point.at_seconds);
    let points: Vec<&PointView> =
        view.history.iter().filter(|point| point.at_seconds >= last.saturating_sub(seconds)).collect();
    html! {
        div.title-row {
            h2 { "Timeline" }
            nav.spans aria-label="Span of the timeline" {
                @for (span, _) in SPANS {
                    a href={ "?span=" (span) } aria-current=[(span == name).then_some("true")] { (span) }
                }
            }
        }
        @if points.is_empty() {
            p { "Nothing has been read yet." }
        } @else {
            div.charts { @for (chart, words) in charts(view, &points) { (chart.render(&words)) } }
            (table(&points))
        }
    }
}

fn charts(view: &ConsumerView, points: &[&PointView]) -> Vec<(Chart, String)> {
    let summary = &view.summary;
    let line = |class, label, of: &dyn Fn(&PointView) -> Option<f64>, is_step| Series {
        class,
        label,
        values: points.iter().map(|point| (point.at_seconds, of(point))).collect(),
        is_step,
    };
    let constant = |class, label, value: f64| line(class, label, &|_| Some(value), true);
    let lag = line("lag", format!("lag {}", summary.lag_text()), &|point| point.lag_records, false);
    let mut time_lag =
        vec![line("time-lag", format!("time lag {}", summary.time_lag_text()), &|point| point.time_lag_seconds, false)];
    let objective = summary.objective_seconds.map(|objective| objective as f64);
    time_lag.extend(objective.map(|value| constant("objective", format!("objective {}", duration(value)), value)));
    let mut rates = vec![
        line(
            "arrival",
            format!("arrival {}", rate(summary.arrival_records_per_second)),
            &|point| point.arrival_records_per_second,
            false,
        ),
        line(
            "consumption",
            format!("consumption {}", rate(summary.consumption_records_per_second)),
            &|point| point.consumption_records_per_second,
            false,
        ),
    ];
    // That of one source says nothing about the arrivals of all.
    let only = view.decision.as_ref().filter(|_| view.sources.is_empty());
    let each = only.and_then(|decision| decision.model.capacity.per_replica);
    rates.extend(each.map(|each| {
        let label = format!("capacity of the replicas, at {each}/s each as known now");
        line("capacity", label, &|point| Some(each.0 * f64::from(point.replicas)), true)
    }));
    let current = count(summary.current_replicas.map(|replicas| replicas.0));
    let desired = count(summary.desired_replicas.map(|replicas| replicas.0));
    let mut replicas = vec![
        line("desired", format!("desired {desired}"), &|point| Some(f64::from(point.desired_replicas)), true),
        line("replicas", format!("replicas {current}"), &|point| Some(f64::from(point.replicas)), true),
    ];
    replicas.extend(
        summary
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
