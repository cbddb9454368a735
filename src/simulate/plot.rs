//! A plot of runs: arrivals, time lag and replicas one above the other, on one axis of time, with a line per policy.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::figures::Sample;
use super::run::Run;
use super::scenario::Scenario;

/// In pixels. Fits a page of documentation.
const SIZE: (u32, u32) = (960, 640);
/// The title, and a gap below the legend.
const HEAD: u32 = 38;
const LEGEND_LINE: u32 = 18;
const LEFT: u32 = 64;

/// A colour of the picture on a light background, and what stands for it on a dark one.
struct Shade {
    light: RGBColor,
    dark: RGBColor,
}

const fn shade(light: (u8, u8, u8), dark: (u8, u8, u8)) -> Shade {
    Shade { light: RGBColor(light.0, light.1, light.2), dark: RGBColor(dark.0, dark.1, dark.2) }
}

const PAPER: Shade = shade((255, 255, 255), (13, 17, 23));
const INK: Shade = shade((60, 60, 60), (201, 209, 217));
/// The line of the objective.
const OBJECTIVE: Shade = shade((200, 0, 0), (255, 110, 100));
/// One colour per policy, of the palette of Okabe and Ito, which is safe for colour-blind readers; lighter ones on dark.
const COLOURS: [Shade; 7] = [
    shade((0, 114, 178), (77, 163, 219)),
    shade((213, 94, 0), (240, 136, 62)),
    shade((204, 121, 167), (226, 155, 195)),
    shade((0, 158, 115), (63, 195, 150)),
    shade((230, 159, 0), (238, 186, 64)),
    shade((120, 120, 120), (150, 150, 150)),
    shade((86, 180, 233), (140, 205, 242)),
];

/// A picture that could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("the plot can't be drawn: {0}")]
pub struct PlotError(String);

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for PlotError {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self(error.to_string())
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// An SVG of one run per policy. A browser that prefers dark colours shows it in dark ones.
pub fn svg(scenario: &Scenario, runs: &[&Run]) -> Result<String, PlotError> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        root.fill(&PAPER.light)?;
        let (head, body) = root.split_vertically(HEAD + LEGEND_LINE * runs.len() as u32);
        draw_head(&head, scenario, runs)?;
        let panels = body.split_evenly((3, 1));
        let hours = scenario.duration.as_secs_f64() / 3600.0;
        let first = runs.first().map(|run| run.series.as_slice()).unwrap_or_default();
        let arrivals = [PlotLine { points: points(first, |it| it.arrival), colour: INK.light }];
        let lines = |points: fn(&[Sample]) -> Vec<(f64, f64)>| -> Vec<PlotLine> {
            let line = |(run, shade): (&&Run, &Shade)| PlotLine { points: points(&run.series), colour: shade.light };
            runs.iter().zip(&COLOURS).map(line).collect()
        };
        let objective = scenario.objective.as_secs_f64();
        let panel = |area, title, lines: &[PlotLine], mark, last| Panel { title, hours, mark, last }.draw(area, lines);
        panel(&panels[0], "arriving, records/s", &arrivals, None, false)?;
        panel(&panels[1], "time lag, s", &lines(|series| points(series, |it| it.time_lag)), Some(objective), false)?;
        panel(&panels[2], "replicas", &lines(steps), None, true)?;
        root.present()?;
    }
    Ok(with_dark_colours(&text))
}

/// Adds a style sheet that exchanges the colours where dark ones are preferred.
fn with_dark_colours(svg: &str) -> String {
    let hex = |RGBColor(red, green, blue): RGBColor| format!("#{red:02X}{green:02X}{blue:02X}");
    let rule = |Shade { light, dark }: &Shade| {
        let (light, dark) = (hex(*light), hex(*dark));
        format!("[fill=\"{light}\"]{{fill:{dark}}}[stroke=\"{light}\"]{{stroke:{dark}}}")
    };
    let rules: String = [PAPER, INK, OBJECTIVE].iter().chain(&COLOURS).map(rule).collect();
    let style = format!("<style>@media (prefers-color-scheme: dark) {{{rules}}}</style>\n");
    match svg.find(">\n") {
        Some(end) => format!("{}{style}{}", &svg[..end + 2], &svg[end + 2..]),
        None => svg.to_owned(),
    }
}

struct PlotLine {
    points: Vec<(f64, f64)>,
    colour: RGBColor,
}

/// The most points of a line: as many as can be distinguished; the file has a few ten kilobytes.
const POINTS: usize = 450;

/// Hours and values; each point is the highest of several samples, so that no peak is lost.
fn points(series: &[Sample], of: fn(&Sample) -> f64) -> Vec<(f64, f64)> {
    let together = series.len().div_ceil(POINTS).max(1);
    let highest = |some: &[Sample]| some.iter().map(of).fold(0.0, f64::max);
    let point = |some: &[Sample]| Some((some.first()?.t / 3600.0, highest(some)));
    series.chunks(together).filter_map(point).collect()
}

/// Replicas change in steps, so only the changes are drawn.
fn steps(series: &[Sample]) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for it in series {
        let (t, replicas) = (it.t / 3600.0, f64::from(it.replicas));
        match points.last().copied() {
            Some((_, before)) if before == replicas => {}
            Some((_, before)) => points.extend([(t, before), (t, replicas)]),
            None => points.push((t, replicas)),
        }
    }
    let end = series.last().zip(points.last().copied()).map(|(last, (_, replicas))| (last.t / 3600.0, replicas));
    points.extend(end);
    points
}

/// The title, and a line for each policy with its figures.
fn draw_head(area: &Area<'_>, scenario: &Scenario, runs: &[&Run]) -> Result<(), PlotError> {
    let title = ("sans-serif", 17).into_font().color(&INK.light);
    let sentence = if scenario.description.is_empty() { &scenario.name } else { &scenario.description };
    area.draw_text(sentence, &title, (LEFT as i32, 8))?;
    let mut y = 40;
    for (run, shade) in runs.iter().zip(&COLOURS) {
        let Run { policy, figures: it, .. } = run;
        let text = format!(
            "{}: {:.1} replica-hours, {:.2} % late, worst time lag {:.0} s, {:.0} changes, cost {:.1}",
            policy.name(),
            it.replica_hours,
            it.late_percent,
            it.time_lag_worst,
            it.rescales,
            it.cost_replica_hours
        );
        let x = LEFT as i32;
        area.draw(&Rectangle::new([(x, y - 2), (x + 18, y + 1)], shade.light.filled()))?;
        let style = ("sans-serif", 13).into_font().color(&INK.light).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw_text(&text, &style, (x + 24, y))?;
        y += LEGEND_LINE as i32;
    }
    Ok(())
}

struct Panel<'a> {
    title: &'a str,
    /// The length of the axis of time.
    hours: f64,
    /// A level to be marked.
    mark: Option<f64>,
    /// Whether the axis of time is written under it.
    last: bool,
}

impl Panel<'_> {
    fn draw(&self, area: &Area<'_>, lines: &[PlotLine]) -> Result<(), PlotError> {
        let highest = lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y).fold(0.0, f64::max);
        let top = highest.max(self.mark.unwrap_or(0.0)).max(1.0) * 1.08;
        let mut chart = ChartBuilder::on(area)
            .margin_right(20)
            .margin_top(16)
            .y_label_area_size(LEFT)
            .x_label_area_size(if self.last { 30 } else { 14 })
            .build_cartesian_2d(0.0..self.hours, 0.0..top)?;
        let small = ("sans-serif", 12).into_font().color(&INK.light);
        let is_short = self.hours < 1.0;
        let label = |hours: &f64| if is_short { format!("{:.0} min", 60.0 * hours) } else { format!("{hours:.1} h") };
        let mut mesh = chart.configure_mesh();
        mesh.disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(INK.light.mix(0.12))
            .axis_style(INK.light.mix(0.5));
        mesh.label_style(small.clone()).y_labels(5).y_label_formatter(&|y| format!("{y:.0}"));
        if self.last {
            mesh.x_labels(7).x_label_formatter(&label);
        } else {
            mesh.x_labels(0);
        }
        mesh.draw()?;
        if let Some(mark) = self.mark {
            chart.draw_series(LineSeries::new([(0.0, mark), (self.hours, mark)], OBJECTIVE.light))?;
            let label = ("sans-serif", 12).into_font().color(&OBJECTIVE.light).pos(Pos::new(HPos::Right, VPos::Bottom));
            let label = Text::new(format!("objective {mark:.0} s"), (self.hours, mark), label);
            chart.draw_series(std::iter::once(label))?;
        }
        // The first policy is drawn last, on top.
        for line in lines.iter().rev() {
            chart.draw_series(LineSeries::new(line.points.iter().copied(), line.colour.stroke_width(2)))?;
        }
        area.draw_text(self.title, &small, (LEFT as i32 + 4, 2))?;
        Ok(())
    }
}
