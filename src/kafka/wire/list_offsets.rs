//! ListOffsets: the start and end offsets of partitions.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::{DecodeError, Decoder, Encoder, Request};

/// The timestamp for the end: the high watermark, or the last stable offset with isolation level read_committed.
pub(in super::super) const LATEST: i64 = -1;
/// The timestamp for the start.
pub(in super::super) const EARLIEST: i64 = -2;

/// Requests offsets of partitions from their leader.
#[derive(Debug)]
pub(in super::super) struct ListOffsets<'t> {
    /// Whether the isolation level is read_committed. It has no effect below version 2.
    pub(in super::super) isolation_committed: bool,
    /// Topics; per partition a timestamp in milliseconds since 1970, [`LATEST`] or [`EARLIEST`].
    pub(in super::super) topics: &'t [(&'t str, Vec<(i32, i64)>)],
}

/// The response.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct ListOffsetsResponse<'a> {
    pub(in super::super) throttle_ms: i32,
    pub(in super::super) topics: Vec<(Cow<'a, str>, Vec<ListedOffset>)>,
}

/// An offset.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct ListedOffset {
    pub(in super::super) partition: i32,
    pub(in super::super) error: i16,
    /// -1: the broker does not know it, even where there is no error (KAFKA-9507).
    pub(in super::super) offset: i64,
}

impl Request for ListOffsets<'_> {
    const KEY: i16 = 2;
    const NAME: &'static str = "ListOffsets";
    const VERSIONS: RangeInclusive<i16> = 1..=9;
    const FLEXIBLE_FROM: i16 = 6;
    type Response<'a> = ListOffsetsResponse<'a>;

    fn encode(&self, version: i16, to: &mut Encoder) {
        // replica_id: we are no broker.
        to.i32(-1);
        if version >= 2 {
            to.i8(i8::from(self.isolation_committed));
        }
        to.array(self.topics, |to, (topic, partitions)| {
            to.string(topic);
            to.array(partitions, |to, (partition, timestamp)| {
                to.i32(*partition);
                if version >= 4 {
                    // current_leader_epoch: not compared.
                    to.i32(-1);
                }
                to.i64(*timestamp);
                to.no_tags();
            });
            to.no_tags();
        });
        to.no_tags();
    }

    fn decode<'a>(version: i16, from: &mut Decoder<'a>) -> Result<Self::Response<'a>, DecodeError> {
        let throttle_ms = if version >= 2 { from.i32()? } else { 0 };
        let topics = from.array(3, |from| {
            let topic = from.string()?;
            let partitions = from.array(22, |from| {
                let (partition, error) = (from.i32()?, from.i16()?);
                let _timestamp = from.i64()?;
                let offset = from.i64()?;
                if version >= 4 {
                    let _leader_epoch = from.i32()?;
                }
                from.tags()?;
                Ok(ListedOffset { partition, error, offset })
            })?;
            from.tags()?;
            Ok((topic, partitions))
        })?;
        from.tags()?;
        Ok(ListOffsetsResponse { throttle_ms, topics })
    }
}
