//! The charts: arrivals, lag, the age of the oldest record and replicas, side by side, over the last ten minutes.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType};

use super::super::comparison::{DemoSample, DemoView, GroupSample};
use super::super::report::clock_text;
use super::style::{GROUP_COLOURS, dim};

/// Columns from which on there is a fourth chart, of the lag in records.
const WIDE: u16 = 120;
/// Seconds that the axis of time is long, at least: all of a first demo.
const SPAN_S: f64 = 600.0;

/// A curve: its points, and how it is drawn.
struct Curve {
    points: Vec<(f64, f64)>,
    colour: Color,
    marker: Marker,
}

/// One of the values of a group.
type ChartValue = fn(&GroupSample) -> f64;

pub(super) fn render(frame: &mut Frame<'_>, area: Rect, view: &DemoView) {
    let objective_s = view.objective.as_secs_f64();
    let from = view.samples.first().map_or(0.0, |first| first.at_s);
    let span = (from, from + SPAN_S);
    let arrivals = Curve { points: points(view, |it| it.arrival), colour: Color::Green, marker: Marker::Braille };
    let objective =
        Curve { points: vec![(span.0, objective_s), (span.1, objective_s)], colour: Color::Red, marker: Marker::Dot };
    let of_groups = |value: ChartValue| {
        // The last one is drawn on top.
        vec![
            Curve { points: points(view, |it| value(&it.keda)), colour: GROUP_COLOURS[1], marker: Marker::Braille },
            Curve { points: points(view, |it| value(&it.own)), colour: GROUP_COLOURS[0], marker: Marker::Braille },
        ]
    };
    let mut charts = vec![("records/s arriving".to_owned(), vec![arrivals])];
    if area.width >= WIDE {
        charts.push(("lag, records".to_owned(), of_groups(|it| it.lag as f64)));
    }
    let mut ages = of_groups(|it| it.time_lag_s);
    ages.insert(0, objective);
    charts.push((format!("oldest, s; objective {objective_s:.0}"), ages));
    charts.push(("replicas".to_owned(), of_groups(|it| f64::from(it.replicas))));
    let areas = Layout::horizontal(charts.iter().map(|_| Constraint::Fill(1))).spacing(1).split(area);
    for ((title, curves), area) in charts.iter().zip(areas.iter()) {
        render_one(frame, *area, title, curves, span);
    }
}

fn points(view: &DemoView, of: impl Fn(&DemoSample) -> f64) -> Vec<(f64, f64)> {
    view.samples.iter().map(|sample| (sample.at_s, of(sample))).collect()
}

fn render_one(frame: &mut Frame<'_>, area: Rect, title: &str, curves: &[Curve], (from, to): (f64, f64)) {
    let highest = curves.iter().flat_map(|curve| &curve.points).map(|(_, value)| *value).fold(1.0, f64::max);
    let top = highest * 1.05;
    let datasets = curves.iter().map(|curve| {
        let style = Style::new().fg(curve.colour);
        Dataset::default().marker(curve.marker).graph_type(GraphType::Line).style(style).data(&curve.points)
    });
    let time = Axis::default().bounds([from, to]).labels([clock_text(from), clock_text(to)]).style(dim());
    let value = Axis::default().bounds([0.0, top]).labels(["0".to_owned(), format!("{highest:.0}")]).style(dim());
    let block = Block::new().title(Line::from(title.to_owned()));
    frame.render_widget(Chart::new(datasets.collect()).block(block).x_axis(time).y_axis(value), area);
}
