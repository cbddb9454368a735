//! How a command that is run by hand reaches a Kafka cluster.

use crate::app;
use crate::cli::WrongInput;
use crate::config::{Cluster, address};
use crate::kafka::ClusterSettings;

/// A cluster by its addresses.
pub(super) fn inline(servers: &str, properties: &[(String, String)]) -> anyhow::Result<ClusterSettings> {
    servers.split(',').try_for_each(address).map_err(|why| WrongInput(format!("Bootstrap servers: {why}")))?;
    checked(ClusterSettings::new(servers, servers), properties)
}

/// A cluster of the configuration, with further settings.
pub(super) fn configured(cluster: &Cluster, properties: &[(String, String)]) -> anyhow::Result<ClusterSettings> {
    let settings = app::settings_of(cluster).map_err(WrongInput)?;
    checked(settings, properties)
}

fn checked(mut settings: ClusterSettings, properties: &[(String, String)]) -> anyhow::Result<ClusterSettings> {
    settings.properties.extend(properties.iter().cloned());
    settings.validate().map_err(|error| WrongInput(error.to_string()))?;
    Ok(settings)
}
