//! OffsetFetch: what groups have committed; from version 8 on for many groups at once (KIP-709).

use std::borrow::Cow;
use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{DecodeError, Decoder, Encoder, Request};

/// Requests committed offsets. Below version 8 only the first group is sent. Version 10 names topics by id, which saves
/// us nothing and which Azure Event Hubs can't do, so it is left out.
#[derive(Debug)]
pub(in super::super) struct OffsetFetch<'t> {
    pub(in super::super) groups: &'t [OffsetFetchGroup<'t>],
}

/// A group, and the partitions that are requested.
#[derive(Clone, Debug)]
pub(in super::super) struct OffsetFetchGroup<'t> {
    pub(in super::super) group: &'t str,
    /// `None`: all that the group has committed to.
    pub(in super::super) topics: Option<Vec<(&'t str, Vec<i32>)>>,
}

/// The response.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct OffsetFetchResponse<'a> {
    pub(in super::super) throttle_ms: i32,
    /// Below version 8 there is always one.
    pub(in super::super) groups: Vec<GroupCommits<'a>>,
}

/// What a group has committed.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct GroupCommits<'a> {
    /// The group; empty below version 8, where it is the requested one.
    pub(in super::super) group: Cow<'a, str>,
    pub(in super::super) error: i16,
    pub(in super::super) topics: Vec<TopicCommits<'a>>,
}

/// What a group has committed in a topic.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct TopicCommits<'a> {
    pub(in super::super) topic: Cow<'a, str>,
    pub(in super::super) partitions: Vec<CommittedOffset>,
}

/// A committed offset.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct CommittedOffset {
    pub(in super::super) partition: i32,
    /// -1: none.
    pub(in super::super) offset: i64,
    /// The highest timestamp of the records that Kafka Streams has processed, in milliseconds since 1970; -1: not known.
    pub(in super::super) event_time: i64,
    pub(in super::super) error: i16,
}

/// The event time of a commit that is not known; `RecordQueue.UNKNOWN` in Kafka Streams.
pub(in super::super) const NO_EVENT_TIME: i64 = -1;
/// A version byte and a timestamp of 8 bytes.
const EVENT_TIME_BYTES: usize = 9;
/// The same in base64: 9 bytes have no padding.
const EVENT_TIME_TEXT: usize = 12;

impl Request for OffsetFetch<'_> {
    const KEY: i16 = 9;
    const NAME: &'static str = "OffsetFetch";
    const VERSIONS: RangeInclusive<i16> = 2..=9;
    const FLEXIBLE_FROM: i16 = 6;
    type Response<'a> = OffsetFetchResponse<'a>;

    fn encode(&self, version: i16, to: &mut Encoder) {
        if version < 8 {
            let first = self.groups.first();
            to.string(first.map_or("", |group| group.group));
            match first {
                Some(group) => topics(group, to),
                None => to.null_array(),
            }
        } else {
            to.array(self.groups, |to, group| {
                to.string(group.group);
                if version >= 9 {
                    // We are no member: no member id, and -1 for its epoch.
                    to.nullable_string(None);
                    to.i32(-1);
                }
                topics(group, to);
                to.no_tags();
            });
        }
        if version >= 7 {
            // require_stable: false, so that commits of open transactions don't cause errors.
            to.bool(false);
        }
        to.no_tags();
    }

    fn decode<'a>(version: i16, from: &mut Decoder<'a>) -> Result<Self::Response<'a>, DecodeError> {
        let throttle_ms = if version >= 3 { from.i32()? } else { 0 };
        let groups = if version < 8 {
            let topics = from.array(3, |from| topic(version, from))?;
            vec![GroupCommits { group: Cow::Borrowed(""), error: from.i16()?, topics }]
        } else {
            from.array(5, |from| {
                let group = from.string()?;
                let topics = from.array(3, |from| topic(version, from))?;
                let error = from.i16()?;
                from.tags()?;
                Ok(GroupCommits { group, error, topics })
            })?
        };
        from.tags()?;
        Ok(OffsetFetchResponse { throttle_ms, groups })
    }
}

fn topics(group: &OffsetFetchGroup<'_>, to: &mut Encoder) {
    match &group.topics {
        None => to.null_array(),
        Some(topics) => to.array(topics, |to, (topic, partitions)| {
            to.string(topic);
            to.array(partitions, |to, partition| to.i32(*partition));
            to.no_tags();
        }),
    }
}

fn topic<'a>(version: i16, from: &mut Decoder<'a>) -> Result<TopicCommits<'a>, DecodeError> {
    let topic = from.string()?;
    let partitions = from.array(15, |from| {
        let (partition, offset) = (from.i32()?, from.i64()?);
        if version >= 5 {
            let _leader_epoch = from.i32()?;
        }
        let event_time = event_time(from.raw_string()?).unwrap_or(NO_EVENT_TIME);
        let error = from.i16()?;
        from.tags()?;
        Ok(CommittedOffset { partition, offset, event_time, error })
    })?;
    from.tags()?;
    Ok(TopicCommits { topic, partitions })
}

/// The event time in a commit's metadata, as Kafka Streams writes it: base64 of a version byte (1 or 2), the partition's
/// time in milliseconds (8 bytes, big-endian), and from version 2 on the processors' metadata, which is not read. The
/// source is `TopicPartitionMetadata` in `org.apache.kafka.streams.processor.internals`.
///
/// Other metadata may be any text. Nothing is allocated for it, and hardly more than its first character is looked at.
pub(super) fn event_time(metadata: &[u8]) -> Option<i64> {
    let text = metadata.first_chunk::<EVENT_TIME_TEXT>()?;
    let mut bytes = [0; EVENT_TIME_BYTES];
    // With padding they are fewer.
    let is_full = STANDARD.decode_slice(text, &mut bytes).is_ok_and(|count| count == EVENT_TIME_BYTES);
    let (version, time) = bytes.split_first()?;
    let time = i64::from_be_bytes(time.try_into().ok()?);
    let rest = &metadata[EVENT_TIME_TEXT..];
    let is_base64 = |char: &u8| char.is_ascii_alphanumeric() || b"+/=".contains(char);
    let is_known = match version {
        1 => rest.is_empty(),
        2 => rest.len().is_multiple_of(4) && rest.iter().all(is_base64),
        _ => false,
    };
    (is_full && is_known && time >= 0).then_some(time)
}
