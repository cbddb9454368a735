//! StreamsGroupDescribe: Kafka Streams' groups, their topology and the tasks of their members (KIP-1071).

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::described_group::{DescribeResponse, GroupMember, Subtopology, decode_groups, encode_groups};
use super::{DecodeError, Decoder, Encoder, Request};

/// Requests streams groups.
#[derive(Debug)]
pub(in super::super) struct StreamsGroupDescribe<'t> {
    pub(in super::super) groups: &'t [&'t str],
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
    type Response<'a> = DescribeResponse<'a, StreamsAssignment<'a>>;

    fn encode(&self, _version: i16, to: &mut Encoder) {
        encode_groups(self.groups, to);
    }

    fn decode<'a>(_version: i16, from: &mut Decoder<'a>) -> Result<Self::Response<'a>, DecodeError> {
        decode_groups(from, |from| Ok((Cow::default(), subtopologies(from)?)), 28, member)
    }
}

/// None where there is an error, and where source topics are missing or don't fit together.
fn subtopologies<'a>(from: &mut Decoder<'a>) -> Result<Vec<Subtopology<'a>>, DecodeError> {
    let topology = from.nullable_structure(|from| {
        let _epoch = from.i32()?;
        let subtopologies = from.array(6, |from| {
            let (id, mut sources) = (from.string()?, from.array(1, Decoder::string)?);
            // The repartition topics that it writes.
            from.skip_array(1, Decoder::skip_string)?;
            // The changelogs of its state; a `Vec` of units takes no memory.
            let changelogs = from.array(9, |from| internal_topic(from).map(drop))?;
            sources.extend(from.array(9, internal_topic)?);
            from.tags()?;
            Ok(Subtopology { id, sources, is_stateful: !changelogs.is_empty() })
        })?;
        from.tags()?;
        Ok(subtopologies)
    })?;
    Ok(topology.unwrap_or_default())
}

/// A topic that Kafka Streams makes for itself.
fn internal_topic<'a>(from: &mut Decoder<'a>) -> Result<Cow<'a, str>, DecodeError> {
    let (topic, _partitions, _replication_factor) = (from.string()?, from.i32()?, from.i16()?);
    // The topic's configuration.
    from.skip_array(3, skip_key_value)?;
    from.tags()?;
    Ok(topic)
}

fn skip_key_value(from: &mut Decoder<'_>) -> Result<(), DecodeError> {
    from.skip_string()?;
    from.skip_string()?;
    from.tags()
}

fn member<'a>(from: &mut Decoder<'a>) -> Result<GroupMember<'a, StreamsAssignment<'a>>, DecodeError> {
    let (id, _epoch) = (from.string()?, from.i32()?);
    // The instance and the rack.
    from.skip_string()?;
    from.skip_string()?;
    let (client_id, host) = (from.string()?, from.string()?);
    let _topology_epoch = from.i32()?;
    // The process, which may have several members: one per thread.
    from.skip_string()?;
    // The endpoint for interactive queries: host and port.
    from.nullable_structure(|from| {
        from.skip_string()?;
        let _port = from.i16()?;
        from.tags()
    })?;
    // Tags for rack-aware assignment.
    from.skip_array(3, skip_key_value)?;
    // Its offsets in the changelogs of its tasks, and the changelogs' end offsets.
    from.skip_array(14, skip_task_offset)?;
    from.skip_array(14, skip_task_offset)?;
    let (assignment, _target) = (assignment(from)?, assignment(from)?);
    let _is_classic = from.bool()?;
    from.tags()?;
    Ok(GroupMember { id, client_id, host, assignment })
}

fn skip_task_offset(from: &mut Decoder<'_>) -> Result<(), DecodeError> {
    from.skip_string()?;
    let (_partition, _offset) = (from.i32()?, from.i64()?);
    from.tags()
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
