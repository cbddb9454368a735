//! DescribeConfigs: how long topics keep their records.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::{DecodeError, Decoder, Encoder, Request};

/// Requests some of the settings of topics.
#[derive(Debug)]
pub(in super::super) struct DescribeConfigs<'t> {
    pub(in super::super) topics: &'t [&'t str],
    /// Which settings: "retention.ms", "cleanup.policy".
    pub(in super::super) keys: &'t [&'t str],
}

/// The response.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct DescribeConfigsResponse<'a> {
    pub(in super::super) throttle_ms: i32,
    pub(in super::super) results: Vec<DescribedConfig<'a>>,
}

/// A topic's settings.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct DescribedConfig<'a> {
    pub(in super::super) error: i16,
    pub(in super::super) topic: Cow<'a, str>,
    /// Name and value; a secret value is absent.
    pub(in super::super) configs: Vec<(Cow<'a, str>, Option<Cow<'a, str>>)>,
}

/// The resource type of topics.
const TOPIC: i8 = 2;

impl Request for DescribeConfigs<'_> {
    const KEY: i16 = 32;
    const NAME: &'static str = "DescribeConfigs";
    const VERSIONS: RangeInclusive<i16> = 1..=4;
    const FLEXIBLE_FROM: i16 = 4;
    type Response<'a> = DescribeConfigsResponse<'a>;

    fn encode(&self, version: i16, to: &mut Encoder) {
        to.array(self.topics, |to, topic| {
            to.i8(TOPIC);
            to.string(topic);
            to.array(self.keys, |to, key| to.string(key));
            to.no_tags();
        });
        // include_synonyms
        to.bool(false);
        if version >= 3 {
            // include_documentation
            to.bool(false);
        }
        to.no_tags();
    }

    fn decode<'a>(version: i16, from: &mut Decoder<'a>) -> Result<Self::Response<'a>, DecodeError> {
        let throttle_ms = from.i32()?;
        let results = from.array(7, |from| {
            let error = from.i16()?;
            // The error's text.
            from.skip_string()?;
            let _resource_type = from.i8()?;
            let topic = from.string()?;
            let configs = from.array(7, |from| config(version, from))?;
            from.tags()?;
            Ok(DescribedConfig { error, topic, configs })
        })?;
        from.tags()?;
        Ok(DescribeConfigsResponse { throttle_ms, results })
    }
}

fn config<'a>(version: i16, from: &mut Decoder<'a>) -> Result<(Cow<'a, str>, Option<Cow<'a, str>>), DecodeError> {
    let (name, value) = (from.string()?, from.nullable_string()?);
    let _read_only = from.bool()?;
    let _source = from.i8()?;
    let _is_sensitive = from.bool()?;
    // Synonyms: name, value, source.
    from.skip_array(4, |from| {
        from.skip_string()?;
        from.skip_string()?;
        let _source = from.i8()?;
        from.tags()
    })?;
    if version >= 3 {
        let _type = from.i8()?;
        // The documentation.
        from.skip_string()?;
    }
    from.tags()?;
    Ok((name, value))
}
