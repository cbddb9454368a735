//! Kafka's protocol as bytes: the requests that reading lag needs, and their responses. Knows layouts and versions;
//! knows neither connections nor the meaning of responses.
//!
//! Architecture invariant: a response is untrusted input. A length is accepted only as far as there are bytes, decoded
//! values may take only a multiple of the frame's size, and whatever does not fit is a [`DecodeError`], never a panic.
//!
//! Layouts are those of Apache Kafka's message schemas (`clients/src/main/resources/common/message`); KIP-482 describes
//! the flexible versions.

mod api_versions;
mod codec;
mod consumer_group_describe;
mod describe_configs;
mod describe_groups;
mod describe_producers;
mod described_group;
pub(super) mod error_codes;
mod find_coordinator;
mod list_groups;
mod list_offsets;
mod metadata;
mod offset_fetch;
mod sasl;
mod streams_group_describe;
mod streams_tasks;

pub(super) use api_versions::*;
pub(super) use codec::{DecodeError, Decoder, Encoder};
pub(super) use consumer_group_describe::*;
pub(super) use describe_configs::*;
pub(super) use describe_groups::*;
pub(super) use describe_producers::*;
pub(super) use described_group::{DescribeResponse, GroupDetails, GroupMember};
pub(super) use find_coordinator::*;
pub(super) use list_groups::*;
pub(super) use list_offsets::*;
pub(super) use metadata::*;
pub(super) use offset_fetch::*;
pub(super) use sasl::*;
pub(super) use streams_group_describe::*;
pub(super) use streams_tasks::*;

use std::borrow::Cow;
use std::ops::RangeInclusive;

/// Topics with their partitions.
pub(super) type TopicPartitions<'a> = Vec<(Cow<'a, str>, Vec<i32>)>;

/// A request and the decoding of its response.
pub(super) trait Request {
    /// The request's number in the protocol (`apiKey`).
    const KEY: i16;
    /// Its name in Kafka's documents.
    const NAME: &'static str;
    /// The versions that are implemented here.
    const VERSIONS: RangeInclusive<i16>;
    /// The first version with compact lengths and tags (KIP-482); `i16::MAX` where there is none.
    const FLEXIBLE_FROM: i16;
    /// The response; it borrows its texts from the frame.
    type Response<'a>;

    /// Writes the body.
    fn encode(&self, version: i16, to: &mut Encoder);

    /// Reads the response's body.
    fn decode<'a>(version: i16, from: &mut Decoder<'a>) -> Result<Self::Response<'a>, DecodeError>;
}

/// A request with its header and its length, ready to be sent.
pub(super) fn frame<R: Request>(request: &R, version: i16, correlation: i32, client_id: &str) -> Vec<u8> {
    let flexible = version >= R::FLEXIBLE_FROM;
    let mut to = Encoder::new(false);
    // The length, put in at the end.
    to.i32(0);
    to.i16(R::KEY);
    to.i16(version);
    to.i32(correlation);
    // Never compact, so that a broker can read it whatever the version (KIP-482).
    to.string(client_id);
    to.set_flexible(flexible);
    to.no_tags();
    request.encode(version, &mut to);
    to.into_frame()
}

/// Reads the response to `R` from a frame without its length and correlation id.
pub(super) fn answer<R: Request>(version: i16, body: &[u8]) -> Result<R::Response<'_>, DecodeError> {
    let mut from = Decoder::new(body, version >= R::FLEXIBLE_FROM);
    // The response to ApiVersions has the oldest header, because no version is agreed yet (KIP-511).
    if R::KEY != ApiVersions::KEY {
        from.tags()?;
    }
    R::decode(version, &mut from)
}

/// Whether `body` decodes as the response to request `key`; for the fuzz target. [`MEMBER_ASSIGNMENT`] and
/// [`MEMBER_SUBSCRIPTION`] are the keys of what a classic member holds and said.
#[doc(hidden)]
pub fn decode_any(key: i16, version: i16, body: &[u8]) -> bool {
    fn is_read<R: Request>(version: i16, body: &[u8]) -> bool {
        R::VERSIONS.contains(&version) && answer::<R>(version, body).is_ok()
    }
    match key {
        ApiVersions::KEY => is_read::<ApiVersions>(version, body),
        Metadata::KEY => is_read::<Metadata<'_>>(version, body),
        FindCoordinator::KEY => is_read::<FindCoordinator<'_>>(version, body),
        ListGroups::KEY => is_read::<ListGroups>(version, body),
        OffsetFetch::KEY => is_read::<OffsetFetch<'_>>(version, body),
        DescribeGroups::KEY => is_read::<DescribeGroups<'_>>(version, body),
        ConsumerGroupDescribe::KEY => is_read::<ConsumerGroupDescribe<'_>>(version, body),
        ShareGroupDescribe::KEY => is_read::<ShareGroupDescribe<'_>>(version, body),
        StreamsGroupDescribe::KEY => is_read::<StreamsGroupDescribe<'_>>(version, body),
        ListOffsets::KEY => is_read::<ListOffsets<'_>>(version, body),
        DescribeConfigs::KEY => is_read::<DescribeConfigs<'_>>(version, body),
        DescribeProducers::KEY => is_read::<DescribeProducers<'_>>(version, body),
        SaslHandshake::KEY => is_read::<SaslHandshake<'_>>(version, body),
        SaslAuthenticate::KEY => is_read::<SaslAuthenticate<'_>>(version, body),
        MEMBER_ASSIGNMENT => member_assignment(body).is_ok_and(|it| streams_tasks(it.user_data).is_ok()),
        MEMBER_SUBSCRIPTION => member_subscription(body).is_ok_and(|it| streams_state(it.user_data).is_ok()),
        _ => false,
    }
}

/// Not a request: see [`decode_any`].
const MEMBER_ASSIGNMENT: i16 = -1;
/// See [`MEMBER_ASSIGNMENT`].
const MEMBER_SUBSCRIPTION: i16 = -2;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
