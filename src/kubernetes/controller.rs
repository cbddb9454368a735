//! All ScaledConsumers: a task for each one that there is, started, told of changes and ended as the catalog says.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::catalog::{self, Change, Id, Listed, QUEUE};
use super::conflict::{Claims, watch_autoscalers};
use super::consumer::{Shared, Sources, Witness, tend};
use super::folder;
use super::leadership::Leadership;
use super::scale::Scales;

/// How long the writes in hand may take once it stops; then they are given up. With what follows it keeps the whole
/// stop under five seconds.
const LAST_WRITES: Duration = Duration::from_millis(2500);

/// What the controller works with.
pub struct Controller {
    /// The API server.
    pub client: Client,
    /// Whether we may write.
    pub leadership: Leadership,
    /// Who we are, in Events.
    pub identity: String,
    /// The namespaces to look at; all where empty.
    pub namespaces: Vec<String>,
    /// A folder to read ScaledConsumers from, instead of the API server.
    pub folder: Option<PathBuf>,
    /// Where observations come from.
    pub sources: Arc<dyn Sources>,
    /// Who wants to know what happens.
    pub witness: Arc<dyn Witness>,
}

/// One ScaledConsumer's task.
struct Tended {
    listed: watch::Sender<Arc<Listed>>,
    stop: CancellationToken,
}

impl Controller {
    /// Runs until `stop`; returns when nothing is written any more. `synced` becomes true once everything has been
    /// listed.
    pub async fn run(self, synced: watch::Sender<bool>, stop: CancellationToken) {
        let claims = Claims::default();
        let (sender, mut changes) = mpsc::channel(QUEUE);
        let mut watches = self.watches(&claims, &sender, &stop);
        drop(sender);
        let mut waiting_for = self.catalogs();
        let mut all = All {
            shared: Arc::new(Shared {
                scales: Scales::new(self.client.clone()),
                client: self.client,
                claims,
                leadership: self.leadership,
                identity: self.identity,
                sources: self.sources,
                witness: self.witness,
            }),
            tended: BTreeMap::new(),
            tasks: JoinSet::new(),
            stop: stop.child_token(),
        };
        loop {
            let change = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = all.tasks.join_next() => {
                    all.ended(ended);
                    continue;
                }
                change = changes.recv() => change,
            };
            match change {
                Some(Change::Set(listed)) => all.set(*listed),
                Some(Change::Gone(id)) => all.remove(&id),
                Some(Change::Synced) => {
                    waiting_for = waiting_for.saturating_sub(1);
                    if waiting_for == 0 && !synced.send_replace(true) {
                        info!(count = all.tended.len(), "All ScaledConsumers are known.");
                    }
                }
                None => break,
            }
        }
        all.end().await;
        watches.abort_all();
    }

    /// How many watches tell of ScaledConsumers.
    fn catalogs(&self) -> usize {
        if self.folder.is_some() { 1 } else { self.namespaces.len().max(1) }
    }

    fn watches(&self, claims: &Claims, changes: &mpsc::Sender<Change>, stop: &CancellationToken) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let scopes: Vec<_> = match self.namespaces.as_slice() {
            [] => vec![None],
            some => some.iter().cloned().map(Some).collect(),
        };
        for scope in scopes {
            tasks.spawn(watch_autoscalers(self.client.clone(), scope.clone(), claims.clone(), stop.clone()));
            if self.folder.is_none() {
                tasks.spawn(catalog::watch(self.client.clone(), scope, changes.clone(), stop.clone()));
            }
        }
        if let Some(folder) = &self.folder {
            tasks.spawn(folder::watch(folder.clone(), changes.clone(), stop.clone()));
        }
        tasks
    }
}

struct All {
    shared: Arc<Shared>,
    tended: BTreeMap<Id, Tended>,
    /// Each ends with the id of its ScaledConsumer.
    tasks: JoinSet<Id>,
    stop: CancellationToken,
}

impl All {
    fn set(&mut self, listed: Listed) {
        let id = listed.id.clone();
        match &listed.spec {
            Ok(spec) => self.shared.claims.set(spec, listed.created()),
            Err(_) => self.shared.claims.remove(&id.namespace, &id.name),
        }
        if let Some(tended) = self.tended.get(&id).filter(|tended| !tended.listed.is_closed()) {
            tended.listed.send_if_modified(|before| {
                let is_news = !before.is_same_request(&listed);
                *before = Arc::new(listed);
                is_news
            });
            return;
        }
        let (sender, receiver) = watch::channel(Arc::new(listed));
        let stop = self.stop.child_token();
        let tending = tend(self.shared.clone(), receiver, stop.clone());
        let ended = id.clone();
        self.tasks.spawn(async {
            tending.await;
            ended
        });
        self.tended.insert(id, Tended { listed: sender, stop });
    }

    /// The target's replicas stay as they are.
    fn remove(&mut self, id: &Id) {
        self.shared.claims.remove(&id.namespace, &id.name);
        if let Some(tended) = self.tended.remove(id) {
            tended.stop.cancel();
            info!(namespace = id.namespace, name = id.name, "The ScaledConsumer is gone; its target keeps its replicas.");
        }
    }

    /// A task has ended: only now nothing more is said of the ScaledConsumer, unless there is a new one of its name.
    fn ended(&self, task: Result<Id, JoinError>) {
        match task {
            Ok(id) if !self.tended.contains_key(&id) => self.shared.witness.gone(&id),
            Ok(_) => {}
            Err(error) => warn!(%error, "A ScaledConsumer's task failed; it starts again with its next change."),
        }
    }

    /// No further decision; the writes in hand end or are given up.
    async fn end(&mut self) {
        self.stop.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_WRITES, ended).await.is_err() {
            warn!("Gave up writes that did not end in time.");
            self.tasks.shutdown().await;
        }
    }
}
