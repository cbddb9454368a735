//! The status writer's requests: which are under way, what became of them, and whether the API server takes any.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::kubernetes::ObjectReference;
use crate::kubernetes::call::{ApiClient, CallError};
use crate::kubernetes::events::{ObjectEvent, write_event};
use crate::kubernetes::lease::Leadership;
use crate::kubernetes::scaledconsumer::resource::ScaledConsumerStatus;
use crate::kubernetes::scaledconsumer::status::write_status;
use crate::kubernetes::scaledconsumer::watch::Key;

use super::budget::{EVENT_BURST, StatusBudget, TokenBucket, back_off};

/// So many writes fail in a row before they are held back: one object's own failure is no reason.
const FAILURES_IN_A_ROW: u32 = 3;
/// Events that wait; those beyond are dropped.
const MAX_EVENTS_WAITING: usize = 1000;
/// Events under way at once.
const EVENT_CONCURRENCY: usize = 2;

/// What a request was for.
pub(super) enum Written {
    Status(Arc<Key>, Box<ScaledConsumerStatus>),
    Memory(Arc<Key>),
    Event,
}

type Answer = (Written, Result<Option<()>, CallError>);

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

/// Whether the API server takes writes. An outage is one line when it begins and one when it ends.
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

    /// Whether a write may begin. Changes of replicas have half of the concurrency to themselves.
    pub(super) fn has_room(&self, is_change: bool) -> bool {
        let writes = self.in_flight.len() - self.events_in_flight;
        if self.failures.is_outage {
            return self.in_flight.is_empty() && Instant::now() >= self.failures.retry_at;
        }
        writes < if is_change { self.concurrency } else { self.concurrency.div_ceil(2) }
    }

    /// Whether the API server takes no writes.
    pub(super) fn is_outage(&self) -> bool {
        self.failures.is_outage
    }

    /// Writes fields of a status.
    pub(super) fn write(&self, key: Arc<Key>, fields: Map<String, Value>, status: ScaledConsumerStatus) {
        self.begin(fields, Arc::clone(&key), Written::Status(key, Box::new(status)));
    }

    /// Writes what an engine has learned.
    pub(super) fn write_memory(&self, key: Arc<Key>, memory: &str) {
        let fields = Map::from_iter([("memory".to_owned(), json!(memory))]);
        self.begin(fields, Arc::clone(&key), Written::Memory(key));
    }

    fn begin(&self, fields: Map<String, Value>, key: Arc<Key>, what: Written) {
        let (client, leadership) = (self.client.clone(), self.leadership.clone());
        self.in_flight.push(Box::pin(async move {
            let written = write_status(&client, &key, fields, &leadership).await;
            (what, written)
        }));
    }

    /// Writes an Event when there is room.
    pub(super) fn add_event(&mut self, about: ObjectReference, event: ObjectEvent) {
        if self.events.len() < MAX_EVENTS_WAITING {
            return self.events.push_back((about, event));
        }
        if self.events_dropped == 0 {
            warn!(waiting = MAX_EVENTS_WAITING, "Too many Events wait to be written; more are dropped.");
        }
        self.events_dropped += 1;
    }

    /// Begins to write the Events that the budget allows.
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
                (Written::Event, written)
            }));
        }
        if self.events.is_empty() && self.events_dropped > 0 {
            info!(dropped = self.events_dropped, "All Events that were waiting are written.");
            self.events_dropped = 0;
        }
    }

    /// The next answer; nothing where no request is under way. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Answer> {
        let (what, answer) = self.in_flight.next().await?;
        match what {
            Written::Event => self.events_in_flight -= 1,
            Written::Status(..) | Written::Memory(_) => {}
        }
        match &answer {
            Ok(Some(())) => self.failures.succeeded(),
            // Another one leads, or the object is gone.
            Ok(None) | Err(CallError::NotFound(_)) => {}
            Err(error) => self.failures.failed(error),
        }
        Some((what, answer))
    }
}

impl WriteFailures {
    fn succeeded(&mut self) {
        if self.is_outage {
            info!(failed = self.failed, "The API server takes status and Event writes again.");
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
                warn!(%error, "Status and Event writes fail; trying again. Decisions and scaling go on.");
            }
            self.is_outage = true;
        }
    }
}
