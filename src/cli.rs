//! The command line: one file per command, and what they share: the log, the exit codes, how errors are printed.

mod begin;
mod cluster;
mod clusters;
mod connector;
mod crd;
mod demo;
mod doctor;
mod log_lines;
mod manifests;
mod outcome;
mod output;
mod process;
mod recommend;
mod replay;
mod run;
mod shell;
mod simulate;
mod style;
mod traces;
mod validate;
mod version;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::LogFormat;
use crate::demo::{WorkerSettings, run_worker};
use outcome::{Outcome, is_input};
use output::print_error;
use process::Log;

/// Scales Kafka consumers on Kubernetes by their lag: to the fewest replicas that keep up, never past what the
/// partitions can use.
#[derive(Debug, Parser)]
#[command(name = "paceline", version, about, propagate_version = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: Log,
}

const EXIT_CODES: &str = "Exit codes: 0 fine, 1 failed, 2 wrong usage or input, 3 where `recommend --fail-on` finds what it names.\n\
     Data goes to stdout; the log, notes and errors go to stderr.\n\
     To try it without Kafka and without a cluster: paceline demo";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the controller, in a cluster or outside of one with a kubeconfig.
    Run(run::RunArguments),
    /// Say how many replicas there should be, and why. Reads Kafka and writes to nothing.
    Recommend(Box<recommend::RecommendArguments>),
    /// Decide on observations in JSON lines, one decision per line: what was recorded, or what another program simulates.
    Replay(replay::ReplayArguments),
    /// Run a demo: an embedded broker, a producer and real consumer processes, scaled on this machine.
    Demo(demo::DemoArguments),
    /// Compare policies side by side on a simulated group: in virtual time, without Kafka and without a cluster.
    Simulate(simulate::SimulateArguments),
    /// Check what the controller needs from the cluster, and say what to do. Reads, and writes to nothing.
    Doctor(doctor::DoctorArguments),
    /// Check manifests as the API server would, and name what is wrong with file, line and field. Needs no cluster.
    Validate(validate::ValidateArguments),
    /// Print the definition of the ScaledConsumer, for `kubectl apply -f -`.
    #[command(after_help = crd::EXAMPLES)]
    Crd,
    /// Print the completions of a shell.
    Completions(shell::CompletionsArguments),
    /// Write manual pages, one for each command.
    Man(shell::ManArguments),
    /// Print the version, the commit, and the version of the CRD.
    Version(version::VersionArguments),
    /// A consumer of fixed capacity, for the demo and the tests.
    #[command(hide = true)]
    Worker(WorkerSettings),
}

/// Parses the arguments and runs the command. Returns the exit code.
pub fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if let Some(text) = begin::how_to_begin(&arguments) {
        eprint!("{text}");
        return ExitCode::from(2);
    }
    let cli = Cli::parse();
    match cli.command.run(&cli.log) {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Partly) => ExitCode::from(1),
        Ok(Outcome::Invalid) => ExitCode::from(2),
        Ok(Outcome::Found) => ExitCode::from(3),
        Err(error) => {
            print_error(&error);
            ExitCode::from(if is_input(&error) { 2 } else { 1 })
        }
    }
}

impl Command {
    fn run(self, log: &Log) -> anyhow::Result<Outcome> {
        match self {
            Self::Run(arguments) => run::run(&arguments, log),
            Self::Recommend(arguments) => {
                // What the client of the API server logs is the cause of an error that is printed anyway.
                log.start("warn,kube_client=off", LogFormat::default())?;
                recommend::run(&arguments)
            }
            Self::Replay(arguments) => replay::run(&arguments),
            Self::Demo(arguments) => {
                log.start("warn", LogFormat::default())?;
                demo::run(&arguments)
            }
            Self::Simulate(arguments) => {
                log.start("warn", LogFormat::default())?;
                simulate::run(&arguments)
            }
            Self::Doctor(arguments) => {
                log.start("warn,kube_client=off", LogFormat::default())?;
                doctor::run(&arguments)
            }
            Self::Validate(arguments) => validate::run(&arguments),
            Self::Crd => crd::run(),
            Self::Completions(arguments) => shell::completions(&arguments, &Cli::command()),
            Self::Man(arguments) => shell::man(&arguments, Cli::command()),
            Self::Version(arguments) => version::run(&arguments),
            Self::Worker(settings) => {
                log.start("warn", LogFormat::default())?;
                run_worker(&settings).map(|()| Outcome::Fine)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    /// A hint that names a flag that does not exist is worse than none.
    #[test]
    fn every_example_can_be_given_as_it_is() {
        let definition = Cli::command();
        let helps = definition.get_subcommands().filter_map(|command| command.get_after_help());
        let begin = [&[][..], &["recommend".into()]].map(|arguments| begin::how_to_begin(arguments).expect("a text"));
        let texts = helps.map(ToString::to_string).chain(begin.map(str::to_owned));
        let mut count = 0;
        for line in texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()) {
            let Some((_, example)) = line.strip_prefix("    ").and_then(|line| line.split_once("paceline ")) else {
                continue;
            };
            let example = example.split(['|', '>', ')']).next().unwrap_or_default();
            let words = example.split_whitespace().map(|word| word.trim_matches('\''));
            if let Err(error) = Cli::try_parse_from(std::iter::once("paceline").chain(words)) {
                panic!("{line}: {error}");
            }
            count += 1;
        }
        assert!(count > 20, "{count} examples are all");
    }
}
