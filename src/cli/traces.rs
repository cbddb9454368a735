//! Traces by OTLP: where they are sent, by the environment variables of OpenTelemetry, and how failures are logged. The
//! spans themselves are made where the work is done.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData};
use tracing::{Subscriber, info, warn};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, filter};

use super::outcome::WrongInput;

/// One of these switches traces on.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const PROTOCOL: &str = "http/protobuf";
const NAME: &str = "paceline";
/// For the spans that are not sent yet when the program ends. A collector that doesn't answer must not hold it up.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// Sends spans in batches, on a thread of its own. Dropping it sends the last ones.
pub(super) struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Traces as the environment says; `None` where it names no endpoint, or switches them off. Must not be called within
    /// an asynchronous runtime. Fails for values that can't be used, and names the variable.
    pub(super) fn from_environment() -> anyhow::Result<Option<Self>> {
        let is_off = value("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || value("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
        let Some((endpoint, _)) = first(&ENDPOINTS) else { return Ok(None) };
        if is_off {
            return Ok(None);
        }
        if let Some((name, other)) = first(&PROTOCOLS).filter(|(_, protocol)| protocol != PROTOCOL) {
            let why = format!(
                "{name} is \"{other}\", and traces are sent by {PROTOCOL} only: leave it out, and give {endpoint} the collector's port for HTTP (4318 by default)"
            );
            return Err(WrongInput(why).into());
        }
        // Fails where another one is set already, and that one does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::blocking::Client::builder().build()?;
        let exporter = SpanExporter::builder().with_http().with_http_client(client).build();
        let exporter = exporter.map_err(|error| WrongInput(format!("Traces can't be sent: {error}")))?;
        let exporter = LoggedExporter { exporter, endpoint, has_failed: AtomicBool::new(false) };
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build();
        Ok(Some(Self { provider }))
    }

    /// Makes OpenTelemetry's spans of this program's own. Lines of the log are no part of them.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let layer = tracing_opentelemetry::layer().with_tracer(self.provider.tracer(NAME));
        let layer = layer.with_location(false).with_threads(false).with_tracked_inactivity(false).with_target(false);
        layer.with_filter(filter::filter_fn(|what| what.is_span() && what.target().starts_with(NAME)))
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        // What can't be sent has been logged by the exporter.
        let _ = self.provider.shutdown_with_timeout(LAST_SPANS);
    }
}

fn value(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn first(names: &[&'static str]) -> Option<(&'static str, String)> {
    names.iter().find_map(|name| Some((*name, value(name)?)))
}

/// What the environment says of this process, and its name and version.
fn resource() -> Resource {
    let builder =
        Resource::builder().with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    let is_named = value("OTEL_SERVICE_NAME").is_some()
        || value("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|attributes| attributes.contains("service.name="));
    if is_named { builder.build() } else { builder.with_service_name(NAME).build() }
}

/// Logs the first failure to send spans, and the next success.
#[derive(Debug)]
struct LoggedExporter {
    exporter: SpanExporter,
    /// The variable that names the endpoint. Its value may hold a password.
    endpoint: &'static str,
    has_failed: AtomicBool,
}

impl opentelemetry_sdk::trace::SpanExporter for LoggedExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let sent = self.exporter.export(batch).await;
        let had_failed = self.has_failed.swap(sent.is_err(), Ordering::Relaxed);
        match &sent {
            Err(error) if !had_failed => {
                warn!(%error, "Traces can't be sent to the address in {}; they are dropped until they can.", self.endpoint);
            }
            Ok(()) if had_failed => info!("Traces can be sent again."),
            Ok(()) | Err(_) => {}
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
