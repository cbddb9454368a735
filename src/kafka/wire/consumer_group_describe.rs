//! ConsumerGroupDescribe and ShareGroupDescribe: groups whose members the broker assigns (KIP-848, KIP-932).

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::{DecodeError, Decoder, Encoder, Request, TopicPartitions};

/// Requests groups of the consumer protocol (KIP-848).
#[derive(Debug)]
pub(in super::super) struct ConsumerGroupDescribe<'t> {
    pub(in super::super) groups: &'t [&'t str],
}

/// The response.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct ConsumerGroupDescribeResponse<'a> {
    pub(in super::super) throttle_ms: i32,
    pub(in super::super) groups: Vec<ConsumerGroup<'a>>,
}

/// A group of the consumer protocol.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct ConsumerGroup<'a> {
    pub(in super::super) error: i16,
    pub(in super::super) message: Option<Cow<'a, str>>,
    pub(in super::super) group: Cow<'a, str>,
    /// "Stable", "Empty", "Assigning", "Reconciling" or "Dead".
    pub(in super::super) state: Cow<'a, str>,
    pub(in super::super) epoch: i32,
    pub(in super::super) assignment_epoch: i32,
    pub(in super::super) assignor: Cow<'a, str>,
    pub(in super::super) members: Vec<ConsumerMember<'a>>,
}

/// A member of a group of the consumer protocol.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct ConsumerMember<'a> {
    pub(in super::super) id: Cow<'a, str>,
    pub(in super::super) instance: Option<Cow<'a, str>>,
    pub(in super::super) epoch: i32,
    pub(in super::super) client_id: Cow<'a, str>,
    pub(in super::super) host: Cow<'a, str>,
    /// The current assignment.
    pub(in super::super) assignment: TopicPartitions<'a>,
    /// The target assignment.
    pub(in super::super) target: TopicPartitions<'a>,
    /// -1: unknown, 0: the member uses the classic protocol, 1: the consumer protocol. From version 1 on (KIP-1099),
    /// else -1.
    pub(in super::super) member_type: i8,
}

impl Request for ConsumerGroupDescribe<'_> {
    const KEY: i16 = 69;
    const NAME: &'static str = "ConsumerGroupDescribe";
    const VERSIONS: RangeInclusive<i16> = 0..=1;
    const FLEXIBLE_FROM: i16 = 0;
    type Response<'a> = ConsumerGroupDescribeResponse<'a>;

    fn encode(&self, _version: i16, to: &mut Encoder) {
        encode(self.groups, to);
    }

    fn decode<'a>(version: i16, from: &mut Decoder<'a>) -> Result<Self::Response<'a>, DecodeError> {
        let throttle_ms = from.i32()?;
        let groups = from.array(19, |from| {
            let (error, message) = (from.i16()?, from.nullable_string()?);
            let (group, state) = (from.string()?, from.string()?);
            let (epoch, assignment_epoch, assignor) = (from.i32()?, from.i32()?, from.string()?);
            let members = from.array(15, |from| consumer_member(version, from))?;
            let _authorized_operations = from.i32()?;
            from.tags()?;
            Ok(ConsumerGroup { error, message, group, state, epoch, assignment_epoch, assignor, members })
        })?;
        from.tags()?;
        Ok(ConsumerGroupDescribeResponse { throttle_ms, groups })
    }
}

fn consumer_member<'a>(version: i16, from: &mut Decoder<'a>) -> Result<ConsumerMember<'a>, DecodeError> {
    let (id, instance) = (from.string()?, from.nullable_string()?);
    // The rack.
    from.skip_string()?;
    let (epoch, client_id, host) = (from.i32()?, from.string()?, from.string()?);
    // The subscription: topics and a regular expression.
    from.skip_array(1, Decoder::skip_string)?;
    from.skip_string()?;
    let (assignment, target) = (assignment(from)?, assignment(from)?);
    let member_type = if version >= 1 { from.i8()? } else { -1 };
    from.tags()?;
    Ok(ConsumerMember { id, instance, epoch, client_id, host, assignment, target, member_type })
}

/// Topics with their partitions; the topics' ids are skipped.
fn assignment<'a>(from: &mut Decoder<'a>) -> Result<TopicPartitions<'a>, DecodeError> {
    let topics = from.array(19, |from| {
        let _topic_id = from.uuid()?;
        let (topic, partitions) = (from.string()?, from.array(4, Decoder::i32)?);
        from.tags()?;
        Ok((topic, partitions))
    })?;
    from.tags()?;
    Ok(topics)
}

/// The body of both requests: groups, without our authorized operations.
fn encode(groups: &[&str], to: &mut Encoder) {
    to.array(groups, |to, group| to.string(group));
    to.bool(false);
    to.no_tags();
}

/// Requests share groups (KIP-932). Version 0 was an early access one.
#[derive(Debug)]
pub(in super::super) struct ShareGroupDescribe<'t> {
    pub(in super::super) groups: &'t [&'t str],
}

/// The response.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct ShareGroupDescribeResponse<'a> {
    pub(in super::super) throttle_ms: i32,
    pub(in super::super) groups: Vec<ShareGroup<'a>>,
}

/// A share group.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct ShareGroup<'a> {
    pub(in super::super) error: i16,
    pub(in super::super) message: Option<Cow<'a, str>>,
    pub(in super::super) group: Cow<'a, str>,
    /// "Stable", "Empty" or "Dead".
    pub(in super::super) state: Cow<'a, str>,
    pub(in super::super) epoch: i32,
    pub(in super::super) assignment_epoch: i32,
    pub(in super::super) assignor: Cow<'a, str>,
    pub(in super::super) members: Vec<ShareMember<'a>>,
}

/// A member of a share group. Several members may hold the same partition.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct ShareMember<'a> {
    pub(in super::super) id: Cow<'a, str>,
    pub(in super::super) epoch: i32,
    pub(in super::super) client_id: Cow<'a, str>,
    pub(in super::super) host: Cow<'a, str>,
    /// The current assignment.
    pub(in super::super) assignment: TopicPartitions<'a>,
}

impl Request for ShareGroupDescribe<'_> {
    const KEY: i16 = 77;
    const NAME: &'static str = "ShareGroupDescribe";
    const VERSIONS: RangeInclusive<i16> = 1..=1;
    const FLEXIBLE_FROM: i16 = 0;
    type Response<'a> = ShareGroupDescribeResponse<'a>;

    fn encode(&self, _version: i16, to: &mut Encoder) {
        encode(self.groups, to);
    }

    fn decode<'a>(_version: i16, from: &mut Decoder<'a>) -> Result<Self::Response<'a>, DecodeError> {
        let throttle_ms = from.i32()?;
        let groups = from.array(19, |from| {
            let (error, message) = (from.i16()?, from.nullable_string()?);
            let (group, state) = (from.string()?, from.string()?);
            let (epoch, assignment_epoch, assignor) = (from.i32()?, from.i32()?, from.string()?);
            let members = from.array(12, share_member)?;
            let _authorized_operations = from.i32()?;
            from.tags()?;
            Ok(ShareGroup { error, message, group, state, epoch, assignment_epoch, assignor, members })
        })?;
        from.tags()?;
        Ok(ShareGroupDescribeResponse { throttle_ms, groups })
    }
}

fn share_member<'a>(from: &mut Decoder<'a>) -> Result<ShareMember<'a>, DecodeError> {
    let id = from.string()?;
    // The rack.
    from.skip_string()?;
    let (epoch, client_id, host) = (from.i32()?, from.string()?, from.string()?);
    // The subscription.
    from.skip_array(1, Decoder::skip_string)?;
    let assignment = assignment(from)?;
    from.tags()?;
    Ok(ShareMember { id, epoch, client_id, host, assignment })
}
