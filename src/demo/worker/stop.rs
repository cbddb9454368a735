//! Stopping a worker: by SIGTERM, SIGINT or the end of stdin.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;

/// How soon a stop request is noticed while there is nothing to consume or a record takes long.
pub(super) const STOP_CHECK: Duration = Duration::from_millis(50);

/// Whether the process was requested to stop.
#[derive(Clone)]
pub(super) struct StopSignal(Arc<AtomicBool>);

impl StopSignal {
    /// Listens to SIGTERM and SIGINT, and with `parent` to the end of stdin.
    pub(super) fn listen(parent: bool) -> anyhow::Result<Self> {
        let stop = Self(Arc::default());
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("Can't listen to signals")?;
        let (mut terminate, mut interrupt) = {
            let _context = runtime.enter();
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
        };
        let on_signal = stop.clone();
        std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            });
            on_signal.0.store(true, Ordering::Relaxed);
        });
        if parent {
            let on_end = stop.clone();
            std::thread::spawn(move || {
                let mut buffer = [0; 64];
                while matches!(std::io::stdin().read(&mut buffer), Ok(read) if read > 0) {}
                on_end.0.store(true, Ordering::Relaxed);
            });
        }
        Ok(stop)
    }

    pub(super) fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits for `time`; true as soon as a stop is requested.
    pub(super) fn within(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        while !self.requested() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            std::thread::sleep(left.min(STOP_CHECK));
        }
        true
    }

    pub(super) fn exit_after(time: Duration) {
        std::thread::spawn(move || {
            std::thread::sleep(time);
            warn!("Kafka did not answer in time; exiting without leaving the group.");
            std::process::exit(1);
        });
    }
}
