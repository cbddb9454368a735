//! Lines and bars as SVG, drawn on the server. Lines are drawn in a square that is stretched to the box, so all texts are
//! outside of it, as HTML or at places in percent. What is not known is a gap.

use std::fmt::Write as _;

use maud::{Markup, html};

/// The square in which lines are drawn.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 100.0;

/// The least upper end of the bars' scale: a lag of a few records must not look like a backlog.
const LEAST_TOP: f64 = 10.0;

/// A line over time.
pub(super) struct Series {
    /// The class of its colour.
    pub(super) class: &'static str,
    /// Its name in the legend, with its value now.
    pub(super) label: String,
    /// Seconds and values, oldest first.
    pub(super) values: Vec<(u32, Option<f64>)>,
    /// Whether a value holds until the next one.
    pub(super) is_step: bool,
}

/// Something that happened at a time.
pub(super) struct Mark {
    /// When, in seconds.
    pub(super) at: f64,
    /// Its number in the list beside.
    pub(super) number: usize,
    /// What.
    pub(super) title: String,
}

/// Lines over a span of time.
pub(super) struct Chart {
    /// What it shows.
    pub(super) title: &'static str,
    /// The lines.
    pub(super) series: Vec<Series>,
    /// What happened meanwhile.
    pub(super) marks: Vec<Mark>,
    /// Spans in which values are lower bounds.
    pub(super) lower_bounds: Vec<(u32, u32)>,
    /// The first and the last second.
    pub(super) span: (u32, u32),
    /// The longest time between two points that a line crosses.
    pub(super) longest_gap: u32,
    /// The upper end of the scale.
    pub(super) top: f64,
    /// A value as text.
    pub(super) format: fn(f64) -> String,
}

impl Chart {
    fn x(&self, at: f64) -> f64 {
        let (from, to) = self.span;
        ((at - f64::from(from)) / f64::from((to - from).max(1)) * WIDTH).clamp(0.0, WIDTH)
    }

    fn y(&self, value: f64) -> f64 {
        (HEIGHT - value / self.top * HEIGHT).clamp(0.0, HEIGHT)
    }

    /// The line, broken where values are not known.
    fn path(&self, series: &Series) -> String {
        let mut path = String::new();
        let mut before: Option<(u32, f64)> = None;
        for (at, value) in &series.values {
            let Some(value) = value else {
                before = None;
                continue;
            };
            let (x, y) = (self.x(f64::from(*at)), self.y(*value));
            let written = match before {
                Some((then, _)) if at - then > self.longest_gap => write!(path, "M{x:.1} {y:.1}h0"),
                Some((_, from)) if series.is_step && from != *value => write!(path, "H{x:.1}V{y:.1}"),
                Some(_) if series.is_step => write!(path, "H{x:.1}"),
                Some(_) => write!(path, "L{x:.1} {y:.1}"),
                // A value alone is a dot.
                None => write!(path, "M{x:.1} {y:.1}h0"),
            };
            written.expect("a String takes any text");
            before = Some((*at, *value));
        }
        path
    }

    /// The chart with its legend and its axes. `description`: the same in words.
    pub(super) fn render(&self, description: &str) -> Markup {
        let (from, to) = self.span;
        let middle = from + (to - from) / 2;
        html! {
            figure.chart {
                figcaption {
                    h3 { (self.title) }
                    ul.legend { @for series in &self.series { li class=(series.class) { (series.label) } } }
                }
                div.plot {
                    div.scale aria-hidden="true" {
                        span { ((self.format)(self.top)) }
                        span { ((self.format)(self.top / 2.0)) }
                        span { ((self.format)(0.0)) }
                    }
                    svg.lines role="img" aria-label=(description) {
                        svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" width="100%" height="100%" {
                            @for (from, to) in &self.lower_bounds {
                                @let x = self.x(f64::from(*from));
                                rect.lower-bound x=(px(x)) y="0" width=(px((self.x(f64::from(*to)) - x).max(2.0))) height=(HEIGHT) {
                                    title { "Not everything could be read: a lower bound" }
                                }
                            }
                            path.grid d="M0 0H1000M0 50H1000M0 100H1000" {}
                            @for mark in &self.marks {
                                path.mark d={ "M" (px(self.x(mark.at))) " 0V100" } { title { (mark.title) } }
                            }
                            @for series in &self.series { path class={ "line " (series.class) } d=(self.path(series)) {} }
                        }
                        @for mark in self.marks.iter().filter(|mark| mark.number > 0) {
                            text.mark x={ (px(self.x(mark.at) / 10.0)) "%" } y="11" dx="3" { (mark.number) }
                        }
                    }
                    div.times aria-hidden="true" {
                        @for at in [from, middle, to] { span { (super::layout::clock(at)) } }
                    }
                }
            }
        }
    }
}

/// A coordinate without needless digits.
fn px(number: f64) -> String {
    format!("{number:.1}")
}

/// A small line without axes: places from 0 to 1 and values. `label`: the same in words.
pub(super) fn sparkline(values: &[(f64, Option<f64>)], label: &str) -> Markup {
    let top = values.iter().filter_map(|(_, value)| *value).fold(1.0, f64::max);
    let mut line = String::new();
    let mut is_on = false;
    for (at, value) in values {
        let Some(value) = value else {
            is_on = false;
            continue;
        };
        let (x, y) = (at * 100.0, 23.0 - value / top * 22.0);
        let (letter, dot) = if is_on { ("L", "") } else { ("M", "h0") };
        write!(line, "{letter}{x:.1} {y:.1}{dot}").expect("a String takes any text");
        is_on = true;
    }
    html! {
        svg.spark viewBox="0 0 100 24" preserveAspectRatio="none" role="img" aria-label=(label) {
            path.grid d="M0 23.5H100" {}
            path.line.lag d=(line) {}
        }
    }
}

/// One bar.
pub(super) struct Bar {
    /// Its height; nothing where it is not known.
    pub(super) value: Option<f64>,
    /// The class of its colour.
    pub(super) class: &'static str,
    /// What it is, with its value.
    pub(super) title: String,
}

/// Bars side by side. `label`: the same in words.
pub(super) fn bars(bars: &[Bar], label: &str) -> Markup {
    let top = bars.iter().filter_map(|bar| bar.value).fold(LEAST_TOP, f64::max);
    let step = WIDTH / bars.len().max(1) as f64;
    let width = step * 0.8;
    html! {
        svg.bars viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(label) {
            path.grid d="M0 0H1000M0 50H1000M0 100H1000" {}
            @for (i, bar) in bars.iter().enumerate() {
                @let height = bar.value.map_or(HEIGHT, |value| (value / top * HEIGHT).max(0.5));
                rect class={ "bar " (bar.class) } x=(px(i as f64 * step + step * 0.1)) y=(px(HEIGHT - height)) width=(px(width)) height=(px(height)) {
                    title { (bar.title) }
                }
            }
        }
    }
}

/// The smallest round number that is at least so much. Its half is whole.
pub(super) fn round_up(value: f64) -> f64 {
    if value <= 10.0 {
        return ((value / 2.0).ceil() * 2.0).max(2.0);
    }
    let power = 10f64.powf(value.log10().floor());
    let steps = [1.0, 1.2, 1.4, 1.6, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|round| *round >= value).unwrap_or(value)
}

/// The smallest round duration that is at least so much, in seconds.
pub(super) fn round_up_seconds(value: f64) -> f64 {
    const ROUND: [f64; 15] = [
        10.0, 20.0, 40.0, 60.0, 120.0, 240.0, 600.0, 1200.0, 2400.0, 3600.0, 7200.0, 14_400.0, 28_800.0, 86_400.0,
        172_800.0,
    ];
    ROUND.into_iter().find(|round| *round >= value).unwrap_or_else(|| round_up(value))
}
