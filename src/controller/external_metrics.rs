//! Converts the configuration of external metrics to the settings of the server.

use crate::config::{Certificate, ExternalMetrics};
use crate::serve::external_metrics::{CertificateSource, ExternalMetricsSettings, ServiceName};

/// The settings, in the controller's own namespace unless the configuration names another.
pub(super) fn settings(configured: ExternalMetrics, namespace: &str) -> ExternalMetricsSettings {
    let service = configured.service;
    ExternalMetricsSettings {
        listen: configured.listen,
        service: ServiceName {
            namespace: service.namespace.unwrap_or_else(|| namespace.to_owned()),
            name: service.name,
        },
        certificate: match configured.certificate {
            Certificate::Directory(path) => CertificateSource::Directory(path),
            Certificate::SelfManaged(name) => CertificateSource::Secret { namespace: namespace.to_owned(), name },
        },
    }
}
