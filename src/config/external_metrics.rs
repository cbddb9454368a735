//! The configuration's section `externalMetrics`: where the metrics for the HPA are served, and with which certificate.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::core::duration;

use super::check::ConfigurationCheck;

/// How external.metrics.k8s.io is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalMetrics {
    /// Whether it is served at all.
    pub enabled: bool,
    /// Where it is served, over TLS.
    pub listen: SocketAddr,
    /// The age up to which an observation is served; three times the poll interval of its cluster where absent.
    pub max_age: Option<Duration>,
    /// The Service that the APIService names.
    pub service: Service,
    /// Where the serving certificate comes from.
    pub certificate: Certificate,
}

/// A Service of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its namespace; the controller's own where absent.
    pub namespace: Option<String>,
}

/// Where the serving certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// The controller makes and renews it, and keeps it in a Secret of this name in its namespace.
    SelfManaged(String),
    /// `tls.crt` and `tls.key` are in this directory, put there by others.
    Directory(PathBuf),
}

impl Default for Service {
    fn default() -> Self {
        Self { name: "paceline-external-metrics".to_owned(), namespace: None }
    }
}

impl Default for ExternalMetrics {
    fn default() -> Self {
        Self {
            enabled: false,
            listen: SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 6443),
            max_age: None,
            service: Service::default(),
            certificate: Certificate::SelfManaged("paceline-external-metrics-tls".to_owned()),
        }
    }
}

/// The shortest `maxAge`: as long as the shortest poll interval.
const SHORTEST_AGE: Duration = Duration::from_secs(1);
/// The longest `maxAge`: an hour-old value does not show the current load.
const LONGEST_AGE: Duration = Duration::from_secs(3600);

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawExternalMetrics {
    enabled: bool,
    listen: Option<String>,
    #[serde(deserialize_with = "duration::optional")]
    #[schemars(with = "Option<String>")]
    max_age: Option<Duration>,
    service: Service,
    certificate: RawCertificate,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct RawCertificate {
    secret_name: Option<String>,
    directory: Option<PathBuf>,
}

impl ConfigurationCheck<'_> {
    pub(super) fn external_metrics(&mut self, raw: RawExternalMetrics, others: SocketAddr) -> ExternalMetrics {
        let default = ExternalMetrics::default();
        let listen = self.listen("externalMetrics.listen", raw.listen, default.listen);
        if raw.enabled && listen == others {
            self.wrong("externalMetrics.listen", "is the same as listen; it needs a port of its own");
        }
        if raw.max_age.is_some_and(|age| !(SHORTEST_AGE..=LONGEST_AGE).contains(&age)) {
            self.wrong("externalMetrics.maxAge", "must be from 1s to 1h");
        }
        self.label_name("externalMetrics.service.name", &raw.service.name);
        if let Some(namespace) = &raw.service.namespace {
            self.label_name("externalMetrics.service.namespace", namespace);
        }
        ExternalMetrics {
            enabled: raw.enabled,
            listen,
            max_age: raw.max_age,
            service: raw.service,
            certificate: self.certificate(raw.certificate, default.certificate),
        }
    }

    fn certificate(&mut self, raw: RawCertificate, default: Certificate) -> Certificate {
        match (raw.secret_name, raw.directory) {
            (None, None) => default,
            (Some(name), None) => {
                self.object_name("externalMetrics.certificate.secretName", &name);
                Certificate::SelfManaged(name)
            }
            (None, Some(directory)) => {
                self.absolute("externalMetrics.certificate.directory", &directory);
                Certificate::Directory(directory)
            }
            (Some(_), Some(_)) => {
                let why = "secretName and directory are both given; keep one of them";
                self.wrong("externalMetrics.certificate", why);
                default
            }
        }
    }
}
