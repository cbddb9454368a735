//! FindCoordinator: which broker answers for a group; from version 4 on for many groups at once (KIP-699).

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::{DecodeError, Decoder, Encoder, Request};

/// Requests the coordinators of groups. Below version 4 only the first key is sent.
#[derive(Debug)]
pub(in super::super) struct FindCoordinator<'t> {
    /// Group ids.
    pub(in super::super) keys: &'t [&'t str],
}

/// The response.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct FindCoordinatorResponse<'a> {
    pub(in super::super) throttle_ms: i32,
    /// Below version 4 there is always one.
    pub(in super::super) coordinators: Vec<Coordinator<'a>>,
}

/// A group's coordinator, or why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Coordinator<'a> {
    /// The group; empty below version 4, where it is the one of the request.
    pub(in super::super) key: Cow<'a, str>,
    pub(in super::super) node: i32,
    pub(in super::super) host: Cow<'a, str>,
    pub(in super::super) port: i32,
    pub(in super::super) error: i16,
}

/// The key type of groups; others are transactions and share groups' partitions.
const GROUP: i8 = 0;

impl Request for FindCoordinator<'_> {
    const KEY: i16 = 10;
    const NAME: &'static str = "FindCoordinator";
    const VERSIONS: RangeInclusive<i16> = 1..=4;
    const FLEXIBLE_FROM: i16 = 3;
    type Response<'a> = FindCoordinatorResponse<'a>;

    fn encode(&self, version: i16, to: &mut Encoder) {
        if version < 4 {
            to.string(self.keys.first().copied().unwrap_or_default());
        }
        to.i8(GROUP);
        if version >= 4 {
            to.array(self.keys, |to, key| to.string(key));
        }
        to.no_tags();
    }

    fn decode<'a>(version: i16, from: &mut Decoder<'a>) -> Result<Self::Response<'a>, DecodeError> {
        let throttle_ms = from.i32()?;
        let coordinators = if version < 4 {
            let error = error_code(from)?;
            let (node, host, port) = (from.i32()?, from.string()?, from.i32()?);
            vec![Coordinator { key: Cow::Borrowed(""), node, host, port, error }]
        } else {
            from.array(14, |from| {
                let (key, node, host, port) = (from.string()?, from.i32()?, from.string()?, from.i32()?);
                let error = error_code(from)?;
                from.tags()?;
                Ok(Coordinator { key, node, host, port, error })
            })?
        };
        from.tags()?;
        Ok(FindCoordinatorResponse { throttle_ms, coordinators })
    }
}

/// An error's code; its text is skipped.
fn error_code(from: &mut Decoder<'_>) -> Result<i16, DecodeError> {
    let error = from.i16()?;
    from.skip_string()?;
    Ok(error)
}
