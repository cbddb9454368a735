//! `paceline simulate`: scenarios from files, policies side by side, and what came of it as a table or as JSON.

mod report;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};

use self::report::Outcomes;
use super::{Outcome, WrongInput};
use crate::simulate::{PolicyName, Scenario, read, run as simulate};
use crate::yaml::Invalid;

const EXAMPLES: &str = "Examples:
  A scenario, all policies side by side:
    paceline simulate tests/scenarios/step.yaml
  Paceline beside KEDA on all scenarios of a folder, three random seeds each:
    paceline simulate tests/scenarios --policy timeLag --policy keda --seeds 3
  What happened, second by second:
    paceline simulate tests/scenarios/step.yaml --policy timeLag --series step.csv
  A scenario of your own starts with as little as this:
    arrival: {constant: 550}
    members: {capacity: 100}";

/// What `simulate` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Scenarios: YAML files, or folders of them.
    #[arg(value_name = "SCENARIO", required = true)]
    scenarios: Vec<PathBuf>,
    /// A policy to simulate; may be given more than once [default: all].
    #[arg(long = "policy", value_name = "NAME", value_enum, ignore_case = true)]
    policies: Vec<PolicyName>,
    /// Run each scenario with so many different random seeds, and print the means.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Run for so long instead of each scenario's own duration.
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    span: Option<std::time::Duration>,
    /// Write what happened every ten seconds to this file, as CSV; of the first seed.
    #[arg(long, value_name = "FILE")]
    series: Option<PathBuf>,
    /// How to print; json has the series too where `--series` is given.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let mut scenarios = load(&arguments.scenarios)?;
    if let Some(span) = arguments.span {
        for scenario in &mut scenarios {
            scenario.duration = span;
        }
    }
    let policies = if arguments.policies.is_empty() { &PolicyName::ALL[..] } else { &arguments.policies };
    let mut all = Vec::new();
    let mut progress = Progress::new(scenarios.len() * policies.len() * arguments.seeds as usize);
    for scenario in scenarios {
        let mut outcomes = Outcomes { scenario, runs: Vec::new() };
        for policy in policies {
            let mut runs = Vec::new();
            for seed in 1..=arguments.seeds {
                progress.step(&outcomes.scenario.name, *policy);
                runs.push(simulate(&outcomes.scenario, *policy, seed));
            }
            outcomes.runs.push(runs);
        }
        all.push(outcomes);
    }
    progress.end();
    if let Some(file) = &arguments.series {
        std::fs::write(file, report::csv(&all)).with_context(|| format!("Can't write {}", file.display()))?;
    }
    super::print(&match arguments.output {
        Output::Table => report::table(&all),
        Output::Json => report::json(&all, arguments.series.is_some())?,
    })?;
    Ok(Outcome::Fine)
}

/// Reads all scenarios; tells everything that is wrong with any of them.
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

/// One line on the terminal that says how far it is.
struct Progress {
    done: usize,
    of: usize,
    shown: bool,
}

impl Progress {
    fn new(of: usize) -> Self {
        Self { done: 0, of, shown: std::io::stderr().is_terminal() }
    }

    fn step(&mut self, scenario: &str, policy: PolicyName) {
        self.done += 1;
        self.write(&format!("\r\x1b[K{}/{} {scenario}, {}", self.done, self.of, policy.name()));
    }

    fn end(&self) {
        self.write("\r\x1b[K");
    }

    fn write(&self, text: &str) {
        if self.shown {
            // If stderr is gone, there is nobody to tell.
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
    }
}
