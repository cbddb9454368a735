//! One task per ScaledConsumer, by its key. A task that panics or ends by itself is reported. Stopping a task does not
//! block.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::time::Duration;

use tokio::task::{AbortHandle, Id, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::kubernetes::Key;

/// Time-out of an action under way after its task is stopped; then it is abandoned. The lease has to be released within
/// the five seconds of a shutdown.
const STOP_TIMEOUT: Duration = Duration::from_millis(2500);

/// The tasks, at most one per key. A key is free again once its task has ended.
#[derive(Default)]
pub(super) struct Tasks {
    set: JoinSet<()>,
    running: BTreeMap<Key, RunningTask>,
    keys: HashMap<Id, Key>,
}

struct RunningTask {
    stop: CancellationToken,
    abort: AbortHandle,
}

/// How a task has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TaskEnd {
    /// It was stopped.
    Stopped,
    /// It ended by itself, which it should not.
    ByItself,
    /// It panicked, with this message.
    Panicked(String),
}

impl Tasks {
    /// Starts a task. Its key must be free.
    pub(super) fn start<F>(&mut self, key: Key, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        // Boxed, or it would have its place twice: outside and inside of the `select!`.
        let (work, token) = (Box::pin(task(stop.clone())), stop.clone());
        let abort = self.set.spawn(async move {
            let timeout = async {
                token.cancelled().await;
                tokio::time::sleep(STOP_TIMEOUT).await;
            };
            tokio::select! {
                () = work => {}
                () = timeout => tracing::warn!("An action did not end in time and is abandoned."),
            }
        });
        self.keys.insert(abort.id(), key.clone());
        self.running.insert(key, RunningTask { stop, abort });
    }

    /// Stops a task. [`Self::ended`] reports its end.
    pub(super) fn stop(&self, key: &Key) {
        if let Some(task) = self.running.get(key) {
            task.stop.cancel();
        }
    }

    /// Whether a task has this key, even if it is stopping.
    pub(super) fn is_taken(&self, key: &Key) -> bool {
        self.running.contains_key(key)
    }

    /// Returns the next task that ends; waits while there is none. Cancel-safe.
    pub(super) async fn ended(&mut self) -> (Key, TaskEnd) {
        loop {
            let Some(ended) = self.set.join_next_with_id().await else {
                std::future::pending::<()>().await;
                continue;
            };
            let (id, panic) = match ended {
                Ok((id, ())) => (id, None),
                Err(error) => (error.id(), error.try_into_panic().ok()),
            };
            let Some(key) = self.keys.remove(&id) else { continue };
            let was_stopped = self.running.remove(&key).is_some_and(|task| task.stop.is_cancelled());
            let end = match panic {
                Some(panic) => TaskEnd::Panicked(message(panic.as_ref())),
                None if was_stopped => TaskEnd::Stopped,
                None => TaskEnd::ByItself,
            };
            return (key, end);
        }
    }

    /// Ends all of them at once. What takes too long is abandoned.
    pub(super) async fn shut_down(mut self) {
        self.running.values().for_each(|task| task.stop.cancel());
        let all = async { while self.set.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_TIMEOUT, all).await.is_err() {
            self.running.values().for_each(|task| task.abort.abort());
        }
    }
}

/// The text of a panic, where it has one.
fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { namespace: "shop".to_owned(), name: name.to_owned() }
    }

    #[tokio::test]
    async fn each_end_of_a_task_is_noticed_and_frees_its_key() {
        let mut tasks = Tasks::default();
        tasks.start(key("panics"), |_| async { panic!("no such level") });
        assert_eq!(tasks.ended().await, (key("panics"), TaskEnd::Panicked("no such level".to_owned())));
        tasks.start(key("ends"), |_| async {});
        assert_eq!(tasks.ended().await, (key("ends"), TaskEnd::ByItself));
        tasks.start(key("waits"), |stop| async move { stop.cancelled().await });
        assert!(tasks.is_taken(&key("waits")));
        tasks.stop(&key("waits"));
        assert_eq!(tasks.ended().await, (key("waits"), TaskEnd::Stopped));
        assert!(!tasks.is_taken(&key("waits")) && !tasks.is_taken(&key("panics")));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_end_when_it_is_stopped_is_abandoned_and_holds_up_nobody() {
        let mut tasks = Tasks::default();
        tasks.start(key("hangs"), |_| std::future::pending());
        tasks.start(key("waits"), |stop| async move { stop.cancelled().await });
        tasks.stop(&key("hangs"));
        tasks.stop(&key("waits"));
        assert_eq!(tasks.ended().await.0, key("waits"));
        assert_eq!(tasks.ended().await, (key("hangs"), TaskEnd::Stopped));

        tasks.start(key("hangs"), |_| std::future::pending());
        tasks.shut_down().await;
    }
}
