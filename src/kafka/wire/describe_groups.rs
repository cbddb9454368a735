//! DescribeGroups: state and members of classic groups; and what such a member subscribed and holds.

use std::ops::RangeInclusive;

use super::described_group::{DescribeResponse, GroupDetails, GroupMember};
use super::{DecodeError, Decoder, Encoder, Request, TopicPartitions};

/// Requests classic groups.
#[derive(Debug)]
pub(in super::super) struct DescribeGroups<'t> {
    pub(in super::super) groups: &'t [&'t str],
}

impl Request for DescribeGroups<'_> {
    const KEY: i16 = 15;
    const NAME: &'static str = "DescribeGroups";
    const VERSIONS: RangeInclusive<i16> = 0..=6;
    const FLEXIBLE_FROM: i16 = 5;
    type Response<'a> = DescribeResponse<'a, ClassicMember<'a>>;

    fn encode(&self, version: i16, to: &mut Encoder) {
        to.array(self.groups, |to, group| to.string(group));
        if version >= 3 {
            // include_authorized_operations
            to.bool(false);
        }
        to.no_tags();
    }

    fn decode<'a>(version: i16, from: &mut Decoder<'a>) -> Result<Self::Response<'a>, DecodeError> {
        let throttle_ms = if version >= 1 { from.i32()? } else { 0 };
        let groups = from.array(8, |from| group(version, from))?;
        from.tags()?;
        Ok(DescribeResponse { throttle_ms, groups })
    }
}

/// What a member of a classic group said as it joined, and what it holds, where the protocol type is "consumer". There are no
/// bytes where the group isn't stable.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct ClassicMember<'a> {
    /// For [`member_subscription`].
    pub(in super::super) subscription: &'a [u8],
    /// For [`member_assignment`].
    pub(in super::super) assignment: &'a [u8],
}

fn group<'a>(version: i16, from: &mut Decoder<'a>) -> Result<GroupDetails<'a, ClassicMember<'a>>, DecodeError> {
    let error = from.i16()?;
    if version >= 6 {
        // The error's text (KIP-1043).
        from.skip_string()?;
    }
    let (group, state) = (from.string()?, from.string()?);
    let (protocol_type, assignor) = (from.string()?, from.string()?);
    let members = from.array(6, |from| {
        let id = from.string()?;
        if version >= 4 {
            // The instance (KIP-345).
            from.skip_string()?;
        }
        let (client_id, host) = (from.string()?, from.string()?);
        let assignment = ClassicMember { subscription: from.bytes()?, assignment: from.bytes()? };
        from.tags()?;
        Ok(GroupMember { id, client_id, host, assignment })
    })?;
    if version >= 3 {
        let _authorized_operations = from.i32()?;
    }
    from.tags()?;
    Ok(GroupDetails { error, group, state, protocol_type, assignor, subtopologies: Vec::new(), members })
}

/// What a member of a classic consumer group holds (`ConsumerProtocolAssignment`, versions 0 to 3, which are alike).
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct MemberAssignment<'a> {
    pub(in super::super) topics: TopicPartitions<'a>,
    /// The assignor's own data; Kafka Streams puts tasks there.
    pub(in super::super) user_data: &'a [u8],
}

/// Decodes the assignment of a classic member; no bytes are no assignment. Newer versions are decoded as the newest
/// known one, because the protocol only appends fields.
///
/// # Errors
///
/// Where the bytes are something else, for example a Connect worker's assignment.
pub(in super::super) fn member_assignment(bytes: &[u8]) -> Result<MemberAssignment<'_>, DecodeError> {
    if bytes.is_empty() {
        return Ok(MemberAssignment::default());
    }
    let mut from = Decoder::new(bytes, false);
    if from.i16()? < 0 {
        return Err(from.wrong("the assignment's version is negative"));
    }
    Ok(MemberAssignment { topics: topic_partitions(&mut from)?, user_data: from.bytes()? })
}

/// What a member of a classic consumer group said as it joined last (`ConsumerProtocolSubscription`, versions 0 to 3).
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct MemberSubscription<'a> {
    /// The assignor's own data; Kafka Streams puts there what it has of the state of tasks.
    pub(in super::super) user_data: &'a [u8],
    /// What it held then. None where the assignor takes all partitions away before it assigns them again.
    pub(in super::super) owned: TopicPartitions<'a>,
}

/// From here on the partitions that the member holds follow (KIP-429).
const WITH_OWNED_PARTITIONS: i16 = 1;

/// Decodes the subscription of a classic member; no bytes are an empty one. Newer versions are decoded as the newest known one,
/// because the protocol only appends fields.
///
/// # Errors
///
/// Where the bytes are something else.
pub(in super::super) fn member_subscription(bytes: &[u8]) -> Result<MemberSubscription<'_>, DecodeError> {
    if bytes.is_empty() {
        return Ok(MemberSubscription::default());
    }
    let mut from = Decoder::new(bytes, false);
    let version = from.i16()?;
    if version < 0 {
        return Err(from.wrong("the subscription's version is negative"));
    }
    // The topics.
    from.skip_array(2, Decoder::skip_string)?;
    let user_data = from.bytes()?;
    let owned = if version >= WITH_OWNED_PARTITIONS { topic_partitions(&mut from)? } else { Vec::new() };
    Ok(MemberSubscription { user_data, owned })
}

fn topic_partitions<'a>(from: &mut Decoder<'a>) -> Result<TopicPartitions<'a>, DecodeError> {
    from.array(6, |from| Ok((from.string()?, from.array(4, Decoder::i32)?)))
}
