//! Limits the number of connections. A connection is *pending* until its TLS handshake has ended, then *open*. Only the
//! API server has the client certificate that a handshake requires, so all others stay pending.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::counters::Counters;
use super::front_proxy::{FrontProxy, RefusalCause};

/// Pending connections; one more closes the oldest. A handshake of the API server takes milliseconds, and so many are
/// not opened within that. At about 20 KiB each they take 10 MiB.
const MAX_PENDING: usize = 512;
/// Open connections. A large cluster has five API servers with a few each.
const MAX_OPEN: usize = 1024;

/// All connections. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    pending: Arc<Mutex<PendingQueue>>,
    open: Arc<Semaphore>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct PendingQueue {
    newest: u64,
    /// In order of arrival.
    handshakes: BTreeMap<u64, CancellationToken>,
}

/// A handshake under way; dropping it removes it from the queue.
#[derive(Debug)]
pub(super) struct PendingHandshake {
    connections: Connections,
    number: u64,
    /// Cancelled when the connection is closed in favor of newer ones.
    pub(super) closed: CancellationToken,
}

/// A connection after its handshake, with its client's certificates.
#[derive(Debug)]
pub(super) struct OpenConnection {
    /// The client's certificate first, then intermediates.
    chain: Vec<CertificateDer<'static>>,
    verified: Mutex<Option<Verification>>,
    connections: Connections,
    permit: Option<OwnedSemaphorePermit>,
}

/// The result of the check of the certificates. It holds while the same front proxy is trusted.
#[derive(Debug)]
struct Verification {
    by: Arc<FrontProxy>,
    /// The end of the certificates' validity.
    result: Result<UnixTime, RefusalCause>,
}

impl Connections {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self { pending: Arc::default(), open: Arc::new(Semaphore::new(MAX_OPEN)), counters }
    }

    /// Begins a handshake; closes the oldest one if there are too many.
    pub(super) fn begin_handshake(&self) -> PendingHandshake {
        let closed = CancellationToken::new();
        let mut queue = self.queue();
        queue.newest += 1;
        let number = queue.newest;
        queue.handshakes.insert(number, closed.clone());
        if queue.handshakes.len() > MAX_PENDING
            && let Some((_, oldest)) = queue.handshakes.pop_first()
        {
            oldest.cancel();
        }
        self.counters.set_pending_handshakes(queue.handshakes.len());
        PendingHandshake { connections: self.clone(), number, closed }
    }

    /// Opens a connection with these client certificates; `None` at the limit.
    pub(super) fn open(&self, chain: Vec<CertificateDer<'static>>) -> Option<OpenConnection> {
        let permit = Arc::clone(&self.open).try_acquire_owned().ok()?;
        self.count_open();
        Some(OpenConnection { chain, verified: Mutex::default(), connections: self.clone(), permit: Some(permit) })
    }

    fn count_open(&self) {
        self.counters.set_open_connections(MAX_OPEN - self.open.available_permits());
    }

    fn queue(&self) -> MutexGuard<'_, PendingQueue> {
        // Each holder makes one change, so a panic elsewhere leaves nothing half done.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PendingHandshake {
    fn drop(&mut self) {
        let mut queue = self.connections.queue();
        queue.handshakes.remove(&self.number);
        self.connections.counters.set_pending_handshakes(queue.handshakes.len());
    }
}

impl OpenConnection {
    /// Checks that the client is still the front proxy: the trusted certificates may have changed since the handshake,
    /// and the certificate may have expired. Signatures are verified once per front proxy.
    pub(super) fn check(&self, front_proxy: &Arc<FrontProxy>) -> Result<(), RefusalCause> {
        let now = UnixTime::now();
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let known = verified.as_ref().filter(|known| Arc::ptr_eq(&known.by, front_proxy)).map(|known| known.result);
        match known {
            Some(Ok(until)) if now < until => Ok(()),
            Some(Err(cause)) => Err(cause),
            Some(Ok(_)) | None => {
                let result = front_proxy.check(&self.chain, now);
                *verified = Some(Verification { by: Arc::clone(front_proxy), result });
                result.map(|_| ())
            }
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.connections.count_open();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_handshake_gives_way_and_no_more_connections_are_opened_than_may_be() {
        let counters = Arc::<Counters>::default();
        let connections = Connections::new(Arc::clone(&counters));
        let mut pending: Vec<_> = (0..MAX_PENDING).map(|_| connections.begin_handshake()).collect();
        assert!(pending.iter().all(|handshake| !handshake.closed.is_cancelled()));
        pending.push(connections.begin_handshake());
        assert!(pending[0].closed.is_cancelled() && !pending[1].closed.is_cancelled());
        assert_eq!(counters.pending_handshakes(), MAX_PENDING as u64);

        let mut open: Vec<_> = (0..MAX_OPEN).map(|_| connections.open(Vec::new()).expect("there is room")).collect();
        assert!(connections.open(Vec::new()).is_none());
        open.pop();
        assert!(connections.open(Vec::new()).is_some());
        drop((pending, open));
        assert_eq!((counters.pending_handshakes(), counters.open_connections()), (0, 0));
    }
}
