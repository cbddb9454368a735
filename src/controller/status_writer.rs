//! Writes the status and the Events of all ScaledConsumers, as long as this controller leads. It reads the registry only;
//! nothing else writes either of them.
//!
//! What people and alerts act on goes first: changes of replicas at once, conditions and reasons from a budget of their
//! own, numbers that only move from a small one for the whole controller. A lag that stands still is not written at all.

mod budget;
mod conditions;
mod fields;
mod object;
mod outage;
mod requests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::kubernetes::call::{ApiClient, CallError};
use crate::kubernetes::events::{ObjectEvent, Severity};
use crate::kubernetes::hpa::Judgement;
use crate::kubernetes::lease::Leadership;
use crate::kubernetes::scaledconsumer::resource::{LONGEST_MEMORY, Mode};
use crate::kubernetes::scaledconsumer::status::difference;
use crate::kubernetes::scaledconsumer::watch::Key;
use crate::registry::{Entry, Registry};
pub use budget::StatusBudget;
use budget::{CONDITION_BURST, MEMORY_BURST, TokenBucket, back_off};
pub(super) use conditions::states as condition_states;
use fields::Urgency;
use object::TrackedObject;
use outage::{Outages, cause};
use requests::{Requests, Written};

/// Time between two scans of the registry: short enough that people see a change at once, and long enough that a poll of
/// many groups is one scan.
const TICK: Duration = Duration::from_millis(200);
/// How often the ages of decisions are looked at.
const AGE_CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// How often the leadership is looked at, beside its changes: a lease may run out and be renewed in between.
const LEADERSHIP_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How long an object is left alone after a write that was not made: it is gone, or another controller leads.
const NOT_WRITTEN_PAUSE: Duration = Duration::from_secs(2);

/// After so many failures of one object, while writes of others succeed, its error is logged.
const OWN_FAILURES: u32 = 3;

type Judge = Box<dyn Fn(&Entry) -> Option<Judgement> + Send + Sync>;

/// The one task that writes statuses and Events.
pub struct StatusWriter {
    client: ApiClient,
    registry: Registry,
    leadership: Leadership,
    identity: Arc<str>,
    judge: Judge,
    now: fn() -> Duration,
    budget: StatusBudget,
}

impl StatusWriter {
    /// `judge` says whether an HPA acts on a ScaledConsumer in mode `Metrics`. `now`: the observations' clock, since 1970.
    pub fn new(
        client: ApiClient,
        registry: Registry,
        leadership: Leadership,
        identity: String,
        judge: impl Fn(&Entry) -> Option<Judgement> + Send + Sync + 'static,
        now: fn() -> Duration,
        budget: StatusBudget,
    ) -> Self {
        Self { client, registry, leadership, identity: identity.into(), judge: Box::new(judge), now, budget }
    }

    /// Writes until `stop`; then the last changes and what engines have learned. The caller bounds how long that may take,
    /// and stops whatever writes the registry before.
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

/// The queues beside the one for numbers, which is sorted anew each time.
#[derive(Clone, Copy)]
enum Queue {
    Changes,
    Conditions,
    Memories,
}

/// What is kept while this controller leads; a new term begins with what the API server has.
struct LeaderTerm<'a> {
    writer: &'a StatusWriter,
    began: Duration,
    objects: BTreeMap<Arc<Key>, TrackedObject>,
    outages: Outages,
    queues: [VecDeque<Arc<Key>>; 3],
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
            queues: Default::default(),
            // A second's worth, so that the writes are spread.
            numbers: TokenBucket::new(budget.numbers_per_second, budget.numbers_per_second.max(1.0)),
            conditions: TokenBucket::new(budget.conditions_per_second, CONDITION_BURST),
            memories: TokenBucket::new(budget.memories_per_second, MEMORY_BURST),
            requests: Requests::new(client.clone(), leadership.clone(), Arc::clone(identity), budget),
        }
    }

    /// Writes until `stop`, or until another one leads.
    async fn run(&mut self, stop: &CancellationToken) {
        let mut revisions = self.writer.registry.subscribe();
        revisions.mark_changed();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ages_checked = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some((what, answer)) = self.requests.next() => {
                    self.finished(what, answer);
                    self.start_queued();
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
                    self.start_queued();
                    self.start_numbers();
                    self.requests.start_events(Instant::now());
                }
            }
        }
    }

    /// Writes what must not be lost: changes of replicas, and what was learned. Each is tried once.
    async fn finish(&mut self) {
        self.scan(false);
        loop {
            for queue in [Queue::Changes, Queue::Memories] {
                while self.requests.has_room(true)
                    && let Some(key) = self.pop(queue)
                {
                    self.start(queue, &key);
                }
            }
            let Some((what, answer)) = self.requests.next().await else { return };
            self.finished(what, answer);
        }
    }

    /// Looks at what has changed in the registry.
    fn scan(&mut self, check_ages: bool) {
        let (now, at) = (Instant::now(), (self.writer.now)());
        let entries = self.writer.registry.entries();
        let mut changed = Vec::new();
        for entry in &entries {
            let is_another = |object: &TrackedObject| object.is_of_another(entry);
            if self.objects.get(&entry.key).is_some_and(is_another) {
                self.forget(&Arc::clone(&entry.key), now);
            }
            let object =
                self.objects.entry(Arc::clone(&entry.key)).or_insert_with(|| TrackedObject::new(entry, self.began, at));
            let is_older = || check_ages && fields::outdated(entry, object.since, at) != object.outdated;
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

    /// Finds out what is due for an object.
    fn assess(&mut self, entry: &Entry) {
        let (now, at) = (Instant::now(), (self.writer.now)());
        let judgement = self.judge(entry);
        let Some(object) = self.objects.get_mut(&entry.key) else { return };
        object.outdated = fields::outdated(entry, object.since, at);
        if object.in_flight || (object.failures > 0 && object.retry_at.is_some_and(|retry_at| now < retry_at)) {
            return;
        }
        object.urgency = object.plan(entry, judgement.as_ref(), at).map_or(Urgency::Nothing, |plan| plan.urgency);
        let settled_at = object.cause.as_ref().and_then(|cluster| self.outages.settled_at(cluster));
        if object.urgency == Urgency::Conditions
            && let Some(settled_at) = settled_at.filter(|settled_at| now < *settled_at)
        {
            object.urgency = Urgency::Nothing;
            object.retry_at = Some(settled_at);
        }
        let queue = match object.urgency {
            Urgency::Change => Some(Queue::Changes),
            Urgency::Conditions => Some(Queue::Conditions),
            Urgency::Numbers(_) | Urgency::Nothing => None,
        };
        let memory = object.is_memory_due(entry).then_some(Queue::Memories);
        for queue in queue.into_iter().chain(memory) {
            if !std::mem::replace(&mut object.is_queued[queue as usize], true) {
                self.queues[queue as usize].push_back(Arc::clone(&entry.key));
            }
        }
    }

    fn judge(&self, entry: &Entry) -> Option<Judgement> {
        let is_judged = entry.snapshot.is_some() && entry.spec.as_ref().is_some_and(|spec| spec.mode == Mode::Metrics);
        if is_judged { (self.writer.judge)(entry) } else { None }
    }

    /// Assesses anew what had to wait.
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

    /// Takes the next of a queue that is still due.
    fn pop(&mut self, queue: Queue) -> Option<Arc<Key>> {
        while let Some(key) = self.queues[queue as usize].pop_front() {
            let Some(object) = self.objects.get_mut(&key) else { continue };
            object.is_queued[queue as usize] = false;
            let is_due = match queue {
                Queue::Changes => object.urgency == Urgency::Change,
                Queue::Conditions => object.urgency == Urgency::Conditions,
                Queue::Memories => true,
            };
            if is_due && !object.in_flight {
                return Some(key);
            }
        }
        None
    }

    /// Starts the writes that are queued, as far as their budgets go.
    fn start_queued(&mut self) {
        let now = Instant::now();
        while self.requests.has_room(true)
            && let Some(key) = self.pop(Queue::Changes)
        {
            self.start(Queue::Changes, &key);
        }
        while self.requests.has_room(false)
            && self.conditions.available(now) > 0
            && let Some(key) = self.pop(Queue::Conditions)
        {
            if self.start(Queue::Conditions, &key) {
                self.conditions.take();
            }
        }
        while self.requests.has_room(false)
            && self.memories.available(now) > 0
            && let Some(key) = self.pop(Queue::Memories)
        {
            if self.start(Queue::Memories, &key) {
                self.memories.take();
            }
        }
    }

    /// Starts the writes of numbers that the budget allows: what has changed most and was not written for longest.
    fn start_numbers(&mut self) {
        let now = Instant::now();
        if self.numbers.available(now) == 0 || !self.requests.has_room(false) {
            return;
        }
        let priority = |(key, object): (&Arc<Key>, &TrackedObject)| match object.urgency {
            Urgency::Numbers(weight) if !object.in_flight => {
                let unwritten = now.duration_since(object.written_at).as_secs_f64() + 1.0;
                Some((f64::from(weight) * unwritten, Arc::clone(key)))
            }
            Urgency::Numbers(_) | Urgency::Nothing | Urgency::Conditions | Urgency::Change => None,
        };
        let mut due: Vec<_> = self.objects.iter().filter_map(priority).collect();
        due.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        for (_, key) in due {
            if self.numbers.available(now) == 0 || !self.requests.has_room(false) {
                return;
            }
            if self.start_status(&key) {
                self.numbers.take();
            }
        }
    }

    /// Starts a write; gives whether there was something to write.
    fn start(&mut self, queue: Queue, key: &Arc<Key>) -> bool {
        match queue {
            Queue::Changes | Queue::Conditions => self.start_status(key),
            Queue::Memories => self.start_memory(key),
        }
    }

    fn start_status(&mut self, key: &Arc<Key>) -> bool {
        let at = (self.writer.now)();
        let Some(entry) = self.writer.registry.get(key) else { return false };
        let judgement = self.judge(&entry);
        let Some(object) = self.objects.get_mut(key) else { return false };
        object.renew(&entry, Instant::now());
        object.urgency = Urgency::Nothing;
        let Some(plan) = object.plan(&entry, judgement.as_ref(), at) else { return false };
        let mode = entry.spec.as_ref().map_or(Mode::Scale, |spec| spec.mode);
        let new = object.new_changes(&entry);
        let changes: Vec<_> = new.map(|change| fields::change_event(change, mode)).collect();
        object.set_reported(&entry);
        let in_outage = object.cause.is_some() || object.was_in_outage;
        let transitions = conditions::transitions(&mut object.known, plan.checks, in_outage);
        object.was_in_outage = object.cause.is_some();
        let is_written = match object.written(&entry) {
            None => false,
            Some(before) => {
                let mut fields = difference(before, &plan.status);
                if before.observed_generation != plan.status.observed_generation {
                    // What was learned under another spec may be of another group.
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
        // The control loop has logged them.
        for event in changes {
            self.add_event(&entry, event);
        }
        for event in transitions {
            self.report(&entry, event);
        }
        is_written
    }

    fn start_memory(&mut self, key: &Arc<Key>) -> bool {
        let Some(entry) = self.writer.registry.get(key) else { return false };
        let Some(object) = self.objects.get_mut(key) else { return false };
        let Some(memory) = entry.memory.as_ref().filter(|_| object.is_memory_due(&entry)) else { return false };
        if memory.len() > LONGEST_MEMORY {
            let was_too_long = object.memory_sent.as_ref().is_some_and(|sent| sent.len() > LONGEST_MEMORY);
            object.memory_sent = Some(Arc::clone(memory));
            if !was_too_long {
                let (Key { namespace, name }, bytes) = (&**key, memory.len());
                warn!(namespace, name, bytes, "What was learned is too long for the status and is not kept there.");
            }
            return false;
        }
        object.memory_sent = Some(Arc::clone(memory));
        object.in_flight = true;
        self.requests.write_memory(Arc::clone(key), memory);
        true
    }

    /// Logs an Event, and writes it where there is an object that it can be about.
    fn report(&mut self, entry: &Entry, event: ObjectEvent) {
        let Key { namespace, name } = &*entry.key;
        match event.severity {
            Severity::Normal => info!(namespace, name, reason = event.reason, "{}", event.text),
            Severity::Warning => warn!(namespace, name, reason = event.reason, "{}", event.text),
        }
        self.add_event(entry, event);
    }

    fn add_event(&mut self, entry: &Entry, event: ObjectEvent) {
        let Some(record) = &entry.record else { return };
        if self.objects.get_mut(&entry.key).is_some_and(|object| object.events.allow(Instant::now())) {
            self.requests.add_event(record.reference.clone(), event);
        }
    }

    /// Reports outages of Kafka clusters: one log line each, and one Event about the first ScaledConsumer of the cluster.
    fn report_outages(&mut self) {
        for report in self.outages.reports(Instant::now()) {
            let (cluster, affected) = (&report.cluster, report.affected);
            let (severity, reason) = if report.is_over {
                info!(%cluster, affected, "{}", report.text);
                (Severity::Normal, "Reachable")
            } else {
                warn!(%cluster, affected, reason = report.reason, "{}", report.text);
                (Severity::Warning, report.reason)
            };
            let of_cluster = |entry: &Arc<Entry>| {
                entry.spec.as_ref().is_some_and(|spec| spec.cluster == *cluster) && entry.record.is_some()
            };
            let event = ObjectEvent { severity, reason: reason.to_owned(), action: "Check", text: report.text };
            if let Some(entry) = self.writer.registry.entries().into_iter().find(of_cluster) {
                self.add_event(&entry, event);
            }
        }
    }

    /// Takes in what became of a write.
    fn finished(&mut self, what: Written, answer: Result<Option<()>, CallError>) {
        let now = Instant::now();
        let (key, status) = match what {
            Written::Event => return,
            Written::Status(key, status) => (key, Some(status)),
            Written::Memory(key) => (key, None),
        };
        let Some(object) = self.objects.get_mut(&key) else { return };
        object.in_flight = false;
        if !matches!(answer, Ok(Some(()))) {
            object.memory_sent = None;
        }
        match answer {
            Ok(Some(())) => {
                object.failures = 0;
                if let Some(status) = status {
                    object.wrote(*status, now);
                }
            }
            Ok(None) | Err(CallError::NotFound(_)) => {
                object.failures = 1;
                object.retry_at = Some(now + NOT_WRITTEN_PAUSE);
            }
            Err(error) => {
                object.failures = object.failures.saturating_add(1);
                if object.failures == OWN_FAILURES && !self.requests.is_outage() {
                    let Key { namespace, name } = &*key;
                    warn!(namespace, name, %error, "The status can't be written; trying again, at longer intervals.");
                }
                object.retry_at = Some(now + back_off(object.failures));
            }
        }
        if let Some(entry) = self.writer.registry.get(&key) {
            self.assess(&entry);
        }
    }
}
