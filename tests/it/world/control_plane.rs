//! A real control plane: etcd, API server, controller manager and scheduler, with RBAC and an audit log.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::bail;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;

use super::audit::{self, Write};
use super::certificates::{self, Authority};
use super::process::{Process, tail};
use super::{ports, root, run_dir, runtime, unique, wait_for};

/// The users of the cluster, each with a token of its own: name, groups.
const USERS: [(&str, &str); 4] =
    [(ADMIN, "system:masters"), (KUBELET, "system:masters"), (CONTROLLER_MANAGER, ""), (SCHEDULER, "")];

/// Who may do everything: the tests themselves.
pub(crate) const ADMIN: &str = "world-admin";
/// Who the small kubelet is; a name of its own keeps it apart in the audit log.
pub(crate) const KUBELET: &str = "world-kubelet";
const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";
const SCHEDULER: &str = "system:kube-scheduler";

/// The controllers that a workload and its autoscaling need; a node that never reports would be evicted by others.
const CONTROLLERS: &str = "deployment-controller,replicaset-controller,statefulset-controller,\
    horizontal-pod-autoscaler-controller,serviceaccount-controller,garbage-collector-controller,disruption-controller,\
    endpointslice-controller,namespace-controller,clusterrole-aggregation-controller";

thread_local! {
    /// Each test has a thread of its own.
    static OF_THIS_TEST: RefCell<Vec<OwnNamespace>> = const { RefCell::new(Vec::new()) };
}

/// A namespace that is deleted with what holds this.
struct OwnNamespace {
    name: String,
    kubeconfig: String,
}

impl Drop for OwnNamespace {
    fn drop(&mut self) {
        let (name, kubeconfig) = (std::mem::take(&mut self.name), std::mem::take(&mut self.kubeconfig));
        // The runtime of the test is gone; nobody waits for the end.
        runtime().spawn(async move {
            let namespaces: Api<Namespace> = Api::all(client_from(&kubeconfig).expect("the address is valid"));
            if let Err(error) = namespaces.delete(&name, &DeleteParams::default()).await {
                eprintln!("The namespace {name} of a test that is over stays: {error}");
            }
        });
    }
}

/// The running control plane.
pub(crate) struct ControlPlane {
    dir: PathBuf,
    port: u16,
    /// The address of etcd.
    etcd: String,
    audited: bool,
    /// In the order in which they are started.
    parts: Vec<Process>,
}

/// Where etcd and the API server are among the parts.
const ETCD: usize = 0;
const API_SERVER: usize = 1;

impl ControlPlane {
    pub(super) fn start() -> anyhow::Result<Self> {
        let mut plane = Self::start_servers("control-plane", true)?;
        let (controllers, scheduler) = (plane.controller_manager_flags(), plane.scheduler_flags());
        plane.add("kube-controller-manager", &controllers)?;
        plane.add("kube-scheduler", &scheduler)?;
        // The first thing that a controller of its own does for everybody.
        runtime().block_on(async { wait_for_service_account(plane.admin(), "default", "default").await });
        Ok(plane)
    }

    /// The caller's own etcd and API server, without controllers and without an audit log. Nobody acts on a Deployment, and
    /// nobody else asks the API server anything, so that requests can be counted.
    pub(crate) fn start_own() -> Self {
        let start = || Self::start_servers(&unique("control-plane-own"), false);
        // In a thread of its own, because the caller may be inside an async runtime, where blocking on another one panics.
        let started = std::thread::scope(|scope| scope.spawn(start).join().expect("the start does not panic"));
        started.expect("etcd and the API server start")
    }

    /// etcd and the API server.
    fn start_servers(name: &str, audited: bool) -> anyhow::Result<Self> {
        let dir = run_dir().join(name);
        std::fs::create_dir_all(&dir)?;
        let etcd = format!("http://127.0.0.1:{}", ports::free());
        let mut plane = Self { dir, port: ports::free(), etcd, audited, parts: Vec::new() };
        plane.write_files()?;
        let (etcd, api_server) = (etcd_flags(&plane.dir, &plane.etcd), plane.api_server_flags());
        plane.add("etcd", &etcd)?;
        plane.add("kube-apiserver", &api_server)?;
        runtime().block_on(plane.wait_until_ready())?;
        Ok(plane)
    }

    /// Kills the API server, starts it again on its port and waits until it is ready.
    pub(crate) async fn restart_api_server(&mut self) {
        self.parts[API_SERVER].kill();
        let flags = self.api_server_flags();
        self.parts[API_SERVER] = self.part("kube-apiserver", &flags).expect("the API server starts");
        self.wait_until_ready().await.expect("the API server is ready again");
    }

    /// The process of etcd.
    pub(crate) fn etcd(&self) -> &Process {
        &self.parts[ETCD]
    }

    /// The process of the API server.
    pub(crate) fn api_server(&self) -> &Process {
        &self.parts[API_SERVER]
    }

    /// What the API server counts.
    pub(crate) async fn api_server_metrics(&self) -> String {
        let request = http::Request::get("/metrics").body(Vec::new()).expect("the request is valid");
        self.admin().request_text(request).await.expect("the API server serves metrics")
    }

    /// What etcd counts.
    pub(crate) fn etcd_metrics(&self) -> String {
        let mut answer = ureq::get(format!("{}/metrics", self.etcd)).call().expect("etcd serves metrics");
        answer.body_mut().with_config().limit(u64::MAX).read_to_string().expect("metrics are text")
    }

    /// A client of the tests' own user, who may do everything. It lives as long as the runtime it is made in.
    pub(crate) fn admin(&self) -> Client {
        self.client(ADMIN)
    }

    /// A client of the same user that gives each answer as it comes: others try a 503 again by themselves.
    pub(crate) async fn impatient(&self) -> Client {
        let text = kubeconfig(self.port, &self.dir, ADMIN, &token(ADMIN)).to_string();
        let kubeconfig = Kubeconfig::from_yaml(&text).expect("it is a kubeconfig");
        let options = KubeConfigOptions::default();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("the address is valid");
        config.default_retry = false;
        Client::try_from(config).expect("the address is valid")
    }

    /// A client of one of the cluster's users.
    pub(crate) fn client(&self, user: &str) -> Client {
        let text = kubeconfig(self.port, &self.dir, user, &token(user)).to_string();
        client_from(&text).expect("the API server's address is valid")
    }

    /// The kubeconfig file of the tests' own user.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig_of(ADMIN)
    }

    /// A kubeconfig file of a service account, which must exist: to run a program with just its rights.
    pub(crate) async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> PathBuf {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin(), namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(3600), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .expect("a token of the service account");
        let token = answer.status.expect("an answer has a status").token;
        let path = self.dir.join(format!("{namespace}-{name}.kubeconfig"));
        let mut text = kubeconfig(self.port, &self.dir, name, &token);
        // As in a pod, its own namespace is the account's.
        text["contexts"][0]["context"]["namespace"] = json!(namespace);
        std::fs::write(&path, text.to_string()).expect("it can be written");
        path
    }

    /// A client with just the rights of a service account.
    pub(crate) async fn service_account(&self, namespace: &str, name: &str) -> Client {
        let path = self.service_account_kubeconfig(namespace, name).await;
        client_from(&std::fs::read_to_string(path).expect("it was just written")).expect("the address is valid")
    }

    /// Creates a namespace that no other test uses and gives its name. It is deleted when the thread of the test ends, so
    /// that what runs in it does not take the machine from the tests that follow.
    pub(crate) async fn namespace(&self, name: &str) -> String {
        let name = self.namespace_without_account(name).await;
        let kubeconfig = kubeconfig(self.port, &self.dir, ADMIN, &token(ADMIN)).to_string();
        OF_THIS_TEST.with_borrow_mut(|namespaces| namespaces.push(OwnNamespace { name: name.clone(), kubeconfig }));
        // Pods are refused until it is there.
        wait_for_service_account(self.admin(), &name, "default").await;
        name
    }

    /// The same where no controller adds the default ServiceAccount.
    pub(crate) async fn namespace_without_account(&self, name: &str) -> String {
        let name = unique(name);
        let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
        Api::<Namespace>::all(self.admin())
            .create(&PostParams::default(), &Namespace { metadata, ..Namespace::default() })
            .await
            .expect("a namespace can be created");
        name
    }

    /// The writes of a namespace that the API server has completed, in order, from its audit log.
    pub(crate) fn writes(&self, namespace: &str) -> Vec<Write> {
        let mut writes = audit::read(&self.dir.join("audit.log"));
        writes.retain(|write| write.namespace == namespace && !matches!(write.verb.as_str(), "get" | "list"));
        writes
    }

    /// What controllers under the test's own ServiceAccount have read of the workloads of a namespace.
    pub(crate) fn reads(&self, namespace: &str) -> Vec<Write> {
        let own = format!("system:serviceaccount:{namespace}:");
        let mut reads = audit::read(&self.dir.join("audit.log"));
        reads.retain(|read| {
            read.namespace == namespace && read.user.starts_with(&own) && matches!(read.verb.as_str(), "get" | "list")
        });
        reads
    }

    /// Resident memory of each part in bytes.
    pub(crate) fn resident_bytes(&self) -> Vec<u64> {
        self.parts.iter().map(Process::resident_bytes).collect()
    }

    /// The authorities that the API server trusts to vouch for front proxies, as files that it reads again when they
    /// change: `NAME.crt` and `NAME.key` are in this folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn add(&mut self, name: &str, flags: &[String]) -> anyhow::Result<()> {
        let part = self.part(name, flags)?;
        self.parts.push(part);
        Ok(())
    }

    fn part(&self, name: &str, flags: &[String]) -> anyhow::Result<Process> {
        let binary = root().join("bin/control-plane");
        if !binary.is_file() {
            bail!("{} does not exist; `tests/run` builds it", binary.display());
        }
        let mut command = Command::new(binary);
        command.current_dir(&self.dir).arg(name).args(flags);
        Process::start(name, &mut command, &self.log(name))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.log"))
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            for part in &mut self.parts {
                part.check()?;
            }
            let request = http::Request::get("/readyz").body(Vec::new()).expect("the request is valid");
            match tokio::time::timeout(Duration::from_secs(2), self.admin().request_text(request)).await {
                Ok(Ok(_)) => return Ok(()),
                _ if start.elapsed() > Duration::from_secs(90) => {
                    bail!("the API server was not ready in time; {}", tail(&self.log("kube-apiserver")))
                }
                _ => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    fn write_files(&self) -> anyhow::Result<()> {
        let dir = &self.dir;
        Authority::create(dir, "ca")?.issue(dir, "apiserver", &["127.0.0.1", "localhost", "kubernetes.default.svc"])?;
        // An authority of its own: whoever it vouches for may say who the user is.
        Authority::create(dir, "front-proxy-ca")?.issue(dir, "front-proxy-client", &[])?;
        certificates::key_pair(dir, "service-accounts")?;
        let tokens = USERS.map(|(user, groups)| format!("{},{user},{user},\"{groups}\"\n", token(user)));
        std::fs::write(dir.join("tokens.csv"), tokens.concat())?;
        std::fs::write(dir.join("audit-policy.json"), audit::policy().to_string())?;
        for (user, _) in USERS {
            let config = kubeconfig(self.port, dir, user, &token(user));
            std::fs::write(self.kubeconfig_of(user), config.to_string())?;
        }
        Ok(())
    }

    fn kubeconfig_of(&self, user: &str) -> PathBuf {
        self.dir.join(format!("{}.kubeconfig", user.replace(':', "-")))
    }

    fn api_server_flags(&self) -> Vec<String> {
        let mut all = flags(
            &self.dir,
            &[
                ("etcd-servers", &self.etcd),
                ("bind-address", "127.0.0.1"),
                ("secure-port", &self.port.to_string()),
                ("tls-cert-file", "DIR/apiserver.crt"),
                ("tls-private-key-file", "DIR/apiserver.key"),
                ("client-ca-file", "DIR/ca.crt"),
                ("token-auth-file", "DIR/tokens.csv"),
                ("authorization-mode", "RBAC"),
                ("service-account-issuer", "https://kubernetes.default.svc"),
                ("service-account-key-file", "DIR/service-accounts.pub"),
                ("service-account-signing-key-file", "DIR/service-accounts.key"),
                ("service-cluster-ip-range", "10.0.0.0/24"),
                // No service of this cluster is reached by its address, and 127.0.0.1 is none that it may publish.
                ("endpoint-reconciler-type", "none"),
                ("requestheader-client-ca-file", "DIR/front-proxy-ca.crt"),
                ("requestheader-allowed-names", "front-proxy-client"),
                ("requestheader-username-headers", "X-Remote-User"),
                ("requestheader-group-headers", "X-Remote-Group"),
                ("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
                ("proxy-client-cert-file", "DIR/front-proxy-client.crt"),
                ("proxy-client-key-file", "DIR/front-proxy-client.key"),
            ],
        );
        let audit = [
            // Written before the answer is sent, so that a test that has seen the answer finds the line.
            ("audit-log-mode", "blocking-strict"),
            ("audit-log-path", "DIR/audit.log"),
            ("audit-policy-file", "DIR/audit-policy.json"),
        ];
        all.extend(flags(&self.dir, if self.audited { &audit } else { &[] }));
        all
    }

    fn controller_manager_flags(&self) -> Vec<String> {
        let kubeconfig = self.kubeconfig_of(CONTROLLER_MANAGER).display().to_string();
        flags(
            &self.dir,
            &[
                ("kubeconfig", &kubeconfig),
                ("controllers", CONTROLLERS),
                // Each controller under its own name, as in real clusters: the audit log tells who scaled.
                ("use-service-account-credentials", "true"),
                ("service-account-private-key-file", "DIR/service-accounts.key"),
                ("root-ca-file", "DIR/ca.crt"),
                ("horizontal-pod-autoscaler-sync-period", "2s"),
                ("leader-elect", "false"),
                ("secure-port", "0"),
                ("kube-api-qps", "500"),
                ("kube-api-burst", "1000"),
            ],
        )
    }

    fn scheduler_flags(&self) -> Vec<String> {
        let kubeconfig = self.kubeconfig_of(SCHEDULER).display().to_string();
        flags(
            &self.dir,
            &[
                ("kubeconfig", &kubeconfig),
                ("leader-elect", "false"),
                ("secure-port", "0"),
                ("kube-api-qps", "500"),
                ("kube-api-burst", "1000"),
            ],
        )
    }
}

fn etcd_flags(dir: &Path, client: &str) -> Vec<String> {
    let peer = format!("http://127.0.0.1:{}", ports::free());
    let cluster = format!("default={peer}");
    let mut all = flags(
        dir,
        &[
            ("data-dir", "DIR/etcd"),
            ("listen-client-urls", client),
            ("advertise-client-urls", client),
            ("listen-peer-urls", &peer),
            ("initial-advertise-peer-urls", &peer),
            ("initial-cluster", &cluster),
            ("log-level", "warn"),
        ],
    );
    // Nothing here outlives the machine.
    all.push("--unsafe-no-fsync".to_owned());
    all
}

/// `--name=value` for each, where DIR stands for the folder of the files.
fn flags(dir: &Path, pairs: &[(&str, &str)]) -> Vec<String> {
    let dir = dir.display().to_string();
    pairs.iter().map(|(name, value)| format!("--{name}={}", value.replace("DIR", &dir))).collect()
}

/// The cluster is on 127.0.0.1 and gone with the test, so a token needs to be no secret.
fn token(user: &str) -> String {
    format!("token-of-{}", user.replace(':', "-"))
}

fn kubeconfig(port: u16, dir: &Path, user: &str, token: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "world",
        "clusters": [{"name": "world", "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority": dir.join("ca.crt"),
        }}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "world", "context": {"cluster": "world", "user": user}}],
    })
}

fn client_from(kubeconfig: &str) -> anyhow::Result<Client> {
    Ok(Client::try_from(Kubeconfig::from_yaml(kubeconfig)?)?)
}

async fn wait_for_service_account(client: Client, namespace: &str, name: &str) {
    let accounts: Api<ServiceAccount> = Api::namespaced(client, namespace);
    let what = format!("service account {name} of {namespace}");
    wait_for(&what, Duration::from_secs(60), || accounts.get(name)).await;
}
