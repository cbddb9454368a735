//! Validates a ScaledConsumer and converts it to what the engine and the poller take. It needs no cluster, so objects
//! from files and from the API server are checked alike. Each problem names its field, what is wrong and what to do.

mod connector;
mod policy;
mod problems;
mod source;

use std::sync::Arc;

use kube::ResourceExt;

use crate::core;
use crate::core::{Bounds, Pause};
use crate::kubernetes::scaledconsumer::resource::{Mode, ScaledConsumer, ScaledConsumerSpec};
use crate::kubernetes::{Key, TargetRef};
pub use connector::ConnectRef;
pub use problems::InvalidConsumer;
use problems::Problems;
pub use source::{ClusterRef, InlineCluster, ValidatedSource, ValidatedSources};

/// A valid ScaledConsumer, with everything resolved that needs no cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    /// The object's namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The workload that is scaled, in the same namespace.
    pub target: TargetRef,
    /// The workers that run it, where it is a connector that Connect's REST API changes.
    pub connect: Option<ConnectRef>,
    /// What is done with a decision.
    pub mode: Mode,
    /// What the workload reads.
    pub sources: ValidatedSources,
    /// The original spec.
    pub spec: Arc<ScaledConsumerSpec>,
}

impl Validated {
    /// The object's namespace and name.
    pub fn key(&self) -> Key {
        Key { namespace: self.namespace.clone(), name: self.name.clone() }
    }

    /// The least and the most replicas.
    pub fn bounds(&self) -> Bounds {
        self.sources.first().policy.bounds
    }

    /// The pause by annotation.
    pub fn pause(&self) -> Option<Pause> {
        self.sources.first().policy.pause
    }

    /// Whether its replicas are the tasks of a connector.
    pub fn is_connector(&self) -> bool {
        connector::kind(&self.target).is_some()
    }
}

/// Checks a ScaledConsumer. The API server has already checked most of it; files are unchecked.
pub fn validate(object: &ScaledConsumer) -> Result<Validated, InvalidConsumer> {
    let mut problems = Problems::default();
    let name = object.name_any();
    if name.is_empty() {
        problems.add("metadata.name", "is missing");
    } else {
        problems.check("metadata.name", core::check_object_name(&name));
    }
    let namespace = object.namespace().unwrap_or_else(|| "default".into());
    problems.check("metadata.namespace", core::check_label_name(&namespace));
    labels(object, &mut problems);
    let spec = &object.spec;
    let target = TargetRef {
        api_version: spec.scale_target_ref.api_version.clone(),
        kind: spec.scale_target_ref.kind.clone(),
        name: spec.scale_target_ref.name.clone(),
    };
    problems.check("spec.scaleTargetRef.apiVersion", check_api_version(&target));
    problems.check("spec.scaleTargetRef.kind", check_kind(&target.kind));
    let is_name = if connector::is_rest(&target) { core::check_connector_name } else { core::check_object_name };
    problems.check("spec.scaleTargetRef.name", is_name(&target.name));
    connector::check(object, &target, &mut problems);
    let connect = connector::workers(spec.connect.as_ref(), &target, &namespace, &mut problems);
    match (source::sources(object, &namespace, &mut problems), problems.0.is_empty()) {
        (Some(sources), true) => {
            Ok(Validated { namespace, name, target, connect, mode: spec.mode, sources, spec: Arc::new(spec.clone()) })
        }
        _ => Err(InvalidConsumer { problems: problems.0 }),
    }
}

fn labels(object: &ScaledConsumer, problems: &mut Problems) {
    for (key, value) in object.labels() {
        problems.check("metadata.labels", core::check_label_key(key));
        let value = core::check_label_value(value);
        problems.check("metadata.labels", value.map_err(|why| format!("{}: {why}", core::printable(key))));
    }
    for key in object.annotations().keys() {
        problems.check("metadata.annotations", core::check_label_key(key));
    }
}

/// A group is a DNS subdomain, and a version a part of one. Both become parts of URLs.
fn check_api_version(target: &TargetRef) -> Result<(), String> {
    let is_group = !target.api_version.contains('/') || core::check_object_name(target.group()).is_ok();
    let version = target.version();
    let is_version = version.len() <= 63
        && version.starts_with('v')
        && version.len() > 1
        && version.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if is_group && is_version {
        return Ok(());
    }
    let given = core::printable(&target.api_version);
    Err(format!("\"{given}\" is not an API group and version; write for example apps/v1"))
}

fn check_kind(kind: &str) -> Result<(), String> {
    let is_kind = kind.len() <= 63
        && kind.starts_with(|c: char| c.is_ascii_uppercase())
        && kind.bytes().all(|c| c.is_ascii_alphanumeric());
    if is_kind {
        return Ok(());
    }
    Err(format!("\"{}\" is not a kind; write for example Deployment", core::printable(kind)))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::time::Duration;

    use super::*;
    use crate::core::{Bounds, Objective, Pause, Policy, RecordsPerSecond, Replicas, Rule};
    use crate::kubernetes::scaledconsumer::manifest;
    use crate::yaml::Source;

    /// A ScaledConsumer of which one line is replaced.
    fn with(line: &str, instead: &str) -> Result<Validated, String> {
        const WHOLE: &str = "
apiVersion: paceline.dev/v1alpha1
kind: ScaledConsumer
metadata:
  name: orders
  annotations: {}
spec:
  scaleTargetRef: {name: orders-worker}
  minReplicas: 1
  maxReplicas: 24
  kafka:
    cluster: main
    consumerGroup: orders
    topics: [orders]
  policy: {lagPerReplica: 1000}
  behavior: {}
  idle: {}
  fallback: {}
";
        assert!(WHOLE.contains(line), "{line}");
        let source = Source { name: "orders.yaml".into(), text: WHOLE.replace(line, instead) };
        let mut found = manifest::parse(&source).map_err(|invalid| invalid.to_string())?;
        Ok(found.consumers.pop().expect("one document"))
    }

    #[test]
    fn every_problem_names_its_field_and_what_to_do() {
        // What is replaced, by what (`;;` is a line break), and the problem.
        const ROWS: &str = r#"
  name: orders =>   labels: {} => metadata.name: is missing
minReplicas: 1 => minReplicas: 25 => spec.minReplicas: minReplicas is 25, above maxReplicas, which is 24
minReplicas: 1 => minReplicas: -1 => spec.minReplicas: is -1; it must be between 0 and 10000
maxReplicas: 24 => maxReplicas: 0 => spec.maxReplicas: maxReplicas is 0; leave it out
maxReplicas: 24 => threadsPerReplica: 0 => spec.threadsPerReplica: is 0
cluster: main => cluster: '' => spec.kafka.cluster: is empty
cluster: main => offsetReset: latest => spec.kafka: has neither cluster
cluster: main => {cluster: main, bootstrapServers: 'a:9092'} => mapping
topics: [orders] => bootstrapServers: a:9092 => spec.kafka: has both cluster and bootstrapServers
topics: [orders] => authentication: {secretRef: {name: a}} => spec.kafka.authentication: goes with bootstrapServers only
cluster: main => {bootstrapServers: 'a:9092', authentication: {}} => mapping
topics: [orders] => topics: [] => spec.kafka.topics: is empty; name topics
topics: [orders] => topics: [orders, ''] => spec.kafka.topics[1]: is empty
topics: [orders] => topics: ['a,b'] => spec.kafka.topics[0]: "a,b" looks like several topics
topics: [orders] => topics: ['a '] => spec.kafka.topics[0]: "a " ends with a blank; leave it out
topics: [orders] => topicPattern: '' => spec.kafka.topicPattern: is empty
topics: [orders] => topicPattern: '(?!.*dlq).*' => spec.kafka.topicPattern: uses look-around
topics: [orders] => topicPattern: 'one)|(pay' => spec.kafka.topicPattern: is not a regular expression
topics: [orders] => topicExclude: '((((a{9}){9}){9}){9}){9}' => spec.kafka.topicExclude: needs more than 48 KiB
topics: [orders] => topicPattern: 'a**' => spec.kafka.topicPattern: repeats a repetition
consumerGroup: orders => consumerGroup: "a\n" => spec.kafka.consumerGroup: "a\n" ends with a line break
topics: [orders] => topicPattern: 'orders(' => spec.kafka.topicPattern: is not a regular expression
topics: [orders] => partitions: 3-1 => spec.kafka.partitions: the range 3-1 runs backwards
consumerGroup: orders => consumerGroup: '' => spec.kafka.consumerGroup: is empty
lagPerReplica: 1000 => lagPerReplica: 0 => spec.policy.lagPerReplica: is 0; it must be at least 1 record
lagPerReplica: 1000 => lagPerReplica: 1000, timeLag: {objective: 60s} => spec.policy: has both timeLag and lagPerReplica; keep one of them
lagPerReplica: 1000 => timeLag: {objective: soon} => spec.policy.timeLag.objective: "soon" is not a duration
lagPerReplica: 1000 => timeLag: {objective: 500ms} => spec.policy.timeLag.objective: is 500ms; it must be at least 1s
lagPerReplica: 1000 => timeLag: {objective: 60s, recovery: 2m} => spec.policy.timeLag.recovery: unknown field
idle: {} => capacityPerReplica: 0 => spec.capacityPerReplica: is 0; it must be above 0
lagPerReplica: 1000 => lagPerReplica: 1, lagperReplica: 2 => spec.policy.lagperReplica: unknown field; did you mean "lagPerReplica"?
behavior: {} => behavior: {scaleDown: {stabilizationWindowSeconds: 3601}} => spec.behavior.scaleDown.stabilizationWindowSeconds: is 3601; it must be between 0 and 3600
behavior: {} => behavior: {scaleUp: {policies: [{type: Pods, value: 0, periodSeconds: 60}]}} => spec.behavior.scaleUp.policies[0].value: is 0
idle: {} => idle: {after: soon} => spec.idle.after: "soon" is not a duration
idle: {} => idle: {after: 25h} => spec.idle.after: is 25h; it must be at most 24h
idle: {} => idle: {activationLag: -1} => spec.idle.activationLag: is -1; it must not be negative
fallback: {} => fallback: {policy: Exactly} => spec.fallback.replicas: is missing
fallback: {} => fallback: {replicas: 2} => spec.fallback.replicas: has no meaning with policy Hold
fallback: {} => fallback: {policy: AtLeast, replicas: 30} => spec.fallback.replicas: is 30, outside of minReplicas to maxReplicas
annotations: {} => annotations: {paceline.dev/paused-replicas: many} => metadata.annotations: paceline.dev/paused-replicas is "many", which is not a number
behavior: {} => schedules: [{cron: 0 8 * * *, duration: 10h, minReplicas: 25}] => spec.schedules[0].minReplicas: is 25, above maxReplicas, which is 24
behavior: {} => schedules: [{cron: 0 8 * * *, duration: 10h, minReplicas: 0}] => spec.schedules[0].minReplicas: is 0; it must be between 1 and 10000
behavior: {} => schedules: [{cron: 0 8 * *, duration: 10h, minReplicas: 2}] => spec.schedules[0].cron: "0 8 * *" has 4 fields; a cron expression takes five
behavior: {} => schedules: [{cron: 0 8 * * *, timeZone: CET+2, duration: 10h, minReplicas: 2}] => spec.schedules[0].timeZone: "CET+2" is no time zone
behavior: {} => schedules: [{cron: 0 8 * * *, duration: 25h, minReplicas: 2}] => spec.schedules[0].duration: is 25h; it must be at most 24h
behavior: {} => schedules: [{cron: 0 8 * * *, duration: 0s, minReplicas: 2}] => spec.schedules[0].duration: is 0
behavior: {} => schedules: [{cron: 0 8 * * *, minReplicas: 2}] => spec.schedules[0]: missing field `duration`
topics: [orders] => topics: [a];;    topicExclude: b => spec.kafka.topicExclude: has no meaning with topics
behavior: {} => sources: [{name: a, kafka: {cluster: main, consumerGroup: g}}] => spec: has both kafka and sources; keep one of them
"#;
        let rows = ROWS.trim_matches('\n').lines().map(|row| row.split(" => ").collect::<Vec<_>>());
        for row in rows {
            let [line, instead, expected] = row[..] else { panic!("{row:?}") };
            let error = with(line, &instead.replace(";;", "\n")).expect_err(instead);
            assert!(error.contains(expected), "{instead}\n expected {expected}\n got      {error}");
        }
    }

    #[test]
    fn each_source_has_its_own_name_its_own_kafka_and_what_differs_of_the_policy() {
        const KAFKA: &str = "  kafka:\n    cluster: main\n    consumerGroup: orders\n    topics: [orders]\n";
        let sources = |first: &str, more: &str| {
            let second = "{name: b, kafka: {cluster: main, consumerGroup: h}, policy: {timeLag: {objective: 5m}}, threadsPerReplica: 4, capacityPerReplica: 7}";
            with(KAFKA, &format!("  sources: [{{{first}}}, {second}{more}]\n"))
        };
        let valid = sources("name: a, kafka: {bootstrapServers: 'a:1', consumerGroup: g}", "").expect("valid");
        let rule = Rule::LagPerReplica(NonZeroU64::new(1000).expect("not zero"));
        let common = Policy::new(rule, valid.bounds());
        let objective = Objective::new(Duration::from_secs(300)).expect("possible");
        let own = Policy {
            threads_per_replica: 4.try_into().expect("not zero"),
            capacity_hint: Some(RecordsPerSecond(7.0)),
            ..Policy::new(Rule::TimeLag(objective), valid.bounds())
        };
        let of = |at: usize| (valid.sources[at].name.as_deref(), valid.sources[at].query.group.as_str());
        assert_eq!((of(0), of(1)), ((Some("a"), "g"), (Some("b"), "h")));
        assert_eq!((&valid.sources[0].policy, &valid.sources[1].policy), (&common, &own));
        let rows = [
            ("name: b, kafka: {cluster: main, consumerGroup: g}", "", "spec.sources[1].name: \"b\" is given twice"),
            ("name: A, kafka: {cluster: main, consumerGroup: g}", "", "spec.sources[0].name: "),
            ("name: a, kafka: {consumerGroup: g}", "", "spec.sources[0].kafka: has neither cluster"),
            (
                "name: a, kafka: {cluster: main, consumerGroup: g, topics: [x, x]}",
                "",
                "spec.sources[0].kafka.topics[1]: \"x\" is given twice",
            ),
            (
                "name: a, kafka: {cluster: main, consumerGroup: g}, policy: {lagPerReplica: 0}",
                "",
                "spec.sources[0].policy.lagPerReplica: is 0",
            ),
            (
                "name: a, kafka: {cluster: main, consumerGroup: g}, capacityPerReplica: -1",
                "",
                "spec.sources[0].capacityPerReplica: is -1",
            ),
            (
                "name: a, kafka: {cluster: main, consumerGroup: g}, threadsPerReplica: 0",
                "",
                "spec.sources[0].threadsPerReplica: is 0",
            ),
        ];
        for (first, more, expected) in rows {
            let error = sources(first, more).expect_err(first);
            assert!(error.contains(expected), "{first}\n expected {expected}\n got      {error}");
        }
        let alone = with(KAFKA, "  sources: [{name: a, kafka: {cluster: main, consumerGroup: g}}]\n").expect_err("one");
        assert!(alone.contains("spec.sources: has 1 items; it can have 2 to 8"), "{alone}");
        let none = with(KAFKA, "").expect_err("none");
        assert!(none.contains("spec: has neither kafka (a consumer group) nor sources"), "{none}");
    }

    #[test]
    fn what_a_kafka_connector_cannot_do_is_refused() {
        let connector = |version: &str, more: &str| {
            let target = format!("{{apiVersion: kafka.strimzi.io/{version}, kind: KafkaConnector, name: orders}}");
            with("{name: orders-worker}\n  minReplicas: 1", &format!("{target}\n  {more}"))
        };
        let rows = [
            ("minReplicas: 0", "spec.minReplicas: is 0, and a KafkaConnector has at least 1 task; set 1 or more"),
            ("mode: Metrics", "spec.mode: is Metrics, and an HPA can't scale a KafkaConnector"),
            ("threadsPerReplica: 2", "spec.threadsPerReplica: is 2, and each task of a KafkaConnector is one member"),
        ];
        for (more, expected) in rows {
            let error = connector("v1", more).expect_err(more);
            assert!(error.contains(expected), "{more}\n expected {expected}\n got      {error}");
        }
        for (version, more) in [("v1", "minReplicas: 1"), ("v1beta2", "mode: DryRun")] {
            assert_eq!(connector(version, more).expect("valid").target.kind, "KafkaConnector");
        }
        let rest = |name: &str, more: &str| {
            let target = format!("{{apiVersion: connect.paceline.dev/v1alpha1, kind: Connector, name: {name}}}");
            with("{name: orders-worker}\n  minReplicas: 1", &format!("{target}\n  {more}"))
        };
        const URL: &str = "connect: {url: 'https://connect.kafka.svc:8083'}";
        let rows = [
            ("orders", "minReplicas: 0", "spec.minReplicas: is 0, and a connector has at least 1 task; set 1 or more"),
            ("orders", "mode: Metrics", "spec.mode: is Metrics, and an HPA can't scale a connector"),
            ("orders", "threadsPerReplica: 2", "spec.threadsPerReplica: is 2, and each task of a connector is one"),
            ("orders", "mode: Scale", "spec.connect: is missing; give the REST API of the workers as connect.url"),
            ("orders", "connect: {url: 'connect:8083'}", "spec.connect.url: does not begin with https:// or http://"),
            ("a/b", URL, "spec.scaleTargetRef.name: \"a/b\" is no name"),
            ("..", URL, "spec.scaleTargetRef.name: \"..\" is no name"),
            (
                "orders",
                "connect: {url: 'http://connect:8083', caSecretRef: {name: ca}}",
                "spec.connect.caSecretRef: goes with https:// only",
            ),
        ];
        for (name, more, expected) in rows {
            let error = rest(name, more).expect_err(more);
            assert!(error.contains(expected), "{more}\n expected {expected}\n got      {error}");
        }
        let of = rest("Orders_Sink", URL).expect("valid").connect.expect("workers");
        assert_eq!((of.url.to_string().as_str(), of.secret), ("https://connect.kafka.svc:8083", None));
        let error = with("minReplicas: 1", URL).expect_err("a Deployment");
        assert!(error.contains("spec.connect: goes with a connector only; set apiVersion connect.paceline"), "{error}");
        // Somebody else's kind of the same name may be able to.
        let other = "{apiVersion: example.dev/v1, kind: KafkaConnector, name: orders}\n  minReplicas: 0";
        with("{name: orders-worker}\n  minReplicas: 1", other).expect("valid");
    }

    /// Names become parts of URLs: one with a path or a query in it would be another object.
    #[test]
    fn names_are_those_that_kubernetes_can_have() {
        let target = |field: &str, value: &str| {
            let name = if field == "name" { "" } else { "name: w, " };
            with("{name: orders-worker}", &format!("{{{name}{field}: {value:?}}}"))
        };
        let long = "a".repeat(254);
        for name in ["w?", "../../victim/deployments/w", "a/b", "W", "", "a_b", "-a", "a.", "a..b", "%2e", "ö", &long]
        {
            let error = target("name", name).expect_err(name);
            assert!(error.contains("spec.scaleTargetRef.name: "), "{name}: {error}");
        }
        for (field, value) in [
            ("kind", ""),
            ("kind", "deployment"),
            ("kind", "Deployment/x"),
            ("kind", "My-Kind"),
            ("apiVersion", ""),
            ("apiVersion", "apps"),
            ("apiVersion", "apps/v1/x"),
            ("apiVersion", "../v1"),
            ("apiVersion", "apps/v1?"),
            ("apiVersion", "/v1"),
            ("apiVersion", "Apps/v1"),
        ] {
            let error = target(field, value).expect_err(value);
            assert!(error.contains(&format!("spec.scaleTargetRef.{field}: \"{value}\" is not a")), "{value}: {error}");
        }
        for (field, value) in [
            ("name", "w"),
            ("name", "0-a.b-1"),
            ("kind", "StatefulSet"),
            ("kind", "Kind2"),
            ("apiVersion", "v1"),
            ("apiVersion", "apps/v1"),
            ("apiVersion", "argoproj.io/v1alpha1"),
        ] {
            target(field, value).expect(value);
        }
        for (line, instead, field) in [
            ("  name: orders\n", "  name: Orders\n", "metadata.name"),
            ("  name: orders\n", "  name: orders\n  namespace: a.b\n", "metadata.namespace"),
            ("cluster: main", "cluster: 'main/'", "spec.kafka.cluster"),
        ] {
            let error = with(line, instead).expect_err(instead);
            assert!(error.contains(&format!("{field}: ")) && error.contains(" is no name: "), "{instead}: {error}");
        }
    }

    #[test]
    fn defaults_are_those_of_the_engine() {
        let validated = with("maxReplicas: 24", "").expect("valid");
        let rule = Rule::LagPerReplica(NonZeroU64::new(1000).expect("not zero"));
        let bounds = Bounds::new(1, None).expect("possible");
        assert_eq!(validated.sources.first().policy, Policy::new(rule, bounds));
        assert_eq!(validated.namespace, "default");

        let time_lag = |seconds| Rule::TimeLag(Objective::new(Duration::from_secs(seconds)).expect("possible"));
        let rows = [
            ("", time_lag(60)),
            ("  policy: {}", time_lag(60)),
            ("  policy: {timeLag: {}}", time_lag(60)),
            ("  policy: {timeLag: {objective: 5m}}", time_lag(300)),
        ];
        for (text, rule) in rows {
            let policy = with("  policy: {lagPerReplica: 1000}", text).expect("valid").sources.first().policy.clone();
            let bounds = Bounds::new(1, Some(24)).expect("possible");
            assert_eq!(policy, Policy::new(rule, bounds), "{text}");
        }
        let hinted = with("behavior: {}", "capacityPerReplica: 100").expect("valid").sources.first().policy.clone();
        assert_eq!(hinted.capacity_hint, Some(RecordsPerSecond(100.0)));
    }

    #[test]
    fn the_pause_annotations_are_read() {
        let rows = [
            ("{}", None),
            ("{paceline.dev/paused: ''}", Some(Pause::AsIs)),
            ("{paceline.dev/paused: 'true'}", Some(Pause::AsIs)),
            ("{paceline.dev/paused: 'false'}", None),
            ("{paceline.dev/paused-replicas: '3'}", Some(Pause::At(Replicas(3)))),
            ("{paceline.dev/paused: 'true', paceline.dev/paused-replicas: '0'}", Some(Pause::At(Replicas(0)))),
        ];
        for (annotations, expected) in rows {
            let validated = with("annotations: {}", &format!("annotations: {annotations}")).expect("valid");
            assert_eq!(validated.sources.first().policy.pause, expected, "{annotations}");
        }
    }
}
