//! SaslHandshake and SaslAuthenticate: the frames of authentication (KIP-43, KIP-152, KIP-368). Knows no mechanism.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

use super::{DecodeError, Decoder, Encoder, Request};

/// Selects the mechanism. Version 0 is left out: after it, authentication has no frames.
#[derive(Debug)]
pub(in super::super) struct SaslHandshake<'t> {
    pub(in super::super) mechanism: &'t str,
}

/// The response.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct SaslHandshakeResponse<'a> {
    pub(in super::super) error: i16,
    /// The mechanisms that the broker has enabled.
    pub(in super::super) mechanisms: Vec<Cow<'a, str>>,
}

impl Request for SaslHandshake<'_> {
    const KEY: i16 = 17;
    const NAME: &'static str = "SaslHandshake";
    const VERSIONS: RangeInclusive<i16> = 1..=1;
    const FLEXIBLE_FROM: i16 = i16::MAX;
    type Response<'a> = SaslHandshakeResponse<'a>;

    fn encode(&self, _version: i16, to: &mut Encoder) {
        to.string(self.mechanism);
    }

    fn decode<'a>(_version: i16, from: &mut Decoder<'a>) -> Result<Self::Response<'a>, DecodeError> {
        Ok(SaslHandshakeResponse { error: from.i16()?, mechanisms: from.array(2, Decoder::string)? })
    }
}

/// The mechanism's next bytes.
pub(in super::super) struct SaslAuthenticate<'t> {
    /// May hold a password or a token: never shown.
    pub(in super::super) auth: &'t [u8],
}

impl fmt::Debug for SaslAuthenticate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaslAuthenticate").finish_non_exhaustive()
    }
}

/// The response.
#[derive(PartialEq, Eq)]
pub(in super::super) struct SaslAuthenticateResponse<'a> {
    pub(in super::super) error: i16,
    /// What was wrong, in the broker's words.
    pub(in super::super) message: Option<Cow<'a, str>>,
    /// The mechanism's next bytes.
    pub(in super::super) auth: &'a [u8],
    /// Milliseconds after which the connection must authenticate again (KIP-368); 0: never. From version 1 on.
    pub(in super::super) session_lifetime_ms: i64,
}

impl fmt::Debug for SaslAuthenticateResponse<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { error, message, auth: _, session_lifetime_ms } = self;
        let mut shown = f.debug_struct("SaslAuthenticateResponse");
        shown.field("error", error).field("message", message).field("session_lifetime_ms", session_lifetime_ms);
        shown.finish_non_exhaustive()
    }
}

impl Request for SaslAuthenticate<'_> {
    const KEY: i16 = 36;
    const NAME: &'static str = "SaslAuthenticate";
    const VERSIONS: RangeInclusive<i16> = 0..=2;
    const FLEXIBLE_FROM: i16 = 2;
    type Response<'a> = SaslAuthenticateResponse<'a>;

    fn encode(&self, _version: i16, to: &mut Encoder) {
        to.bytes(self.auth);
        to.no_tags();
    }

    fn decode<'a>(version: i16, from: &mut Decoder<'a>) -> Result<Self::Response<'a>, DecodeError> {
        let (error, message, auth) = (from.i16()?, from.nullable_string()?, from.bytes()?);
        let session_lifetime_ms = if version >= 1 { from.i64()? } else { 0 };
        from.tags()?;
        Ok(SaslAuthenticateResponse { error, message, auth, session_lifetime_ms })
    }
}
