//! Who is at the other end of a connection, and whether that is the front proxy, as of now. It knows the certificates
//! that were shown in the handshake.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::{CertificateDer, UnixTime};

use super::door::Seat;
use super::front_proxy::{Cause, FrontProxy};

/// The other end of a connection.
#[derive(Debug)]
pub(super) struct Peer {
    /// Its certificates, its own first; none where it showed none.
    chain: Vec<CertificateDer<'static>>,
    seat: Arc<Seat>,
    verdict: Mutex<Option<Verdict>>,
}

/// What was found out. It holds for as long as the same front proxy is to be believed, and not beyond the certificates.
#[derive(Debug)]
struct Verdict {
    by: Arc<FrontProxy>,
    outcome: Result<UnixTime, Cause>,
}

impl Peer {
    pub(super) fn new(chain: Vec<CertificateDer<'static>>, seat: Arc<Seat>) -> Self {
        Self { chain, seat, verdict: Mutex::new(None) }
    }

    /// Whether it is the front proxy. The signatures are checked once for each front proxy that is to be believed.
    pub(super) fn check(&self, front_proxy: Option<&Arc<FrontProxy>>) -> Result<(), Cause> {
        let outcome = match front_proxy {
            _ if self.chain.is_empty() => Err(Cause::NoCertificate),
            Some(front_proxy) => self.outcome(front_proxy, UnixTime::now()),
            None => Err(Cause::NotTrusted),
        };
        match outcome {
            Ok(()) => self.seat.trust(),
            Err(_) => self.seat.distrust(),
        }
        outcome
    }

    fn outcome(&self, front_proxy: &Arc<FrontProxy>, now: UnixTime) -> Result<(), Cause> {
        let mut verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        let known = verdict.as_ref().filter(|verdict| Arc::ptr_eq(&verdict.by, front_proxy));
        match known.map(|verdict| verdict.outcome) {
            Some(Ok(until)) if now < until => Ok(()),
            // Certificates become invalid with time; that one becomes valid can wait for the next connection.
            Some(Err(cause)) => Err(cause),
            Some(Ok(_)) | None => {
                let outcome = front_proxy.check(&self.chain, now);
                *verdict = Some(Verdict { by: front_proxy.clone(), outcome });
                outcome.map(|_| ())
            }
        }
    }
}
