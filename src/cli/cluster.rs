//! How a command that is run by hand reaches a Kubernetes cluster.

use std::time::Duration;

use kube::Config;

use crate::kubernetes::{ApiClient, client as client_of};

/// Time-out of connecting and of reading. An API server answers a read within milliseconds; a kubeconfig of a cluster that
/// no longer exists must not hold up the command.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A client of the cluster that the environment names and that cluster's address, or why there is none.
pub(super) async fn client() -> anyhow::Result<(ApiClient, String)> {
    let mut config = Config::infer().await?;
    config.connect_timeout = Some(TIMEOUT);
    config.read_timeout = Some(TIMEOUT);
    let address = config.cluster_url.to_string();
    Ok((client_of(config)?, address))
}
