//! The one file that calls librdkafka's C functions. It knows their memory rules and nothing of what the answers mean:
//! requests go in with a tag, plain Rust values come out with the same tag.
//!
//! Three rules keep it sound. Every object that must be freed is held by an [`Owned`], the only guard with a `Drop`
//! beside the client's. Answers are copied out before their event is freed. Error codes are read as C integers, never as
//! the bindings' enum: brokers send codes that it lacks, and such a value would be undefined behaviour.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ffi::{CStr, CString, c_char, c_int};
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::bindings as rd;

use super::messages::{
    Answer, Edge, Failure, GroupReply, Notice, OpenError, PartitionReply, Question, Reply, Terms, TopicReply,
};
use crate::core::{IsolationLevel, Member};

// The same functions as in the bindings, but with codes as integers in place of an enum.
unsafe extern "C" {
    fn rd_kafka_error_code(error: *const rd::rd_kafka_error_t) -> c_int;
    fn rd_kafka_event_error(event: *const rd::rd_kafka_event_t) -> c_int;
    fn rd_kafka_err2name(code: c_int) -> *const c_char;
    fn rd_kafka_err2str(code: c_int) -> *const c_char;
    fn rd_kafka_metadata(
        client: *mut rd::rd_kafka_t,
        all_topics: c_int,
        only: *mut rd::rd_kafka_topic_t,
        metadata: *mut *const rd::rd_kafka_metadata_t,
        timeout_ms: c_int,
    ) -> c_int;
    fn rd_kafka_ConsumerGroupDescription_state(group: *const rd::rd_kafka_ConsumerGroupDescription_t) -> c_int;
    fn rd_kafka_ConsumerGroupDescription_type(group: *const rd::rd_kafka_ConsumerGroupDescription_t) -> c_int;
}

/// A C object that is ours to free.
struct Owned<T> {
    object: NonNull<T>,
    free: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    /// Takes over `object`; nothing where it is null. `free` must be the object's own destructor.
    fn new(object: *mut T, free: unsafe extern "C" fn(*mut T)) -> Option<Self> {
        NonNull::new(object).map(|object| Self { object, free })
    }

    fn get(&self) -> *mut T {
        self.object.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: `object` came from the constructor that belongs to `free`, and nobody else frees it.
        unsafe { (self.free)(self.object.as_ptr()) }
    }
}

impl Failure {
    pub(super) fn of(code: i32) -> Self {
        // SAFETY: takes any integer and returns a static or thread-local string, copied here at once.
        Self { code, text: unsafe { copied(rd_kafka_err2str(code)) } }
    }
}

/// The code's name in Kafka's protocol, such as `NOT_COORDINATOR`.
pub(super) fn code_name(code: i32) -> String {
    // SAFETY: takes any integer and returns a static or thread-local string, copied here at once.
    unsafe { copied(rd_kafka_err2name(code)) }
}

struct RawClient(NonNull<rd::rd_kafka_t>);

impl Drop for RawClient {
    fn drop(&mut self) {
        // SAFETY: the handle is valid until here, and the queues that belong to it are gone: `Parts` drops its own
        // first, and `Requests` borrows the client. It never joined a group, so there is nothing to leave.
        unsafe { rd::rd_kafka_destroy_flags(self.0.as_ptr(), rd::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE) }
    }
}

/// A consumer-type client that never subscribes. (A producer-type one crashes when a broker answers NOT_COORDINATOR:
/// librdkafka issue 5040.)
///
/// Two things keep librdkafka from aborting (issue 4605). A request for a group's coordinator that waits for a connection
/// must not time out inside of librdkafka, which would count its end twice once the broker is back: such requests last as
/// long as they can, and whoever waits for the answer stops waiting. And a dropped client stays open on a thread of its own
/// until its other requests have timed out.
pub(super) struct Client {
    parts: ManuallyDrop<Parts>,
    /// When the last request that times out by itself has done so.
    last_timeout: Cell<Option<Instant>>,
    /// Since when there are requests for a coordinator that nobody waits for any more.
    abandoned_since: Cell<Option<Instant>>,
}

struct Parts {
    // Before the handle, so that it is freed first.
    events: Owned<rd::rd_kafka_queue_t>,
    handle: RawClient,
}

// SAFETY: librdkafka's handle and queues may be used from any thread.
unsafe impl Send for Parts {}

/// The longest time-out that librdkafka takes.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3_600);

/// How long after its last request's time-out a client is destroyed. librdkafka looks for timed-out requests once a
/// second, and a coordinator request that waits for a connection may last for one more request's time.
const DESTROY_AFTER: Duration = Duration::from_secs(10);

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: taken once, here, and `self.parts` is not used again.
        let parts = unsafe { ManuallyDrop::take(&mut self.parts) };
        let Some(last_timeout) = self.last_timeout.get() else { return drop(parts) };
        // In a `ManuallyDrop` again: where no thread can be had, the client is leaked. The end of the process ends it too.
        let parked = ManuallyDrop::new(parts);
        let destroy = move || {
            let parked = parked;
            std::thread::sleep((last_timeout + DESTROY_AFTER).saturating_duration_since(Instant::now()));
            drop(ManuallyDrop::into_inner(parked));
        };
        let _ = std::thread::Builder::new().name("kafka-close".to_owned()).spawn(destroy);
    }
}

impl Client {
    /// Makes a client. It connects in the background: that no broker is there shows only in the answers.
    pub(super) fn open(properties: &[(String, String)]) -> Result<Self, OpenError> {
        let mut message = [0 as c_char; 512];
        // SAFETY: `conf` is freed by its guard, or by `rd_kafka_new` where that succeeds; all strings outlive the calls;
        // `message` is as long as said and ends with a NUL.
        unsafe {
            let conf = Owned::new(rd::rd_kafka_conf_new(), rd::rd_kafka_conf_destroy).expect("conf_new never fails");
            for (name, value) in properties {
                let (c_name, c_value) = (c_string(name), c_string(value));
                let set = rd::rd_kafka_conf_set(
                    conf.get(),
                    c_name.as_ptr(),
                    c_value.as_ptr(),
                    message.as_mut_ptr(),
                    message.len(),
                );
                if set != rd::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
                    return Err(OpenError::Property { name: name.clone(), message: copied(message.as_ptr()) });
                }
            }
            rd::rd_kafka_conf_set_events(conf.get(), rd::RD_KAFKA_EVENT_ERROR);
            let kind = rd::rd_kafka_type_t::RD_KAFKA_CONSUMER;
            let handle = rd::rd_kafka_new(kind, conf.get(), message.as_mut_ptr(), message.len());
            let Some(handle) = NonNull::new(handle).map(RawClient) else {
                return Err(OpenError::Client { message: copied(message.as_ptr()) });
            };
            // The handle owns the configuration now.
            std::mem::forget(conf);
            rd::rd_kafka_set_log_queue(handle.0.as_ptr(), ptr::null_mut());
            rd::rd_kafka_poll_set_consumer(handle.0.as_ptr());
            let events = rd::rd_kafka_queue_get_consumer(handle.0.as_ptr());
            let events =
                Owned::new(events, rd::rd_kafka_queue_destroy).expect("a consumer with a group.id has a queue");
            Ok(Self {
                parts: ManuallyDrop::new(Parts { events, handle }),
                last_timeout: Cell::new(None),
                abandoned_since: Cell::new(None),
            })
        }
    }

    /// The oldest notice that waits, if any. Also lets librdkafka run what it wants to run on our thread, such as the
    /// renewal of a token.
    pub(super) fn next_notice(&self) -> Option<Notice> {
        loop {
            // SAFETY: the queue is alive; the event is freed by its guard after its strings were copied.
            unsafe {
                let event = rd::rd_kafka_queue_poll(self.parts.events.get(), 0);
                let event = Owned::new(event, rd::rd_kafka_event_destroy)?;
                match rd::rd_kafka_event_type(event.get()) {
                    rd::RD_KAFKA_EVENT_LOG => {
                        let (mut facility, mut text, mut level) = (ptr::null(), ptr::null(), 0);
                        if rd::rd_kafka_event_log(event.get(), &raw mut facility, &raw mut text, &raw mut level) == 0 {
                            return Some(Notice::Log { level, facility: copied(facility), text: copied(text) });
                        }
                    }
                    rd::RD_KAFKA_EVENT_ERROR => {
                        let text = copied(rd::rd_kafka_event_error_string(event.get()));
                        return Some(Notice::Error { code: rd_kafka_event_error(event.get()), text });
                    }
                    // Nothing else is asked for.
                    _ => {}
                }
            }
        }
    }

    /// One Metadata request to any broker that is up. Returns the brokers' ids, that of the one that answered first, and,
    /// where asked for, all topics' names.
    pub(super) fn metadata(&self, all_topics: bool, timeout: Duration) -> Result<(Vec<i32>, Vec<Arc<str>>), Failure> {
        let mut metadata = ptr::null();
        let handle = self.parts.handle.0.as_ptr();
        // SAFETY: on success `metadata` points to an object of ours with arrays of the lengths that it names; entries
        // are read field by field, so that a topic's error code is never read as an enum.
        unsafe {
            let code =
                rd_kafka_metadata(handle, all_topics.into(), ptr::null_mut(), &raw mut metadata, millis(timeout));
            if code != 0 {
                return Err(Failure::of(code));
            }
            // -1: a bootstrap address whose broker is not known yet.
            let answered = Some((*metadata).orig_broker_id).filter(|id| *id >= 0);
            let others = array((*metadata).brokers, (*metadata).broker_cnt).map(|broker| (*broker).id);
            let result = (
                answered.into_iter().chain(others.filter(|id| Some(*id) != answered)).collect(),
                array((*metadata).topics, (*metadata).topic_cnt).map(|t| shared((*t).topic)).collect(),
            );
            rd::rd_kafka_metadata_destroy(metadata);
            Ok(result)
        }
    }

    /// A set of requests with a queue of their own for the answers.
    pub(super) fn requests(&self) -> Requests<'_> {
        // SAFETY: the handle outlives the queue because `Requests` borrows `self`.
        let queue = unsafe { rd::rd_kafka_queue_new(self.parts.handle.0.as_ptr()) };
        let queue = Owned::new(queue, rd::rd_kafka_queue_destroy).expect("queue_new never fails");
        Requests { client: self, queue, lasting: RefCell::default() }
    }

    /// Whether requests for a coordinator may soon time out inside of librdkafka: then a new client must take over.
    pub(super) fn must_be_replaced(&self) -> bool {
        self.abandoned_since.get().is_some_and(|since| since.elapsed() > LONGEST_TIMEOUT / 2)
    }
}

/// Requests under way. Dropping it abandons those that have no answer yet; librdkafka frees them.
pub(super) struct Requests<'c> {
    client: &'c Client,
    queue: Owned<rd::rd_kafka_queue_t>,
    /// The tags of requests for a coordinator that have no answer yet.
    lasting: RefCell<HashSet<usize>>,
}

impl Drop for Requests<'_> {
    fn drop(&mut self) {
        if !self.lasting.borrow().is_empty() && self.client.abandoned_since.get().is_none() {
            self.client.abandoned_since.set(Some(Instant::now()));
        }
    }
}

impl Requests<'_> {
    /// Sends a request; it doesn't wait.
    pub(super) fn ask(&self, question: &Question<'_>, terms: Terms) {
        let (client, queue) = (self.client.parts.handle.0.as_ptr(), self.queue.get());
        let looks_up_coordinator = match question {
            Question::GroupOffsets { .. } | Question::Group { .. } => terms.broker.is_none(),
            Question::Topics(_) | Question::Ends { .. } | Question::GroupNames => false,
        };
        let terms = if looks_up_coordinator {
            self.lasting.borrow_mut().insert(terms.tag);
            Terms { timeout: LONGEST_TIMEOUT, ..terms }
        } else {
            let timeout = Some(Instant::now() + terms.timeout);
            self.client.last_timeout.set(self.client.last_timeout.get().max(timeout));
            terms
        };
        let options = self.options(terms);
        // SAFETY: librdkafka copies all arguments before these functions return; the guards free ours afterwards.
        unsafe {
            match question {
                Question::GroupOffsets { group, partitions } => {
                    let list = partitions.map(|partitions| partition_list(partitions, -1001));
                    let list = list.as_ref().map_or(ptr::null_mut(), Owned::get);
                    let request = rd::rd_kafka_ListConsumerGroupOffsets_new(c_string(group).as_ptr(), list);
                    let request = Owned::new(request, rd::rd_kafka_ListConsumerGroupOffsets_destroy)
                        .expect("ListConsumerGroupOffsets_new never fails");
                    rd::rd_kafka_ListConsumerGroupOffsets(client, &mut request.get(), 1, options.get(), queue);
                }
                Question::Group { group } => {
                    let group = c_string(group);
                    rd::rd_kafka_DescribeConsumerGroups(client, &mut group.as_ptr(), 1, options.get(), queue);
                }
                Question::Topics(names) => {
                    let names: Vec<CString> = names.iter().map(|name| c_string(name)).collect();
                    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
                    let topics = rd::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
                    let topics = Owned::new(topics, rd::rd_kafka_TopicCollection_destroy)
                        .expect("TopicCollection_of_topic_names never fails");
                    rd::rd_kafka_DescribeTopics(client, topics.get(), options.get(), queue);
                }
                Question::Ends { partitions, edge } => {
                    let (offset, isolation) = match edge {
                        Edge::Start => (-2, IsolationLevel::ReadUncommitted),
                        Edge::End(isolation) => (-1, *isolation),
                    };
                    let isolation = match isolation {
                        IsolationLevel::ReadUncommitted => {
                            rd::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED
                        }
                        IsolationLevel::ReadCommitted => {
                            rd::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED
                        }
                    };
                    let error = rd::rd_kafka_AdminOptions_set_isolation_level(options.get(), isolation);
                    drop(Owned::new(error, rd::rd_kafka_error_destroy));
                    let list = partition_list(partitions, offset);
                    rd::rd_kafka_ListOffsets(client, list.get(), options.get(), queue);
                }
                Question::GroupNames => rd::rd_kafka_ListConsumerGroups(client, options.get(), queue),
            }
        }
    }

    fn options(&self, terms: Terms) -> Owned<rd::rd_kafka_AdminOptions_t> {
        // SAFETY: the options are freed by their guard; a null error buffer of length 0 is allowed; the opaque is a
        // number that librdkafka hands back without following it.
        unsafe {
            let any = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ANY;
            let options = rd::rd_kafka_AdminOptions_new(self.client.parts.handle.0.as_ptr(), any);
            let options =
                Owned::new(options, rd::rd_kafka_AdminOptions_destroy).expect("AdminOptions_new never fails for ANY");
            let timeout = millis(terms.timeout).max(1);
            rd::rd_kafka_AdminOptions_set_request_timeout(options.get(), timeout, ptr::null_mut(), 0);
            if let Some(broker) = terms.broker {
                rd::rd_kafka_AdminOptions_set_broker(options.get(), broker, ptr::null_mut(), 0);
            }
            rd::rd_kafka_AdminOptions_set_opaque(options.get(), ptr::without_provenance_mut(terms.tag));
            options
        }
    }

    /// The next answer, or nothing after `wait`.
    pub(super) fn next(&self, wait: Duration) -> Option<Answer> {
        // SAFETY: the queue is alive, and the event lives until all of it has been copied.
        unsafe {
            let event = rd::rd_kafka_queue_poll(self.queue.get(), millis(wait));
            let event = Owned::new(event, rd::rd_kafka_event_destroy)?;
            let tag = rd::rd_kafka_event_opaque(event.get()).addr();
            self.lasting.borrow_mut().remove(&tag);
            let code = rd_kafka_event_error(event.get());
            let result = if code == 0 {
                read_reply(event.get())
            } else {
                Err(Failure { code, text: copied(rd::rd_kafka_event_error_string(event.get())) })
            };
            Some(Answer { tag, result })
        }
    }
}

/// Copies what a successful event holds.
///
/// # Safety
/// `event` is alive.
unsafe fn read_reply(event: *mut rd::rd_kafka_event_t) -> Result<Reply, Failure> {
    const BAD_MESSAGE: i32 = -199;
    let mut count = 0;
    // SAFETY: the event's type says which of the result functions may be called on it; their arrays have `count`
    // entries and live as long as the event.
    unsafe {
        match rd::rd_kafka_event_type(event) {
            rd::RD_KAFKA_EVENT_LISTCONSUMERGROUPOFFSETS_RESULT => {
                let result = rd::rd_kafka_event_ListConsumerGroupOffsets_result(event);
                let groups = rd::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &raw mut count);
                let group = pointers(groups, count).next().ok_or_else(|| Failure::of(BAD_MESSAGE))?;
                failure(rd::rd_kafka_group_result_error(group))?;
                let list = rd::rd_kafka_group_result_partitions(group);
                Ok(Reply::Partitions(read_list(list)))
            }
            rd::RD_KAFKA_EVENT_DESCRIBECONSUMERGROUPS_RESULT => {
                let result = rd::rd_kafka_event_DescribeConsumerGroups_result(event);
                let groups = rd::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
                let group = pointers(groups, count).next().ok_or_else(|| Failure::of(BAD_MESSAGE))?;
                failure(rd::rd_kafka_ConsumerGroupDescription_error(group))?;
                Ok(Reply::Group(read_group(group)))
            }
            rd::RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT => {
                let result = rd::rd_kafka_event_DescribeTopics_result(event);
                let topics = rd::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
                Ok(Reply::Topics(pointers(topics, count).map(|topic| read_topic(topic)).collect()))
            }
            rd::RD_KAFKA_EVENT_LISTOFFSETS_RESULT => {
                let result = rd::rd_kafka_event_ListOffsets_result(event);
                let infos = rd::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
                let mut last = None;
                let read = |info| read_partition(rd::rd_kafka_ListOffsetsResultInfo_topic_partition(info), &mut last);
                Ok(Reply::Partitions(pointers(infos, count).map(read).collect()))
            }
            rd::RD_KAFKA_EVENT_LISTCONSUMERGROUPS_RESULT => {
                let result = rd::rd_kafka_event_ListConsumerGroups_result(event);
                let groups = rd::rd_kafka_ListConsumerGroups_result_valid(result, &raw mut count);
                let name = |group| copied(rd::rd_kafka_ConsumerGroupListing_group_id(group));
                Ok(Reply::GroupNames(pointers(groups, count).map(name).collect()))
            }
            _ => Err(Failure::of(BAD_MESSAGE)),
        }
    }
}

/// # Safety
/// `group` is alive.
unsafe fn read_group(group: *const rd::rd_kafka_ConsumerGroupDescription_t) -> GroupReply {
    // SAFETY: all that these functions return lives as long as the group, members are counted by the group itself, and
    // the coordinator and the assignment may be null.
    unsafe {
        let member = |index| {
            let member = rd::rd_kafka_ConsumerGroupDescription_member(group, index);
            let assignment = rd::rd_kafka_MemberDescription_assignment(member);
            let assigned = if assignment.is_null() {
                Vec::new()
            } else {
                read_list(rd::rd_kafka_MemberAssignment_partitions(assignment))
            };
            Member {
                id: copied(rd::rd_kafka_MemberDescription_consumer_id(member)),
                client_id: copied(rd::rd_kafka_MemberDescription_client_id(member)),
                host: copied(rd::rd_kafka_MemberDescription_host(member)),
                assignment: assigned.into_iter().map(|entry| (entry.topic, entry.partition)).collect(),
                tasks: Vec::new(),
            }
        };
        let coordinator = rd::rd_kafka_ConsumerGroupDescription_coordinator(group);
        GroupReply {
            state: rd_kafka_ConsumerGroupDescription_state(group),
            kind: rd_kafka_ConsumerGroupDescription_type(group),
            assignor: copied(rd::rd_kafka_ConsumerGroupDescription_partition_assignor(group)),
            members: (0..rd::rd_kafka_ConsumerGroupDescription_member_count(group)).map(member).collect(),
            coordinator: (!coordinator.is_null()).then(|| rd::rd_kafka_Node_id(coordinator)).filter(|id| *id >= 0),
        }
    }
}

/// # Safety
/// `topic` is alive.
unsafe fn read_topic(topic: *const rd::rd_kafka_TopicDescription_t) -> TopicReply {
    let mut count = 0;
    // SAFETY: all that these functions return lives as long as the topic; a leader may be null.
    unsafe {
        let error = rd::rd_kafka_TopicDescription_error(topic);
        let id = rd::rd_kafka_TopicDescription_topic_id(topic);
        let has_id = !id.is_null()
            && (rd::rd_kafka_Uuid_most_significant_bits(id), rd::rd_kafka_Uuid_least_significant_bits(id)) != (0, 0);
        let partitions = rd::rd_kafka_TopicDescription_partitions(topic, &raw mut count);
        let partition = |partition| {
            let leader = rd::rd_kafka_TopicPartitionInfo_leader(partition);
            let leader = (!leader.is_null()).then(|| rd::rd_kafka_Node_id(leader)).filter(|id| *id >= 0);
            (rd::rd_kafka_TopicPartitionInfo_partition(partition), leader)
        };
        TopicReply {
            name: shared(rd::rd_kafka_TopicDescription_name(topic)),
            id: has_id.then(|| copied(rd::rd_kafka_Uuid_base64str(id))),
            code: if error.is_null() { 0 } else { rd_kafka_error_code(error) },
            partitions: pointers(partitions, count).map(partition).collect(),
        }
    }
}

/// # Safety
/// `list` is alive or null.
unsafe fn read_list(list: *const rd::rd_kafka_topic_partition_list_t) -> Vec<PartitionReply> {
    let mut last = None;
    // SAFETY: a list has `cnt` entries at `elems`.
    unsafe {
        if list.is_null() {
            return Vec::new();
        }
        array((*list).elems, (*list).cnt).map(|entry| read_partition(entry, &mut last)).collect()
    }
}

/// Reads field by field: the commit's metadata, which may be anything, is never touched, and the code is read as an
/// integer. `last` is the topic read before: most entries share it, and then its memory.
///
/// # Safety
/// `entry` is alive.
unsafe fn read_partition(entry: *const rd::rd_kafka_topic_partition_t, last: &mut Option<Arc<str>>) -> PartitionReply {
    // SAFETY: `entry` is alive, its topic is a C string, and its code is a C enum, thus as big as an `i32`.
    unsafe {
        let topic = CStr::from_ptr((*entry).topic).to_string_lossy();
        let topic = match last {
            Some(known) if **known == *topic => Arc::clone(known),
            _ => Arc::clone(last.insert(Arc::from(topic))),
        };
        let code = (&raw const (*entry).err).cast::<i32>().read();
        PartitionReply { topic, partition: (*entry).partition, offset: (*entry).offset, code }
    }
}

fn partition_list(partitions: &[(Arc<str>, i32)], offset: i64) -> Owned<rd::rd_kafka_topic_partition_list_t> {
    let mut topic = (None, CString::default());
    // SAFETY: the list is freed by its guard; `add` copies the name and returns an entry that is valid until the next
    // `add`.
    unsafe {
        let size = c_int::try_from(partitions.len()).unwrap_or(0);
        let list = rd::rd_kafka_topic_partition_list_new(size);
        let list = Owned::new(list, rd::rd_kafka_topic_partition_list_destroy).expect("list_new never fails");
        for (name, partition) in partitions {
            if topic.0 != Some(name) {
                topic = (Some(name), c_string(name));
            }
            let entry = rd::rd_kafka_topic_partition_list_add(list.get(), topic.1.as_ptr(), *partition);
            (*entry).offset = offset;
        }
        list
    }
}

/// # Safety
/// `error` is alive or null.
unsafe fn failure(error: *const rd::rd_kafka_error_t) -> Result<(), Failure> {
    // SAFETY: see above; the string lives as long as the error and is copied.
    unsafe {
        if error.is_null() || rd_kafka_error_code(error) == 0 {
            return Ok(());
        }
        Err(Failure { code: rd_kafka_error_code(error), text: copied(rd::rd_kafka_error_string(error)) })
    }
}

/// The entries of an array of pointers, without the null ones.
///
/// # Safety
/// `first` points to `count` pointers that outlive the iterator, or `count` is 0.
unsafe fn pointers<T>(first: *mut *const T, count: usize) -> impl Iterator<Item = *const T> {
    // SAFETY: see above.
    (0..count).map(move |index| unsafe { *first.add(index) }).filter(|entry| !entry.is_null())
}

/// Pointers to the entries of an array.
///
/// # Safety
/// `first` points to `count` entries, or `count` is 0.
unsafe fn array<T>(first: *const T, count: c_int) -> impl Iterator<Item = *const T> {
    // SAFETY: see above.
    (0..usize::try_from(count).unwrap_or(0)).map(move |index| unsafe { first.add(index) })
}

/// # Safety
/// `text` is a C string or null.
unsafe fn copied(text: *const c_char) -> String {
    // SAFETY: see above.
    if text.is_null() { String::new() } else { unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned() }
}

/// # Safety
/// `text` is a C string or null.
unsafe fn shared(text: *const c_char) -> Arc<str> {
    // SAFETY: see above.
    Arc::from(unsafe { copied(text) })
}

/// A C string. A name with a NUL in it can't exist in Kafka; with another character in its place it still doesn't.
fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).expect("there is no NUL left")
}

fn millis(time: Duration) -> c_int {
    c_int::try_from(time.as_millis()).unwrap_or(c_int::MAX)
}
