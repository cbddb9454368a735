//! The command line: one file per command, and what they share: the log, the exit codes, how errors are printed.

mod cluster;
mod clusters;
mod crd;
mod demo;
mod doctor;
mod manifests;
mod recommend;
mod replay;
mod run;
mod simulate;

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::config::{ConfigurationError, LogFormat};
use crate::demo::{WorkerSettings, run_worker};
use crate::yaml::Invalid;

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

const EXIT_CODES: &str = "Exit codes: 0 fine, 1 failed, 2 wrong usage or input, 3 where `recommend --fail-on-change` finds a change.\n\
     Data goes to stdout; the log, notes and errors go to stderr.\n\
     To see it work without Kafka and without a cluster: paceline demo";

/// What libraries log of failed requests and watches is left out: this program says once what has failed, with the
/// address, and they would say it for each request.
const LIBRARIES: &str = "kube_runtime::watcher=error,kube_client::client=error,kube_client::client::builder=off,\
    kube_client::client::tls=warn";

#[derive(Debug, Args)]
struct Log {
    /// What is logged: error, warn, info, debug, trace, or a filter such as `info,paceline::kafka=debug`
    /// [default: info for run, warn for the others].
    #[arg(long, global = true, value_name = "LEVEL", env = "RUST_LOG", help_heading = "Log")]
    log_level: Option<String>,
    /// How the log looks [default: text, or what the configuration says].
    #[arg(long, global = true, value_name = "FORMAT", env = "PACELINE_LOG_FORMAT", value_enum, help_heading = "Log")]
    log_format: Option<LogFormat>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the controller, in a cluster or outside of one with a kubeconfig.
    Run(run::RunArguments),
    /// Say how many replicas there should be, and why. Reads Kafka and writes to nothing.
    Recommend(recommend::RecommendArguments),
    /// Decide on observations in JSON lines, one decision per line: what was recorded, or what another program simulates.
    Replay(replay::ReplayArguments),
    /// See it work: an embedded broker, a producer and real consumer processes, scaled before your eyes.
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

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// An array of objects.
    Json,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Fine,
    /// It did its work, but not all of it could be done; what failed has been printed.
    Partly,
    /// `--fail-on-change` found a change.
    Changed,
}

/// Parses the arguments, runs the command and says how it went.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command.run(&cli.log) {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Partly) => ExitCode::from(1),
        Ok(Outcome::Changed) => ExitCode::from(3),
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

impl Log {
    /// Sends the log to stderr.
    fn start(&self, default_level: &str, default_format: LogFormat) -> anyhow::Result<()> {
        let level = self.log_level.as_deref().filter(|level| !level.is_empty()).unwrap_or(default_level);
        let filter = EnvFilter::try_new(format!("{LIBRARIES},{level}"))
            .map_err(|error| WrongInput(format!("--log-level \"{level}\" is neither a level nor a filter: {error}")))?;
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        match self.log_format.unwrap_or(default_format) {
            LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
            LogFormat::Json => log.json().flatten_event(true).init(),
        }
        Ok(())
    }
}

/// A runtime for a command that waits for several things at once.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    use anyhow::Context;
    tokio::runtime::Builder::new_multi_thread()
        // Two are enough to keep a slow thing from delaying another; the work is waiting.
        .worker_threads(2)
        .enable_all()
        .build()
        .context("Can't start the runtime's threads")
}

/// What the user gave is wrong in a way that clap can't see.
#[derive(Debug)]
struct WrongInput(String);

impl fmt::Display for WrongInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongInput {}

fn is_input(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<WrongInput>() || cause.is::<Invalid>() || cause.is::<ConfigurationError>())
}

/// Prints what was tried first, then why it failed, each cause on lines of its own, and no cause twice. Problems with YAML
/// show excerpts in the alternate form.
fn print_error(error: &anyhow::Error) {
    let mut text = error.chain().take(1).map(|first| format!("error: {first:#}\n")).collect::<String>();
    let mut above = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !above.contains(&cause) {
            for line in cause.lines() {
                text.push_str(&format!("  {line}\n"));
            }
        }
        above = cause;
    }
    // If stderr is gone, there is nobody to tell.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Prints data. A reader that went away (`| head`) is no error.
fn print(data: &str) -> anyhow::Result<()> {
    use anyhow::Context;
    match std::io::stdout().write_all(data.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("Can't write to stdout"),
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
