//! The checks of `paceline doctor` in the cluster: whether the API server answers, what is installed, and whether the
//! Secrets with Kafka's credentials can be used. It uses the rights of its user and writes nothing.

mod installation;
mod objects;

use crate::checks::{CheckResult, Row};
use crate::kubernetes::kafka_secret::{self, Origin, SecretState, authority_of_secret, properties_of_secret};
use crate::kubernetes::{ApiClient, CallError, Key, Lane};

pub use installation::{Installation, NeededRight, has_definition, installation};
pub use objects::{autoscalers, scaled_consumers};

/// A Secret that a Kafka cluster of the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSecret {
    /// The cluster's name.
    pub cluster: String,
    /// The Secret.
    pub key: Key,
    /// Whether it only holds the brokers' CA certificate.
    pub is_authority: bool,
}

/// The names of the checks, as they are printed.
const KAFKA_SECRET: &str = "Kafka Secret";
const API_SERVER: &str = "API server";

/// Checks that the API server at `address` answers.
pub async fn api_server(client: &ApiClient, address: &str) -> Row {
    match client.call(Lane::Other, client.kube.apiserver_version()).await {
        Ok(version) => Row::new(API_SERVER, CheckResult::Ok, format!("{address} answers as {}.", version.git_version)),
        Err(error) => unreachable(address, &error.to_string()),
    }
}

/// The row for an API server that can't be reached.
pub fn unreachable(address: &str, why: &str) -> Row {
    let text = format!("Tried {address}, which failed: {}.", why.trim_end_matches('.'));
    Row::new(API_SERVER, CheckResult::Failed, text)
        .todo("Check the kubeconfig (KUBECONFIG or ~/.kube/config), that its address is reachable from this machine, and that its credentials are not expired.")
}

/// Checks that the Secrets with Kafka's credentials can be used; a row for each.
pub async fn kafka_secrets(client: &ApiClient, secrets: &[KafkaSecret]) -> Vec<Row> {
    let mut rows = Vec::with_capacity(secrets.len());
    for secret in secrets {
        let row = kafka_secret(secret, &kafka_secret::read(client, &secret.key).await);
        rows.push(row.about(secret.cluster.as_str()));
    }
    rows
}

fn kafka_secret(secret: &KafkaSecret, state: &SecretState) -> Row {
    let KafkaSecret { cluster, key: Key { namespace, name }, is_authority } = secret;
    let what = format!("Secret {namespace}/{name} of the Kafka cluster \"{cluster}\"");
    let content = match state {
        SecretState::Forbidden(why) => {
            let text = format!("Can't read {what}: {}.", why.trim_end_matches('.'));
            return Row::new(KAFKA_SECRET, CheckResult::Skipped, text).todo("Run this as a user who may read it.");
        }
        SecretState::NotReadYet | SecretState::Missing | SecretState::Unreadable(_) | SecretState::Read(_) => {
            state.content()
        }
    };
    let given = content.and_then(|content| {
        if *is_authority {
            return authority_of_secret(&content.data).map(|_| "the brokers' authority".to_owned());
        }
        let found = properties_of_secret(name, &content.kind, &content.data, Origin::Configuration)?;
        let names: Vec<_> = found.properties.keys().chain(found.defaults.keys()).map(String::as_str).collect();
        let unused = found.unused_text();
        let unused = if unused.is_empty() { unused } else { format!("; not used: {unused}") };
        Ok(format!("{}{unused}", names.join(", ")))
    });
    match given {
        Ok(given) => Row::new(KAFKA_SECRET, CheckResult::Ok, format!("{what} gives {given}.")),
        Err(why) => Row::new(KAFKA_SECRET, CheckResult::Failed, format!("{what} {why}."))
            .todo("docs/credentials.md has what a Secret may hold."),
    }
}

/// The row for an object that could not be read: skipped where rights are missing, otherwise failed.
pub(crate) fn unread(check: &'static str, what: &str, error: &CallError) -> Row {
    let text = format!("Can't read {what}: {}.", error.to_string().trim_end_matches('.'));
    match error {
        CallError::Forbidden(_) => {
            Row::new(check, CheckResult::Skipped, text).todo("Run this as a user who may read it.")
        }
        CallError::NotFound(_)
        | CallError::Conflict(_)
        | CallError::TimedOut(_)
        | CallError::NoPermit(_)
        | CallError::Invalid(_)
        | CallError::Other(_) => {
            Row::new(check, CheckResult::Failed, text).todo("Try again; if it stays, see the API server's log.")
        }
    }
}
