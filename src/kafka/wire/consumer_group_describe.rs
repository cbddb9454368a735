//! ConsumerGroupDescribe and ShareGroupDescribe: groups whose members the broker assigns (KIP-848, KIP-932).

use std::ops::RangeInclusive;

use super::described_group::{DescribeResponse, GroupMember, decode_groups, encode_groups};
use super::{DecodeError, Decoder, Encoder, Request, TopicPartitions};

/// Requests groups of the consumer protocol (KIP-848).
#[derive(Debug)]
pub(in super::super) struct ConsumerGroupDescribe<'t> {
    pub(in super::super) groups: &'t [&'t str],
}

impl Request for ConsumerGroupDescribe<'_> {
    const KEY: i16 = 69;
    const NAME: &'static str = "ConsumerGroupDescribe";
    const VERSIONS: RangeInclusive<i16> = 0..=1;
    const FLEXIBLE_FROM: i16 = 0;
    type Response<'a> = DescribeResponse<'a, TopicPartitions<'a>>;

    fn encode(&self, _version: i16, to: &mut Encoder) {
        encode_groups(self.groups, to);
    }

    fn decode<'a>(version: i16, from: &mut Decoder<'a>) -> Result<Self::Response<'a>, DecodeError> {
        decode_groups(from, |from| Ok((from.string()?, Vec::new())), 15, |from| consumer_member(version, from))
    }
}

fn consumer_member<'a>(
    version: i16,
    from: &mut Decoder<'a>,
) -> Result<GroupMember<'a, TopicPartitions<'a>>, DecodeError> {
    let id = from.string()?;
    // The instance and the rack.
    from.skip_string()?;
    from.skip_string()?;
    let (_epoch, client_id, host) = (from.i32()?, from.string()?, from.string()?);
    // The subscription: topics and a regular expression.
    from.skip_array(1, Decoder::skip_string)?;
    from.skip_string()?;
    let (assignment, _target) = (assignment(from)?, assignment(from)?);
    if version >= 1 {
        // Whether the member uses the classic protocol (KIP-1099).
        let _member_type = from.i8()?;
    }
    from.tags()?;
    Ok(GroupMember { id, client_id, host, assignment })
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

/// Requests share groups (KIP-932), where several members may hold the same partition. Version 0 was an early access
/// one.
#[derive(Debug)]
pub(in super::super) struct ShareGroupDescribe<'t> {
    pub(in super::super) groups: &'t [&'t str],
}

impl Request for ShareGroupDescribe<'_> {
    const KEY: i16 = 77;
    const NAME: &'static str = "ShareGroupDescribe";
    const VERSIONS: RangeInclusive<i16> = 1..=1;
    const FLEXIBLE_FROM: i16 = 0;
    type Response<'a> = DescribeResponse<'a, TopicPartitions<'a>>;

    fn encode(&self, _version: i16, to: &mut Encoder) {
        encode_groups(self.groups, to);
    }

    fn decode<'a>(_version: i16, from: &mut Decoder<'a>) -> Result<Self::Response<'a>, DecodeError> {
        decode_groups(from, |from| Ok((from.string()?, Vec::new())), 12, share_member)
    }
}

fn share_member<'a>(from: &mut Decoder<'a>) -> Result<GroupMember<'a, TopicPartitions<'a>>, DecodeError> {
    let id = from.string()?;
    // The rack.
    from.skip_string()?;
    let (_epoch, client_id, host) = (from.i32()?, from.string()?, from.string()?);
    // The subscription.
    from.skip_array(1, Decoder::skip_string)?;
    let assignment = assignment(from)?;
    from.tags()?;
    Ok(GroupMember { id, client_id, host, assignment })
}
