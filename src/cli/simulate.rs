//! `paceline simulate`: scenarios from files, policies side by side, and what came of it as a table or as JSON.

mod report;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::outcome::{Outcome, WrongInput};
use super::output::{Output, print};
use crate::core::parse_duration;
use crate::simulate::{
    CalibrationSummary, DURATIONS, Job, PolicyName, Run, Scenario, calibrate, read, run_all, summarize, svg,
};
use crate::yaml::Invalid;
use report::Outcomes;

const EXAMPLES: &str = "Examples:
  A scenario, Paceline beside KEDA:
    paceline simulate tests/scenarios/step.yaml
  More policies, on all scenarios of a folder, in the mean of three seeds:
    paceline simulate tests/scenarios --policy timeLag,keda,hpa,static,oracle --seeds 3
  What happened and why, as a picture and every ten seconds:
    paceline simulate tests/scenarios/step.yaml --policy timeLag --plot step.svg --series step.csv
  A scenario of your own; config/scenario.yaml shows every field:
    arrival: {constant: 550}
    members: {capacity: 100}
  What would it have done last Tuesday? Arrivals from a recording of `paceline recommend --record`:
    arrival: {trace: tuesday.jsonl}
    members: {capacity: 100}";

/// What `simulate` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SimulateArguments {
    /// Scenarios: YAML files, or folders of them.
    #[arg(value_name = "SCENARIO", required = true)]
    scenarios: Vec<PathBuf>,
    /// Policies to simulate, with commas between them or given more than once [default: timeLag,keda].
    #[arg(long = "policy", value_name = "NAME", value_enum, ignore_case = true, value_delimiter = ',')]
    policies: Vec<PolicyName>,
    /// Run each scenario with so many different random seeds, and print the means.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Run for so long instead of each scenario's own duration, such as 24h.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    span: Option<std::time::Duration>,
    /// Write what was every ten seconds to this file, as CSV; of the first seed. `-` prints it instead of the table, or
    /// with `-o json` for every seed as part of it.
    #[arg(long, value_name = "FILE")]
    series: Option<PathBuf>,
    /// Draw arrivals, time lag and replicas of the first seed, as SVG; {scenario} in the name stands for the scenario's.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Compare what timeLag says will happen with what then happens, over all scenarios and seeds, instead of policies.
    #[arg(long, conflicts_with_all = ["policies", "series", "plot"])]
    calibration: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

pub(super) fn run(arguments: &SimulateArguments) -> anyhow::Result<Outcome> {
    let mut scenarios = load(&arguments.scenarios)?;
    if let Some(span) = arguments.span {
        if !DURATIONS.contains(&span) {
            return Err(WrongInput("--for: not between 1m and 192h".to_owned()).into());
        }
        for scenario in &mut scenarios {
            scenario.duration = span;
        }
    }
    if let Some(file) = &arguments.plot
        && scenarios.len() > 1
        && !file.to_string_lossy().contains(PLACE)
    {
        let why = format!("--plot: one file for several scenarios; write for example plots/{PLACE}.svg");
        return Err(WrongInput(why).into());
    }
    if arguments.calibration {
        let rows = calibration(&scenarios, arguments.seeds);
        print(&match arguments.output {
            Output::Table => report::calibration(&rows),
            Output::Json => serde_json::to_string_pretty(&rows)? + "\n",
        })?;
        return Ok(Outcome::Fine);
    }
    let policies = if arguments.policies.is_empty() { &PolicyName::DEFAULT[..] } else { &arguments.policies };
    let all = run_scenarios(scenarios, policies, arguments.seeds);
    let (stdout, file) = match &arguments.series {
        Some(file) if file == Path::new("-") => (true, None),
        other => (false, other.as_ref()),
    };
    if let Some(file) = file {
        write(file, &report::csv(&all))?;
    }
    if let Some(file) = &arguments.plot {
        plot(file, &all)?;
    }
    print(&match arguments.output {
        Output::Table if stdout => report::csv(&all),
        Output::Table => report::table(&all),
        Output::Json => report::json(&all, stdout)?,
    })?;
    Ok(Outcome::Fine)
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("Can't write {}", file.display()))
}

fn run_scenarios(scenarios: Vec<Scenario>, policies: &[PolicyName], seeds: u64) -> Vec<Outcomes> {
    let of_policy = |scenario, policy| (1..=seeds).map(move |seed| Job { scenario, policy, seed });
    let of_scenario = |scenario| policies.iter().flat_map(move |policy| of_policy(scenario, *policy));
    let jobs: Vec<Job<'_>> = scenarios.iter().flat_map(of_scenario).collect();
    let progress = SimulationProgress { of: jobs.len(), shown: std::io::stderr().is_terminal() };
    let mut runs = run_all(&jobs, |job, done| progress.show(job, done)).into_iter();
    progress.end();
    let mut of_policy = || runs.by_ref().take(seeds as usize).collect::<Vec<_>>();
    let runs: Vec<Vec<Vec<Run>>> = scenarios.iter().map(|_| policies.iter().map(|_| of_policy()).collect()).collect();
    scenarios.into_iter().zip(runs).map(|(scenario, runs)| Outcomes { scenario, runs }).collect()
}

fn calibration(scenarios: &[Scenario], seeds: u64) -> [CalibrationSummary; 4] {
    let of_scenario = |scenario| (1..=seeds).flat_map(move |seed| calibrate(scenario, seed));
    summarize(&scenarios.iter().flat_map(of_scenario).collect::<Vec<_>>())
}

/// What stands for the scenario's name in the name of a plot.
const PLACE: &str = "{scenario}";

fn plot(file: &Path, all: &[Outcomes]) -> anyhow::Result<()> {
    for Outcomes { scenario, runs } in all {
        let first: Vec<&Run> = runs.iter().filter_map(|runs| runs.first()).collect();
        let file = file.to_string_lossy().replace(PLACE, &scenario.name.replace('/', "-"));
        write(Path::new(&file), &svg(scenario, &first)?)?;
    }
    Ok(())
}

/// Reads all scenarios. The error lists all that is wrong with any of them.
fn load(paths: &[PathBuf]) -> anyhow::Result<Vec<Scenario>> {
    let (mut scenarios, mut problems) = (Vec::new(), Vec::new());
    for path in paths {
        for file in files(path)? {
            match read(&file) {
                Ok(scenario) => scenarios.push(scenario),
                Err(Invalid(more)) => problems.extend(more),
            }
        }
    }
    if problems.is_empty() { Ok(scenarios) } else { Err(Invalid(problems).into()) }
}

fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("Can't read the folder {}", path.display()))?;
    let is_yaml = |file: &PathBuf| file.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_yaml).collect();
    files.sort();
    if files.is_empty() {
        return Err(WrongInput(format!("No scenario in {}: no file there ends in .yaml", path.display())).into());
    }
    Ok(files)
}

/// Progress, as one line on a terminal.
struct SimulationProgress {
    of: usize,
    shown: bool,
}

impl SimulationProgress {
    fn show(&self, job: &Job<'_>, done: usize) {
        self.write(&format!("\r\x1b[K{}/{} {}, {}", done + 1, self.of, job.scenario.name, job.policy.name()));
    }

    fn end(&self) {
        self.write("\r\x1b[K");
    }

    fn write(&self, text: &str) {
        if self.shown {
            // Where stderr is closed, the failure can't be reported.
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
    }
}
