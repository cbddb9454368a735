//! `paceline run`: the controller. Reads the configuration and starts the log and the controller.

use std::path::PathBuf;

use clap::Args;

use super::outcome::Outcome;
use super::process::{Log, runtime};
use crate::config::Configuration;
use crate::controller;

/// What `run` takes.
#[derive(Debug, Args)]
pub(super) struct RunArguments {
    /// The configuration file; every default without it.
    #[arg(long, value_name = "FILE", env = "PACELINE_CONFIG")]
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
