//! The replicas: real consumer processes on this machine, started and stopped as a Deployment's controller would.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use crate::core::{Replicas, Workload};

/// How one replica is started.
#[derive(Clone, Debug)]
pub(super) struct Program {
    /// The executable.
    pub(super) executable: PathBuf,
    /// Its arguments.
    pub(super) arguments: Vec<String>,
}

/// The running replicas. Clones share them.
#[derive(Clone)]
pub(super) struct Fleet(Arc<Mutex<State>>);

struct State {
    program: Program,
    wanted: u32,
    running: Vec<Replica>,
    leaving: Vec<tokio::task::JoinHandle<()>>,
    /// Of the replicas that have ended.
    replica_time: Duration,
}

struct Replica {
    child: Child,
    started: Instant,
}

/// How long a replica may take to leave its group: it has an answer from a broker on this machine to wait for.
const GRACE: Duration = Duration::from_secs(3);

impl Fleet {
    pub(super) fn new(program: Program) -> Self {
        let state =
            State { program, wanted: 0, running: Vec::new(), leaving: Vec::new(), replica_time: Duration::ZERO };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The replicas wanted, and those that run.
    pub(super) fn workload(&self) -> Workload {
        let mut state = self.state();
        state.reap();
        let running = u32::try_from(state.running.len()).unwrap_or(u32::MAX);
        Workload { actual: Some(Replicas(running)), ready: Some(Replicas(running)), ..Workload::of(state.wanted) }
    }

    /// Starts or stops replicas until there are so many; the newest stop first. Must be called within the runtime.
    pub(super) fn scale(&self, to: Replicas) -> std::io::Result<()> {
        let mut state = self.state();
        state.wanted = to.0;
        state.reap();
        let wanted = usize::try_from(to.0).unwrap_or(usize::MAX);
        while state.running.len() < wanted {
            state.start()?;
        }
        while state.running.len() > wanted {
            state.stop_newest();
        }
        state.leaving.retain(|leaving| !leaving.is_finished());
        Ok(())
    }

    /// The time that replicas have run, summed over the replicas.
    pub(super) fn replica_time(&self) -> Duration {
        let state = self.state();
        state.replica_time + state.running.iter().map(|replica| replica.started.elapsed()).sum::<Duration>()
    }

    /// Stops all, and returns once none is left.
    pub(super) async fn stop(&self) {
        let leaving = {
            let mut state = self.state();
            state.wanted = 0;
            while !state.running.is_empty() {
                state.stop_newest();
            }
            std::mem::take(&mut state.leaving)
        };
        for replica in leaving {
            let _ = replica.await;
        }
    }
}

impl State {
    /// Forgets replicas that ended by themselves; the next `scale` replaces them.
    fn reap(&mut self) {
        let mut i = 0;
        while let Some(replica) = self.running.get_mut(i) {
            match replica.child.try_wait() {
                Ok(Some(status)) => {
                    tracing::warn!(%status, "A worker ended by itself; another takes its place.");
                    self.replica_time += replica.started.elapsed();
                    self.running.remove(i);
                }
                Ok(None) | Err(_) => i += 1,
            }
        }
    }

    fn start(&mut self) -> std::io::Result<()> {
        let child = Command::new(&self.program.executable)
            .args(&self.program.arguments)
            // The worker ends when its stdin does, so it outlives nothing, not even a SIGKILL of this process.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // Its own group: a Ctrl-C on the terminal reaches this process, which stops the workers in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        self.running.push(Replica { child, started: Instant::now() });
        Ok(())
    }

    fn stop_newest(&mut self) {
        let Some(Replica { mut child, started }) = self.running.pop() else { return };
        self.replica_time += started.elapsed();
        self.leaving.push(tokio::spawn(async move {
            // A process id is there until its end has been waited for, which only this task does.
            if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
                let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
            }
            if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
        }));
    }
}
