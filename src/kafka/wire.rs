//! Kafka's protocol as bytes: the requests that reading lag needs, and their answers. Knows layouts and versions; knows
//! nothing of connections, and nothing of what the answers mean.
//!
//! Architecture invariant: an answer is untrusted input. A length is believed only as far as there are bytes, what is
//! decoded may take only a multiple of the frame's size, and whatever does not fit is a [`DecodeError`], never a panic.
//!
//! Layouts are those of Apache Kafka's message schemas (`clients/src/main/resources/common/message`); KIP-482 describes
//! the flexible versions.

mod api_versions;
mod codec;
mod metadata;

pub(super) use api_versions::*;
pub(super) use codec::{DecodeError, Reader, Writer};
pub(super) use metadata::*;

use std::ops::RangeInclusive;

/// A request and how its answer is read.
pub(super) trait Request {
    /// The request's number in the protocol (`apiKey`).
    const KEY: i16;
    /// Its name in Kafka's documents.
    const NAME: &'static str;
    /// The versions that we speak.
    const VERSIONS: RangeInclusive<i16>;
    /// The first version with compact lengths and tags (KIP-482); `i16::MAX` where there is none.
    const FLEXIBLE_FROM: i16;
    /// The answer; it borrows its texts from the frame.
    type Response<'a>;

    /// Writes the body.
    fn encode(&self, version: i16, to: &mut Writer);

    /// Reads the answer's body.
    fn decode<'a>(version: i16, from: &mut Reader<'a>) -> Result<Self::Response<'a>, DecodeError>;
}

/// A request with its header and its length, ready to be sent.
pub(super) fn frame<R: Request>(request: &R, version: i16, correlation: i32, client_id: &str) -> Vec<u8> {
    let flexible = version >= R::FLEXIBLE_FROM;
    let mut to = Writer::new(false);
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

/// Reads the answer to `R` from a frame without its length and correlation id.
pub(super) fn answer<R: Request>(version: i16, body: &[u8]) -> Result<R::Response<'_>, DecodeError> {
    let mut from = Reader::new(body, version >= R::FLEXIBLE_FROM);
    // ApiVersions' answer has the oldest header, because its version is not agreed yet (KIP-511).
    if R::KEY != ApiVersions::KEY {
        from.tags()?;
    }
    R::decode(version, &mut from)
}
