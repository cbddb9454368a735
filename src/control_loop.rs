//! The one loop from observations to acts, shared by the controller and by `demo`: only the [`Target`] differs. It knows
//! the core and nothing of Kafka's client or Kubernetes'.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::core::{Decision, Engine, Observation, Policy, Workload};

/// How often one observation is decided upon when somebody else keeps changing the workload at the same moment. The
/// next poll is the next chance.
const ATTEMPTS: u32 = 3;

/// What is scaled.
pub trait Target: Send {
    /// Why the workload can't be read.
    type Error: Send;

    /// Reads the workload as it is now.
    fn read(&mut self) -> impl Future<Output = Result<Workload, Self::Error>> + Send;

    /// Does what was decided, or only tells it. The engine is there to be saved.
    fn act(&mut self, seen: &Observation, decision: &Decision, engine: &Engine) -> impl Future<Output = Acted> + Send;

    /// Takes note that the workload could not be read, so that nothing was decided.
    fn unreadable(&mut self, seen: &Observation, error: Self::Error) -> impl Future<Output = ()> + Send;

    /// Returns when the workload should be looked at again before the next observation. Must be cancel-safe.
    fn nudged(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// What became of an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acted {
    /// It is done, or there was nothing to do.
    Done,
    /// The workload was changed in between: read it again and decide again.
    Retry,
}

/// Decides on every observation and on every new policy until `stop`, or until no observations will come any more. The
/// act in hand is finished first; whoever stops must bound how long that may take.
///
/// The engine's history survives a new policy. Another group, other topics or another cluster are another history: stop
/// this loop and start a new one.
pub async fn steer<T: Target>(
    mut engine: Engine,
    mut observations: watch::Receiver<Option<Arc<Observation>>>,
    mut policies: watch::Receiver<Policy>,
    mut target: T,
    stop: CancellationToken,
) {
    engine.set_policy(policies.borrow_and_update().clone());
    let mut seen = observations.borrow_and_update().clone();
    loop {
        if let Some(seen) = &seen {
            once(&mut engine, seen, &mut target).await;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Ok(()) = policies.changed() => engine.set_policy(policies.borrow_and_update().clone()),
            changed = observations.changed() => {
                if changed.is_err() {
                    return;
                }
                seen = observations.borrow_and_update().clone();
            }
            () = target.nudged() => {}
        }
    }
}

/// Reads, decides and acts for one observation; again while the workload changes under our hands.
async fn once<T: Target>(engine: &mut Engine, seen: &Observation, target: &mut T) {
    for _ in 0..ATTEMPTS {
        let workload = match target.read().await {
            Ok(workload) => workload,
            Err(error) => {
                // What was seen counts later, even though nothing can be done with it now.
                engine.remember(seen);
                return target.unreadable(seen, error).await;
            }
        };
        let decision = engine.observe(seen, workload);
        match target.act(seen, &decision, engine).await {
            Acted::Done => return,
            Acted::Retry => {}
        }
    }
}
