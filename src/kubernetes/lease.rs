//! Which controller may write: the holder of one Lease (coordination.k8s.io). It knows the Lease and the monotonic
//! clock, and nothing of what is written.
//!
//! What is guaranteed, as with every lease without fencing: two controllers never *begin* a write at the same time, as
//! long as their monotonic clocks run at about the same speed. A write that hangs in the network beyond its time-out is
//! caught by the resourceVersion that every write to a target carries.
//!
//! Times, from the death of the holder: its last renewal was seen by the others at most `RETRY` later, and after
//! `DURATION` without another one they take over: at most 12 s plus a request.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::kubernetes::call::{self, CallError};

/// For so long after its last renewal nobody takes the lease from its holder.
const DURATION: Duration = Duration::from_secs(10);
/// How often the holder renews and the others look: four times per duration, so that two lost requests cost nothing.
const RETRY: Duration = Duration::from_secs(2);
/// The longest that a renewal may take: two of them fit into the duration.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The longest that giving the lease back may take; the others wait it out if it fails.
const RELEASE_TIMEOUT: Duration = Duration::from_millis(1500);

/// Who contends for which lease.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The Lease's namespace.
    pub namespace: String,
    /// The Lease's name.
    pub lease: String,
    /// Who we are: unique per process, as two processes may share a host name.
    pub identity: String,
}

/// Whether we lead, as of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Until when we hold the lease, on the monotonic clock; nothing where we don't.
    held_until: Option<Instant>,
    /// Counts our times in office, so that what was remembered in an earlier one is told apart.
    term: u64,
}

/// A view of the leadership that many tasks may have.
#[derive(Clone, Debug)]
pub struct Leadership(watch::Receiver<Standing>);

impl Leadership {
    /// Whether we hold the lease now.
    pub fn is_leader(&self) -> bool {
        self.0.borrow().held_until.is_some_and(|until| Instant::now() < until)
    }

    /// Whether a write begun now ends, or is given up, before anybody else may write.
    pub fn may_write(&self) -> bool {
        self.0.borrow().held_until.is_some_and(|until| Instant::now() + call::TIMEOUT < until)
    }

    /// Which of our times in office this is; 0 before the first.
    pub fn term(&self) -> u64 {
        self.0.borrow().term
    }

    /// Returns when we become leader or cease to be. Cancel-safe.
    pub async fn changed(&mut self) {
        let before = *self.0.borrow_and_update();
        let differs =
            |now: &Standing| now.held_until.is_some() != before.held_until.is_some() || now.term != before.term;
        if self.0.wait_for(differs).await.is_err() {
            // Nobody contends any more: nothing will change.
            std::future::pending::<()>().await;
        }
    }
}

/// Leads without a lease: for a single controller.
pub fn alone() -> (watch::Sender<Standing>, Leadership) {
    // As far away as a clock can be added to; it outlives any process.
    let forever = Instant::now() + Duration::from_secs(100 * 365 * 24 * 3600);
    let (sender, receiver) = watch::channel(Standing { held_until: Some(forever), term: 1 });
    (sender, Leadership(receiver))
}

/// The two ends of a contest that has not begun.
pub fn contest() -> (watch::Sender<Standing>, Leadership) {
    let (sender, receiver) = watch::channel(Standing::default());
    (sender, Leadership(receiver))
}

/// Contends for the lease until `stop`, and gives it back then, so that another takes over at once.
pub async fn contend(client: Client, candidate: Candidate, standing: watch::Sender<Standing>, stop: CancellationToken) {
    let api = Api::namespaced(client, &candidate.namespace);
    let mut contender = Contender { api, candidate, standing, held: None, rival: None, complaint: None };
    loop {
        let next = contender.round().await;
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep_until(next) => {}
        }
    }
    contender.release().await;
}

struct Contender {
    api: Api<Lease>,
    candidate: Candidate,
    standing: watch::Sender<Standing>,
    /// The lease as we wrote it last, while we hold it.
    held: Option<Lease>,
    /// The lease as somebody else wrote it: its resourceVersion, and when we saw that first.
    rival: Option<(String, Instant)>,
    /// The last failure that was logged, so that an outage is not one line every two seconds.
    complaint: Option<String>,
}

impl Contender {
    /// Renews, takes or watches the lease. Returns when to come back.
    async fn round(&mut self) -> Instant {
        let begun = Instant::now();
        let outcome = match self.held.take() {
            Some(lease) => self.renew(lease, begun).await,
            None => self.look(begun).await,
        };
        match outcome {
            Ok(()) => self.complaint = None,
            Err(error) => self.complain(&error.to_string()),
        }
        if self.standing.borrow().held_until.is_some_and(|until| Instant::now() >= until) {
            self.step_down("The lease ran out before it could be renewed; another controller may write now.");
        }
        let expiry = self.rival.as_ref().map(|(_, seen)| *seen + DURATION).filter(|expiry| *expiry > begun);
        let regular = begun + RETRY;
        expiry.map_or(regular, |expiry| expiry.min(regular))
    }

    async fn renew(&mut self, lease: Lease, begun: Instant) -> Result<(), CallError> {
        let mut renewed = lease.clone();
        renewed.spec.get_or_insert_default().renew_time = Some(MicroTime(Timestamp::now()));
        match self.replace(&renewed).await {
            Ok(lease) => {
                self.held = Some(lease);
                // Counted from when the request was sent: whoever watches the lease can't have seen it earlier.
                self.standing.send_modify(|standing| standing.held_until = Some(begun + DURATION));
                Ok(())
            }
            Err(CallError::Conflict(_) | CallError::NotFound(_)) => {
                self.step_down("Somebody else wrote the lease; no longer the leader.");
                self.look(begun).await
            }
            Err(error) => {
                // It may have been written all the same: then the next renewal meets a conflict, and `look` finds us.
                self.held = Some(lease);
                Err(error)
            }
        }
    }

    /// Looks at a lease that we don't hold, and takes it where it is free.
    async fn look(&mut self, begun: Instant) -> Result<(), CallError> {
        let lease = match call::within(TIMEOUT, self.api.get(&self.candidate.lease)).await {
            Ok(lease) => lease,
            Err(CallError::NotFound(_)) => {
                let new = self.claim(None);
                let created = call::within(TIMEOUT, self.api.create(&PostParams::default(), &new)).await;
                return self.taken(created, begun);
            }
            Err(error) => return Err(error),
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        if holder.is_empty() || holder == self.candidate.identity || self.has_expired(&lease) {
            let claimed = self.replace(&self.claim(Some(lease))).await;
            return self.taken(claimed, begun);
        }
        Ok(())
    }

    /// Whether the lease has not been renewed for its duration, by our own clock alone: the times in it are another
    /// machine's.
    fn has_expired(&mut self, lease: &Lease) -> bool {
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        match &self.rival {
            Some((seen, since)) if *seen == version => since.elapsed() >= DURATION,
            Some(_) | None => {
                self.rival = Some((version, Instant::now()));
                false
            }
        }
    }

    /// The lease as ours: a new one, or over from whoever held it.
    fn claim(&self, previous: Option<Lease>) -> Lease {
        let now = MicroTime(Timestamp::now());
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
        call::within(TIMEOUT, self.api.replace(&self.candidate.lease, &PostParams::default(), lease)).await
    }

    fn taken(&mut self, answer: Result<Lease, CallError>, begun: Instant) -> Result<(), CallError> {
        match answer {
            Ok(lease) => {
                info!(identity = self.candidate.identity, lease = self.candidate.lease, "Leading.");
                self.rival = None;
                self.held = Some(lease);
                self.standing.send_modify(|standing| {
                    standing.term += 1;
                    standing.held_until = Some(begun + DURATION);
                });
                Ok(())
            }
            // Another one was faster.
            Err(CallError::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn step_down(&mut self, why: &str) {
        self.held = None;
        if self.standing.borrow().held_until.is_some() {
            warn!(lease = self.candidate.lease, "{why}");
            self.standing.send_modify(|standing| standing.held_until = None);
        }
    }

    fn complain(&mut self, error: &str) {
        if self.complaint.as_deref() != Some(error) {
            let Candidate { namespace, lease, .. } = &self.candidate;
            warn!(namespace, lease, error, "The lease can't be read or written; trying again.");
            self.complaint = Some(error.to_owned());
        }
    }

    /// Gives the lease back. The caller has made sure that nothing is written any more.
    async fn release(&mut self) {
        let Some(mut lease) = self.held.take() else { return };
        self.standing.send_modify(|standing| standing.held_until = None);
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        let name = self.candidate.lease.clone();
        let params = PostParams::default();
        let release = self.api.replace(&name, &params, &lease);
        match call::within(RELEASE_TIMEOUT, release).await {
            Ok(_) => info!(lease = name, "Gave the lease back."),
            Err(error) => warn!(lease = name, %error, "Could not give the lease back; it runs out by itself."),
        }
    }
}
