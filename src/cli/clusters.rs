//! How a command that is run by hand reaches a Kafka cluster.

use std::time::Duration;

use crate::app;
use crate::cli::WrongInput;
use crate::config::Cluster;
use crate::core::addresses;
use crate::kafka::ClusterSettings;

/// A cluster by its addresses.
pub(super) fn inline(servers: &str, properties: &[(String, String)]) -> anyhow::Result<ClusterSettings> {
    addresses(servers).map_err(|why| WrongInput(format!("Bootstrap servers: {why}")))?;
    checked(ClusterSettings::new(servers, servers), properties, None)
}

/// A cluster of the configuration, with further settings.
pub(super) fn configured(cluster: &Cluster, properties: &[(String, String)]) -> anyhow::Result<ClusterSettings> {
    let settings = app::settings_of(cluster).map_err(WrongInput)?;
    checked(settings, properties, cluster.request_timeout)
}

fn checked(
    mut settings: ClusterSettings,
    properties: &[(String, String)],
    request_timeout: Option<Duration>,
) -> anyhow::Result<ClusterSettings> {
    settings.properties.extend(properties.iter().cloned());
    settings.settle_request_timeout(request_timeout);
    settings.validate().map_err(|error| WrongInput(error.to_string()))?;
    Ok(settings)
}
