//! DescribeGroups: state and members of classic groups; and the assignment that such a member holds.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::{DecodeError, Decoder, Encoder, Request, TopicPartitions};

/// Requests classic groups.
#[derive(Debug)]
pub(in super::super) struct DescribeGroups<'t> {
    pub(in super::super) groups: &'t [&'t str],
}

/// The response.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct DescribeGroupsResponse<'a> {
    pub(in super::super) throttle_ms: i32,
    pub(in super::super) groups: Vec<ClassicGroup<'a>>,
}

/// A classic group.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct ClassicGroup<'a> {
    pub(in super::super) error: i16,
    /// From version 6 on (KIP-1043).
    pub(in super::super) message: Option<Cow<'a, str>>,
    pub(in super::super) group: Cow<'a, str>,
    /// "Stable", "Empty", "Dead", …
    pub(in super::super) state: Cow<'a, str>,
    /// "consumer", "connect", …
    pub(in super::super) protocol_type: Cow<'a, str>,
    /// The assignor's name, where the group is stable.
    pub(in super::super) protocol: Cow<'a, str>,
    pub(in super::super) members: Vec<ClassicMember<'a>>,
}

/// A member of a classic group.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct ClassicMember<'a> {
    pub(in super::super) id: Cow<'a, str>,
    /// Static membership (KIP-345), from version 4 on.
    pub(in super::super) instance: Option<Cow<'a, str>>,
    pub(in super::super) client_id: Cow<'a, str>,
    pub(in super::super) host: Cow<'a, str>,
    /// For [`member_assignment`], where the protocol type is "consumer"; empty where the group isn't stable.
    pub(in super::super) assignment: &'a [u8],
}

impl Request for DescribeGroups<'_> {
    const KEY: i16 = 15;
    const NAME: &'static str = "DescribeGroups";
    const VERSIONS: RangeInclusive<i16> = 0..=6;
    const FLEXIBLE_FROM: i16 = 5;
    type Response<'a> = DescribeGroupsResponse<'a>;

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
        Ok(DescribeGroupsResponse { throttle_ms, groups })
    }
}

fn group<'a>(version: i16, from: &mut Decoder<'a>) -> Result<ClassicGroup<'a>, DecodeError> {
    let error = from.i16()?;
    let message = if version >= 6 { from.nullable_string()? } else { None };
    let (group, state) = (from.string()?, from.string()?);
    let (protocol_type, protocol) = (from.string()?, from.string()?);
    let members = from.array(6, |from| {
        let id = from.string()?;
        let instance = if version >= 4 { from.nullable_string()? } else { None };
        let (client_id, host) = (from.string()?, from.string()?);
        let _metadata = from.bytes()?;
        let assignment = from.bytes()?;
        from.tags()?;
        Ok(ClassicMember { id, instance, client_id, host, assignment })
    })?;
    if version >= 3 {
        let _authorized_operations = from.i32()?;
    }
    from.tags()?;
    Ok(ClassicGroup { error, message, group, state, protocol_type, protocol, members })
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
    let topics = from.array(6, |from| Ok((from.string()?, from.array(4, Decoder::i32)?)))?;
    Ok(MemberAssignment { topics, user_data: from.bytes()? })
}
