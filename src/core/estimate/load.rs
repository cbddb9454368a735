//! One partition as a prediction needs it.

/// One partition now, as far as a prediction needs it. In the order of the observation's partitions.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::core) struct Load {
    /// Records/s that arrive; 0 for a stuck partition. While it has no leader what arrived before: replicas are kept for it.
    pub(in crate::core) rate: f64,
    /// Records behind the end that are not read yet, without those that are read and not committed; 0 where nobody reads
    /// them: in a stuck partition, and in one without a leader.
    pub(in crate::core) backlog: f64,
    /// Records behind the end that are not committed.
    pub(in crate::core) lag: f64,
    /// The age of the oldest record of the backlog, in seconds; 0 where there is none.
    pub(in crate::core) age_s: f64,
    /// Records that arrived since the observation before; while it has no leader those that would have.
    pub(in crate::core) arrived: f64,
    /// Whether the committed offset has moved since the observation before.
    pub(in crate::core) progressed: bool,
    /// Whether it has not been read for long while others have.
    pub(in crate::core) stuck: bool,
    /// Whether it has no leader, so that nobody can write or read there.
    pub(in crate::core) without_leader: bool,
}

impl Load {
    /// Whether members read it.
    pub(in crate::core) fn is_live(&self) -> bool {
        !self.stuck && !self.without_leader
    }
}
