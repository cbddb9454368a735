//! Partitions -> members, as Kafka's assignors assign them out. Only counts matter here: which member gets which share
//! is not known before a rebalance, how large the shares are is.

use super::observation::GroupDescription;

/// How partitions are assigned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Assignor {
    /// Each topic on its own, in contiguous pieces, starting with the same member (`RangeAssignor`).
    Range,
    /// All topics together, one partition after the other (`RoundRobinAssignor`); what is not known is taken for this.
    #[default]
    RoundRobin,
    /// All topics together with even counts; what can stay stays, but everybody stops (`StickyAssignor`).
    Sticky,
    /// The same, and only partitions that move stop (`CooperativeStickyAssignor`, the `uniform` assignor of KIP-848).
    Cooperative,
}

impl Assignor {
    /// By the name that a coordinator gives.
    pub(super) fn of(group: Option<&GroupDescription>) -> Self {
        match group.and_then(|group| group.assignor.as_deref()) {
            Some("range") => Self::Range,
            Some("sticky") => Self::Sticky,
            Some("cooperative-sticky" | "uniform") => Self::Cooperative,
            Some(_) | None => Self::RoundRobin,
        }
    }

    /// Whether most partitions stay where they are when members come or go.
    pub(super) fn is_sticky(self) -> bool {
        match self {
            Self::Sticky | Self::Cooperative => true,
            Self::Range | Self::RoundRobin => false,
        }
    }

    /// How many members can have a partition.
    pub(super) fn useful_members(self, topics: impl Iterator<Item = u32>) -> u32 {
        match self {
            Self::Range => topics.max().unwrap_or(0),
            Self::RoundRobin | Self::Sticky | Self::Cooperative => topics.fold(0, u32::saturating_add),
        }
    }

    /// For each partition, topic by topic, the number of its member; `members` is at least 1.
    pub(super) fn assign(self, topics: &[u32], members: u32) -> Vec<u32> {
        let members = members.max(1);
        let mut owners = Vec::with_capacity(topics.iter().sum::<u32>() as usize);
        match self {
            Self::Range => {
                for &partitions in topics {
                    let (each, more) = (partitions / members, partitions % members);
                    let wide = (each + 1) * more;
                    owners.extend(
                        (0..partitions).map(
                            |p| {
                                if p < wide { p / (each + 1) } else { more + (p - wide) / each.max(1) }
                            },
                        ),
                    );
                }
            }
            Self::RoundRobin | Self::Sticky | Self::Cooperative => {
                owners.extend((0..topics.iter().sum()).map(|p: u32| p % members));
            }
        }
        owners
    }

    /// The same where partitions stay with their member as far as an even count allows, from who has them now: each keeps
    /// its first ones up to its quota, and what is left over goes round the others (`AbstractStickyAssignor`,
    /// constrained). Of members that go, which ones is not known; the last of the list are taken.
    pub(super) fn assign_sticky(owners: &[u32], present: u32, members: u32) -> Vec<u32> {
        const UNASSIGNED: u32 = u32::MAX;
        let partitions = owners.len() as u32;
        let members = members.clamp(1, partitions.max(1));
        let (least, more) = (partitions / members, partitions % members);
        let mut counts = vec![0_u32; members as usize];
        for owner in owners.iter().filter(|owner| **owner < members) {
            counts[*owner as usize] += 1;
        }
        // The first members that have that many keep one more than the others.
        let mut spare = more;
        let mut quota = |count: u32| {
            let one_more = count > least && spare > 0;
            spare -= u32::from(one_more);
            least + u32::from(one_more)
        };
        let mut quotas: Vec<u32> = counts.iter().take(present as usize).map(|count| quota(*count)).collect();
        quotas.resize(members as usize, least);
        quotas.iter_mut().rev().filter(|quota| **quota == least).take(spare as usize).for_each(|quota| *quota += 1);
        let mut assignment = Vec::with_capacity(owners.len());
        counts.fill(0);
        for owner in owners {
            let keeps = *owner < members && counts[*owner as usize] < quotas[*owner as usize];
            assignment.push(if keeps { *owner } else { UNASSIGNED });
            if keeps {
                counts[*owner as usize] += 1;
            }
        }
        let mut next = 0_usize;
        for owner in assignment.iter_mut().filter(|owner| **owner == UNASSIGNED) {
            while counts[next] >= quotas[next] {
                next = (next + 1) % counts.len();
            }
            *owner = next as u32;
            counts[next] += 1;
            next = (next + 1) % counts.len();
        }
        assignment
    }

    /// The members worth considering, in no order: the fewest for each size that the largest share of a member can have.
    pub(super) fn levels(self, topics: &[u32]) -> Vec<u32> {
        let mut levels = Vec::new();
        let mut add = |partitions: u32| {
            let mut members = partitions;
            while members > 0 {
                levels.push(members);
                let share = partitions.div_ceil(members);
                // The most members that make the largest share bigger than it is, and of those with that share the fewest.
                let fewer = partitions.div_ceil(share + 1);
                members = if fewer < members { fewer } else { members - 1 };
            }
        };
        match self {
            Self::Range => topics.iter().for_each(|partitions| add(*partitions)),
            Self::RoundRobin | Self::Sticky | Self::Cooperative => add(topics.iter().sum()),
        }
        levels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_assignor_assigns_as_kafka_does() {
        let rows: &[(Assignor, &[u32], u32, &[u32])] = &[
            (Assignor::Range, &[5], 2, &[0, 0, 0, 1, 1]),
            (Assignor::Range, &[3, 2], 2, &[0, 0, 1, 0, 1]),
            (Assignor::Range, &[2], 4, &[0, 1]),
            (Assignor::RoundRobin, &[3, 2], 2, &[0, 1, 0, 1, 0]),
            (Assignor::Cooperative, &[4], 3, &[0, 1, 2, 0]),
        ];
        for (assignor, topics, members, expected) in rows {
            assert_eq!(assignor.assign(topics, *members), *expected, "{assignor:?} {topics:?} {members}");
        }
    }

    #[test]
    fn what_can_stay_stays_and_counts_are_even() {
        let rows: &[(&[u32], u32, u32, &[u32])] = &[
            (&[0, 0, 0, 1, 1, 1], 2, 3, &[0, 0, 2, 1, 1, 2]),
            (&[0, 1, 2, 0, 1, 2], 3, 2, &[0, 1, 0, 0, 1, 1]),
            (&[0, 0, 1, 1, 1], 2, 2, &[0, 0, 1, 1, 1]),
            (&[0, 0, 0], 1, 5, &[0, 1, 2]),
        ];
        for (owners, present, members, expected) in rows {
            assert_eq!(Assignor::assign_sticky(owners, *present, *members), *expected, "{owners:?} to {members}");
        }
        for partitions in 1..40_u32 {
            for (present, members) in (1..12_u32).flat_map(|present| (1..12).map(move |members| (present, members))) {
                let owners: Vec<u32> = (0..partitions).map(|p| (p * 7 + p / 3) % present).collect();
                let assignment = Assignor::assign_sticky(&owners, present, members);
                let count = |member| assignment.iter().filter(|owner| **owner == member).count() as u32;
                let members = members.min(partitions);
                for member in 0..members {
                    let even = partitions / members..=partitions.div_ceil(members);
                    assert!(even.contains(&count(member)), "{owners:?} to {members}: {assignment:?}");
                }
                assert_eq!(assignment.len(), partitions as usize);
            }
        }
    }
}
