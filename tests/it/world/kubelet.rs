//! A node and a small kubelet: each pod that the scheduler binds to the node becomes a real process.
//!
//! A container's `command` and `args` are run as they are; without a `command`, the args are Paceline's own. The annotation
//! [`START_DELAY`] holds a pod back before its process starts, as pulling an image would. Nothing is isolated.

use std::collections::HashMap;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Container, Node, Pod};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use nix::sys::signal::Signal;
use paceline::core::parse_duration;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::control_plane::{ControlPlane, KUBELET};
use super::process::Process;
use super::{run_dir, runtime};

/// How long a pod takes to start, e.g. `2s`.
pub(crate) const START_DELAY: &str = "world.paceline.dev/start-delay";

const NODE: &str = "world-node";

/// The wait before the first restart of a process that ended; doubled for each, up to the second. Ten times shorter than a kubelet's.
const RESTART_DELAY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How soon the end of a process is noticed.
const LOOK: Duration = Duration::from_millis(50);

/// Adds the node and starts to serve it.
pub(super) fn start(cluster: &ControlPlane) -> anyhow::Result<()> {
    runtime().block_on(async {
        let client = cluster.client(KUBELET);
        create_node(&client).await?;
        tokio::spawn(serve(client));
        Ok(())
    })
}

async fn create_node(client: &Client) -> anyhow::Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let node = serde_json::from_value(json!({"metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE}}}))?;
    nodes.create(&PostParams::default(), &node).await?;
    let room = json!({"cpu": "100", "memory": "100Gi", "pods": "300", "ephemeral-storage": "100Gi"});
    let status = json!({"status": {
        "capacity": room,
        "allocatable": room,
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "It runs in the test world.",
            "lastHeartbeatTime": now(), "lastTransitionTime": now(),
        }],
    }});
    nodes.patch_status(NODE, &PatchParams::default(), &Patch::Merge(status)).await?;
    // Admission adds not-ready to new nodes; the controller that would remove it also evicts nodes that do not report.
    nodes.patch(NODE, &PatchParams::default(), &Patch::Merge(json!({"spec": {"taints": null}}))).await?;
    Ok(())
}

/// What the API server wants of a pod.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wish {
    Run,
    /// It was deleted and has so long to end.
    End(Duration),
    /// Its object is gone.
    Gone,
}

async fn serve(client: Client) {
    let pods: Api<Pod> = Api::all(client.clone());
    let config = watcher::Config::default().fields(&format!("spec.nodeName={NODE}"));
    let mut events = watcher(pods, config).default_backoff().boxed();
    let mut known: HashMap<String, watch::Sender<Wish>> = HashMap::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => {
                let wish = wish(&pod);
                known
                    .entry(pod.uid().unwrap_or_default())
                    .or_insert_with(|| {
                        let (sender, receiver) = watch::channel(wish);
                        // Each pod in a task of its own: one that takes long to end holds up no other.
                        tokio::spawn(Life::new(&client, pod, receiver).live());
                        sender
                    })
                    .send_replace(wish);
            }
            Ok(watcher::Event::Delete(pod)) => {
                if let Some(sender) = known.remove(&pod.uid().unwrap_or_default()) {
                    sender.send_replace(Wish::Gone);
                }
            }
            Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
            Err(error) => eprintln!("The kubelet can't watch its pods for now: {error}"),
        }
    }
}

fn wish(pod: &Pod) -> Wish {
    if pod.metadata.deletion_timestamp.is_none() {
        return Wish::Run;
    }
    let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(30);
    Wish::End(Duration::from_secs(grace.try_into().unwrap_or(0)))
}

/// One pod from its binding to its end.
struct Life {
    pods: Api<Pod>,
    pod: Pod,
    wish: watch::Receiver<Wish>,
    address: String,
    restarts: u32,
}

impl Life {
    fn new(client: &Client, pod: Pod, wish: watch::Receiver<Wish>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let address = format!("10.244.{}.{}", count / 250 % 250, count % 250 + 1);
        let pods = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
        Self { pods, pod, wish, address, restarts: 0 }
    }

    async fn live(mut self) {
        let mut delay = self.start_delay();
        let mut waiting = json!({"waiting": {"reason": "ContainerCreating"}});
        loop {
            self.report("Pending", false, waiting).await;
            if self.wanted_for(delay).await.is_err() {
                break;
            }
            let ended = match self.start() {
                Ok(mut process) => {
                    self.report("Running", true, json!({"running": {"startedAt": now()}})).await;
                    let ended = self.attend(&mut process).await;
                    // Whatever else its group started ends here too.
                    process.signal(Signal::SIGKILL);
                    match ended {
                        None => break,
                        Some(status) => status,
                    }
                }
                Err(error) => format!("{error:#}"),
            };
            waiting = json!({"waiting": {"reason": "CrashLoopBackOff", "message": ended}});
            let (first, most) = RESTART_DELAY;
            delay = first.saturating_mul(1 << self.restarts.min(10)).min(most);
            self.restarts += 1;
        }
        self.finalise().await;
    }

    /// Waits; an error as soon as the pod is not wanted any more.
    async fn wanted_for(&mut self, time: Duration) -> Result<(), ()> {
        match tokio::time::timeout(time, self.wish.wait_for(|wish| *wish != Wish::Run)).await {
            Ok(_) => Err(()),
            Err(_) => Ok(()),
        }
    }

    /// How the process ended of itself; None where it was ended because the pod was deleted.
    async fn attend(&mut self, process: &mut Process) -> Option<String> {
        while self.wanted_for(LOOK).await.is_ok() {
            if let Some(status) = process.ended() {
                return Some(status.to_string());
            }
        }
        let wish = *self.wish.borrow();
        if let Wish::End(grace) = wish {
            process.signal(Signal::SIGTERM);
            let end = tokio::time::Instant::now() + grace;
            while process.ended().is_none() && tokio::time::Instant::now() < end && *self.wish.borrow() != Wish::Gone {
                tokio::time::sleep(LOOK).await;
            }
        }
        None
    }

    fn start(&self) -> anyhow::Result<Process> {
        let container = self.container();
        let (program, mut args) = match container.command.clone().unwrap_or_default().split_first() {
            Some((program, rest)) => (program.clone(), rest.to_vec()),
            None => (env!("CARGO_BIN_EXE_paceline").to_owned(), Vec::new()),
        };
        args.extend(container.args.clone().unwrap_or_default());
        let mut command = Command::new(program);
        command.args(args);
        command.env("HOSTNAME", self.pod.name_any());
        for variable in container.env.iter().flatten() {
            command.env(&variable.name, variable.value.as_deref().unwrap_or_default());
        }
        let (namespace, name) = (self.pod.namespace().unwrap_or_default(), self.pod.name_any());
        Process::start(&name, &mut command, &run_dir().join("pods").join(namespace).join(format!("{name}.log")))
    }

    fn container(&self) -> &Container {
        // The API server refuses a pod without containers.
        &self.pod.spec.as_ref().expect("a pod has a spec").containers[0]
    }

    fn start_delay(&self) -> Duration {
        let text = self.pod.annotations().get(START_DELAY);
        text.and_then(|text| parse_duration(text).ok()).unwrap_or_default()
    }

    async fn report(&self, phase: &str, ready: bool, state: Value) {
        // A container that waits for its restart still leaves its pod Running, as far as a kubelet is concerned.
        let phase = if self.restarts > 0 { "Running" } else { phase };
        let truth = |true_or_false| if true_or_false { "True" } else { "False" };
        let condition = |kind, status| json!({"type": kind, "status": status, "lastTransitionTime": now()});
        let container = self.container();
        let status = json!({"status": {
            "phase": phase,
            "hostIP": "127.0.0.1",
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "startTime": self.pod.creation_timestamp(),
            "conditions": [
                condition("PodScheduled", "True"),
                condition("Initialized", "True"),
                condition("ContainersReady", truth(ready)),
                condition("Ready", truth(ready)),
            ],
            "containerStatuses": [{
                "name": container.name,
                "image": container.image,
                "imageID": "",
                "ready": ready,
                "started": ready,
                "restartCount": self.restarts,
                "state": state,
            }],
        }});
        let result = self.pods.patch_status(&self.pod.name_any(), &PatchParams::default(), &Patch::Merge(status)).await;
        note("report on", &self.pod, result.map(drop));
    }

    /// Lets the object go, now that nothing of the pod is left.
    async fn finalise(&self) {
        if *self.wish.borrow() == Wish::Gone {
            return;
        }
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            // A StatefulSet may already have a new pod of the same name.
            preconditions: Some(Preconditions { uid: self.pod.uid(), resource_version: None }),
            ..DeleteParams::default()
        };
        note("let go of", &self.pod, self.pods.delete(&self.pod.name_any(), &params).await.map(drop));
    }
}

fn note(what: &str, pod: &Pod, result: kube::Result<()>) {
    match result {
        Ok(()) => {}
        // Gone, or replaced by another pod of its name.
        Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => {}
        Err(error) => eprintln!("The kubelet can't {what} pod {}: {error}", pod.name_any()),
    }
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
