//! What a command starts first: the log, and a runtime.

use std::io::IsTerminal;

use anyhow::Context;
use clap::Args;
use tracing_subscriber::EnvFilter;

use super::outcome::WrongInput;
use crate::config::LogFormat;

/// What libraries log of failed requests and watches is left out: this program says once what has failed, with the
/// address, and they would say it for each request.
const LIBRARIES: &str = "kube_runtime::watcher=error,kube_client::client=error,kube_client::client::builder=off,\
    kube_client::client::tls=warn";

#[derive(Debug, Args)]
pub(super) struct Log {
    /// What is logged: error, warn, info, debug, trace, or a filter such as `info,paceline::kafka=debug`
    /// [default: info for run, warn for the others].
    #[arg(long, global = true, value_name = "LEVEL", env = "RUST_LOG", help_heading = "Log")]
    log_level: Option<String>,
    /// How the log looks [default: text, or what the configuration says].
    #[arg(long, global = true, value_name = "FORMAT", env = "PACELINE_LOG_FORMAT", value_enum, help_heading = "Log")]
    log_format: Option<LogFormat>,
}

impl Log {
    /// Sends the log to stderr.
    pub(super) fn start(&self, default_level: &str, default_format: LogFormat) -> anyhow::Result<()> {
        let level = self.log_level.as_deref().filter(|level| !level.is_empty()).unwrap_or(default_level);
        let filter = EnvFilter::try_new(format!("{LIBRARIES},{level}"))
            .map_err(|error| WrongInput(format!("--log-level \"{level}\" is neither a level nor a filter: {error}")))?;
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        match self.log_format.unwrap_or(default_format) {
            LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
            LogFormat::Json => log.json().flatten_event(true).init(),
        }
        Ok(())
    }
}

/// A runtime for a command that waits for several things at once.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        // Two are enough to keep a slow thing from delaying another; the work is waiting.
        .worker_threads(2)
        .enable_all()
        .build()
        .context("Can't start the runtime's threads")
}
