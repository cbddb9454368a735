//! Evidence of what a member can read: records, and how long it took.

use serde::{Deserialize, Serialize};

use super::super::persisted::persisted;

/// Seconds from one commit to another of a member that is behind, before its rate counts.
pub(super) const EARLY_S: f64 = 10.0;

/// Records that members at work have read, and the seconds that it took them.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Evidence {
    pub(super) records: f64,
    pub(super) seconds: f64,
}
persisted!(Evidence { records, seconds });

impl Evidence {
    pub(super) fn rate(self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.records / self.seconds)
    }

    pub(super) fn fade(&mut self, keep: f64) {
        self.add(Self::default(), keep);
    }

    pub(super) fn add(&mut self, more: Self, keep: f64) {
        self.records = self.records * keep + more.records;
        self.seconds = self.seconds * keep + more.seconds;
    }
}
