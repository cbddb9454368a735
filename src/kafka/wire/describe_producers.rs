//! DescribeProducers (KIP-664): which producers write to a partition, and which of them has an open transaction.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::{DecodeError, Decoder, Encoder, Request};

/// Requests the producers of partitions from their leader.
#[derive(Debug)]
pub(in super::super) struct DescribeProducers<'t> {
    /// Topics with the numbers of their partitions.
    pub(in super::super) topics: &'t [(&'t str, Vec<i32>)],
}

/// The response.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct DescribeProducersResponse<'a> {
    pub(in super::super) throttle_ms: i32,
    pub(in super::super) topics: Vec<(Cow<'a, str>, Vec<PartitionProducers>)>,
}

/// The producers of a partition.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct PartitionProducers {
    pub(in super::super) partition: i32,
    pub(in super::super) error: i16,
    pub(in super::super) producers: Vec<ActiveProducer>,
}

/// A producer that has written to a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct ActiveProducer {
    pub(in super::super) id: i64,
    /// Of its last record, in milliseconds since 1970; -1: none.
    pub(in super::super) last_timestamp_ms: i64,
    /// Where its open transaction begins; -1: it has none.
    pub(in super::super) transaction_start: i64,
}

impl Request for DescribeProducers<'_> {
    const KEY: i16 = 61;
    const NAME: &'static str = "DescribeProducers";
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    const FLEXIBLE_FROM: i16 = 0;
    type Response<'a> = DescribeProducersResponse<'a>;

    fn encode(&self, _version: i16, to: &mut Encoder) {
        to.array(self.topics, |to, (topic, partitions)| {
            to.string(topic);
            to.array(partitions, |to, partition| to.i32(*partition));
            to.no_tags();
        });
        to.no_tags();
    }

    fn decode<'a>(_version: i16, from: &mut Decoder<'a>) -> Result<Self::Response<'a>, DecodeError> {
        let throttle_ms = from.i32()?;
        let topics = from.array(3, |from| {
            let topic = from.string()?;
            let partitions = from.array(9, partition)?;
            from.tags()?;
            Ok((topic, partitions))
        })?;
        from.tags()?;
        Ok(DescribeProducersResponse { throttle_ms, topics })
    }
}

fn partition(from: &mut Decoder<'_>) -> Result<PartitionProducers, DecodeError> {
    let (partition, error) = (from.i32()?, from.i16()?);
    // The error's text.
    from.skip_string()?;
    let producers = from.array(37, |from| {
        let id = from.i64()?;
        let (_epoch, _last_sequence) = (from.i32()?, from.i32()?);
        let last_timestamp_ms = from.i64()?;
        let _coordinator_epoch = from.i32()?;
        let transaction_start = from.i64()?;
        from.tags()?;
        Ok(ActiveProducer { id, last_timestamp_ms, transaction_start })
    })?;
    from.tags()?;
    Ok(PartitionProducers { partition, error, producers })
}
