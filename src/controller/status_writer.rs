//! Writes the status and the Events of all ScaledConsumers while this controller leads. It reads the registry; nothing
//! else writes statuses or Events.
//!
//! What users and alerts depend on goes first: changes of replicas at once, conditions and reasons from their own
//! budget, moving numbers from a small budget for the whole controller. A lag that does not move is not written.

mod budget;
mod conditions;
mod fields;
mod object;
mod outage;
mod reference;
mod requests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::kubernetes::hpa::AutoscaledCondition;
use crate::kubernetes::scaledconsumer::{ClusterRef, LONGEST_MEMORY, Mode, Validated, difference};
use crate::kubernetes::{ApiClient, CallError, Key, Leadership, ObjectEvent, Severity};
use crate::registry::{Entry, Registry};
pub use budget::StatusBudget;
use budget::{CONDITION_BURST, MEMORY_BURST, TokenBucket, back_off};
pub(super) use conditions::states as condition_states;
use fields::Urgency;
use object::{Due, NewEvents, TrackedObject};
use outage::{Outages, cause};
pub use reference::conditions_reference;
use requests::{RequestKind, Requests};

/// Interval of scans of the registry: short enough to show a change at once, and long enough that a poll of many groups
/// is one scan.
const SCAN_INTERVAL: Duration = Duration::from_millis(200);
/// Interval of checks for outdated decisions.
const AGE_CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Interval of checks of the leadership, in addition to its changes: a lease may expire and be renewed in between.
const LEADERSHIP_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Delay after a write that was not made, because the object is gone or another controller leads.
const NOT_WRITTEN_DELAY: Duration = Duration::from_secs(2);

/// Failures of one object, while writes of others succeed, after which its error is logged.
const FAILURES_BEFORE_WARNING: u32 = 3;

type CheckAutoscalers = Box<dyn Fn(&Entry) -> Option<AutoscaledCondition> + Send + Sync>;

/// The one task that writes statuses and Events.
pub struct StatusWriter {
    client: ApiClient,
    registry: Registry,
    leadership: Leadership,
    identity: Arc<str>,
    check_autoscalers: CheckAutoscalers,
    now: fn() -> Duration,
    budget: StatusBudget,
}

impl StatusWriter {
    /// `check_autoscalers` returns the condition `Autoscaled` of a ScaledConsumer in mode `Metrics`. `now`: the
    /// observations' clock, since 1970.
    pub fn new(
        client: ApiClient,
        registry: Registry,
        leadership: Leadership,
        identity: String,
        check_autoscalers: impl Fn(&Entry) -> Option<AutoscaledCondition> + Send + Sync + 'static,
        now: fn() -> Duration,
        budget: StatusBudget,
    ) -> Self {
        Self {
            client,
            registry,
            leadership,
            identity: identity.into(),
            check_autoscalers: Box::new(check_autoscalers),
            now,
            budget,
        }
    }

    /// Writes until `stop`; then writes the last changes and memories. The caller bounds how long that may take, and
    /// stops all writers of the registry before.
    pub async fn run(self, stop: CancellationToken) {
        let mut leadership = self.leadership.clone();
        while !stop.is_cancelled() {
            if leadership.is_leader() {
                let mut term = LeaderTerm::new(&self);
                term.run(&stop).await;
                if stop.is_cancelled() {
                    term.finish().await;
                }
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = leadership.changed() => {}
                () = tokio::time::sleep(LEADERSHIP_CHECK_INTERVAL) => {}
            }
        }
    }
}

/// The state of one leadership term. It starts from what the API server has.
struct LeaderTerm<'a> {
    writer: &'a StatusWriter,
    began: Duration,
    /// Boxed, because the nodes of a map are half empty.
    objects: BTreeMap<Arc<Key>, Box<TrackedObject>>,
    outages: Outages,
    numbers: TokenBucket,
    conditions: TokenBucket,
    memories: TokenBucket,
    requests: Requests,
}

impl<'a> LeaderTerm<'a> {
    fn new(writer: &'a StatusWriter) -> Self {
        let StatusWriter { client, leadership, identity, budget, .. } = writer;
        Self {
            writer,
            began: (writer.now)(),
            objects: BTreeMap::new(),
            outages: Outages::default(),
            // A burst of one second, so that writes are spread.
            numbers: TokenBucket::new(budget.numbers_per_second, budget.numbers_per_second.max(1.0)),
            conditions: TokenBucket::new(budget.conditions_per_second, CONDITION_BURST),
            memories: TokenBucket::new(budget.memories_per_second, MEMORY_BURST),
            requests: Requests::new(client.clone(), leadership.clone(), Arc::clone(identity), budget),
        }
    }

    /// Writes until `stop`, or until the leadership ends.
    async fn run(&mut self, stop: &CancellationToken) {
        let mut revisions = self.writer.registry.subscribe();
        revisions.mark_changed();
        let mut tick = interval(SCAN_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ages_checked = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some((what, answer)) = self.requests.next() => {
                    self.finished(what, answer);
                    self.start_due();
                }
                _ = tick.tick() => {
                    if !self.writer.leadership.is_leader() {
                        return;
                    }
                    let check_ages = ages_checked.elapsed() >= AGE_CHECK_INTERVAL;
                    if check_ages {
                        ages_checked = Instant::now();
                    }
                    if check_ages || revisions.has_changed().unwrap_or(false) {
                        revisions.mark_unchanged();
                        self.scan(check_ages);
                    }
                    self.report_outages();
                    self.retry();
                    self.start_due();
                    self.requests.start_events(Instant::now());
                }
            }
        }
    }

    /// Writes what must not be lost: changes of replicas and memories. Each is tried once.
    async fn finish(&mut self) {
        self.scan(false);
        loop {
            while self.requests.has_room(true)
                && let Some((due, key)) = self.next_due(|due| matches!(due, Due::Change | Due::Memory))
            {
                self.start(due, &key);
            }
            let Some((what, answer)) = self.requests.next().await else { return };
            self.finished(what, answer);
        }
    }

    /// Processes the changes of the registry.
    fn scan(&mut self, check_ages: bool) {
        let (now, at) = (Instant::now(), (self.writer.now)());
        let entries = self.writer.registry.entries();
        let mut changed = Vec::new();
        for entry in &entries {
            if self.objects.get(&entry.key).is_some_and(|object| object.is_of_another(entry)) {
                self.forget(&Arc::clone(&entry.key), now);
            }
            let object = self
                .objects
                .entry(Arc::clone(&entry.key))
                .or_insert_with(|| TrackedObject::new(entry, self.began, at).into());
            let is_older = || check_ages && conditions::outdated(entry, object.since, at) != object.outdated;
            if object.revision != entry.revision || is_older() {
                object.renew(entry, now);
                let cluster = cause(entry).map(|(cluster, _)| cluster);
                if object.cause.as_ref() != cluster {
                    if let Some(before) = &object.cause {
                        self.outages.remove(before, now);
                    }
                    object.cause = cluster.cloned();
                    self.outages.add(entry, !object.was_in_outage, now);
                }
                changed.push(entry);
            }
        }
        for entry in changed {
            self.assess(entry);
        }
        if self.objects.len() > entries.len() {
            let gone = |key: &&Arc<Key>| entries.binary_search_by(|entry| entry.key.cmp(key)).is_err();
            for key in self.objects.keys().filter(gone).cloned().collect::<Vec<_>>() {
                self.forget(&key, now);
            }
        }
    }

    fn forget(&mut self, key: &Arc<Key>, now: Instant) {
        if let Some(cluster) = self.objects.remove(key).and_then(|object| object.cause) {
            self.outages.remove(&cluster, now);
        }
    }

    /// Determines what is due for an object.
    fn assess(&mut self, entry: &Entry) {
        let (now, at) = (Instant::now(), (self.writer.now)());
        let autoscaled = self.check_autoscalers(entry);
        let Some(object) = self.objects.get_mut(&entry.key) else { return };
        object.outdated = conditions::outdated(entry, object.since, at);
        if object.is_status_refused || self.requests.are_statuses_refused() {
            self.report_without_status(entry, autoscaled.as_ref(), at);
        }
        let Some(object) = self.objects.get_mut(&entry.key) else { return };
        if object.in_flight || (object.failures > 0 && object.retry_at.is_some_and(|retry_at| now < retry_at)) {
            return;
        }
        object.urgency = object.plan(entry, autoscaled.as_ref(), at).map_or(Urgency::Nothing, |plan| plan.urgency);
        let settled_at = object.cause.as_ref().and_then(|cluster| self.outages.settled_at(cluster));
        if object.urgency == Urgency::Conditions
            && let Some(settled_at) = settled_at.filter(|settled_at| now < *settled_at)
        {
            object.urgency = Urgency::Nothing;
            object.retry_at = Some(settled_at);
        }
        object.is_memory_due = object.has_new_memory(entry);
    }

    fn check_autoscalers(&self, entry: &Entry) -> Option<AutoscaledCondition> {
        let is_checked = entry.snapshot.is_some() && entry.spec.as_ref().is_some_and(|spec| spec.mode == Mode::Metrics);
        if is_checked { (self.writer.check_autoscalers)(entry) } else { None }
    }

    /// Assesses objects whose delay is over.
    fn retry(&mut self) {
        let now = Instant::now();
        let mut due = Vec::new();
        for (key, object) in &mut self.objects {
            if object.retry_at.is_some_and(|retry_at| now >= retry_at) {
                object.retry_at = None;
                due.push(Arc::clone(key));
            }
        }
        for entry in due.iter().filter_map(|key| self.writer.registry.get(key)) {
            self.assess(&entry);
        }
    }

    /// The most important write that is due: by kind, then by weight and by how long the object was not written.
    fn next_due(&self, is_allowed: impl Fn(Due) -> bool) -> Option<(Due, Arc<Key>)> {
        let now = Instant::now();
        let due = self.objects.iter().filter_map(|(key, object)| Some((object.due(&is_allowed, now)?, key)));
        let (first, key) =
            due.max_by(|((a, a_weight), _), ((b, b_weight), _)| a.cmp(b).then(a_weight.total_cmp(b_weight)))?;
        Some((first.0, Arc::clone(key)))
    }

    /// Starts the writes that are due, within their budgets.
    fn start_due(&mut self) {
        let now = Instant::now();
        loop {
            let (for_changes, for_others) = (self.requests.has_room(true), self.requests.has_room(false));
            let [conditions, memories, numbers] = [&mut self.conditions, &mut self.memories, &mut self.numbers]
                .map(|bucket| for_others && bucket.available(now) > 0);
            let next = self.next_due(|due| match due {
                Due::Change => for_changes,
                Due::Conditions => conditions,
                Due::Memory => memories,
                Due::Numbers => numbers,
            });
            let Some((due, key)) = next else { return };
            if self.start(due, &key) {
                match due {
                    Due::Change => {}
                    Due::Conditions => self.conditions.take(),
                    Due::Memory => self.memories.take(),
                    Due::Numbers => self.numbers.take(),
                }
            }
        }
    }

    /// Starts a write; returns whether there was something to write. The object is no longer due.
    fn start(&mut self, due: Due, key: &Arc<Key>) -> bool {
        let Some(object) = self.objects.get_mut(key) else { return false };
        match due {
            Due::Change | Due::Conditions | Due::Numbers => {
                object.urgency = Urgency::Nothing;
                self.start_status(key)
            }
            Due::Memory => {
                object.is_memory_due = false;
                self.start_memory(key)
            }
        }
    }

    fn start_status(&mut self, key: &Arc<Key>) -> bool {
        let at = (self.writer.now)();
        let Some(entry) = self.writer.registry.get(key) else { return false };
        let autoscaled = self.check_autoscalers(&entry);
        let Some(object) = self.objects.get_mut(key) else { return false };
        object.renew(&entry, Instant::now());
        let Some(plan) = object.plan(&entry, autoscaled.as_ref(), at) else { return false };
        let events = object.new_events(&entry, plan.checks);
        let is_written = match object.written(&entry) {
            None => false,
            Some(before) => {
                let mut fields = difference(before, &plan.status);
                if before.observed_generation != plan.status.observed_generation {
                    // A memory of another spec may be of another group.
                    fields.insert("memory".to_owned(), entry.memory.as_deref().into());
                    object.memory_sent.clone_from(&entry.memory);
                }
                let is_different = !fields.is_empty();
                if is_different {
                    object.in_flight = true;
                    self.requests.write(Arc::clone(key), fields, plan.status);
                }
                is_different
            }
        };
        self.report(&entry, events);
        is_written
    }

    fn start_memory(&mut self, key: &Arc<Key>) -> bool {
        let Some(entry) = self.writer.registry.get(key) else { return false };
        let Some(object) = self.objects.get_mut(key) else { return false };
        let Some(memory) = entry.memory.as_ref().filter(|_| object.has_new_memory(&entry)) else { return false };
        if memory.len() > LONGEST_MEMORY {
            let was_too_long = object.memory_sent.as_ref().is_some_and(|sent| sent.len() > LONGEST_MEMORY);
            object.memory_sent = Some(Arc::clone(memory));
            if !was_too_long {
                let (Key { namespace, name }, bytes) = (&**key, memory.len());
                warn!(namespace, name, bytes, "The memory is too long for the status and is not saved.");
            }
            return false;
        }
        object.memory_sent = Some(Arc::clone(memory));
        object.in_flight = true;
        self.requests.write_memory(Arc::clone(key), memory);
        true
    }

    /// Reports what has changed of an object whose status can't be written, so that no status will tell it.
    fn report_without_status(&mut self, entry: &Entry, autoscaled: Option<&AutoscaledCondition>, at: Duration) {
        let Some(object) = self.objects.get_mut(&entry.key) else { return };
        let Some(plan) = object.plan(entry, autoscaled, at) else { return };
        let is_settled = |cluster: &ClusterRef| self.outages.settled_at(cluster).is_none_or(|at| at <= Instant::now());
        if plan.urgency >= Urgency::Conditions && object.cause.as_ref().is_none_or(is_settled) {
            let events = object.new_events(entry, plan.checks);
            self.report(entry, events);
        }
    }

    /// Writes the Events of an object, and logs those of its conditions: the control loop has logged the changes.
    fn report(&mut self, entry: &Entry, events: NewEvents) {
        let Key { namespace, name } = &*entry.key;
        for event in events.changes {
            self.add_event(entry, event);
        }
        for event in events.conditions {
            let (severity, reason, text) = (event.severity, event.reason, event.text.clone());
            // What is too often for Events is too often for the log.
            match severity {
                _ if !self.add_event(entry, event) => {}
                Severity::Normal => info!(namespace, name, reason, "{text}"),
                Severity::Warning => warn!(namespace, name, reason, "{text}"),
            }
        }
    }

    /// Queues an Event, unless there were too many about the object. Returns whether it is within that limit.
    fn add_event(&mut self, entry: &Entry, event: ObjectEvent) -> bool {
        let Some(object) = self.objects.get_mut(&entry.key) else { return false };
        let Some(write) = object.events.add(event, Instant::now()) else { return false };
        if let Some(record) = &entry.record {
            self.requests.add_event(record.reference(&entry.key), write);
        }
        true
    }

    /// Reports outages of Kafka clusters: one log line each, and one Event about the first ScaledConsumer of the cluster.
    fn report_outages(&mut self) {
        for report in self.outages.reports(Instant::now()) {
            let (cluster, affected) = (&report.cluster, report.affected);
            let (severity, reason) = if report.is_over {
                info!(%cluster, affected, "{}", report.text);
                (Severity::Normal, "KafkaReachable")
            } else {
                warn!(%cluster, affected, reason = report.reason, "{}", report.text);
                (Severity::Warning, "KafkaUnreachable")
            };
            let of_cluster = |entry: &Arc<Entry>| {
                let is_of = |spec: &Arc<Validated>| spec.sources.iter().any(|source| source.cluster == *cluster);
                entry.spec.as_ref().is_some_and(is_of) && entry.record.is_some()
            };
            let event = ObjectEvent { severity, reason, action: "Check", text: report.text };
            if let Some(entry) = self.writer.registry.entries().into_iter().find(of_cluster) {
                self.add_event(&entry, event);
            }
        }
    }

    /// Handles the result of a write.
    fn finished(&mut self, what: RequestKind, answer: Result<Option<()>, CallError>) {
        let now = Instant::now();
        let (key, status) = match what {
            RequestKind::Event(_) => return,
            RequestKind::Status(key, status) => (key, Some(status)),
            RequestKind::Memory(key) => (key, None),
        };
        let Some(object) = self.objects.get_mut(&key) else { return };
        object.in_flight = false;
        if !matches!(answer, Ok(Some(()))) {
            object.memory_sent = None;
        }
        match answer {
            Ok(Some(())) => {
                (object.failures, object.is_status_refused) = (0, false);
                if let Some(status) = status {
                    object.wrote(*status, now);
                }
            }
            Ok(None) | Err(CallError::NotFound(_)) => {
                object.failures = 1;
                object.retry_at = Some(now + NOT_WRITTEN_DELAY);
            }
            Err(error) => {
                object.failures = object.failures.saturating_add(1);
                object.is_status_refused = error.is_refusal();
                if object.failures == FAILURES_BEFORE_WARNING && !self.requests.is_outage() {
                    let Key { namespace, name } = &*key;
                    warn!(namespace, name, %error, "The status can't be written; retrying with a back-off.");
                }
                object.retry_at = Some(now + back_off(object.failures));
            }
        }
        if let Some(entry) = self.writer.registry.get(&key) {
            self.assess(&entry);
        }
    }
}
