//! Faults of responses, and to which responses they apply.

use std::time::Duration;

/// A fault, and where it applies.
#[derive(Clone, Debug)]
pub(crate) struct FaultRule {
    /// The request's number; `None`: all but ApiVersions.
    pub(crate) key: Option<i16>,
    /// The broker's id; `None`: all.
    pub(crate) broker: Option<i32>,
    /// How often it still applies; `None`: always.
    pub(crate) times: Option<u32>,
    pub(crate) fault: Fault,
}

/// The kinds of faults.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Every entry of the response has this error code.
    Error(i16),
    /// Every name in the response (group or topic) is another one.
    OtherName,
    /// Every partition in the response is another one.
    OtherPartition,
    /// The response has no entries.
    NoEntries,
    /// Every second entry is left out.
    EverySecond,
    /// The first entry is repeated a thousand times.
    Repeated,
    /// Every offset is this number, without an error.
    Offset(i64),
    /// The response has this throttle time, in milliseconds.
    Throttle(i32),
    /// The response is UNSUPPORTED_VERSION in version 0, and nothing else.
    Unsupported,
    /// The connection is closed without a response.
    Close,
    /// No response to this request and to later ones.
    Silence,
    /// No response to this request; others are answered.
    Unanswered,
    /// The response has this delay.
    Late(Duration),
    /// The response is sent byte by byte, with this pause between them.
    Drip(Duration),
    /// A frame of these bytes after the right correlation id.
    Body(Vec<u8>),
    /// These bytes, and no frame.
    Raw(Vec<u8>),
    /// The response has another correlation id.
    OtherCorrelation,
    /// The response is cut by so many bytes; its length is consistent.
    Cut(usize),
    /// So many bytes of the response are changed at random; its length and correlation id are right.
    Flip(u32),
    /// So many frames of this size without a request, then the response.
    Flood { frames: u32, bytes: usize },
}
