//! Which clusters are one, which are refused, and how many a namespace may have. No broker is contacted.

use super::*;
use crate::core::{Bounds, GroupQuery, IsolationLevel, Objective, Policy, Rule, TopicSelection};

fn clusters(most: usize) -> Clusters {
    let configuration = Configuration {
        allow_bootstrap_servers: ["*.kafka.svc:9092", "127.0.0.1:*"]
            .map(|text| text.parse().expect("a pattern"))
            .into(),
        max_inline_clusters_per_namespace: most,
        ..Configuration::default()
    };
    // Nothing listens there: no Secret is ever read.
    let config = kube::Config::new("http://127.0.0.1:1".parse().expect("a URL"));
    let client = kube::Client::try_from(config).expect("a client").into();
    let api_server = vec!["10.96.0.1".parse().expect("an address")];
    Clusters::new(configuration, "paceline".into(), api_server, client, CancellationToken::new())
}

fn consumer(namespace: &str, name: &str) -> Key {
    Key { namespace: namespace.into(), name: name.into() }
}

fn inline(servers: &str, secret: Option<&str>) -> ClusterRef {
    let secret = secret.map(|name| consumer("shop", name));
    ClusterRef::Inline(InlineCluster { servers: servers.into(), secret, authority: None })
}

fn source(consumer: &Key, cluster: &ClusterRef) -> ValidatedSource {
    let query = GroupQuery {
        group: consumer.name.clone(),
        topics: TopicSelection::OfGroup,
        exclude: None,
        partitions: None,
        isolation: IsolationLevel::default(),
    };
    let policy = Policy::new(Rule::TimeLag(Objective::default()), Bounds::new(1, None).expect("possible"));
    ValidatedSource { name: None, cluster: cluster.clone(), query, policy }
}

fn subscribe(clusters: &Clusters, consumer: &Key, cluster: &ClusterRef) -> Result<Vec<Subscription>, NotSubscribed> {
    clusters.subscribe(consumer, &[source(consumer, cluster)])
}

fn refusal<T>(result: Result<T, NotSubscribed>) -> String {
    match result {
        Err(NotSubscribed::Refused(why)) => why,
        Err(NotSubscribed::NotYet) => "not yet".into(),
        Ok(_) => "subscribed".into(),
    }
}

#[tokio::test]
async fn forms_of_one_cluster_have_one_poller() {
    let clusters = clusters(20);
    let rows = [
        "a.kafka.svc:9092,b.kafka.svc:9092",
        "B.kafka.svc:9092, a.kafka.svc.:9092",
        "b.kafka.svc:9092,a.kafka.svc:9092,a.kafka.svc:9092",
    ];
    let mut kept = Vec::new();
    for (i, servers) in rows.iter().enumerate() {
        kept.push(subscribe(&clusters, &consumer("shop", &i.to_string()), &inline(servers, None)));
    }
    assert!(kept.iter().all(Result::is_ok));
    let names: Vec<_> = lock(&clusters.pollers).keys().map(ToString::to_string).collect();
    assert_eq!(names, ["a.kafka.svc:9092,b.kafka.svc:9092"]);
}

#[tokio::test]
async fn what_is_not_allowed_is_refused_before_anything_is_read() {
    let clusters = clusters(20);
    let rows = [
        (
            "evil.com:9092",
            "spec.kafka.bootstrapServers: \"evil.com:9092\" is not allowed: it fits no pattern of allowBootstrapServers",
        ),
        ("a.kafka.svc:9092,evil.com:9092", "\"evil.com:9092\" is not allowed"),
        ("a.b.kafka.svc:9092", "is not allowed"),
        ("169.254.169.254:80", "is not allowed"),
        ("me:hunter2@a.kafka.svc:9092", "spec.kafka.bootstrapServers has a user or a password"),
        ("a.kafka.svc", "has no port"),
    ];
    for (servers, expected) in rows {
        let why = refusal(subscribe(&clusters, &consumer("shop", "a"), &inline(servers, None)));
        assert!(why.contains(expected) && !why.contains("hunter2"), "{servers}: {why}");
    }
    let why = refusal(subscribe(&clusters, &consumer("shop", "a"), &ClusterRef::Named("main".into())));
    assert!(why.contains("\"main\" is not in the controller's configuration, which has none"), "{why}");
    assert!(lock(&clusters.pollers).is_empty());
}

#[tokio::test]
async fn a_namespace_may_have_a_limited_number_of_clusters_of_its_own() {
    let clusters = clusters(2);
    let cluster = |name: &str| inline(&format!("{name}.kafka.svc:9092"), None);
    let (a, b, c) = (consumer("shop", "a"), consumer("shop", "b"), consumer("shop", "c"));
    let first = subscribe(&clusters, &a, &cluster("a"));
    let _second = subscribe(&clusters, &b, &cluster("b")).ok();
    let why = refusal(subscribe(&clusters, &c, &cluster("c")));
    assert!(
        why.contains("use 2 Kafka clusters of their own already") && why.contains("maxInlineClustersPerNamespace"),
        "{why}"
    );
    // One that is there already is no further one, and another namespace has its own.
    assert_eq!(refusal(subscribe(&clusters, &c, &cluster("a"))), "subscribed");
    assert_eq!(refusal(subscribe(&clusters, &consumer("bank", "a"), &cluster("c"))), "subscribed");
    // A cluster that is not used any more makes room, and its poller is dropped at once.
    drop(first);
    clusters.release(&a);
    assert_eq!(refusal(subscribe(&clusters, &c, &cluster("d"))), "subscribed");
    let names: Vec<_> = lock(&clusters.pollers).keys().map(ToString::to_string).collect();
    assert!(!names.contains(&"a.kafka.svc:9092".to_owned()), "{names:?}");
}

#[tokio::test]
async fn changing_the_addresses_all_the_time_leaves_no_pollers_behind() {
    let clusters = clusters(20);
    let consumer = consumer("shop", "a");
    for i in 0..50 {
        let cluster = inline(&format!("k{i}.kafka.svc:9092"), None);
        assert_eq!(refusal(subscribe(&clusters, &consumer, &cluster)), "subscribed");
        let cluster = inline("a.kafka.svc:9092", Some(&format!("secret-{i}")));
        assert_eq!(refusal(subscribe(&clusters, &consumer, &cluster)), "not yet", "nobody answers for the Secret");
    }
    assert!(lock(&clusters.pollers).len() <= 2);
    assert!(clusters.secrets.count() <= 2);
}

#[tokio::test]
async fn each_source_of_a_scaled_consumer_counts_and_a_refusal_names_its_field() {
    let clusters = clusters(2);
    let (a, b) = (consumer("shop", "a"), consumer("shop", "b"));
    let sources = |names: &[&str]| -> Vec<ValidatedSource> {
        let of = |name: &&str| {
            let cluster = inline(&format!("{name}.kafka.svc:9092"), None);
            ValidatedSource { name: Some((*name).into()), ..source(&a, &cluster) }
        };
        names.iter().map(of).collect()
    };
    let kept = clusters.subscribe(&a, &sources(&["one", "two"]));
    assert_eq!(kept.as_ref().map(Vec::len).ok(), Some(2));
    let why = refusal(clusters.subscribe(&b, &sources(&["one", "three"])));
    assert!(
        why.starts_with("spec.sources[1].kafka.bootstrapServers: the ScaledConsumers of this namespace use 2"),
        "{why}"
    );
    assert_eq!(refusal(clusters.subscribe(&b, &sources(&["two", "one"]))), "subscribed");
    let unknown = [ValidatedSource { name: Some("main".into()), ..source(&b, &ClusterRef::Named("main".into())) }];
    let why = refusal(clusters.subscribe(&b, &unknown));
    assert!(
        why.starts_with("spec.sources[0].kafka.cluster: \"main\" is not in the controller's configuration"),
        "{why}"
    );
}
