//! How a command reaches a Kafka cluster. Secrets are read once, with the rights of the user.

use std::sync::Arc;

use super::cluster;
use super::outcome::WrongInput;
use crate::config::{Authentication, Cluster, SecretRef};
use crate::controller::{ClusterSecrets, KnownSecret, inline_settings, secret_key, settings_of};
use crate::core::addresses;
use crate::kafka::ClusterSettings;
use crate::kubernetes::scaledconsumer::InlineCluster;
use crate::kubernetes::{ApiClient, Key};

/// A cluster by its addresses.
pub(super) fn inline(servers: &str, properties: &[(String, String)]) -> anyhow::Result<ClusterSettings> {
    check(servers)?;
    checked(ClusterSettings::new(servers, servers), properties)
}

/// A cluster that a ScaledConsumer gives itself.
pub(super) async fn of_consumer(
    cluster: &InlineCluster,
    properties: &[(String, String)],
) -> anyhow::Result<ClusterSettings> {
    let InlineCluster { servers, secret, authority } = cluster;
    check(servers)?;
    let secrets = secrets(secret.clone(), authority.clone()).await?;
    checked(inline_settings(servers, servers, secrets), properties)
}

/// A cluster of the configuration, with further properties.
pub(super) async fn configured(cluster: &Cluster, properties: &[(String, String)]) -> anyhow::Result<ClusterSettings> {
    // A reference without a namespace means the controller's.
    let key = |reference: &SecretRef| secret_key(reference, CONTROLLER);
    let Authentication { secret, authority } = &cluster.authentication;
    let secrets = secrets(secret.as_ref().map(key), authority.as_ref().map(key)).await?;
    checked(settings_of(cluster, secrets), properties)
}

/// The namespace that the manifests install the controller into.
const CONTROLLER: &str = "paceline";

/// The Secrets, read once.
pub(super) async fn secrets(secret: Option<Key>, authority: Option<Key>) -> anyhow::Result<ClusterSecrets> {
    if secret.is_none() && authority.is_none() {
        return Ok(ClusterSecrets::default());
    }
    let (client, _) = cluster::client().await.map_err(|error| {
        let todo = "take the Secret's values into a file and name it in propertyFiles, or give --property";
        WrongInput(format!(
            "The credentials are in a Secret, and no Kubernetes cluster can be reached ({error}); {todo}"
        ))
    })?;
    Ok(ClusterSecrets { secret: read(&client, secret).await, authority: read(&client, authority).await })
}

async fn read(client: &ApiClient, key: Option<Key>) -> Option<Arc<KnownSecret>> {
    match key {
        Some(key) => Some(KnownSecret::read(client, key).await),
        None => None,
    }
}

fn check(servers: &str) -> anyhow::Result<()> {
    addresses(servers).map_err(|why| WrongInput(format!("Bootstrap servers: {why}")))?;
    Ok(())
}

fn checked(mut settings: ClusterSettings, properties: &[(String, String)]) -> anyhow::Result<ClusterSettings> {
    if properties.iter().any(|(key, _)| key.is_empty()) {
        return Err(WrongInput("--property: write KEY=VALUE, for example security.protocol=SSL".to_owned()).into());
    }
    settings.properties.extend(properties.iter().cloned());
    settings.validate().map_err(|error| WrongInput(error.to_string()))?;
    Ok(settings)
}
