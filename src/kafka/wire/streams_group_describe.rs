//! StreamsGroupDescribe: Kafka Streams' groups, their topology and the tasks of their members (KIP-1071).

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::{DecodeError, Decoder, Encoder, Request};

/// Requests streams groups.
#[derive(Debug)]
pub(in super::super) struct StreamsGroupDescribe<'t> {
    pub(in super::super) groups: &'t [&'t str],
}

/// The response.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct StreamsGroupDescribeResponse<'a> {
    pub(in super::super) throttle_ms: i32,
    pub(in super::super) groups: Vec<StreamsGroup<'a>>,
}

/// A streams group.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct StreamsGroup<'a> {
    pub(in super::super) error: i16,
    pub(in super::super) message: Option<Cow<'a, str>>,
    pub(in super::super) group: Cow<'a, str>,
    /// "Stable", "Empty", "NotReady", "Assigning", "Reconciling" or "Dead".
    pub(in super::super) state: Cow<'a, str>,
    pub(in super::super) epoch: i32,
    pub(in super::super) assignment_epoch: i32,
    /// `None` where there is an error.
    pub(in super::super) topology: Option<Topology<'a>>,
    pub(in super::super) members: Vec<StreamsMember<'a>>,
}

/// The topology of a streams application.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Topology<'a> {
    pub(in super::super) epoch: i32,
    /// `None` where source topics are missing or don't fit together.
    pub(in super::super) subtopologies: Option<Vec<Subtopology<'a>>>,
}

/// A part of a topology: it has a task per partition of its source topics.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Subtopology<'a> {
    pub(in super::super) id: Cow<'a, str>,
    /// Topics of others that it reads.
    pub(in super::super) source_topics: Vec<Cow<'a, str>>,
    /// Repartition topics that it writes.
    pub(in super::super) repartition_sinks: Vec<Cow<'a, str>>,
    /// Changelog topics of its state.
    pub(in super::super) changelogs: Vec<InternalTopic<'a>>,
    /// Repartition topics that it reads.
    pub(in super::super) repartition_sources: Vec<InternalTopic<'a>>,
}

/// A topic that Kafka Streams makes for itself.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct InternalTopic<'a> {
    pub(in super::super) topic: Cow<'a, str>,
    /// 0: no number is configured.
    pub(in super::super) partitions: i32,
}

/// A member of a streams group.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct StreamsMember<'a> {
    pub(in super::super) id: Cow<'a, str>,
    pub(in super::super) epoch: i32,
    pub(in super::super) instance: Option<Cow<'a, str>>,
    pub(in super::super) client_id: Cow<'a, str>,
    pub(in super::super) host: Cow<'a, str>,
    pub(in super::super) topology_epoch: i32,
    /// The process, which may have several members: one per thread.
    pub(in super::super) process_id: Cow<'a, str>,
    /// Its offsets in the changelogs of its tasks, and the changelogs' end offsets.
    pub(in super::super) task_offsets: Vec<TaskOffset<'a>>,
    pub(in super::super) task_end_offsets: Vec<TaskOffset<'a>>,
    /// The current assignment.
    pub(in super::super) assignment: StreamsAssignment<'a>,
    /// The target assignment.
    pub(in super::super) target: StreamsAssignment<'a>,
    /// Whether it still uses the classic protocol.
    pub(in super::super) is_classic: bool,
}

/// The sum of the changelog offsets of a task.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct TaskOffset<'a> {
    pub(in super::super) subtopology: Cow<'a, str>,
    pub(in super::super) partition: i32,
    pub(in super::super) offset: i64,
}

/// The tasks of a member.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct StreamsAssignment<'a> {
    pub(in super::super) active: Vec<TaskIds<'a>>,
    pub(in super::super) standby: Vec<TaskIds<'a>>,
    pub(in super::super) warmup: Vec<TaskIds<'a>>,
}

/// Tasks of one subtopology.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct TaskIds<'a> {
    pub(in super::super) subtopology: Cow<'a, str>,
    pub(in super::super) partitions: Vec<i32>,
}

impl Request for StreamsGroupDescribe<'_> {
    const KEY: i16 = 89;
    const NAME: &'static str = "StreamsGroupDescribe";
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    const FLEXIBLE_FROM: i16 = 0;
    type Response<'a> = StreamsGroupDescribeResponse<'a>;

    fn encode(&self, _version: i16, to: &mut Encoder) {
        to.array(self.groups, |to, group| to.string(group));
        // include_authorized_operations
        to.bool(false);
        to.no_tags();
    }

    fn decode<'a>(_version: i16, from: &mut Decoder<'a>) -> Result<Self::Response<'a>, DecodeError> {
        let throttle_ms = from.i32()?;
        let groups = from.array(19, |from| {
            let (error, message) = (from.i16()?, from.nullable_string()?);
            let (group, state) = (from.string()?, from.string()?);
            let (epoch, assignment_epoch) = (from.i32()?, from.i32()?);
            let topology = from.nullable_structure(topology)?;
            let members = from.array(28, member)?;
            let _authorized_operations = from.i32()?;
            from.tags()?;
            Ok(StreamsGroup { error, message, group, state, epoch, assignment_epoch, topology, members })
        })?;
        from.tags()?;
        Ok(StreamsGroupDescribeResponse { throttle_ms, groups })
    }
}

fn topology<'a>(from: &mut Decoder<'a>) -> Result<Topology<'a>, DecodeError> {
    let epoch = from.i32()?;
    let subtopologies = from.nullable_array(6, |from| {
        let id = from.string()?;
        let source_topics = from.array(1, Decoder::string)?;
        let repartition_sinks = from.array(1, Decoder::string)?;
        let changelogs = from.array(9, internal_topic)?;
        let repartition_sources = from.array(9, internal_topic)?;
        from.tags()?;
        Ok(Subtopology { id, source_topics, repartition_sinks, changelogs, repartition_sources })
    })?;
    from.tags()?;
    Ok(Topology { epoch, subtopologies })
}

fn internal_topic<'a>(from: &mut Decoder<'a>) -> Result<InternalTopic<'a>, DecodeError> {
    let (topic, partitions) = (from.string()?, from.i32()?);
    let _replication_factor = from.i16()?;
    // The topic's configuration.
    from.skip_array(3, skip_key_value)?;
    from.tags()?;
    Ok(InternalTopic { topic, partitions })
}

fn skip_key_value(from: &mut Decoder<'_>) -> Result<(), DecodeError> {
    from.skip_string()?;
    from.skip_string()?;
    from.tags()
}

fn member<'a>(from: &mut Decoder<'a>) -> Result<StreamsMember<'a>, DecodeError> {
    let (id, epoch, instance) = (from.string()?, from.i32()?, from.nullable_string()?);
    // The rack.
    from.skip_string()?;
    let (client_id, host) = (from.string()?, from.string()?);
    let (topology_epoch, process_id) = (from.i32()?, from.string()?);
    // The endpoint for interactive queries: host and port.
    from.nullable_structure(|from| {
        from.skip_string()?;
        let _port = from.i16()?;
        from.tags()
    })?;
    // Tags for rack-aware assignment.
    from.skip_array(3, skip_key_value)?;
    let (task_offsets, task_end_offsets) = (from.array(14, task_offset)?, from.array(14, task_offset)?);
    let (assignment, target) = (assignment(from)?, assignment(from)?);
    let is_classic = from.bool()?;
    from.tags()?;
    Ok(StreamsMember {
        id,
        epoch,
        instance,
        client_id,
        host,
        topology_epoch,
        process_id,
        task_offsets,
        task_end_offsets,
        assignment,
        target,
        is_classic,
    })
}

fn task_offset<'a>(from: &mut Decoder<'a>) -> Result<TaskOffset<'a>, DecodeError> {
    let (subtopology, partition, offset) = (from.string()?, from.i32()?, from.i64()?);
    from.tags()?;
    Ok(TaskOffset { subtopology, partition, offset })
}

fn assignment<'a>(from: &mut Decoder<'a>) -> Result<StreamsAssignment<'a>, DecodeError> {
    let (active, standby, warmup) = (from.array(3, tasks)?, from.array(3, tasks)?, from.array(3, tasks)?);
    from.tags()?;
    Ok(StreamsAssignment { active, standby, warmup })
}

fn tasks<'a>(from: &mut Decoder<'a>) -> Result<TaskIds<'a>, DecodeError> {
    let (subtopology, partitions) = (from.string()?, from.array(4, Decoder::i32)?);
    from.tags()?;
    Ok(TaskIds { subtopology, partitions })
}
