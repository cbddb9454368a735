//! `paceline recommend`: how many replicas there should be, and why, by the same engine as `run`. Reads Kafka and,
//! where there is one, the cluster; writes to nothing.

mod arguments;
mod failure;
mod observe;
mod record;
mod report;
mod scale;
mod table;
mod targets;

use std::path::PathBuf;
use std::time::Duration;

use super::outcome::{Outcome, WrongInput};
use super::output::print;
use super::process::runtime;
use arguments::OutputFormat;
pub(super) use arguments::RecommendArguments;
use record::Recording;

pub(super) fn run(arguments: &RecommendArguments) -> anyhow::Result<Outcome> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(recommend(arguments));
    // After Ctrl-C a poll that hangs must not hold up the end.
    runtime.shutdown_background();
    outcome
}

async fn recommend(arguments: &RecommendArguments) -> anyhow::Result<Outcome> {
    let (targets, broken) = targets::find(arguments).await?;
    if let (true, Some(unknown)) =
        (arguments.fail_on_change, targets.iter().find_map(|target| target.current.unknown()))
    {
        let why = format!("--fail-on-change compares with the current replicas, but {unknown}; give --current N");
        return Err(WrongInput(why).into());
    }
    let span = if arguments.once { Duration::ZERO } else { arguments.observe };
    let prepare = |path: &PathBuf| Recording::prepare(path, arguments.force, &targets, observe::interval(span));
    let recording = arguments.record.as_ref().map(prepare).transpose()?;
    let unrecorded = recording.as_ref().map(Recording::failure);
    let observed = observe::observe(targets, span, recording).await?;
    let recommendations: Vec<_> = observed.iter().map(report::Recommendation::of).collect();
    print(&match arguments.output {
        OutputFormat::Table => table::render(&recommendations),
        OutputFormat::Json => serde_json::to_string_pretty(&recommendations)? + "\n",
        OutputFormat::Yaml => crate::yaml::to_string(&recommendations)?,
    })?;
    let failures: Vec<_> = recommendations.iter().filter_map(|it| it.failure.as_ref()).collect();
    failure::messages(&failures).iter().for_each(|message| eprintln!("error: {message}"));
    let unrecorded = unrecorded.as_ref().and_then(|failure| failure.get());
    unrecorded.iter().for_each(|why| eprintln!("error: {why}"));
    let changed = recommendations.iter().any(report::Recommendation::is_change);
    Ok(match (broken || !failures.is_empty() || unrecorded.is_some(), arguments.fail_on_change && changed) {
        (true, _) => Outcome::Partly,
        (false, true) => Outcome::Changed,
        (false, false) => Outcome::Fine,
    })
}
