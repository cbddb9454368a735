//! The checks of `paceline doctor` on the Kafka clusters: whether they answer, how connections are secured, and which ACLs
//! are missing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use crate::checks::{CheckResult, Row};
use crate::cli::clusters;
use crate::config::Configuration;
use crate::controller::certificate_warning;
use crate::core::{
    ClusterAnswer, GroupQuery, IsolationLevel, Observation, TopicSelection, Unknown, of_source, printable,
    printable_text, short,
};
use crate::kafka::{ClusterSettings, ConnectionSecurity, KafkaClient, now};
use crate::kubernetes::Key;
use crate::kubernetes::scaledconsumer::{ClusterRef, Validated, ValidatedSource};

/// The names of the checks, as they are printed.
const CLUSTER: &str = "Kafka cluster";
const SECURITY: &str = "Kafka security";
const ACLS: &str = "Kafka ACLs";

/// The group that is asked for where a cluster has no ScaledConsumer; whether it is there does not matter.
const PROBE: &str = "paceline-doctor";

/// Polls each cluster once, for all of its ScaledConsumers. Adds what of their groups can't be read to `problems`.
/// `is_given`: whether there is a configuration; the default one otherwise.
pub(super) async fn check(
    configuration: &Configuration,
    is_given: bool,
    consumers: &[Validated],
    problems: &mut BTreeMap<Key, Vec<String>>,
) -> Vec<Row> {
    let mut by_cluster: BTreeMap<ClusterRef, Vec<(Key, &ValidatedSource)>> =
        configuration.clusters.keys().map(|name| (ClusterRef::Named(name.clone()), Vec::new())).collect();
    for consumer in consumers {
        for source in consumer.sources.iter() {
            by_cluster.entry(source.cluster.clone()).or_default().push((consumer.key(), source));
        }
    }
    let mut rows = Vec::with_capacity(by_cluster.len());
    for (cluster, sources) in by_cluster {
        let name = cluster.to_string();
        let found = match &cluster {
            ClusterRef::Inline(inline) => clusters::of_consumer(inline, &[]).await,
            ClusterRef::Named(named) => match configuration.clusters.get(named) {
                Some(cluster) => clusters::configured(cluster, &[]).await,
                None if !is_given => {
                    let text = format!("\"{named}\" is not known without the controller's configuration.");
                    let row = Row::new(CLUSTER, CheckResult::Skipped, text).todo("Give it by --config FILE.");
                    rows.push(row.about(name));
                    continue;
                }
                None => {
                    let text = format!("\"{named}\" is not in the configuration, and ScaledConsumers name it.");
                    let row = Row::new(CLUSTER, CheckResult::Failed, text).todo("Add it to clusters.");
                    rows.push(row.about(name));
                    continue;
                }
            },
        };
        let of_cluster = match found {
            Ok(found) => poll(&name, found, &sources, problems).await,
            Err(error) => vec![failed(CLUSTER, &format!("{name}: {error:#}."))],
        };
        rows.extend(of_cluster.into_iter().map(|row| row.about(name.as_str())));
    }
    rows
}

fn failed(check: &'static str, text: &str) -> Row {
    Row::new(check, CheckResult::Failed, printable_text(text).to_string())
}

async fn poll(
    cluster: &str,
    settings: ClusterSettings,
    sources: &[(Key, &ValidatedSource)],
    problems: &mut BTreeMap<Key, Vec<String>>,
) -> Vec<Row> {
    let mut client = match KafkaClient::open(settings) {
        Ok(client) => client,
        Err(error) => return vec![failed(CLUSTER, &format!("{cluster}: {error}."))],
    };
    let mut queries: Vec<_> = sources.iter().map(|(_, source)| source.query.clone()).collect();
    if queries.is_empty() {
        // Without a query nothing would be asked.
        queries.push(GroupQuery {
            group: PROBE.to_owned(),
            topics: TopicSelection::OfGroup,
            exclude: None,
            partitions: None,
            isolation: IsolationLevel::default(),
        });
    }
    let observations = client.poll(&queries, now).await;
    let cycle = client.last_cycle();
    if let Some(failure) = &cycle.failure {
        let check = match failure.cluster_answer() {
            ClusterAnswer::AuthenticationFailed { .. } => SECURITY,
            ClusterAnswer::Answers
            | ClusterAnswer::NotAskedYet
            | ClusterAnswer::Refuses
            | ClusterAnswer::Unreachable { .. }
            | ClusterAnswer::TimedOut => CLUSTER,
        };
        return vec![failed(check, &format!("{cluster} can't be read: {failure}."))];
    }
    for ((consumer, source), observation) in sources.iter().zip(&observations) {
        if let Some(text) = unknown(observation) {
            problems.entry(consumer.clone()).or_default().push(of_source(source.name.as_deref(), text));
        }
    }
    let took = short(cycle.duration);
    let text = match sources.len() {
        0 => format!("{cluster} answers; no ScaledConsumer names it."),
        1 => format!("{cluster} answers; one group was read in {took}."),
        count => format!("{cluster} answers; {count} groups were read in {took}."),
    };
    let of_consumers = if sources.is_empty() { &[][..] } else { &observations[..] };
    vec![Row::new(CLUSTER, CheckResult::Ok, text), security(cluster, &client), acls(cluster, of_consumers)]
}

/// TLS and SASL of connections that have been made.
fn security(cluster: &str, client: &KafkaClient) -> Row {
    let ConnectionSecurity { tls, mechanism } = client.security();
    let sasl = mechanism.map_or("no SASL".to_owned(), |mechanism| format!("SASL {mechanism}"));
    let text = format!("{cluster}: {} and {sasl}", if tls { "TLS" } else { "no TLS" });
    match certificate_warning(&client.certificates(), SystemTime::now()) {
        Some(warning) => Row::new(SECURITY, CheckResult::Warning, format!("{text}. {}", warning.message))
            .todo("Renew the certificate."),
        None if tls => Row::new(SECURITY, CheckResult::Ok, format!("{text}; no certificate expires within 14 days.")),
        None => Row::new(SECURITY, CheckResult::Ok, format!("{text}.")),
    }
}

/// The right to describe each group and each topic, by name.
fn acls(cluster: &str, observations: &[Observation]) -> Row {
    if observations.is_empty() {
        let text = format!("{cluster}: no ScaledConsumer names it, so there is no group to ask for.");
        return Row::new(ACLS, CheckResult::Skipped, text);
    }
    let mut missing: BTreeSet<String> = BTreeSet::new();
    let mut commands: BTreeSet<String> = BTreeSet::new();
    for reason in observations.iter().flat_map(Observation::unknown) {
        match reason {
            Unknown::NotAuthorized { resource, name } => {
                let name = printable(name);
                missing.insert(format!("{resource} \"{name}\""));
                commands.insert(format!("--{resource} {name}"));
            }
            Unknown::HiddenTopics { group } => {
                missing.insert(format!("topics that group \"{}\" reads", printable(group)));
            }
            // These are no matter of rights: the row of the ScaledConsumer has them.
            _ => {}
        }
    }
    if !missing.is_empty() {
        let missing = missing.into_iter().collect::<Vec<_>>().join(", ");
        let of = if commands.is_empty() {
            "--topic …".to_owned()
        } else {
            commands.into_iter().collect::<Vec<_>>().join(" ")
        };
        return Row::new(ACLS, CheckResult::Failed, format!("{cluster}: Describe is not allowed on {missing}.")).todo(
            format!("Run: kafka-acls --bootstrap-server … --add --allow-principal User:… --operation Describe {of}"),
        );
    }
    let groups: BTreeSet<&str> = observations.iter().map(|it| it.consumer_group.as_str()).collect();
    let topics: BTreeMap<_, _> =
        observations.iter().flat_map(|it| &it.topics).map(|topic| (&topic.name, topic.config.is_some())).collect();
    let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let (groups, all) = (count(groups.len(), "group"), count(topics.len(), "topic"));
    let text = format!("{cluster}: Describe is allowed on {groups} and {all}");
    let text = if !topics.is_empty() && topics.values().all(|has_config| !has_config) {
        format!("{text}; without DescribeConfigs, which is optional, no topic's retention is known.")
    } else {
        format!("{text}.")
    };
    Row::new(ACLS, CheckResult::Ok, text)
}

/// What could not be read of a group, each reason once.
fn unknown(observation: &Observation) -> Option<String> {
    let mut reasons: Vec<String> = observation.unknown().map(ToString::to_string).collect();
    reasons.sort();
    reasons.dedup();
    (!reasons.is_empty()).then(|| format!("Not everything can be read: {}.", reasons.join("; ")))
}
