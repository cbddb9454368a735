//! The histories of a group's partitions, in the order in which observations list them.

use std::collections::HashSet;
use std::sync::Arc;

use super::super::lag::{GroupLag, LagOfPartition};
use super::super::observation::PartitionObservation;
use super::history::PartitionHistory;

/// A history per partition. A sorted list and no map, because it is always walked beside an observation, and because a
/// map's nodes are half empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Histories(Vec<Tracked>);

#[derive(Clone, Debug)]
struct Tracked {
    topic: Arc<str>,
    partition: i32,
    history: PartitionHistory,
}

impl Tracked {
    fn key(&self) -> (&str, i32) {
        (&self.topic, self.partition)
    }
}

fn key(seen: &PartitionObservation) -> (&str, i32) {
    (&seen.topic, seen.partition)
}

impl Histories {
    /// Has a history for each partition of an observation; those of others stay.
    pub(super) fn follow(&mut self, lag: &GroupLag) {
        let mut place = 0;
        for LagOfPartition { seen, .. } in &lag.by_partition {
            place += self.0[place..].partition_point(|tracked| tracked.key() < key(seen));
            if self.0.get(place).is_none_or(|tracked| tracked.key() != key(seen)) {
                self.0.reserve_exact(lag.by_partition.len().saturating_sub(self.0.len()));
                let (topic, partition) = (Arc::clone(&seen.topic), seen.partition);
                self.0.insert(place, Tracked { topic, partition, history: PartitionHistory::default() });
            }
            place += 1;
        }
    }

    /// The partitions of an observation with their histories; nothing where one is not followed.
    pub(super) fn beside<'a>(
        &'a self,
        lag: &'a GroupLag,
    ) -> impl Iterator<Item = (&'a LagOfPartition, Option<&'a PartitionHistory>)> {
        let mut rest = self.0.iter().peekable();
        lag.by_partition.iter().map(move |partition| {
            let key = key(&partition.seen);
            while rest.next_if(|tracked| tracked.key() < key).is_some() {}
            let tracked = rest.peek().filter(|tracked| tracked.key() == key);
            (partition, tracked.map(|tracked| &tracked.history))
        })
    }

    /// The same, to be changed; every partition of the observation must be followed.
    pub(super) fn beside_mut<'a>(
        &'a mut self,
        lag: &'a GroupLag,
    ) -> impl Iterator<Item = (&'a LagOfPartition, &'a mut PartitionHistory)> {
        let mut rest = self.0.iter_mut();
        lag.by_partition.iter().filter_map(move |partition| {
            let tracked = rest.find(|tracked| tracked.key() == key(&partition.seen))?;
            Some((partition, &mut tracked.history))
        })
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &PartitionHistory> {
        self.0.iter().map(|tracked| &tracked.history)
    }

    /// Records/s that arrived by the last estimate.
    pub(super) fn rate(&self) -> f64 {
        self.all().map(|history| history.rate).sum()
    }

    /// A partition's history.
    pub(super) fn of(&self, seen: &PartitionObservation) -> Option<&PartitionHistory> {
        let place = self.0.binary_search_by(|tracked| tracked.key().cmp(&key(seen))).ok()?;
        Some(&self.0[place].history)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Drops those of a topic.
    pub(super) fn forget_topic(&mut self, topic: &str) {
        self.0.retain(|tracked| &*tracked.topic != topic);
    }

    /// Drops those of partitions that are not listed.
    pub(super) fn keep_only(&mut self, listed: &[Arc<PartitionObservation>]) {
        let listed: HashSet<_> = listed.iter().map(|seen| key(seen)).collect();
        self.0.retain(|tracked| listed.contains(&tracked.key()));
    }

    /// Drops all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
