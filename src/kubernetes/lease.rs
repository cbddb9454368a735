//! Leader election by one Lease (coordination.k8s.io): only its holder may write. This module knows the Lease and the
//! monotonic clock, and nothing of what is written.
//!
//! As with every lease without fencing, two controllers never *begin* a write at the same time, provided that their
//! monotonic clocks run at about the same speed. A write that outlasts its time-out in the network is rejected by the
//! resourceVersion that every write to a target carries.
//!
//! After the holder dies, the others take over within 12 s plus a request: they see its last renewal at most
//! `RETRY_INTERVAL` later and wait for `DURATION`.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::kubernetes::call::REQUEST_TIMEOUT;
use crate::kubernetes::names::path_segment;
use crate::kubernetes::{ApiClient, CallError, Lane, LastError};

/// Lease duration: without a renewal for this time, another candidate may take it.
const DURATION: Duration = Duration::from_secs(10);
/// Interval of renewals by the holder and of reads by the others. Several fit into [`DURATION`], so lost requests do no
/// harm.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// Time-out of a renewal. Two attempts fit into [`DURATION`].
const TIMEOUT: Duration = Duration::from_secs(3);
/// Time-out of releasing the lease. If that fails, the lease expires by itself.
const RELEASE_TIMEOUT: Duration = Duration::from_millis(1500);

/// A candidate and its Lease.
#[derive(Clone, Debug)]
pub struct LeaseCandidate {
    /// The Lease's namespace.
    pub namespace: String,
    /// The Lease's name.
    pub lease: String,
    /// Unique per process, as two processes may share a host name.
    pub identity: String,
}

/// Whether this controller leads, for any number of tasks.
#[derive(Clone, Debug)]
pub struct Leadership {
    /// Until when this controller holds the lease, on the monotonic clock; `None` where it does not.
    held_until: watch::Receiver<Option<Instant>>,
    /// Who holds the lease, as last read; `None` where that is not known.
    holder: watch::Receiver<Option<String>>,
}

impl Leadership {
    /// Always leads: for a controller without leader election.
    pub fn always() -> Self {
        // Longer than any process runs.
        let forever = Instant::now() + Duration::from_secs(100 * 365 * 24 * 3600);
        Self::until(watch::channel(Some(forever)).1)
    }

    /// Leads until the time in the channel, and not at all without one.
    pub fn until(held_until: watch::Receiver<Option<Instant>>) -> Self {
        Self { held_until, holder: watch::channel(None).1 }
    }

    /// Who leads, by the name in the Lease; `None` without an election, and where the Lease could not be read.
    pub fn leader(&self) -> Option<String> {
        self.holder.borrow().clone()
    }

    /// Whether this controller holds the lease now.
    pub fn is_leader(&self) -> bool {
        self.held_until.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Whether a write that begins now ends before another controller may write.
    pub fn may_write(&self) -> bool {
        self.held_until.borrow().is_some_and(|until| Instant::now() + REQUEST_TIMEOUT < until)
    }

    /// Returns when leadership begins or ends. Cancel-safe.
    pub async fn changed(&mut self) {
        let before = self.held_until.borrow_and_update().is_some();
        if self.held_until.wait_for(|until| until.is_some() != before).await.is_err() {
            // No election takes place: nothing will change.
            std::future::pending::<()>().await;
        }
    }
}

/// Takes part in the election for one candidate.
pub struct Election {
    client: ApiClient,
    api: Api<Lease>,
    candidate: LeaseCandidate,
    held_until: watch::Sender<Option<Instant>>,
    holder: watch::Sender<Option<String>>,
    /// The lease as last written by this candidate, while it holds it.
    held: Option<Lease>,
    /// A write that timed out: its renewal time and when it was sent. It may have succeeded.
    unconfirmed: Option<(MicroTime, Instant)>,
    /// The resourceVersion that another candidate wrote, and when it was first read.
    other: Option<(String, Instant)>,
    /// The last failure that was logged, so that an outage is logged once.
    last_error: LastError,
}

impl Election {
    /// An election that has not begun, and its result.
    pub fn new(client: ApiClient, candidate: LeaseCandidate) -> (Self, Leadership) {
        let api = Api::namespaced(client.kube.clone(), &candidate.namespace);
        let (held_until, holds_until) = watch::channel(None);
        let (holder, held_by) = watch::channel(None);
        let election = Self {
            client,
            api,
            candidate,
            held_until,
            holder,
            held: None,
            unconfirmed: None,
            other: None,
            last_error: LastError::default(),
        };
        (election, Leadership { held_until: holds_until, holder: held_by })
    }

    /// Takes the lease when it is free and renews it until `stop`. Then releases it, so that another candidate takes
    /// over at once.
    pub async fn run(mut self, stop: CancellationToken) {
        let LeaseCandidate { namespace, lease, .. } = &self.candidate;
        if let Err(error) = path_segment(namespace).and(path_segment(lease)) {
            error!(namespace, lease, %error, "This is not a valid name of a Lease, so no controller leads; correct leaderElection.");
            return stop.cancelled().await;
        }
        loop {
            let next = self.round().await;
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep_until(next) => {}
            }
        }
        self.release().await;
    }

    /// Renews, takes or reads the lease. Returns when to do so again.
    async fn round(&mut self) -> Instant {
        let begun = Instant::now();
        let result = match self.held.take() {
            Some(lease) => self.renew(lease, begun).await,
            None => self.take_if_free(begun).await,
        };
        match result {
            Ok(()) => self.last_error.clear(),
            Err(error) => self.log_once(&error.to_string()),
        }
        if self.held_until.borrow().is_some_and(|until| Instant::now() >= until) {
            self.step_down("The lease expired before it was renewed; another controller may write now.");
        }
        let expiry = self.other.as_ref().map(|(_, since)| *since + DURATION).filter(|expiry| *expiry > begun);
        let regular = begun + RETRY_INTERVAL;
        expiry.map_or(regular, |expiry| expiry.min(regular))
    }

    async fn renew(&mut self, mut lease: Lease, begun: Instant) -> Result<(), CallError> {
        if self.unconfirmed.is_some() {
            match self.reread().await {
                Ok(Some(ours)) => lease = ours,
                Ok(None) => return self.lose(begun).await,
                Err(error) => {
                    self.held = Some(lease);
                    return Err(error);
                }
            }
        }
        match self.renew_once(&lease, begun).await {
            // Another candidate took it, or an earlier renewal or another client changed it.
            Err(CallError::Conflict(_)) => match self.reread().await? {
                Some(ours) => self.renew_once(&ours, begun).await,
                None => self.lose(begun).await,
            },
            Err(CallError::NotFound(_)) => self.lose(begun).await,
            result => result,
        }
    }

    async fn renew_once(&mut self, lease: &Lease, begun: Instant) -> Result<(), CallError> {
        let mut renewed = lease.clone();
        renewed.spec.get_or_insert_default().renew_time = Some(now());
        let answer = self.replace(&renewed).await;
        self.held = Some(lease.clone());
        self.settle(answer, &renewed, begun)
    }

    /// Handles the answer to a write that was sent at `begun`.
    fn settle(&mut self, answer: Result<Lease, CallError>, sent: &Lease, begun: Instant) -> Result<(), CallError> {
        match answer {
            Ok(lease) => {
                self.confirm(lease, begun);
                Ok(())
            }
            Err(error) => {
                if matches!(error, CallError::TimedOut(_) | CallError::Other(_)) {
                    // It may have succeeded nevertheless.
                    self.unconfirmed = renew_time(sent).map(|time| (time, begun));
                }
                Err(error)
            }
        }
    }

    /// Records a renewal that was sent at `begun`: other candidates can't have seen it earlier.
    fn confirm(&mut self, lease: Lease, begun: Instant) {
        if self.held_until.borrow().is_none() {
            info!(identity = self.candidate.identity, lease = self.candidate.lease, "Leading.");
        }
        self.held = Some(lease);
        self.unconfirmed = None;
        self.other = None;
        self.note_holder(&self.candidate.identity);
        // A renewal changes nothing for anybody who waits: it wakes none of thousands of tasks.
        self.held_until.send_if_modified(|until| until.replace(begun + DURATION).is_none());
    }

    /// Reads the lease; `None` if it is no longer held by this candidate.
    async fn reread(&mut self) -> Result<Option<Lease>, CallError> {
        let Some(lease) = self.read().await? else { return Ok(None) };
        self.confirm_late(&lease);
        Ok((holder(&lease) == self.candidate.identity).then_some(lease))
    }

    async fn read(&self) -> Result<Option<Lease>, CallError> {
        self.client.within(Lane::Lease, TIMEOUT, self.api.get_opt(&self.candidate.lease)).await
    }

    /// Records a timed-out write that succeeded, as of when it was sent. Returns whether there was one.
    fn confirm_late(&mut self, lease: &Lease) -> bool {
        let is_ours = holder(lease) == self.candidate.identity;
        let sent = self.unconfirmed.take().filter(|(time, _)| is_ours && renew_time(lease).as_ref() == Some(time));
        if let Some((_, begun)) = sent {
            self.confirm(lease.clone(), begun);
        }
        sent.is_some()
    }

    async fn lose(&mut self, begun: Instant) -> Result<(), CallError> {
        self.step_down("Another candidate wrote the lease; no longer the leader.");
        self.take_if_free(begun).await
    }

    /// Reads a lease that this candidate does not hold, and takes it if it is free.
    async fn take_if_free(&mut self, begun: Instant) -> Result<(), CallError> {
        let Some(lease) = self.read().await? else {
            let (params, new) = (PostParams::default(), self.claimed(None));
            let created = self.client.within(Lane::Lease, TIMEOUT, self.api.create(&params, &new)).await;
            return self.taken(created, &new, begun);
        };
        if self.confirm_late(&lease) {
            return Ok(());
        }
        let holder = holder(&lease);
        self.note_holder(holder);
        if holder.is_empty() || holder == self.candidate.identity || self.has_expired(&lease) {
            let claimed = self.claimed(Some(lease));
            let answer = self.replace(&claimed).await;
            return self.taken(answer, &claimed, begun);
        }
        Ok(())
    }

    /// Records who holds the lease; nobody where the name is empty.
    fn note_holder(&self, name: &str) {
        self.holder.send_if_modified(|known| {
            let is_new = known.as_deref().unwrap_or_default() != name;
            if is_new {
                *known = Some(name.to_owned()).filter(|name| !name.is_empty());
            }
            is_new
        });
    }

    fn taken(&mut self, answer: Result<Lease, CallError>, sent: &Lease, begun: Instant) -> Result<(), CallError> {
        match self.settle(answer, sent, begun) {
            // Another candidate took it first.
            Err(CallError::Conflict(_)) => Ok(()),
            result => result,
        }
    }

    /// Whether the lease was not renewed for its duration, by the local clock only: its times are from another machine.
    fn has_expired(&mut self, lease: &Lease) -> bool {
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        match &self.other {
            Some((seen, since)) if *seen == version => since.elapsed() >= DURATION,
            Some(_) | None => {
                self.other = Some((version, Instant::now()));
                false
            }
        }
    }

    /// The lease with this candidate as its holder.
    fn claimed(&self, previous: Option<Lease>) -> Lease {
        let now = now();
        let metadata = previous.as_ref().map_or_else(
            || ObjectMeta { name: Some(self.candidate.lease.clone()), ..ObjectMeta::default() },
            |lease| lease.metadata.clone(),
        );
        let transitions = previous.and_then(|lease| lease.spec).and_then(|spec| spec.lease_transitions).unwrap_or(0);
        Lease {
            metadata,
            spec: Some(LeaseSpec {
                holder_identity: Some(self.candidate.identity.clone()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_transitions: Some(transitions.saturating_add(1)),
                ..LeaseSpec::default()
            }),
        }
    }

    async fn replace(&self, lease: &Lease) -> Result<Lease, CallError> {
        let params = PostParams::default();
        let request = self.api.replace(&self.candidate.lease, &params, lease);
        self.client.within(Lane::Lease, TIMEOUT, request).await
    }

    fn step_down(&mut self, why: &str) {
        self.held = None;
        self.unconfirmed = None;
        self.note_holder("");
        if self.held_until.send_replace(None).is_some() {
            warn!(lease = self.candidate.lease, "{why}");
        }
    }

    fn log_once(&mut self, error: &str) {
        if self.last_error.is_new(error) {
            let LeaseCandidate { namespace, lease, .. } = &self.candidate;
            warn!(namespace, lease, error, "The lease can't be read or written; trying again.");
        }
    }

    /// Releases the lease. The caller has stopped all writes.
    async fn release(&mut self) {
        let Some(lease) = self.held.take() else { return };
        self.held_until.send_replace(None);
        let name = &self.candidate.lease;
        let release = async {
            match self.api.replace(name, &PostParams::default(), &released(lease)).await {
                // A renewal that timed out may have succeeded.
                Err(kube::Error::Api(status)) if status.is_conflict() => {
                    let lease = self.api.get(name).await?;
                    if holder(&lease) != self.candidate.identity {
                        return Ok(());
                    }
                    self.api.replace(name, &PostParams::default(), &released(lease)).await.map(|_| ())
                }
                result => result.map(|_| ()),
            }
        };
        match self.client.within(Lane::Lease, RELEASE_TIMEOUT, release).await {
            Ok(()) => info!(lease = name, "Released the lease."),
            Err(error) => warn!(lease = name, %error, "The lease was not released; it expires by itself."),
        }
    }
}

/// The lease without a holder.
fn released(mut lease: Lease) -> Lease {
    if let Some(spec) = &mut lease.spec {
        spec.holder_identity = Some(String::new());
        spec.renew_time = Some(now());
    }
    lease
}

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

fn renew_time(lease: &Lease) -> Option<MicroTime> {
    lease.spec.as_ref()?.renew_time.clone()
}

/// Now, in microseconds as in a Lease, so that it can be compared with what is read back.
fn now() -> MicroTime {
    let now = Timestamp::now();
    MicroTime(Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now))
}
