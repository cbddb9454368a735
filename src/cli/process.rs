//! What a command starts first: the log, and a runtime.

use std::io::IsTerminal;

use anyhow::Context;
use clap::Args;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use super::log_lines::{JsonWriter, text_fields};
use super::outcome::WrongInput;
use super::traces::Traces;
use crate::config::LogFormat;

/// What libraries log of failed requests and watches is left out: this program says once what has failed, with the
/// address, and they would say it for each request.
const LIBRARIES: &str = "kube_runtime::watcher=error,kube_client::client=error,kube_client::client::builder=off,\
    kube_client::client::tls=warn,rustls=off,tokio_rustls=off,hyper=off,hyper_util=off,h2=off,opentelemetry=off,opentelemetry_sdk=off,opentelemetry-otlp=off,opentelemetry_http=off";

#[derive(Debug, Args)]
pub(super) struct Log {
    /// What is logged: error, warn, info, debug, trace, or a filter such as `info,paceline::kafka=debug`
    /// [default: info for run, warn for the others].
    #[arg(long, global = true, value_name = "LEVEL", env = "RUST_LOG", hide_env_values = true, help_heading = "Log")]
    log_level: Option<String>,
    /// How the log looks [default: text, or what the configuration says].
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        env = "PACELINE_LOG_FORMAT",
        hide_env_values = true,
        value_enum,
        help_heading = "Log"
    )]
    log_format: Option<LogFormat>,
}

impl Log {
    /// Sends the log to stderr.
    pub(super) fn start(&self, default_level: &str, default_format: LogFormat) -> anyhow::Result<()> {
        self.start_with(default_level, default_format, None)
    }

    /// Sends the log to stderr, and traces to where the environment says. They are sent until what is given back is
    /// dropped, which must not be within an asynchronous runtime.
    pub(super) fn start_with_traces(
        &self,
        default_level: &str,
        default_format: LogFormat,
    ) -> anyhow::Result<Option<Traces>> {
        let traces = Traces::from_environment()?;
        self.start_with(default_level, default_format, traces.as_ref())?;
        Ok(traces)
    }

    fn start_with(
        &self,
        default_level: &str,
        default_format: LogFormat,
        traces: Option<&Traces>,
    ) -> anyhow::Result<()> {
        let level = self.log_level.as_deref().filter(|level| !level.is_empty()).unwrap_or(default_level);
        let filter = EnvFilter::try_new(format!("{LIBRARIES},{level}"))
            .map_err(|error| WrongInput(format!("--log-level \"{level}\" is neither a level nor a filter: {error}")))?;
        let lines = fmt::layer();
        let lines = match self.log_format.unwrap_or(default_format) {
            LogFormat::Text => lines
                .with_writer(std::io::stderr)
                .with_ansi(std::io::stderr().is_terminal())
                .fmt_fields(text_fields())
                .boxed(),
            LogFormat::Json => lines.json().flatten_event(true).with_writer(|| JsonWriter(std::io::stderr())).boxed(),
        };
        // Spans are for traces: a line of the log has all its fields itself.
        let lines = lines.with_filter(filter.and(filter_fn(|what| what.is_event())));
        tracing_subscriber::registry().with(lines).with(traces.map(Traces::layer)).init();
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
