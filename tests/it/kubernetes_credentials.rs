//! Credentials for Kafka from Secrets, on a real API server: what the controller may read, what it says of what it can't,
//! and that a Secret is used as it is now.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Client;
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};
use paceline::kubernetes::Key;
use paceline::kubernetes::kafka_secret::{Origin, SecretState, follow, properties_of_secret, read};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::world::control_plane::ControlPlane;
use crate::world::controller::{ACCOUNT, Controller, condition, create, prepare, scaled_consumer, status};
use crate::world::kafka::Kafka;
use crate::world::kafka::security::{STRANGER, SUPER_USER};
use crate::world::workers::{Workers, wait_for_wanted};
use crate::world::{cluster, unique, wait_for, world};

const SOON: Duration = Duration::from_secs(60);

/// A Secret that the controller follows, as the app has it.
struct Followed {
    state: watch::Receiver<SecretState>,
    changed: Arc<Notify>,
    _stop: DropGuard,
}

impl Followed {
    fn start(client: Client, namespace: &str, name: &str) -> Self {
        let key = Key { namespace: namespace.to_owned(), name: name.to_owned() };
        let (sender, state) = watch::channel(SecretState::NotReadYet);
        let (changed, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        tokio::spawn(follow(client, key, sender, Arc::clone(&changed), stop.clone()));
        Self { state, changed, _stop: stop.drop_guard() }
    }

    /// Waits for a state in which the password, or why there is none, is this.
    async fn wait(&mut self, expected: Result<&str, &str>) {
        let password = |state: &SecretState| {
            let content = state.content()?;
            let found = properties_of_secret("user", &content.kind, &content.data, Origin::ScaledConsumer)?;
            Ok::<_, String>(found.properties["sasl.password"].clone())
        };
        let fits = |state: &SecretState| match (password(state), expected) {
            (Ok(password), Ok(wanted)) => password == wanted,
            (Err(why), Err(wanted)) => why.contains(wanted),
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        };
        let waited = tokio::time::timeout(SOON, self.state.wait_for(fits)).await.map(|found| found.is_ok());
        assert_eq!(waited, Ok(true), "{expected:?}: {:?}", self.state.borrow().content());
    }
}

fn secrets(cluster: &ControlPlane, namespace: &str) -> Api<Secret> {
    Api::namespaced(cluster.admin(), namespace)
}

/// A Secret of this name with these texts.
fn secret(name: &str, entries: &[(&str, &str)]) -> Secret {
    Secret {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        string_data: Some(entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()),
        ..Secret::default()
    }
}

/// Creates a Secret, or replaces it whole.
async fn put(cluster: &ControlPlane, namespace: &str, name: &str, entries: &[(&str, &str)]) {
    let (api, secret, params) = (secrets(cluster, namespace), secret(name, entries), PostParams::default());
    let written = match api.get_opt(name).await.expect("Secrets can be read") {
        Some(_) => api.replace(name, &params, &secret).await,
        None => api.create(&params, &secret).await,
    };
    written.expect("a Secret can be written");
}

#[tokio::test]
async fn a_secret_is_followed_while_it_comes_changes_and_goes() {
    let cluster = cluster();
    let namespace = cluster.namespace("secret").await;
    let mut followed = Followed::start(cluster.admin(), &namespace, "user");
    followed.wait(Err("does not exist")).await;
    // Another one of the namespace is none of its business.
    put(cluster, &namespace, "other", &[("username", "me"), ("password", "no")]).await;
    put(cluster, &namespace, "user", &[("username", "me"), ("password", "one")]).await;
    followed.wait(Ok("one")).await;
    put(cluster, &namespace, "user", &[("username", "me"), ("password", "two")]).await;
    followed.wait(Ok("two")).await;
    put(cluster, &namespace, "user", &[("username", "me")]).await;
    followed.wait(Err("has username but nothing for sasl.password")).await;
    secrets(cluster, &namespace).delete("user", &DeleteParams::default()).await.unwrap();
    followed.wait(Err("does not exist")).await;
    // Whoever waits is told.
    tokio::time::timeout(SOON, followed.changed.notified()).await.expect("it was told");
}

#[tokio::test]
async fn the_role_of_the_examples_is_enough_and_without_it_the_message_names_it() {
    let cluster = cluster();
    let namespace = cluster.namespace("secret-rights").await;
    let account = ServiceAccount {
        metadata: ObjectMeta { name: Some(ACCOUNT.to_owned()), ..ObjectMeta::default() },
        ..ServiceAccount::default()
    };
    let params = PostParams::default();
    Api::namespaced(cluster.admin(), &namespace).create(&params, &account).await.unwrap();
    let name = "orders-kafka-user";
    put(cluster, &namespace, name, &[("username", "me"), ("password", "one")]).await;
    put(cluster, &namespace, "another", &[("username", "me"), ("password", "no")]).await;
    let controller = cluster.service_account(&namespace, ACCOUNT).await;
    let mut refused = Followed::start(controller.clone(), &namespace, name);
    refused.wait(Err("manifests/examples/kafka-secret-role.yaml")).await;
    refused.wait(Err("cannot list resource \"secrets\"")).await;

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/examples/kafka-secret-role.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let [role, binding] = text.split("\n---\n").collect::<Vec<_>>().try_into().expect("two documents");
    let mut role: Role = serde_saphyr::from_str(role).unwrap();
    let mut binding: RoleBinding = serde_saphyr::from_str(binding).unwrap();
    role.metadata.namespace = Some(namespace.clone());
    binding.metadata.namespace = Some(namespace.clone());
    binding.subjects.as_mut().unwrap()[0].namespace = Some(namespace.clone());
    Api::namespaced(cluster.admin(), &namespace).create(&params, &role).await.unwrap();
    Api::namespaced(cluster.admin(), &namespace).create(&params, &binding).await.unwrap();
    // By itself, without a restart.
    refused.wait(Ok("one")).await;
    let mut other = Followed::start(controller, &namespace, "another");
    other.wait(Err("can't be read")).await;

    // Somebody who runs a command reads it once, with rights of their own.
    let key = Key { namespace: namespace.clone(), name: name.to_owned() };
    assert!(read(&cluster.admin().into(), &key).await.content().is_ok());
    let missing = Key { namespace, name: "missing".to_owned() };
    assert!(read(&cluster.admin().into(), &missing).await.content().unwrap_err().contains("does not exist"));
}

/// A group with a lag that wants three replicas.
async fn lag(kafka: &Kafka, cluster: &ControlPlane, namespace: &str) -> (String, String) {
    let (topic, group) = (unique("lag"), unique("lag"));
    kafka.create_topic(&topic, 3);
    kafka.commit(&group, &[(&topic, 0, 0), (&topic, 1, 0), (&topic, 2, 0)]);
    kafka.produce_to_all(&topic, 3, 100);
    Workers::elsewhere(kafka, "orders").deploy(cluster.admin(), namespace).await;
    (topic, group)
}

/// A ScaledConsumer with a cluster of its own.
fn with_own_cluster(topic: &str, group: &str, servers: &str, authentication: Value) -> Value {
    let mut object = scaled_consumer("orders", group, topic, 100);
    let kafka = object["spec"]["kafka"].as_object_mut().unwrap();
    kafka.remove("cluster");
    kafka.insert("bootstrapServers".to_owned(), json!(servers));
    if authentication != Value::Null {
        kafka.insert("authentication".to_owned(), authentication);
    }
    object
}

async fn wait_until_refused(cluster: &ControlPlane, namespace: &str, texts: &[&str]) {
    wait_for(&format!("{texts:?}"), SOON, || async {
        let message = condition(&status(cluster, namespace, "orders").await, "Ready", "False", None)?;
        if texts.iter().all(|text| message.contains(text)) { Ok(()) } else { Err(message) }
    })
    .await;
}

#[tokio::test]
async fn a_scaled_consumers_own_secret_is_waited_for_and_used_once_it_is_there() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "own-secret").await;
    let (topic, group) = lag(kafka, cluster, &namespace).await;
    let settings = json!({"allowBootstrapServers": ["127.0.0.1:*"]});
    let mut controller = Controller::start_configured(cluster, kafka, &namespace, settings).await;
    let authentication = json!({"secretRef": {"name": "kafka-user"}});
    create(cluster, &namespace, with_own_cluster(&topic, &group, &kafka.sasl_address(), authentication)).await;
    let named = format!("Secret {namespace}/kafka-user");
    wait_until_refused(cluster, &namespace, &[&named, "does not exist; create it"]).await;
    let (user, password) = SUPER_USER;
    put(cluster, &namespace, "kafka-user", &[("sasl.username", user), ("security.protocol", "SASL_PLAINTEXT")]).await;
    wait_until_refused(cluster, &namespace, &[&named, "has sasl.username but nothing for sasl.password"]).await;
    let whole = [("username", user), ("password", password), ("security.protocol", "SASL_PLAINTEXT"), ("note", "x")];
    put(cluster, &namespace, "kafka-user", &whole).await;
    wait_for_wanted(cluster, &namespace, "orders", 3).await;
    wait_for("Ready", SOON, || async {
        condition(&status(cluster, &namespace, "orders").await, "Ready", "True", None)
    })
    .await;
    assert!(controller.runs());
    let log = std::fs::read_to_string(&controller.log).unwrap();
    assert!(log.contains("note is not known"), "the key that is not used is told");
    let told =
        serde_json::to_string(&status(cluster, &namespace, "orders").await).unwrap() + &log + &controller.metrics();
    assert!(!told.contains(password), "the password is nowhere");
    assert!(controller.stop().success());
}

#[tokio::test]
async fn a_secret_that_is_corrected_is_used_without_a_restart() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "rotated-secret").await;
    let (topic, group) = lag(kafka, cluster, &namespace).await;
    let settings = json!({"allowBootstrapServers": ["127.0.0.1:*"]});
    let controller = Controller::start_configured(cluster, kafka, &namespace, settings).await;
    let entries =
        |user, password| [("username", user), ("password", password), ("security.protocol", "SASL_PLAINTEXT")];
    put(cluster, &namespace, "kafka-user", &entries(SUPER_USER.0, "of-last-month")).await;
    let authentication = json!({"secretRef": {"name": "kafka-user"}});
    create(cluster, &namespace, with_own_cluster(&topic, &group, &kafka.sasl_address(), authentication)).await;
    wait_for("KafkaReachable to be False", SOON, || async {
        condition(&status(cluster, &namespace, "orders").await, "KafkaReachable", "False", Some("AuthenticationFailed"))
    })
    .await;
    // Somebody who is known and may do nothing, and at last the right one.
    put(cluster, &namespace, "kafka-user", &entries(STRANGER.0, STRANGER.1)).await;
    wait_for("Ready to be False", SOON, || async {
        condition(&status(cluster, &namespace, "orders").await, "Ready", "False", Some("NotAuthorized"))
    })
    .await;
    put(cluster, &namespace, "kafka-user", &entries(SUPER_USER.0, SUPER_USER.1)).await;
    wait_for_wanted(cluster, &namespace, "orders", 3).await;
    let log = std::fs::read_to_string(&controller.log).unwrap();
    assert_eq!(log.matches("Polling a Kafka cluster.").count(), 1, "its poller was never started anew");
    assert!(controller.stop().success());
}

#[tokio::test]
async fn a_cluster_of_the_configuration_has_its_credentials_from_a_secret_as_well() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "named-secret").await;
    let (topic, group) = lag(kafka, cluster, &namespace).await;
    let settings = json!({"clusters": [{
        "name": "main",
        "bootstrapServers": kafka.sasl_address(),
        "pollInterval": "1s",
        "deadline": "900ms",
        "properties": {"security.protocol": "SASL_PLAINTEXT"},
        // In the controller's own namespace.
        "authentication": {"secretRef": {"name": "kafka-user"}},
    }]});
    let controller = Controller::start_configured(cluster, kafka, &namespace, settings).await;
    create(cluster, &namespace, scaled_consumer("orders", &group, &topic, 100)).await;
    wait_until_refused(cluster, &namespace, &[&format!("Secret {namespace}/kafka-user does not exist")]).await;
    put(cluster, &namespace, "kafka-user", &[("username", SUPER_USER.0), ("password", SUPER_USER.1)]).await;
    wait_for_wanted(cluster, &namespace, "orders", 3).await;
    assert!(controller.stop().success());
}

#[tokio::test]
async fn an_address_that_is_not_allowed_is_refused_with_what_to_do() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "own-address").await;
    let (topic, group) = lag(kafka, cluster, &namespace).await;
    let settings = json!({"allowBootstrapServers": ["*.kafka.svc:9092"]});
    let controller = Controller::start_configured(cluster, kafka, &namespace, settings).await;
    create(cluster, &namespace, with_own_cluster(&topic, &group, &kafka.bootstrap(), Value::Null)).await;
    let texts = ["is not allowed: it fits no pattern of allowBootstrapServers in the controller's configuration"];
    wait_until_refused(cluster, &namespace, &texts).await;
    assert!(controller.stop().success());
}
