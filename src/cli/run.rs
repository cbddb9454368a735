//! `paceline run`: the controller. Reads the configuration and starts the log and the controller.

use std::path::PathBuf;

use clap::Args;

use super::outcome::Outcome;
use super::process::{Log, runtime};
use crate::config::Configuration;
use crate::controller;

const EXAMPLES: &str = "Examples:
  With a kubeconfig, outside of the cluster:
    paceline run --config paceline.yaml
  Without rights on custom resources:
    paceline run --config paceline.yaml --from manifests/
  To see each decision:
    paceline run --config paceline.yaml --log-level paceline=debug";

/// What `run` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RunArguments {
    /// The configuration file; every default without it.
    #[arg(long, value_name = "FILE", env = "PACELINE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Read ScaledConsumers from the YAML files of this folder instead of the cluster: for a controller without
    /// rights on custom resources.
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
}

pub(super) fn run(arguments: &RunArguments, log: &Log) -> anyhow::Result<Outcome> {
    let configuration = match &arguments.config {
        Some(file) => Configuration::read(file)?,
        None => Configuration::default(),
    };
    let _traces = log.start_with_traces("info", configuration.log_format)?;
    let runtime = runtime()?;
    runtime.block_on(controller::run(configuration, arguments.from.clone()))?;
    // A file on a volume that hangs must not keep the process: everything that matters has ended.
    runtime.shutdown_background();
    Ok(Outcome::Fine)
}
