//! Partitions assigned to members as by Kafka's assignors, from their documentation (KIP-54, KIP-429, KIP-848). All
//! members subscribe to the same topics.

use std::collections::{BTreeMap, HashMap};

use super::scenario::AssignorName;

/// A member's number.
pub(super) type MemberId = u64;

/// The owner of each partition. `partitions` holds each partition's topic by index, grouped by topic; `members` are in
/// the order of their ids; `owners` are the previous owners.
pub(super) fn assign(
    assignor: AssignorName,
    partitions: &[usize],
    members: &[MemberId],
    owners: &[Option<MemberId>],
) -> Vec<Option<MemberId>> {
    if members.is_empty() {
        return vec![None; partitions.len()];
    }
    match assignor {
        AssignorName::Range => range(partitions, members),
        AssignorName::RoundRobin => (0..partitions.len()).map(|p| Some(members[p % members.len()])).collect(),
        AssignorName::Sticky | AssignorName::CooperativeSticky | AssignorName::Uniform => sticky(members, owners),
    }
}

/// Each topic separately: contiguous ranges, the first members get one more (`RangeAssignor`).
fn range(partitions: &[usize], members: &[MemberId]) -> Vec<Option<MemberId>> {
    let mut by_topic: BTreeMap<usize, usize> = BTreeMap::new();
    for topic in partitions {
        *by_topic.entry(*topic).or_default() += 1;
    }
    let mut assigned = Vec::with_capacity(partitions.len());
    for count in by_topic.values() {
        let (each, more) = (count / members.len(), count % members.len());
        for (i, member) in members.iter().enumerate() {
            let share = each + usize::from(i < more);
            assigned.extend(std::iter::repeat_n(Some(*member), share));
        }
    }
    assigned
}

/// Balanced to within one partition; members keep their partitions as far as the balance allows
/// (`AbstractStickyAssignor` where all subscriptions are equal; KIP-848's uniform assignor does the same).
fn sticky(members: &[MemberId], owners: &[Option<MemberId>]) -> Vec<Option<MemberId>> {
    let (each, mut more) = (owners.len() / members.len(), owners.len() % members.len());
    let mut held: HashMap<MemberId, usize> = members.iter().map(|member| (*member, 0)).collect();
    let mut assigned = vec![None; owners.len()];
    for (p, owner) in owners.iter().enumerate() {
        let Some((owner, count)) = owner.and_then(|owner| Some((owner, held.get_mut(&owner)?))) else { continue };
        let one_more = *count == each && more > 0;
        if *count < each || one_more {
            more -= usize::from(one_more);
            *count += 1;
            assigned[p] = Some(owner);
        }
    }
    for slot in assigned.iter_mut().filter(|slot| slot.is_none()) {
        let least = members.iter().copied().min_by_key(|member| held[member]);
        if let Some(count) = least.and_then(|member| held.get_mut(&member)) {
            *count += 1;
        }
        *slot = least;
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(assigned: &[Option<MemberId>]) -> Vec<usize> {
        let mut counts: BTreeMap<MemberId, usize> = BTreeMap::new();
        for member in assigned.iter().flatten() {
            *counts.entry(*member).or_default() += 1;
        }
        counts.into_values().collect()
    }

    #[test]
    fn range_gives_the_rest_of_every_topic_to_the_first_members() {
        let assigned = assign(AssignorName::Range, &[0, 0, 0, 1, 1, 1], &[1, 2], &[None; 6]);
        assert_eq!(assigned, [1, 1, 2, 1, 1, 2].map(Some));
        let idle = assign(AssignorName::Range, &[0, 0, 1, 1], &[1, 2, 3], &[None; 4]);
        assert_eq!(idle, [1, 2, 1, 2].map(Some), "the third has nothing");
    }

    #[test]
    fn round_robin_counts_through_all_topics() {
        let assigned = assign(AssignorName::RoundRobin, &[0, 0, 0, 1, 1, 1], &[1, 2], &[None; 6]);
        assert_eq!(assigned, [1, 2, 1, 2, 1, 2].map(Some));
    }

    #[test]
    fn sticky_is_balanced_and_moves_no_more_than_it_must() {
        for members in 1..=13_u64 {
            for before in 1..=13_u64 {
                let of = |count: u64| (1..=count).collect::<Vec<_>>();
                let first = assign(AssignorName::Sticky, &[0; 12], &of(before), &[None; 12]);
                let then = assign(AssignorName::Sticky, &[0; 12], &of(members), &first);
                assert!(then.iter().all(Option::is_some));
                let (least, most) = (12 / members as usize, 12_usize.div_ceil(members as usize));
                assert!(counts(&then).iter().all(|count| (least..=most).contains(count)), "{before} -> {members}");
                let moved = first.iter().zip(&then).filter(|(a, b)| a != b).count();
                let gone = first.iter().flatten().filter(|owner| **owner > members).count();
                let new = members.saturating_sub(before).min(12) as usize * most;
                assert!(moved <= gone.max(new), "{before} -> {members}: {moved} moved");
            }
        }
        let uneven = assign(AssignorName::Sticky, &[0; 5], &[1, 2], &[Some(2), Some(2), Some(2), Some(2), Some(2)]);
        assert_eq!(counts(&uneven), [2, 3]);
    }
}
