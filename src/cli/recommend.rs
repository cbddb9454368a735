//! `paceline recommend`: how many replicas there should be now, how many are enough, and why, by the same engine as `run`.
//! Reads Kafka and, where there is one, the cluster; writes to nothing.

mod arguments;
mod failure;
mod groups;
mod money;
mod need;
mod observe;
mod observed;
mod overview;
mod progress;
mod record;
mod report;
mod scale;
mod sources;
mod table;
mod target;
mod targets;

use std::path::PathBuf;
use std::time::Duration;

use super::outcome::{Outcome, WrongInput};
use super::output::{print, print_message};
use super::process::runtime;
use super::style;
use crate::core::printable;
pub(super) use arguments::RecommendArguments;
use arguments::{FailOn, OutputFormat};
use groups::FoundTargets;
use need::GroupNeed;
use observe::{DEFAULT_LENGTH, ObservationPlan, ObservationResult};
use observed::ObservedGroup;
use overview::TableLayout;
use record::Recording;
use report::Recommendation;
use target::GroupTarget;

/// How much longer one group is observed whose capacity is being measured, where no time is given.
const EXTENSION: Duration = Duration::from_secs(30);
/// What is watched has gone.
const NO_GROUP: &str = "No consumer group matches any more. It goes on looking; Ctrl-C ends it.\n";
/// Moves to the first line of the terminal and clears it.
const CLEAR: &str = "\x1b[H\x1b[2J";

pub(super) fn run(arguments: &RecommendArguments) -> anyhow::Result<Outcome> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(recommend(arguments));
    // After Ctrl-C a poll that hangs must not hold up the end.
    runtime.shutdown_background();
    outcome
}

async fn recommend(arguments: &RecommendArguments) -> anyhow::Result<Outcome> {
    if arguments.watch && !matches!(arguments.output, OutputFormat::Table | OutputFormat::Wide) {
        return Err(WrongInput("--watch draws a table; leave out -o, or give -o wide".to_owned()).into());
    }
    let FoundTargets { targets, finder, is_incomplete } = targets::find(arguments).await?;
    let is_incomplete = is_incomplete | is_any_unknown(arguments, &targets)?;
    let report = RecommendPrinter::of(arguments, &targets);
    let plan = ObservationPlan { finder: finder.filter(|_| arguments.watch), ..plan(arguments, targets.len()) };
    let prepare = |path: &PathBuf| Recording::prepare(path, arguments.force, &targets, plan.interval());
    let recording = arguments.record.as_ref().map(prepare).transpose()?;
    let unrecorded = recording.as_ref().map(Recording::failure);
    let redraw = |groups: &[ObservedGroup]| report.redraw(groups.to_vec());
    let ObservationResult { groups, is_incomplete: is_unobserved } =
        observe::observe(targets, plan, recording, redraw).await?;
    if arguments.watch {
        return Ok(Outcome::Fine);
    }
    let recommendations = report.recommendations(groups);
    report.print(&recommendations)?;
    let failures: Vec<_> = recommendations.iter().filter_map(|it| it.failure.as_ref()).collect();
    failure::messages(&failures).iter().for_each(|message| print_message(message));
    let unrecorded = unrecorded.as_ref().and_then(|failure| failure.get());
    unrecorded.iter().for_each(|why| print_message(why));
    let is_partial = is_incomplete || is_unobserved || !failures.is_empty() || unrecorded.is_some();
    let is_found = recommendations.iter().any(|it| match arguments.fail_on {
        Some(FailOn::Short) => it.need == GroupNeed::Short,
        Some(FailOn::Change) => it.is_change(),
        None => false,
    });
    Ok(match (is_partial, is_found) {
        (true, _) => Outcome::Partly,
        (false, true) => Outcome::Found,
        (false, false) => Outcome::Fine,
    })
}

/// Whether --fail-on can't judge some of the groups, which is printed. Fails where it can judge none.
fn is_any_unknown(arguments: &RecommendArguments, targets: &[GroupTarget]) -> anyhow::Result<bool> {
    let is_unknown = |target: &&GroupTarget| target.current.unknown().is_some();
    let unknown: Vec<_> = targets.iter().filter(|_| arguments.fail_on.is_some()).filter(is_unknown).collect();
    let is_all = unknown.len() == targets.len();
    for target in &unknown {
        let (name, why) = (printable(&target.name), target.current.unknown().unwrap_or_default());
        let why = format!("--fail-on compares \"{name}\" with its current replicas, but {why}; give --current N");
        if is_all {
            return Err(WrongInput(why).into());
        }
        print_message(&why);
    }
    Ok(!unknown.is_empty())
}

fn plan(arguments: &RecommendArguments, groups: usize) -> ObservationPlan {
    let is_detailed = groups == 1 || arguments.verbose;
    ObservationPlan {
        length: if arguments.once { Duration::ZERO } else { arguments.observe.unwrap_or(DEFAULT_LENGTH) },
        extension: match arguments.observe {
            None if groups == 1 && !arguments.once => EXTENSION,
            None | Some(_) => Duration::ZERO,
        },
        is_endless: arguments.watch,
        finder: None,
        keeps_lags: is_detailed && matches!(arguments.output, OutputFormat::Table | OutputFormat::Wide),
    }
}

/// How recommendations are printed.
struct RecommendPrinter<'a> {
    arguments: &'a RecommendArguments,
    layout: TableLayout,
}

impl<'a> RecommendPrinter<'a> {
    fn of(arguments: &'a RecommendArguments, targets: &[GroupTarget]) -> Self {
        let mut clusters = targets.iter().map(|target| &target.cluster);
        let first = clusters.next();
        let (columns, lines) = style::size();
        let layout = TableLayout {
            columns,
            lines,
            is_wide: arguments.output == OutputFormat::Wide,
            cost: arguments.replica_cost,
            has_several_clusters: clusters.any(|cluster| Some(cluster) != first),
        };
        Self { arguments, layout }
    }

    fn recommendations(&self, groups: Vec<ObservedGroup>) -> Vec<Recommendation> {
        let of = |observed| Recommendation::of(observed, self.arguments.replica_cost);
        let mut recommendations: Vec<_> = groups.into_iter().map(of).collect();
        sources::settle(&mut recommendations);
        overview::sort(&mut recommendations, self.arguments.sort);
        recommendations
    }

    fn shown<'r>(&self, recommendations: &'r [Recommendation]) -> Vec<&'r Recommendation> {
        recommendations.iter().filter(|it| !self.arguments.only_changes || !it.is_right()).collect()
    }

    fn print(&self, recommendations: &[Recommendation]) -> anyhow::Result<()> {
        let shown = self.shown(recommendations);
        print(&match self.arguments.output {
            OutputFormat::Table | OutputFormat::Wide => self.table(recommendations, &shown, None),
            OutputFormat::Markdown => overview::markdown(&shown, self.layout),
            OutputFormat::Csv => overview::csv(&shown)?,
            OutputFormat::Json => serde_json::to_string_pretty(&shown)? + "\n",
            OutputFormat::Yaml => crate::yaml::to_string(&shown)?,
        })
    }

    /// Draws the table again, as far as it fits on the terminal.
    fn redraw(&self, groups: Vec<ObservedGroup>) -> anyhow::Result<()> {
        let recommendations = self.recommendations(groups);
        let table = self.table(&recommendations, &self.shown(&recommendations), self.layout.lines);
        print(&format!("{CLEAR}{table}"))
    }

    /// The table of several groups, with a line that sums up all of them, and the details of one or of all.
    fn table(&self, all: &[Recommendation], shown: &[&Recommendation], lines: Option<usize>) -> String {
        if all.is_empty() {
            return NO_GROUP.to_owned();
        }
        // Of groups that could not be read at all the errors say everything.
        if all.iter().all(|it| it.need == GroupNeed::Unreadable) {
            return String::new();
        }
        let mut text = if shown.is_empty() { String::new() } else { overview::render(shown, self.layout) };
        if let Some(lines) = lines {
            text = overview::first_lines(&text, lines.saturating_sub(3));
        }
        if all.len() > 1 {
            text.push_str(if text.is_empty() { "" } else { "\n" });
            text.push_str(&overview::summary(all, self.layout.cost));
        }
        if all.len() == 1 || self.arguments.verbose {
            for it in shown.iter().filter(|it| it.need != GroupNeed::Unreadable) {
                text.push_str(&format!("\n{}", table::detail(it, self.layout)));
            }
        }
        text
    }
}
