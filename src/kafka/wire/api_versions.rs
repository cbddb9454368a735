//! ApiVersions: which requests a broker answers, and in which versions (KIP-35, KIP-511).

use std::ops::RangeInclusive;

use super::{DecodeError, Decoder, Encoder, Request};

/// Requests the supported versions. Version 4 is left out: Azure Event Hubs closes the connection on it.
#[derive(Debug)]
pub(in super::super) struct ApiVersions;

/// The response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct ApiVersionsResponse {
    pub(in super::super) error: i16,
    /// By request number: the first and the last version.
    pub(in super::super) versions: Vec<(i16, RangeInclusive<i16>)>,
}

impl Request for ApiVersions {
    const KEY: i16 = 18;
    const NAME: &'static str = "ApiVersions";
    const VERSIONS: RangeInclusive<i16> = 0..=3;
    const FLEXIBLE_FROM: i16 = 3;
    type Response<'a> = ApiVersionsResponse;

    fn encode(&self, version: i16, to: &mut Encoder) {
        if version >= 3 {
            to.string("paceline");
            to.string(env!("CARGO_PKG_VERSION"));
            to.no_tags();
        }
    }

    fn decode<'a>(_version: i16, from: &mut Decoder<'a>) -> Result<Self::Response<'a>, DecodeError> {
        let error = from.i16()?;
        // A broker that does not support our version answers with this code in version 0; some stop right after it.
        if error != 0 {
            return Ok(ApiVersionsResponse { error, versions: Vec::new() });
        }
        let versions = from.array(6, |from| {
            let (key, first, last) = (from.i16()?, from.i16()?, from.i16()?);
            from.tags()?;
            Ok((key, first..=last))
        })?;
        // The throttle time and the features that may follow are not needed.
        Ok(ApiVersionsResponse { error, versions })
    }
}
