//! What can go wrong with an answer, and with which answers it does.

use std::time::Duration;

/// A fault, and where it strikes.
#[derive(Clone, Debug)]
pub(crate) struct FaultRule {
    /// The request's number; `None`: all but ApiVersions.
    pub(crate) key: Option<i16>,
    /// The broker's id; `None`: all.
    pub(crate) broker: Option<i32>,
    /// How often it strikes still; `None`: always.
    pub(crate) times: Option<u32>,
    pub(crate) fault: Fault,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Every entry of the answer has this error code.
    Error(i16),
    /// Every name in the answer (group or topic) is another one.
    OtherName,
    /// Every partition in the answer is another one.
    OtherPartition,
    /// The answer has no entries.
    NoEntries,
    /// Every second entry is left out.
    EverySecond,
    /// The first entry comes a thousand times.
    Repeated,
    /// Every offset is this number, without an error.
    Offset(i64),
    /// The answer says that so many milliseconds are to be waited.
    Throttle(i32),
    /// The answer says that the version isn't supported, in version 0, and says nothing else.
    Unsupported,
    /// The connection is closed without an answer.
    Close,
    /// No answer, neither to this request nor to what comes behind it.
    Silence,
    /// No answer to this request; others are answered.
    Unanswered,
    /// The answer comes so late.
    Late(Duration),
    /// The answer comes byte by byte, so long after each other.
    Drip(Duration),
    /// A frame of these bytes, behind the right correlation id.
    Body(Vec<u8>),
    /// These bytes, and no frame.
    Raw(Vec<u8>),
    /// The answer has another correlation id.
    OtherCorrelation,
    /// The answer is cut so many bytes before its end; its length fits.
    Cut(usize),
    /// So many bytes of the answer are changed at random; its length and correlation id are right.
    Flip(u32),
    /// So many frames of this size that nobody asked for, then the answer.
    Flood { frames: u32, bytes: usize },
}
