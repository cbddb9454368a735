//! ListGroups: the groups that a broker coordinates.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::{DecodeError, Decoder, Encoder, Request};

/// Requests all groups, without filters.
#[derive(Debug)]
pub(in super::super) struct ListGroups;

/// The response.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct ListGroupsResponse<'a> {
    pub(in super::super) throttle_ms: i32,
    pub(in super::super) error: i16,
    /// The groups' ids.
    pub(in super::super) groups: Vec<Cow<'a, str>>,
}

impl Request for ListGroups {
    const KEY: i16 = 16;
    const NAME: &'static str = "ListGroups";
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    const FLEXIBLE_FROM: i16 = 3;
    type Response<'a> = ListGroupsResponse<'a>;

    fn encode(&self, version: i16, to: &mut Encoder) {
        let no_filter: [&str; 0] = [];
        if version >= 4 {
            // states_filter
            to.array(&no_filter, |to, state| to.string(state));
        }
        if version >= 5 {
            // types_filter
            to.array(&no_filter, |to, kind| to.string(kind));
        }
        to.no_tags();
    }

    fn decode<'a>(version: i16, from: &mut Decoder<'a>) -> Result<Self::Response<'a>, DecodeError> {
        let throttle_ms = if version >= 1 { from.i32()? } else { 0 };
        let error = from.i16()?;
        let groups = from.array(3, |from| {
            let group = from.string()?;
            // The protocol type, the state (KIP-518) and the type (KIP-848).
            from.skip_string()?;
            if version >= 4 {
                from.skip_string()?;
            }
            if version >= 5 {
                from.skip_string()?;
            }
            from.tags()?;
            Ok(group)
        })?;
        from.tags()?;
        Ok(ListGroupsResponse { throttle_ms, error, groups })
    }
}
