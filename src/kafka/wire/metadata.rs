//! Metadata: brokers, topics, partitions and their leaders.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::{DecodeError, Decoder, Encoder, Request};

/// Requests topics by name, or all that we may describe. Never creates one.
#[derive(Debug)]
pub(in super::super) struct Metadata<'t> {
    /// `None`: all.
    pub(in super::super) topics: Option<&'t [&'t str]>,
}

/// The response.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct MetadataResponse<'a> {
    pub(in super::super) throttle_ms: i32,
    pub(in super::super) brokers: Vec<MetadataBroker<'a>>,
    pub(in super::super) topics: Vec<MetadataTopic<'a>>,
}

/// A broker and its advertised address.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct MetadataBroker<'a> {
    pub(in super::super) id: i32,
    pub(in super::super) host: Cow<'a, str>,
    pub(in super::super) port: i32,
}

/// A topic.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct MetadataTopic<'a> {
    pub(in super::super) error: i16,
    pub(in super::super) name: Cow<'a, str>,
    /// From version 10 on (KIP-516); all zero where the broker has none.
    pub(in super::super) id: [u8; 16],
    pub(in super::super) partitions: Vec<MetadataPartition>,
}

/// A partition.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct MetadataPartition {
    pub(in super::super) error: i16,
    pub(in super::super) partition: i32,
    /// -1: none.
    pub(in super::super) leader: i32,
}

impl Request for Metadata<'_> {
    const KEY: i16 = 3;
    const NAME: &'static str = "Metadata";
    const VERSIONS: RangeInclusive<i16> = 1..=12;
    const FLEXIBLE_FROM: i16 = 9;
    type Response<'a> = MetadataResponse<'a>;

    fn encode(&self, version: i16, to: &mut Encoder) {
        match self.topics {
            None => to.null_array(),
            Some(topics) => to.array(topics, |to, name| {
                if version >= 10 {
                    // No topic id, so that the name is used.
                    to.i64(0);
                    to.i64(0);
                }
                to.string(name);
                to.no_tags();
            }),
        }
        if version >= 4 {
            // allow_auto_topic_creation
            to.bool(false);
        }
        if (8..=10).contains(&version) {
            // include_cluster_authorized_operations
            to.bool(false);
        }
        if version >= 8 {
            // include_topic_authorized_operations
            to.bool(false);
        }
        to.no_tags();
    }

    fn decode<'a>(version: i16, from: &mut Decoder<'a>) -> Result<Self::Response<'a>, DecodeError> {
        let throttle_ms = if version >= 3 { from.i32()? } else { 0 };
        let brokers = from.array(10, |from| {
            let (id, host, port) = (from.i32()?, from.string()?, from.i32()?);
            // The rack.
            from.skip_string()?;
            from.tags()?;
            Ok(MetadataBroker { id, host, port })
        })?;
        if version >= 2 {
            // The cluster's id.
            from.skip_string()?;
        }
        let _controller = from.i32()?;
        let topics = from.array(5, |from| topic(version, from))?;
        // The cluster's authorized operations may follow; they are not needed.
        Ok(MetadataResponse { throttle_ms, brokers, topics })
    }
}

fn skip_numbers(from: &mut Decoder<'_>) -> Result<(), DecodeError> {
    from.skip_array(4, |from| from.i32().map(drop))
}

fn topic<'a>(version: i16, from: &mut Decoder<'a>) -> Result<MetadataTopic<'a>, DecodeError> {
    let (error, name) = (from.i16()?, from.string()?);
    let id = if version >= 10 { from.uuid()? } else { [0; 16] };
    let _is_internal = from.bool()?;
    let partitions = from.array(11, |from| {
        let (error, partition, leader) = (from.i16()?, from.i32()?, from.i32()?);
        if version >= 7 {
            let _leader_epoch = from.i32()?;
        }
        // Replicas, and those in sync.
        skip_numbers(from)?;
        skip_numbers(from)?;
        if version >= 5 {
            // Replicas that are offline.
            skip_numbers(from)?;
        }
        from.tags()?;
        Ok(MetadataPartition { error, partition, leader })
    })?;
    if version >= 8 {
        let _authorized_operations = from.i32()?;
    }
    from.tags()?;
    Ok(MetadataTopic { error, name, id, partitions })
}
