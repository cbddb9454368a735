//! One partition as a prediction needs it.

/// One partition now, as far as a prediction needs it. In the order of the observation's partitions.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::core) struct Load {
    /// Records/s that arrive; 0 for a stuck partition.
    pub(in crate::core) rate: f64,
    /// Records behind the end that are not read yet, without those that are read and not committed; 0 for a stuck
    /// partition.
    pub(in crate::core) backlog: f64,
    /// Records behind the end that are not committed.
    pub(in crate::core) lag: f64,
    /// The age of the oldest record of the backlog, in seconds; 0 for a stuck partition.
    pub(in crate::core) age_s: f64,
    /// Records that arrived since the observation before.
    pub(in crate::core) arrived: f64,
    /// Whether the committed offset has moved since the observation before.
    pub(in crate::core) progressed: bool,
    /// Whether it has not been read for long while others have.
    pub(in crate::core) stuck: bool,
}
