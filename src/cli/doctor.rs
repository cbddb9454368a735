//! `paceline doctor`: what the controller needs, checked one by one, with what to do. This file runs the
//! checks and prints their rows.

mod consumers;
mod kafka;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};

use super::cluster;
use super::outcome::Outcome;
use super::output::{Output, print};
use super::process::runtime;
use crate::checks::{CheckResult, Row};
use crate::columns::lines;
use crate::config::{Authentication, Certificate, Cluster, Configuration, ExternalMetrics, SecretRef};
use crate::controller::secret_key;
use crate::kubernetes::diagnosis::{self, Installation, KafkaSecret, NeededRight};
use crate::kubernetes::{Key, Timestamp};
use crate::serve::external_metrics::diagnosis::{self as external_metrics, ExternalMetricsCheck};
use crate::serve::external_metrics::{API_SERVICE, ServiceName};

const EXAMPLES: &str = "Examples:
  With the configuration that the controller has:
    paceline doctor --config paceline.yaml
  Of an installation in another namespace, for a program:
    paceline doctor -n autoscaling -o json";

/// What `doctor` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DoctorArguments {
    /// The controller's configuration file: what is enabled, and the names of the Service and the Secrets.
    #[arg(long, value_name = "FILE", env = "PACELINE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// The controller's namespace.
    #[arg(short, long, value_name = "NAMESPACE", default_value = "paceline")]
    namespace: String,
    /// The Service of external metrics, instead of the one that the configuration names.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// How to print.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// The width of the table where that of the terminal is not known, in characters.
const WIDTH: u16 = 110;

pub(super) fn run(arguments: &DoctorArguments) -> anyhow::Result<Outcome> {
    let given = arguments.config.as_deref().map(Configuration::read).transpose()?;
    let is_given = given.is_some();
    let configuration = given.unwrap_or_default();
    let secrets = kafka_secrets(&configuration, &arguments.namespace);
    let meant = meant(arguments, &configuration, is_given);
    let installed = installation(arguments, &configuration, &secrets, &meant);
    let rows = runtime()?.block_on(async {
        let (client, address) = match cluster::client().await {
            Ok(found) => found,
            Err(error) => return without_api_server(diagnosis::unreachable("the kubeconfig", &error.to_string())),
        };
        let api_server = diagnosis::api_server(&client, &address).await;
        if api_server.verdict == CheckResult::Failed {
            return without_api_server(api_server);
        }
        // Causes before their effects.
        let mut rows = vec![api_server];
        rows.extend(diagnosis::installation(&client, &installed).await);
        rows.extend(diagnosis::kafka_secrets(&client, &secrets).await);
        // Kafka can be asked where there are no ScaledConsumers yet.
        rows.extend(if diagnosis::has_definition(&rows) {
            consumers::check(&client, &configuration, is_given).await
        } else {
            kafka::check(&configuration, is_given, &[], &mut BTreeMap::new()).await
        });
        rows.extend(external_metrics::check(&client, &meant).await);
        rows
    });
    print(&match arguments.output {
        Output::Table => table(&rows),
        Output::Json => serde_json::to_string_pretty(&rows)? + "\n",
    })?;
    let failed = rows.iter().any(|row| row.verdict == CheckResult::Failed);
    Ok(if failed { Outcome::Partly } else { Outcome::Fine })
}

/// What the configuration wants. Without one it is not known whether external metrics are wanted.
fn meant(arguments: &DoctorArguments, configuration: &Configuration, is_given: bool) -> ExternalMetricsCheck {
    let ExternalMetrics { enabled, service, certificate, .. } = configuration.external_metrics.clone();
    ExternalMetricsCheck {
        enabled: is_given.then_some(enabled),
        service: ServiceName {
            namespace: service.namespace.unwrap_or_else(|| arguments.namespace.clone()),
            name: arguments.service.clone().unwrap_or(service.name),
        },
        secret: match certificate {
            Certificate::SelfManaged(name) => Some(name),
            Certificate::Directory(_) => None,
        },
        namespace: arguments.namespace.clone(),
        now: Timestamp::now(),
    }
}

/// The Secrets that the configuration's clusters name, each once for each cluster.
fn kafka_secrets(configuration: &Configuration, namespace: &str) -> Vec<KafkaSecret> {
    let of = |cluster: &Cluster, reference: &SecretRef, is_authority| KafkaSecret {
        cluster: cluster.settings.name.clone(),
        key: secret_key(reference, namespace),
        is_authority,
    };
    let mut all = Vec::new();
    for cluster in configuration.clusters.values() {
        let Authentication { secret, authority } = &cluster.authentication;
        all.extend(secret.as_ref().map(|reference| of(cluster, reference, false)));
        all.extend(authority.as_ref().map(|reference| of(cluster, reference, true)));
    }
    all
}

/// What is meant to be installed.
fn installation(
    arguments: &DoctorArguments,
    configuration: &Configuration,
    secrets: &[KafkaSecret],
    external_metrics: &ExternalMetricsCheck,
) -> Installation {
    let Configuration { leader_election, watch_namespaces, .. } = configuration;
    let lease = leader_election.enabled.then(|| Key {
        namespace: leader_election.namespace.clone().unwrap_or_else(|| arguments.namespace.clone()),
        name: leader_election.lease_name.clone(),
    });
    Installation {
        namespace: arguments.namespace.clone(),
        lease,
        watched: watch_namespaces.clone(),
        more_rights: more_rights(configuration, secrets, external_metrics),
        now: Timestamp::now(),
    }
}

/// The rights that the configuration asks for beyond those of `manifests/base`.
fn more_rights(
    configuration: &Configuration,
    secrets: &[KafkaSecret],
    external_metrics: &ExternalMetricsCheck,
) -> Vec<NeededRight> {
    let cluster_wide = |group, resource, verb| NeededRight { group, resource, verb, namespace: None, name: None };
    let on_secret = |key: &Key, verb| NeededRight {
        group: "",
        resource: "secrets",
        verb,
        namespace: Some(key.namespace.clone()),
        name: Some(key.name.clone()),
    };
    let mut rights = Vec::new();
    if let Some(authentication) = configuration.page.as_ref().and_then(|page| page.authentication.as_ref()) {
        if authentication.token_audiences.is_some() {
            rights.push(cluster_wide("authentication.k8s.io", "tokenreviews", "create"));
        }
        rights.push(cluster_wide("authorization.k8s.io", "subjectaccessreviews", "create"));
    }
    for secret in secrets {
        rights.extend(["list", "watch"].map(|verb| on_secret(&secret.key, verb)));
    }
    if external_metrics.enabled == Some(true) {
        rights.extend(["list", "watch", "patch"].map(|verb| NeededRight {
            name: Some(API_SERVICE.to_owned()),
            ..cluster_wide("apiregistration.k8s.io", "apiservices", verb)
        }));
        if let Some(name) = &external_metrics.secret {
            let key = Key { namespace: external_metrics.namespace.clone(), name: name.clone() };
            rights.extend(["list", "watch", "update"].map(|verb| on_secret(&key, verb)));
            rights.push(NeededRight { name: None, ..on_secret(&key, "create") });
        }
    }
    rights
}

fn without_api_server(row: Row) -> Vec<Row> {
    let mut rows = vec![row];
    rows.extend(external_metrics::skipped("The API server can't be reached."));
    rows
}

fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["CHECK", "VERDICT", "FOUND"]);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if table.width().is_none_or(|width| width > WIDTH) {
        table.set_width(WIDTH);
    }
    for row in rows {
        let todo = row.todo.as_ref().map_or(String::new(), |todo| format!("\n-> {todo}"));
        table.add_row([row.check, row.verdict.name(), &format!("{}{todo}", row.text)]);
    }
    let lines = lines(&table).collect::<Vec<_>>();
    let failed = rows.iter().filter(|row| row.verdict == CheckResult::Failed).count();
    let summary = match failed {
        0 => "Nothing failed.".to_owned(),
        1 => "One check failed.".to_owned(),
        count => format!("{count} checks failed."),
    };
    format!("{}\n\n{summary}\n", lines.join("\n"))
}
