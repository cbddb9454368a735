//! Which controller may write: the holder of one Lease (coordination.k8s.io). It knows the Lease and the monotonic
//! clock, and nothing of what is written.
//!
//! What is guaranteed, as with every lease without fencing: two controllers never *begin* a write at the same time, as
//! long as their monotonic clocks run at about the same speed. A write that hangs in the network beyond its time-out is
//! caught by the resourceVersion that every write to a target carries.
//!
//! Times, from the death of the holder: its last renewal was seen by the others at most `RETRY_INTERVAL` later, and after
//! `DURATION` without another one they take over: at most 12 s plus a request.

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

use crate::kubernetes::call::{self, ApiClient, CallError, Lane};
use crate::kubernetes::client::path_segment;

/// How long nobody takes the lease from its holder after the last renewal.
const DURATION: Duration = Duration::from_secs(10);
/// How often the holder renews the lease and the others read it: four times per duration, so that two lost requests cost
/// nothing.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// The longest that a renewal may take: two of them fit into the duration.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The longest that giving the lease back may take; the others wait for its end if it fails.
const RELEASE_TIMEOUT: Duration = Duration::from_millis(1500);

/// Who wants which lease.
#[derive(Clone, Debug)]
pub struct LeaseCandidate {
    /// The Lease's namespace.
    pub namespace: String,
    /// The Lease's name.
    pub lease: String,
    /// Who we are: unique per process, as two processes may share a host name.
    pub identity: String,
}

/// Whether we lead, for any number of tasks. On the monotonic clock: until when we hold the lease, nothing where we
/// don't.
#[derive(Clone, Debug)]
pub struct Leadership(watch::Receiver<Option<Instant>>);

impl Leadership {
    /// The leadership of a controller that runs alone and needs no lease.
    pub fn always() -> Self {
        // As far away as a clock can be added to; it outlives any process.
        let forever = Instant::now() + Duration::from_secs(100 * 365 * 24 * 3600);
        Self(watch::channel(Some(forever)).1)
    }

    /// A leadership that somebody else decides about: until the time in the channel, and not at all without one.
    pub fn until(held_until: watch::Receiver<Option<Instant>>) -> Self {
        Self(held_until)
    }

    /// Whether we hold the lease now.
    pub fn is_leader(&self) -> bool {
        self.0.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Whether a write begun now ends, or is given up, before anybody else may write.
    pub fn may_write(&self) -> bool {
        self.0.borrow().is_some_and(|until| Instant::now() + call::TIMEOUT < until)
    }

    /// Returns when we become leader or cease to be. Cancel-safe.
    pub async fn changed(&mut self) {
        let before = self.0.borrow_and_update().is_some();
        if self.0.wait_for(|until| until.is_some() != before).await.is_err() {
            // No election takes place: nothing will change.
            std::future::pending::<()>().await;
        }
    }
}

/// One candidate's part in the election of a leader.
pub struct Election {
    client: ApiClient,
    api: Api<Lease>,
    candidate: LeaseCandidate,
    held_until: watch::Sender<Option<Instant>>,
    /// The lease as we wrote it last, while we hold it.
    held: Option<Lease>,
    /// A write that timed out: the time of renewal that it wrote, if it wrote, and when it was sent.
    unconfirmed: Option<(MicroTime, Instant)>,
    /// The lease as another candidate wrote it: its resourceVersion, and when we read that first.
    other: Option<(String, Instant)>,
    /// The last failure that was logged, so that an outage is not one line every two seconds.
    last_error: Option<String>,
}

impl Election {
    /// An election that has not begun, and who may ask for its result.
    pub fn new(client: ApiClient, candidate: LeaseCandidate) -> (Self, Leadership) {
        let api = Api::namespaced(client.kube.clone(), &candidate.namespace);
        let (held_until, leadership) = watch::channel(None);
        let election =
            Self { client, api, candidate, held_until, held: None, unconfirmed: None, other: None, last_error: None };
        (election, Leadership(leadership))
    }

    /// Takes the lease when it is free and renews it until `stop`. Gives it back then, so that another candidate takes
    /// over at once.
    pub async fn run(mut self, stop: CancellationToken) {
        let LeaseCandidate { namespace, lease, .. } = &self.candidate;
        if let Err(error) = path_segment(namespace).and(path_segment(lease)) {
            error!(namespace, lease, %error, "The lease can't have this name, so nobody leads; correct leaderElection.");
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

    /// Renews, takes or reads the lease. Returns when to come back.
    async fn round(&mut self) -> Instant {
        let begun = Instant::now();
        let result = match self.held.take() {
            Some(lease) => self.renew(lease, begun).await,
            None => self.take_if_free(begun).await,
        };
        match result {
            Ok(()) => self.last_error = None,
            Err(error) => self.log_once(&error.to_string()),
        }
        if self.held_until.borrow().is_some_and(|until| Instant::now() >= until) {
            self.step_down("The lease ran out before it could be renewed; another controller may write now.");
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
            // It is another one's, or ours as an earlier renewal wrote it, or as somebody annotated it.
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

    /// Takes in the answer to a write of the lease that was sent at `begun`.
    fn settle(&mut self, answer: Result<Lease, CallError>, sent: &Lease, begun: Instant) -> Result<(), CallError> {
        match answer {
            Ok(lease) => {
                self.confirm(lease, begun);
                Ok(())
            }
            Err(error) => {
                if matches!(error, CallError::TimedOut(_) | CallError::Other(_)) {
                    // It may have been written all the same.
                    self.unconfirmed = renew_time(sent).map(|time| (time, begun));
                }
                Err(error)
            }
        }
    }

    /// The lease was renewed by a request sent at `begun`: whoever watches it can't have seen that earlier.
    fn confirm(&mut self, lease: Lease, begun: Instant) {
        if self.held_until.borrow().is_none() {
            info!(identity = self.candidate.identity, lease = self.candidate.lease, "Leading.");
        }
        self.held = Some(lease);
        self.unconfirmed = None;
        self.other = None;
        self.held_until.send_replace(Some(begun + DURATION));
    }

    /// The lease as it is now, if it is still ours.
    async fn reread(&mut self) -> Result<Option<Lease>, CallError> {
        let Some(lease) = self.read().await? else { return Ok(None) };
        self.confirm_late(&lease);
        Ok((holder(&lease) == self.candidate.identity).then_some(lease))
    }

    async fn read(&self) -> Result<Option<Lease>, CallError> {
        self.client.within(Lane::Lease, TIMEOUT, self.api.get_opt(&self.candidate.lease)).await
    }

    /// A write that timed out and was done all the same counts from when it was sent. Whether there was one.
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

    /// Reads a lease that we don't hold, and takes it where it is free.
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
        if holder.is_empty() || holder == self.candidate.identity || self.has_expired(&lease) {
            let claimed = self.claimed(Some(lease));
            let answer = self.replace(&claimed).await;
            return self.taken(answer, &claimed, begun);
        }
        Ok(())
    }

    fn taken(&mut self, answer: Result<Lease, CallError>, sent: &Lease, begun: Instant) -> Result<(), CallError> {
        match self.settle(answer, sent, begun) {
            // Another candidate was faster.
            Err(CallError::Conflict(_)) => Ok(()),
            result => result,
        }
    }

    /// Whether the lease has not been renewed for its duration, by our own clock alone: the times in it are another
    /// machine's.
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

    /// The lease as ours: a new one, or over from whoever held it.
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
        if self.held_until.send_replace(None).is_some() {
            warn!(lease = self.candidate.lease, "{why}");
        }
    }

    fn log_once(&mut self, error: &str) {
        if self.last_error.as_deref() != Some(error) {
            let LeaseCandidate { namespace, lease, .. } = &self.candidate;
            warn!(namespace, lease, error, "The lease can't be read or written; trying again.");
            self.last_error = Some(error.to_owned());
        }
    }

    /// Gives the lease back. The caller has made sure that nothing is written any more.
    async fn release(&mut self) {
        let Some(lease) = self.held.take() else { return };
        self.held_until.send_replace(None);
        let name = &self.candidate.lease;
        let release = async {
            match self.api.replace(name, &PostParams::default(), &released(lease)).await {
                // A renewal that timed out may have been written all the same.
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
            Ok(()) => info!(lease = name, "Gave the lease back."),
            Err(error) => warn!(lease = name, %error, "Could not give the lease back; it runs out by itself."),
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

/// Now, in microseconds as a Lease has it, so that it can be compared with what is read back.
fn now() -> MicroTime {
    let now = Timestamp::now();
    MicroTime(Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now))
}
