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
    // Where the protocol is the wrong one, librdkafka says so only where it reports connections that were closed. (The
    // controller doesn't ask for that: brokers close idle connections all day.)
    settings.properties.entry("log.connection.close".to_owned()).or_insert_with(|| "true".to_owned());
    settings.properties.extend(properties.iter().cloned());
    settings.validate().map_err(|error| WrongInput(error.to_string()))?;
    Ok(settings)
}
