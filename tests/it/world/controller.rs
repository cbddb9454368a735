//! Paceline's controller as a process of its own, for tests that look at it from outside.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleRef, Subject};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use nix::sys::signal::Signal;
use paceline::kubernetes::scaledconsumer::{ScaledConsumer, ScaledConsumerStatus, crd};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::control_plane::ControlPlane;
use super::kafka::Kafka;
use super::kustomize::{apply, render};
use super::process::Process;
use super::{ports, run_dir, unique, wait_for};

/// Polls once a second: a test has seen more in a minute than a user sees in ten.
pub(crate) const POLL: Duration = Duration::from_secs(1);
/// The controller's own ServiceAccount in each test's namespace.
pub(crate) const ACCOUNT: &str = "paceline";
/// The namespace in which manifests/ installs the controller.
pub(crate) const INSTALLED: &str = "paceline";
const SOON: Duration = Duration::from_secs(120);

/// How a controller is started.
pub(crate) struct Launch<'a> {
    pub(crate) program: &'a Path,
    /// The namespaces that it looks after; all where there are none.
    pub(crate) namespaces: &'a [String],
    /// Where its ServiceAccount and the Lease are.
    pub(crate) home: &'a str,
    pub(crate) poll: Duration,
    /// More arguments.
    pub(crate) arguments: &'a [&'a str],
    /// More fields of the configuration.
    pub(crate) settings: Value,
    /// What is logged, as in RUST_LOG.
    pub(crate) log: &'a str,
    /// More of its environment.
    pub(crate) environment: &'a [(&'a str, &'a str)],
}

impl<'a> Launch<'a> {
    /// The program under test, which polls often and logs much.
    pub(crate) fn new(namespaces: &'a [String], home: &'a str) -> Self {
        Self {
            program: Path::new(env!("CARGO_BIN_EXE_paceline")),
            namespaces,
            home,
            poll: POLL,
            arguments: &[],
            settings: json!({}),
            log: "info,paceline=debug",
            environment: &[],
        }
    }
}

/// A running controller that looks after one namespace.
pub(crate) struct Controller {
    process: Process,
    pub(crate) log: PathBuf,
    pub(crate) address: String,
    /// What it calls itself in the Lease.
    pub(crate) identity: String,
}

/// A namespace with all that a controller needs: the CRD and a ServiceAccount that may do everything. (What rights it
/// really needs is another test's matter.)
pub(crate) async fn prepare(cluster: &ControlPlane, name: &str) -> String {
    install_crd(cluster).await;
    let namespace = cluster.namespace(name).await;
    let account = ServiceAccount {
        metadata: ObjectMeta { name: Some(ACCOUNT.to_owned()), ..ObjectMeta::default() },
        ..ServiceAccount::default()
    };
    let params = PostParams::default();
    Api::namespaced(cluster.admin(), &namespace).create(&params, &account).await.expect("an account can be created");
    let binding = ClusterRoleBinding {
        metadata: ObjectMeta { name: Some(namespace.clone()), ..ObjectMeta::default() },
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "ClusterRole".to_owned(),
            name: "cluster-admin".to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: ACCOUNT.to_owned(),
            namespace: Some(namespace.clone()),
            ..Subject::default()
        }]),
    };
    Api::all(cluster.admin()).create(&params, &binding).await.expect("a binding can be created");
    namespace
}

/// A namespace of a cluster of the caller's own, in which all is installed that manifests/ installs, but for the controller
/// itself. It has just the rights that it is given there, with its ServiceAccount in [`INSTALLED`].
pub(crate) async fn prepare_installed(cluster: &ControlPlane, name: &str) -> String {
    install_crd_in(cluster).await;
    let client = cluster.admin();
    for document in render(".").iter().filter(|document| document["kind"] != "Deployment") {
        let what = format!("{} {} to be accepted", document["kind"], document["metadata"]["name"]);
        wait_for(&what, SOON, || apply(&client, document, false)).await;
    }
    cluster.namespace_without_account(name).await
}

/// Installs the CRD once per run in the cluster that tests share.
pub(crate) async fn install_crd(cluster: &ControlPlane) {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    INSTALLED.get_or_init(|| install_crd_in(cluster)).await;
}

/// Installs the CRD in a cluster of the caller's own.
async fn install_crd_in(cluster: &ControlPlane) {
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.admin());
    let name = "scaledconsumers.paceline.dev";
    let params = PatchParams::apply("tests").force();
    definitions.patch(name, &params, &Patch::Apply(&crd())).await.expect("the CRD can be applied");
    wait_for("the CRD to be established", SOON, || async {
        let found = definitions.get(name).await.map_err(|error| error.to_string())?;
        let conditions = found.status.and_then(|status| status.conditions).unwrap_or_default();
        if conditions.iter().any(|c| c.type_ == "Established" && c.status == "True") {
            Ok(())
        } else {
            Err(format!("{conditions:?}"))
        }
    })
    .await;
}

impl Controller {
    /// Starts a controller for `namespace`, with `kafka` as the cluster `main`, and waits until it is ready.
    pub(crate) async fn start(cluster: &ControlPlane, kafka: &Kafka, namespace: &str) -> Self {
        Self::start_as(cluster, kafka, namespace, namespace).await
    }

    /// The same with the ServiceAccount `paceline` of the namespace `home`, where the Lease is as well.
    pub(crate) async fn start_as(cluster: &ControlPlane, kafka: &Kafka, namespace: &str, home: &str) -> Self {
        Self::start_with(cluster, kafka, namespace, home, &[]).await
    }

    /// The same with more arguments.
    pub(crate) async fn start_with(
        cluster: &ControlPlane,
        kafka: &Kafka,
        namespace: &str,
        home: &str,
        arguments: &[&str],
    ) -> Self {
        let namespaces = [namespace.to_owned()];
        Self::launch(cluster, kafka, Launch { arguments, ..Launch::new(&namespaces, home) }).await
    }

    /// One for a namespace that serves external metrics on this port, through the Service of that name.
    pub(crate) async fn start_serving(
        cluster: &ControlPlane,
        kafka: &Kafka,
        namespace: &str,
        service: &str,
        port: u16,
    ) -> Self {
        let listen = format!("127.0.0.1:{port}");
        let settings = json!({"externalMetrics": {"enabled": true, "listen": listen, "service": {"name": service}}});
        let namespaces = [namespace.to_owned()];
        Self::launch(cluster, kafka, Launch { settings, ..Launch::new(&namespaces, namespace) }).await
    }

    /// One for a namespace with more in its configuration.
    pub(crate) async fn start_configured(
        cluster: &ControlPlane,
        kafka: &Kafka,
        namespace: &str,
        settings: Value,
    ) -> Self {
        let namespaces = [namespace.to_owned()];
        Self::launch(cluster, kafka, Launch { settings, ..Launch::new(&namespaces, namespace) }).await
    }

    /// One for several namespaces that polls so often.
    pub(crate) async fn start_for(
        cluster: &ControlPlane,
        kafka: &Kafka,
        namespaces: &[String],
        home: &str,
        poll: Duration,
    ) -> Self {
        Self::launch(cluster, kafka, Launch { poll, ..Launch::new(namespaces, home) }).await
    }

    /// Starts one and waits until it is ready.
    pub(crate) async fn launch(cluster: &ControlPlane, kafka: &Kafka, launch: Launch<'_>) -> Self {
        let Launch { program, namespaces, home, poll, arguments, settings, log: filter, environment } = launch;
        let identity = unique("controller");
        let address = format!("127.0.0.1:{}", ports::free());
        let folder = run_dir().join(home);
        std::fs::create_dir_all(&folder).unwrap();
        let config = folder.join(format!("{identity}.yaml"));
        let mut text = json!({
            "clusters": [{
                "name": "main",
                "bootstrapServers": kafka.bootstrap(),
                "pollInterval": format!("{}s", poll.as_secs()),
                "deadline": format!("{}ms", (poll.as_millis() * 9 / 10).min(8_000)),
            }],
            "listen": address,
            "leaderElection": {"namespace": home},
            "watchNamespaces": namespaces,
        });
        for (field, value) in settings.as_object().into_iter().flatten() {
            text[field] = value.clone();
        }
        std::fs::write(&config, text.to_string()).unwrap();
        let log = folder.join(format!("{identity}.log"));
        let kubeconfig = cluster.service_account_kubeconfig(home, ACCOUNT).await;
        let mut command = Command::new(program);
        command.args(["run", "--config"]).arg(&config).args(arguments);
        command.env("KUBECONFIG", kubeconfig).env("POD_NAME", &identity).env("RUST_LOG", filter);
        command.envs(environment.iter().copied());
        let process = Process::start("the controller", &mut command, &log).unwrap();
        let mut controller = Self { process, log, address, identity };
        controller.wait_until_ready().await;
        controller
    }

    async fn wait_until_ready(&mut self) {
        let url = format!("http://{}/readyz", self.address);
        let process = std::sync::Mutex::new(&mut self.process);
        wait_for("the controller to be ready", SOON, || async {
            process.lock().unwrap().check().expect("the controller runs");
            ureq::get(&url).call().map(|_| ()).map_err(|error| error.to_string())
        })
        .await;
    }

    /// The text of `/metrics`.
    pub(crate) fn metrics(&self) -> String {
        let mut answer = ureq::get(format!("http://{}/metrics", self.address)).call().expect("metrics are served");
        answer.body_mut().with_config().limit(u64::MAX).read_to_string().expect("metrics are text")
    }

    /// Whether it holds the Lease.
    pub(crate) fn leads(&self) -> bool {
        self.metrics().lines().any(|line| line == "paceline_leader 1")
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    pub(crate) fn resident_bytes(&self) -> u64 {
        self.process.resident_bytes()
    }

    pub(crate) fn runs(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.process.signal(Signal::SIGKILL);
        self.process.kill();
    }

    /// SIGTERM, and how it ended within the five seconds that it has.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.process.signal(Signal::SIGTERM);
        self.process.wait(Duration::from_secs(5)).expect("it ends within five seconds")
    }
}

/// A ScaledConsumer with windows that a test can wait for, on the cluster `main`.
pub(crate) fn scaled_consumer(name: &str, group: &str, topic: &str, lag_per_replica: u64) -> Value {
    json!({
        "apiVersion": "paceline.dev/v1alpha1",
        "kind": "ScaledConsumer",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"name": name},
            "kafka": {"cluster": "main", "consumerGroup": group, "topics": [topic], "offsetReset": "earliest"},
            "policy": {"lagPerReplica": lag_per_replica},
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 10}},
            "idle": {"after": "10s"},
        },
    })
}

/// The ScaledConsumers of a namespace.
pub(crate) fn scaled_consumers(cluster: &ControlPlane, namespace: &str) -> Api<ScaledConsumer> {
    Api::namespaced(cluster.admin(), namespace)
}

/// Creates one.
pub(crate) async fn create(cluster: &ControlPlane, namespace: &str, object: Value) {
    let object: ScaledConsumer = serde_json::from_value(object).expect("it is a ScaledConsumer");
    scaled_consumers(cluster, namespace).create(&PostParams::default(), &object).await.expect("it can be created");
}

/// What the controller says of one.
pub(crate) async fn status(cluster: &ControlPlane, namespace: &str, name: &str) -> ScaledConsumerStatus {
    let object = scaled_consumers(cluster, namespace).get(name).await.expect("it exists");
    object.status.unwrap_or_default()
}

/// Ok where a condition of the status has this value and, where one is given, this reason.
pub(crate) fn condition(
    status: &ScaledConsumerStatus,
    name: &str,
    value: &str,
    reason: Option<&str>,
) -> Result<String, String> {
    let found = status.conditions.iter().find(|condition| condition.type_ == name);
    match found {
        Some(found) if found.status == value && reason.is_none_or(|reason| found.reason == reason) => {
            Ok(found.message.clone())
        }
        found => Err(format!("{found:?}, reason {:?}, {:?}", status.reason, status.message)),
    }
}
