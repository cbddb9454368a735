//! The replicas: real consumer processes on this machine, started and stopped as a Deployment's controller does.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::core::{Replicas, Workload, duration_argument};

/// How one replica is started.
#[derive(Clone, Debug)]
pub(super) struct Program {
    /// The executable.
    pub(super) executable: PathBuf,
    /// Its arguments, but for the time that it takes to start.
    pub(super) arguments: Vec<String>,
    /// How long one takes to start.
    pub(super) start_delay: Duration,
}

/// The running replicas. Clones share them.
#[derive(Clone)]
pub(super) struct LocalReplicas(Arc<Mutex<ReplicaState>>);

struct ReplicaState {
    program: Program,
    desired: u32,
    running: Vec<Replica>,
    leaving: Vec<tokio::task::JoinHandle<()>>,
    /// Of the replicas that have ended.
    replica_time: Duration,
}

struct Replica {
    child: Child,
    started: Instant,
}

/// Time for a replica to leave its group before it is killed. It waits for a response from a broker on this machine.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// Time-out of the first replicas to join their group. It takes about a second on an idle machine.
const JOIN_TIMEOUT: Duration = Duration::from_secs(20);

impl LocalReplicas {
    pub(super) fn new(program: Program) -> Self {
        let state = ReplicaState {
            program,
            desired: 0,
            running: Vec::new(),
            leaving: Vec::new(),
            replica_time: Duration::ZERO,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, ReplicaState> {
        // The state is consistent between any two statements, so a panic elsewhere does not corrupt it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The desired replicas, and the running ones.
    pub(super) fn workload(&self) -> Workload {
        let mut state = self.state();
        state.reap();
        let running = u32::try_from(state.running.len()).unwrap_or(u32::MAX);
        Workload { actual: Some(Replicas(running)), ready: Some(Replicas(running)), ..Workload::of(state.desired) }
    }

    /// Starts the first replicas, which do not take any time to start, and waits until each of them has partitions, or a
    /// while longer than that takes.
    pub(super) async fn begin(&self, with: Replicas) -> std::io::Result<()> {
        self.scale_within(with, Duration::ZERO)?;
        let stdouts: Vec<_> =
            self.state().running.iter_mut().filter_map(|replica| replica.child.stdout.take()).collect();
        let assigned = async {
            for stdout in stdouts {
                // What ends instead is replaced later.
                let _ = BufReader::new(stdout).read_line(&mut String::new()).await;
            }
        };
        let _ = tokio::time::timeout(JOIN_TIMEOUT, assigned).await;
        Ok(())
    }

    /// Starts or stops replicas until there are so many; the newest stop first. Must be called within the runtime.
    pub(super) fn scale(&self, to: Replicas) -> std::io::Result<()> {
        let start_delay = self.state().program.start_delay;
        self.scale_within(to, start_delay)
    }

    fn scale_within(&self, to: Replicas, start_delay: Duration) -> std::io::Result<()> {
        let mut state = self.state();
        state.desired = to.0;
        state.reap();
        let desired = usize::try_from(to.0).unwrap_or(usize::MAX);
        while state.running.len() < desired {
            state.start(start_delay)?;
        }
        while state.running.len() > desired {
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
            state.desired = 0;
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

impl ReplicaState {
    /// Removes replicas that ended by themselves; the next `scale` replaces them.
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

    fn start(&mut self, start_delay: Duration) -> std::io::Result<()> {
        let child = Command::new(&self.program.executable)
            .args(&self.program.arguments)
            .args(["--start-delay", &duration_argument(start_delay)])
            // The worker ends when its stdin does, so it never outlives this process, not even after a SIGKILL.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A process group of its own: a Ctrl-C on the terminal reaches this process only, which stops the workers
            // in order.
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
            // A process id stays valid until the process has been waited for, which only this task does.
            if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
                let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
            }
            if tokio::time::timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
        }));
    }
}
