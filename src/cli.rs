//! The command line: one file per command, and what they share: the log, the exit codes, how errors are printed.

mod cluster;
mod clusters;
mod crd;
mod demo;
mod doctor;
mod manifests;
mod outcome;
mod output;
mod process;
mod recommend;
mod replay;
mod run;
mod simulate;
mod style;
mod traces;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    Recommend(recommend::RecommendArguments),
    /// Decide on observations in JSON lines, one decision per line: what was recorded, or what another program simulates.
    Replay(replay::ReplayArguments),
    /// Run a demo: an embedded broker, a producer and real consumer processes, scaled on this machine.
    Demo(demo::DemoArguments),
    /// Compare policies side by side on a simulated group: in virtual time, without Kafka and without a cluster.
    Simulate(simulate::SimulateArguments),
    /// Check what the controller needs from the cluster, and say what to do. Reads, and writes to nothing.
    Doctor(doctor::DoctorArguments),
    /// Print the definition of the ScaledConsumer, for `kubectl apply -f -`.
    Crd,
    /// A consumer of fixed capacity, for the demo and the tests.
    #[command(hide = true)]
    Worker(WorkerSettings),
}

/// Parses the arguments and runs the command. Returns the exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command.run(&cli.log) {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Partly) => ExitCode::from(1),
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
            Self::Crd => crd::run(),
            Self::Worker(settings) => {
                log.start("warn", LogFormat::default())?;
                run_worker(&settings).map(|()| Outcome::Fine)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
