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
use crate::kubernetes::{ApiClient, CallError, Key, Leadership, ObjectEvent, ObjectReference, write_event};

use super::budget::{EVENT_BURST, StatusBudget, TokenBucket, back_off};

/// Failed writes in a row after which writes are held back: a failure of a single object is no reason.
const FAILURES_IN_A_ROW: u32 = 3;
/// Waiting Events; further ones are dropped.
const MAX_EVENTS_WAITING: usize = 1000;
/// Concurrent Event writes.
const EVENT_CONCURRENCY: usize = 2;

/// The purpose of a request.
pub(super) enum RequestKind {
    Status(Arc<Key>, Box<ScaledConsumerStatus>),
    Memory(Arc<Key>),
    Event,
}

type Answer = (RequestKind, Result<Option<()>, CallError>);

pub(super) struct Requests {
    client: ApiClient,
    leadership: Leadership,
    controller: Arc<str>,
    concurrency: usize,
    in_flight: FuturesUnordered<BoxFuture<'static, Answer>>,
    events_in_flight: usize,
    events: VecDeque<(ObjectReference, ObjectEvent)>,
    event_bucket: TokenBucket,
    events_dropped: u64,
    failures: WriteFailures,
}

/// Whether the API server accepts writes. An outage is logged at its start and at its end.
struct WriteFailures {
    in_a_row: u32,
    failed: u64,
    is_outage: bool,
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
            failures: WriteFailures { in_a_row: 0, failed: 0, is_outage: false, retry_at: Instant::now() },
        }
    }

    /// Whether a write may start. Half of the concurrency is reserved for changes of replicas.
    pub(super) fn has_room(&self, is_change: bool) -> bool {
        let writes = self.in_flight.len() - self.events_in_flight;
        if self.failures.is_outage {
            return self.in_flight.is_empty() && Instant::now() >= self.failures.retry_at;
        }
        writes < if is_change { self.concurrency } else { self.concurrency.div_ceil(2) }
    }

    /// Whether the API server accepts no writes.
    pub(super) fn is_outage(&self) -> bool {
        self.failures.is_outage
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
    pub(super) fn add_event(&mut self, about: ObjectReference, event: ObjectEvent) {
        if self.events.len() < MAX_EVENTS_WAITING {
            return self.events.push_back((about, event));
        }
        if self.events_dropped == 0 {
            warn!(waiting = MAX_EVENTS_WAITING, "Too many Events wait to be written; more are dropped.");
        }
        self.events_dropped += 1;
    }

    /// Starts to write Events within the budget.
    pub(super) fn start_events(&mut self, now: Instant) {
        while !self.failures.is_outage
            && self.events_in_flight < EVENT_CONCURRENCY
            && self.event_bucket.available(now) > 0
            && let Some((about, event)) = self.events.pop_front()
        {
            self.event_bucket.take();
            self.events_in_flight += 1;
            let (client, leadership) = (self.client.clone(), self.leadership.clone());
            let controller = Arc::clone(&self.controller);
            self.in_flight.push(Box::pin(async move {
                let written = write_event(&client, &controller, &about, &event, &leadership).await;
                (RequestKind::Event, written)
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
        match what {
            RequestKind::Event => self.events_in_flight -= 1,
            RequestKind::Status(..) | RequestKind::Memory(_) => {}
        }
        match &answer {
            Ok(Some(())) => self.failures.succeeded(),
            // This controller does not lead, or the object is gone.
            Ok(None) | Err(CallError::NotFound(_)) => {}
            Err(error) => self.failures.failed(error),
        }
        Some((what, answer))
    }
}

impl WriteFailures {
    fn succeeded(&mut self) {
        if self.is_outage {
            info!(failed = self.failed, "The API server accepts status and Event writes again.");
        }
        (self.in_a_row, self.failed, self.is_outage) = (0, 0, false);
    }

    fn failed(&mut self, error: &CallError) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.failed += 1;
        debug!(%error, "A status or an Event was not written.");
        if self.in_a_row >= FAILURES_IN_A_ROW {
            self.retry_at = Instant::now() + back_off((self.in_a_row - FAILURES_IN_A_ROW + 1).min(5));
            if !self.is_outage {
                warn!(%error, "Status and Event writes fail; retrying. Decisions and scaling continue.");
            }
            self.is_outage = true;
        }
    }
}
