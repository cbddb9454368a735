//! The workloads that are scaled. They are read from one watch per kind in use, and `/scale` is read live only right
//! before it is written. This module knows nothing of why a number is written.

mod discovery;
mod facts;
mod scale;
mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch::Receiver;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use scale::ScaleError;

use crate::core::{Replicas, Workload};
use crate::kubernetes::names::path_segment;
use crate::kubernetes::{ApiClient, Key, Lane, Leadership, TargetRef, WatchStates};
use discovery::Discovery;
use facts::is_newer;
use scale::{LiveScale, ScaleApi};
use watch::{KindWatch, TargetState, Unusable, WatchFailures};

/// How long a read waits for the first list; the next poll waits again.
const FIRST_LIST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a watch may fail before its data is discarded.
const MAX_WATCH_OUTAGE: Duration = Duration::from_secs(60);
/// Interval of reads of a scale that can't be watched, plus up to a quarter, so that a thousand targets are not read at
/// once.
const READ_INTERVAL: Duration = Duration::from_secs(30);
/// Interval of retries after a failed read of a workload that can't be watched.
const FAILED_READ_INTERVAL: Duration = Duration::from_secs(10);
/// Least time between two notifications, and between two reads of a scale whose object changes constantly.
const CHANGE_INTERVAL: Duration = Duration::from_secs(1);
/// First back-off after a refused write; doubles each time, up to [`MAX_BACKOFF`].
const FIRST_BACKOFF: Duration = Duration::from_secs(10);
/// Longest back-off after refused writes. A correction takes effect within this time.
const MAX_BACKOFF: Duration = Duration::from_secs(300);
/// How long a watch continues without handles, and how often that is checked.
const UNUSED_INTERVAL: Duration = Duration::from_secs(60);

/// All workloads that are scaled. Clones share the watches; bounded by the kinds and namespaces in use.
#[derive(Clone)]
pub struct Workloads(Arc<WorkloadsInner>);

struct WorkloadsInner {
    client: ApiClient,
    discovery: Discovery,
    states: WatchStates,
    namespaces: Vec<Option<String>>,
    stop: CancellationToken,
    /// A std mutex, because nothing is awaited while it is held.
    watches: Mutex<HashMap<KindKey, Arc<KindWatch>>>,
}

/// A kind and the namespace in which it is watched; `None` for all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct KindKey {
    api_version: String,
    kind: String,
    scope: Option<String>,
}

impl Workloads {
    /// `namespaces` are the watched ones; `None` is all of them.
    pub fn new(
        client: ApiClient,
        states: WatchStates,
        namespaces: Vec<Option<String>>,
        stop: CancellationToken,
    ) -> Self {
        let discovery = Discovery::new(client.clone());
        Self(Arc::new(WorkloadsInner { client, discovery, states, namespaces, stop, watches: Mutex::default() }))
    }

    /// The handle for one target. Starts the watch of its kind if it is the first; the watch ends about a minute after
    /// the last handle is dropped.
    pub fn follow(&self, namespace: &str, target: &TargetRef) -> WorkloadHandle {
        let key = Key { namespace: namespace.to_owned(), name: target.name.clone() };
        let (watch, receiver) = match path_segment(namespace).and(path_segment(&target.name)) {
            Ok(_) => {
                let (watch, receiver) = self.subscribe(&key, target);
                (Some(watch), receiver)
            }
            Err(error) => {
                let state = TargetState::Unusable(Unusable(error.into()));
                (None, tokio::sync::watch::channel(state).1)
            }
        };
        WorkloadHandle {
            shared: Arc::clone(&self.0),
            key,
            target: target.clone(),
            watch,
            receiver,
            read_at: None,
            state: Mutex::default(),
        }
    }

    fn subscribe(&self, key: &Key, target: &TargetRef) -> (Arc<KindWatch>, Receiver<TargetState>) {
        let shared = &self.0;
        let all = shared.namespaces.contains(&None);
        let kind = KindKey {
            api_version: target.api_version.clone(),
            kind: target.kind.clone(),
            scope: (!all).then(|| key.namespace.clone()),
        };
        // Held until the subscription, so that an unused watch does not end in between.
        let mut watches = shared.watches();
        let watch = watches.entry(kind.clone()).or_insert_with(|| {
            let watch = Arc::new(KindWatch::new());
            tokio::spawn(run(Arc::clone(shared), kind, target.clone(), Arc::clone(&watch)));
            watch
        });
        (Arc::clone(watch), watch.subscribe(key.clone()))
    }
}

impl WorkloadsInner {
    fn watches(&self) -> MutexGuard<'_, HashMap<KindKey, Arc<KindWatch>>> {
        // Each change is a single insertion or removal, so a panic elsewhere leaves nothing half done.
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches a kind until it is no longer used, or until the controller ends.
async fn run(shared: Arc<WorkloadsInner>, kind: KindKey, target: TargetRef, watch: Arc<KindWatch>) {
    let scope = kind.scope.as_deref();
    let unused = async {
        let mut was_unused = false;
        loop {
            tokio::time::sleep(UNUSED_INTERVAL / 2).await;
            let mut watches = shared.watches();
            let is_unused = watch.is_unused();
            if is_unused && was_unused {
                watches.remove(&kind);
                return;
            }
            was_unused = is_unused;
        }
    };
    tokio::select! {
        () = shared.stop.cancelled() => {}
        () = unused => {}
        () = watch.run(&shared.client.kube, &shared.discovery, &shared.states, &target, scope) => {}
    }
}

/// One target.
pub struct WorkloadHandle {
    shared: Arc<WorkloadsInner>,
    key: Key,
    target: TargetRef,
    /// `None` where the target's name is not valid.
    watch: Option<Arc<KindWatch>>,
    receiver: Receiver<TargetState>,
    read_at: Option<Instant>,
    state: Mutex<HandleState>,
}

/// What a handle has read and written by itself, apart from the watch.
#[derive(Debug, Default)]
struct HandleState {
    /// The last read of the scale, and when.
    live: Option<(Instant, LiveScale)>,
    /// When the scale is read again where it can't be watched.
    due: Option<Instant>,
    failed: Option<ScaleError>,
    refusal: Option<Refusal>,
}

/// Writes that were refused, one after another.
#[derive(Debug)]
struct Refusal {
    error: ScaleError,
    backoff: Duration,
    until: Instant,
}

impl WorkloadHandle {
    /// The workload as last seen; the caller sets its `read_at`. A watched workload needs no request. Waits a few
    /// seconds for the first list. The error is a sentence for the status.
    pub async fn read(&mut self) -> Result<Workload, ScaleError> {
        self.read_at = Some(Instant::now());
        let known = self.receiver.wait_for(|state| *state != TargetState::Waiting);
        // A closed channel keeps its last state, which is read below.
        let _ = tokio::time::timeout(FIRST_LIST_TIMEOUT, known).await;
        let state = self.receiver.borrow_and_update().clone();
        let outage = self.watch.as_ref().and_then(|watch| watch.failing());
        let kind = &self.target.kind;
        let facts = match (state, outage) {
            (TargetState::Unusable(Unusable(error)), _) => return Err(error),
            // Boxed, like all requests here: a task has no room for a request that it never makes.
            (TargetState::Unwatched, _) => return Box::pin(self.read_at_intervals()).await,
            (TargetState::Waiting, Some(WatchFailures { error, .. })) => {
                return Err(ScaleError::Other(format!("workloads of kind {kind} can't be listed: {error}")));
            }
            (TargetState::Waiting, None) => {
                return Err(ScaleError::Other(format!("workloads of kind {kind} have not been listed yet")));
            }
            (TargetState::Absent | TargetState::Present(_), Some(outage))
                if outage.since.elapsed() > MAX_WATCH_OUTAGE =>
            {
                let error = outage.error;
                return Err(ScaleError::Other(format!(
                    "the watch of workloads of kind {kind} has failed for more than a minute: {error}"
                )));
            }
            (TargetState::Absent, _) => return Err(self.not_found()),
            (TargetState::Present(facts), _) => facts,
        };
        let live = self.state().live.clone();
        match (facts.workload, live) {
            // The answer to our own write may be newer than the watch.
            (Some(workload), Some((_, live))) if is_newer(&live.version, &facts.version) => {
                Ok(Workload { template: workload.template, first_start: workload.first_start, ..live.workload })
            }
            (Some(workload), _) => Ok(workload),
            (None, Some((at, live))) if !is_newer(&facts.version, &live.version) || at.elapsed() < CHANGE_INTERVAL => {
                Ok(live.workload)
            }
            (None, _) => Ok(Box::pin(self.read_live(Lane::ScaleRead)).await?.workload),
        }
    }

    /// Returns when the workload has changed since the last [`read`](Self::read), at most once a second. Cancel-safe.
    pub async fn changed(&mut self) {
        if self.receiver.changed().await.is_err() {
            // The watch has ended: nothing will change.
            std::future::pending::<()>().await;
        }
        // Whoever stops waiting here finds the change again.
        self.receiver.mark_changed();
        if let Some(read_at) = self.read_at {
            tokio::time::sleep_until(read_at + CHANGE_INTERVAL).await;
        }
        self.receiver.mark_unchanged();
    }

    /// Sets the replicas if a live read right before shows `from`; otherwise fails with [`ScaleError::Conflict`].
    /// `Ok(false)`: this controller does not lead. After a refusal, writes to this target back off.
    pub async fn write(&self, from: Replicas, to: Replicas, leadership: &Leadership) -> Result<bool, ScaleError> {
        if !leadership.may_write() {
            return Ok(false);
        }
        if let Some(refusal) = &self.state().refusal
            && Instant::now() < refusal.until
        {
            return Err(ScaleError::Postponed(Box::new(refusal.error.clone())));
        }
        let written = Box::pin(self.write_live(from, to, leadership)).await;
        let mut state = self.state();
        match &written {
            Err(error) if error.is_refusal() => {
                let before = state.refusal.take();
                let backoff = before.map_or(FIRST_BACKOFF, |before| MAX_BACKOFF.min(before.backoff.saturating_mul(2)));
                state.refusal = Some(Refusal { error: error.clone(), backoff, until: Instant::now() + backoff });
            }
            Ok(true) => state.refusal = None,
            Ok(false) | Err(_) => {}
        }
        written
    }

    /// Who set `spec.replicas` last, other than this program; `None` if unknown.
    pub async fn last_writer(&self) -> Option<String> {
        let known = self.receiver.borrow().clone();
        match known {
            TargetState::Present(facts) => facts.last_writer.map(|manager| manager.to_string()),
            TargetState::Waiting | TargetState::Unwatched => {
                let metadata = self.api().await.ok()?.metadata().await.ok()?;
                facts::last_writer(metadata.managed_fields.unwrap_or_default())
            }
            TargetState::Unusable(_) | TargetState::Absent => None,
        }
    }

    async fn write_live(&self, from: Replicas, to: Replicas, leadership: &Leadership) -> Result<bool, ScaleError> {
        let live = self.read_live(Lane::Scale).await?;
        let current = live.workload.spec;
        if current != from {
            return Err(ScaleError::Conflict(format!("{} has {current} now, not {}", self.target, from.0)));
        }
        let Some(written) = self.api().await?.write(&live.version, to, leadership).await? else { return Ok(false) };
        self.remember(written);
        Ok(true)
    }

    /// Reads the scale at intervals, for a workload that can't be watched. In a short outage the last read counts.
    async fn read_at_intervals(&self) -> Result<Workload, ScaleError> {
        let live = {
            let state = self.state();
            if state.due.is_some_and(|due| Instant::now() < due) {
                match (&state.failed, &state.live) {
                    (Some(error), _) => return Err(error.clone()),
                    (None, Some((_, live))) => return Ok(live.workload),
                    (None, None) => {}
                }
            }
            state.live.clone()
        };
        match self.read_live(Lane::ScaleRead).await {
            Ok(live) => Ok(live.workload),
            Err(ScaleError::Other(error)) => match live {
                Some((at, live)) if at.elapsed() < MAX_WATCH_OUTAGE => Ok(live.workload),
                Some(_) | None => Err(ScaleError::Other(error)),
            },
            Err(error) => {
                let mut state = self.state();
                state.due = Some(Instant::now() + FAILED_READ_INTERVAL);
                state.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    async fn read_live(&self, lane: Lane) -> Result<LiveScale, ScaleError> {
        let live = self.api().await?.read(lane).await?;
        self.remember(live.clone());
        Ok(live)
    }

    async fn api(&self) -> Result<ScaleApi<'_>, ScaleError> {
        let resource = self.shared.discovery.resource(&self.target).await?;
        ScaleApi::new(&self.shared.client, resource, &self.key.namespace, &self.target)
    }

    fn remember(&self, live: LiveScale) {
        let now = Instant::now();
        let mut state = self.state();
        state.live = Some((now, live));
        state.due = Some(now + READ_INTERVAL + READ_INTERVAL.mul_f64(fastrand::f64() / 4.0));
        state.failed = None;
    }

    fn state(&self) -> MutexGuard<'_, HandleState> {
        // Each change leaves it whole, so a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn not_found(&self) -> ScaleError {
        ScaleError::TargetNotFound { target: self.target.clone(), namespace: self.key.namespace.clone() }
    }
}

/// Reads the scale of workloads, each once. A kind is discovered once for all of them.
pub(crate) struct WorkloadReader {
    client: ApiClient,
    discovery: Discovery,
}

impl WorkloadReader {
    pub(crate) fn new(client: &ApiClient) -> Self {
        Self { client: client.clone(), discovery: Discovery::new(client.clone()) }
    }

    pub(crate) async fn read(&self, namespace: &str, target: &TargetRef) -> Result<Workload, ScaleError> {
        let resource = self.discovery.resource(target).await?;
        let live = ScaleApi::new(&self.client, resource, namespace, target)?.read(Lane::ScaleRead).await?;
        Ok(live.workload)
    }
}
