//! How a command that is run by hand reaches a Kafka cluster.

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
    let mut settings = ClusterSettings::new(&cluster.name, &cluster.bootstrap_servers);
    settings.poll_interval = cluster.poll_interval;
    settings.deadline = cluster.deadline;
    settings.request_timeout = settings.request_timeout.min(cluster.deadline);
    let resolved = cluster.resolved().map_err(|error| WrongInput(error.to_string()))?;
    settings.properties = resolved.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    checked(settings, properties)
}

fn checked(mut settings: ClusterSettings, properties: &[(String, String)]) -> anyhow::Result<ClusterSettings> {
    settings.properties.extend(properties.iter().cloned());
    settings.validate().map_err(|error| WrongInput(error.to_string()))?;
    Ok(settings)
}
