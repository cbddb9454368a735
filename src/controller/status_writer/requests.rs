//! The status writer's requests: those under way, their results, and whether the API server accepts any.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::kubernetes::scaledconsumer::{ScaledConsumerStatus, write_status};
use crate::kubernetes::{ApiClient, CallError, EventWrite, Key, Leadership, ObjectReference, write_event};

use super::budget::{EVENT_BURST, StatusBudget, TokenBucket, back_off};

/// Failed writes in a row after which writes are held back: a failure of a single object is no reason.
const FAILURES_IN_A_ROW: u32 = 3;
/// Attempts to write an Event while the API server does not answer. After that it is old news.
const MAX_EVENT_ATTEMPTS: u8 = 5;
/// Waiting Events; further ones are dropped.
const MAX_EVENTS_WAITING: usize = 1000;
/// Concurrent Event writes.
const EVENT_CONCURRENCY: usize = 2;

/// The purpose of a request.
pub(super) enum RequestKind {
    Status(Arc<Key>, Box<ScaledConsumerStatus>),
    Memory(Arc<Key>),
    Event(Box<WaitingEvent>),
}

/// An Event that has not been written.
#[derive(Clone)]
pub(super) struct WaitingEvent {
    about: ObjectReference,
    write: EventWrite,
    attempts: u8,
}

type Answer = (RequestKind, Result<Option<()>, CallError>);

pub(super) struct Requests {
    client: ApiClient,
    leadership: Leadership,
    controller: Arc<str>,
    concurrency: usize,
    in_flight: FuturesUnordered<BoxFuture<'static, Answer>>,
    events_in_flight: usize,
    events: VecDeque<WaitingEvent>,
    event_bucket: TokenBucket,
    events_dropped: u64,
    status_failures: WriteFailures,
    event_failures: WriteFailures,
}

/// Whether the API server accepts writes of one kind. An outage is logged at its start and at its end.
struct WriteFailures {
    /// What is written, in the plural.
    what: &'static str,
    in_a_row: u32,
    failed: u64,
    is_outage: bool,
    /// Whether the last failure was a refusal, as for a missing right: the API server answers.
    is_refusal: bool,
    retry_at: Instant,
}

impl Requests {
    pub(super) fn new(client: ApiClient, leadership: Leadership, controller: Arc<str>, budget: &StatusBudget) -> Self {
        Self {
            client,
            leadership,
            controller,
            concurrency: budget.concurrency.max(1),
            in_flight: FuturesUnordered::new(),
            events_in_flight: 0,
            events: VecDeque::new(),
            event_bucket: TokenBucket::new(budget.events_per_second, EVENT_BURST),
            events_dropped: 0,
            status_failures: WriteFailures::new("statuses"),
            event_failures: WriteFailures::new("Events"),
        }
    }

    /// Whether a write may start. Half of the concurrency is reserved for changes of replicas.
    pub(super) fn has_room(&self, is_change: bool) -> bool {
        let writes = self.in_flight.len() - self.events_in_flight;
        if self.status_failures.is_outage {
            return writes == 0 && Instant::now() >= self.status_failures.retry_at;
        }
        writes < if is_change { self.concurrency } else { self.concurrency.div_ceil(2) }
    }

    /// Whether the API server accepts no statuses.
    pub(super) fn is_outage(&self) -> bool {
        self.status_failures.is_outage
    }

    /// Whether the API server refuses all statuses, and may accept Events.
    pub(super) fn are_statuses_refused(&self) -> bool {
        self.status_failures.is_outage && self.status_failures.is_refusal
    }

    /// Writes fields of a status.
    pub(super) fn write(&self, key: Arc<Key>, fields: Map<String, Value>, status: ScaledConsumerStatus) {
        self.begin(fields, Arc::clone(&key), RequestKind::Status(key, Box::new(status)));
    }

    /// Writes a memory.
    pub(super) fn write_memory(&self, key: Arc<Key>, memory: &str) {
        let fields = Map::from_iter([("memory".to_owned(), json!(memory))]);
        self.begin(fields, Arc::clone(&key), RequestKind::Memory(key));
    }

    fn begin(&self, fields: Map<String, Value>, key: Arc<Key>, what: RequestKind) {
        let (client, leadership) = (self.client.clone(), self.leadership.clone());
        self.in_flight.push(Box::pin(async move {
            let written = write_status(&client, &key, fields, &leadership).await;
            (what, written)
        }));
    }

    /// Queues an Event.
    pub(super) fn add_event(&mut self, about: ObjectReference, write: EventWrite) {
        if self.events.len() < MAX_EVENTS_WAITING {
            return self.events.push_back(WaitingEvent { about, write, attempts: 0 });
        }
        if self.events_dropped == 0 {
            warn!(waiting = MAX_EVENTS_WAITING, "Too many Events wait to be written; more are dropped.");
        }
        self.events_dropped += 1;
    }

    /// Starts to write Events within the budget. While the API server does not answer, none is tried.
    pub(super) fn start_events(&mut self, now: Instant) {
        let is_held = self.status_failures.is_outage && !self.status_failures.is_refusal;
        let failures = &self.event_failures;
        let concurrency = match failures.in_a_row {
            _ if is_held => 0,
            0 => EVENT_CONCURRENCY,
            _ => usize::from(now >= failures.retry_at),
        };
        while self.events_in_flight < concurrency
            && self.event_bucket.available(now) > 0
            && let Some(mut event) = self.events.pop_front()
        {
            self.event_bucket.take();
            self.events_in_flight += 1;
            event.attempts += 1;
            let (client, leadership) = (self.client.clone(), self.leadership.clone());
            let controller = Arc::clone(&self.controller);
            self.in_flight.push(Box::pin(async move {
                let written = write_event(&client, &controller, &event.about, &event.write, &leadership).await;
                (RequestKind::Event(Box::new(event)), written)
            }));
        }
        if self.events.is_empty() && self.events_dropped > 0 {
            info!(dropped = self.events_dropped, "All waiting Events are written.");
            self.events_dropped = 0;
        }
    }

    /// The next answer; `None` where no request is under way. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Answer> {
        let (what, answer) = self.in_flight.next().await?;
        let failures = match &what {
            RequestKind::Event(event) => {
                self.events_in_flight -= 1;
                let is_retried = answer.as_ref().err().is_some_and(CallError::is_transient)
                    && event.attempts < MAX_EVENT_ATTEMPTS
                    && self.events.len() < MAX_EVENTS_WAITING;
                if is_retried {
                    self.events.push_front(WaitingEvent::clone(event));
                }
                &mut self.event_failures
            }
            RequestKind::Status(..) | RequestKind::Memory(_) => &mut self.status_failures,
        };
        match &answer {
            Ok(Some(())) => failures.succeeded(),
            // This controller does not lead, or the object is gone.
            Ok(None) | Err(CallError::NotFound(_)) => {}
            Err(error) => failures.failed(error),
        }
        Some((what, answer))
    }
}

impl WriteFailures {
    fn new(what: &'static str) -> Self {
        Self { what, in_a_row: 0, failed: 0, is_outage: false, is_refusal: false, retry_at: Instant::now() }
    }

    fn succeeded(&mut self) {
        if self.is_outage {
            info!(failed = self.failed, "The API server accepts {} again.", self.what);
        }
        *self = Self::new(self.what);
    }

    fn failed(&mut self, error: &CallError) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.failed += 1;
        self.is_refusal = error.is_refusal();
        debug!(%error, "A write of {} failed.", self.what);
        self.retry_at = Instant::now() + back_off(self.in_a_row.min(5));
        if self.in_a_row >= FAILURES_IN_A_ROW {
            if !self.is_outage {
                warn!(%error, "The API server accepts no {}; retrying. Decisions and scaling continue.", self.what);
            }
            self.is_outage = true;
        }
    }
}
