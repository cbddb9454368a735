//! What Kafka Streams puts into a classic member's assignment and subscription: its tasks (`AssignmentInfo` and
//! `ConsumerProtocolUtils` of Kafka Streams, versions 1 to 12), and which of them have state (`SubscriptionInfoData`). KIP-1071's
//! groups have a request of their own instead.

use std::collections::BTreeSet;

use super::codec::{DecodeError, Decoder};

/// A member's tasks, each as (sub-topology, partition).
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct StreamsTasks {
    pub(in super::super) active: Vec<(i32, i32)>,
    pub(in super::super) standby: Vec<(i32, i32)>,
}

/// From here on the newest version that all members know follows the version.
const WITH_SUPPORTED_VERSION: i32 = 3;
/// From here on a task has the name of its topology, or a length of 0 (KIP-809's named topologies).
const WITH_TOPOLOGY_NAME: i32 = 10;

/// Reads the user data of a member of the assignor `stream`; no bytes are no tasks. Newer versions are read as the newest
/// known one: tasks have been at the start in all of them.
///
/// # Errors
/// Where the bytes are something else.
pub(in super::super) fn streams_tasks(user_data: &[u8]) -> Result<StreamsTasks, DecodeError> {
    if user_data.is_empty() {
        return Ok(StreamsTasks::default());
    }
    let mut from = Decoder::new(user_data, false);
    let version = from.i32()?;
    if version < 1 {
        return Err(from.wrong("the version of Kafka Streams' assignment is less than 1"));
    }
    if version >= WITH_SUPPORTED_VERSION {
        let _supported = from.i32()?;
    }
    let active = from.array(8, |from| task(from, version))?;
    let standby = from.array(12, |from| {
        let task = task(from, version)?;
        // The partitions of its changelogs.
        from.skip_array(6, |from| from.skip_string().and_then(|()| from.i32()).map(drop))?;
        Ok(task)
    })?;
    Ok(StreamsTasks { active, standby })
}

/// From here on a subscription has the offsets in the changelogs of each task that has any (KIP-441); before, all tasks.
const WITH_OFFSET_SUMS: i32 = 7;
/// From here on these are one task each, and not one sub-topology each.
const WITH_SUMS_BY_TASK: i32 = 10;

/// The sub-topologies of the tasks of which a member of the assignor `stream` had state as it joined. A task without changelogs
/// is left out by Kafka Streams, and so is one that has not begun to restore. Nothing where the version doesn't tell, or where
/// there are no bytes. Newer versions are read as the newest known one.
///
/// # Errors
/// Where the bytes are something else.
pub(in super::super) fn streams_state(user_data: &[u8]) -> Result<Option<BTreeSet<i32>>, DecodeError> {
    if user_data.is_empty() {
        return Ok(None);
    }
    let mut from = Decoder::new(user_data, false);
    let version = from.i32()?;
    if version < WITH_OFFSET_SUMS {
        return Ok(None);
    }
    let (_supported, _process, _endpoint) = (from.i32()?, from.uuid()?, from.bytes()?);
    let sums = from.array(8, |from| {
        let subtopology = from.i32()?;
        if version >= WITH_SUMS_BY_TASK {
            let (_partition, _sum) = (from.i32()?, from.i64()?);
            // The name of its topology.
            from.skip_string()?;
        } else {
            from.skip_array(12, |from| from.i32().and_then(|_| from.i64()).map(drop))?;
        }
        Ok(subtopology)
    })?;
    Ok(Some(sums.into_iter().collect()))
}

fn task(from: &mut Decoder<'_>, version: i32) -> Result<(i32, i32), DecodeError> {
    let task = (from.i32()?, from.i32()?);
    if version >= WITH_TOPOLOGY_NAME {
        // Characters of two bytes each.
        from.skip_array(2, |from| from.i16().map(drop))?;
    }
    Ok(task)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Kafka Streams writes it, with one active task 0_1 and one standby task 1_2 of two changelog partitions.
    fn written(version: i32) -> Vec<u8> {
        let ints = |numbers: &[i32]| numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>();
        let name: &[i32] = if version >= WITH_TOPOLOGY_NAME { &[0] } else { &[] };
        let mut bytes = ints(&[version]);
        bytes.extend(if version >= WITH_SUPPORTED_VERSION { ints(&[12]) } else { Vec::new() });
        bytes.extend(ints(&[1, 0, 1]));
        bytes.extend(ints(name));
        bytes.extend(ints(&[1, 1, 2]));
        bytes.extend(ints(name));
        bytes.extend(ints(&[1]));
        bytes.extend([0, 2, b'l', b'g']);
        bytes.extend(ints(&[2]));
        // What follows (hosts, errors, the next rebalance) is not read.
        bytes.extend([0xff; 9]);
        bytes
    }

    #[test]
    fn tasks_are_read_in_every_version() {
        for version in [1, 2, 3, 9, 10, 11, 12, 99] {
            let expected = StreamsTasks { active: vec![(0, 1)], standby: vec![(1, 2)] };
            assert_eq!(streams_tasks(&written(version)), Ok(expected), "version {version}");
        }
        assert_eq!(streams_tasks(&[]), Ok(StreamsTasks::default()));
    }

    /// As Kafka Streams writes it, with state of the tasks 0_1, 0_4 and 2_1.
    fn subscribed(version: i32) -> Vec<u8> {
        let mut bytes = [&version.to_be_bytes()[..], &12_i32.to_be_bytes(), &[7; 16], &[0, 0, 0, 3], b"h:1"].concat();
        let add = |bytes: &mut Vec<u8>, ints: &[i32]| bytes.extend(ints.iter().flat_map(|number| number.to_be_bytes()));
        if version >= WITH_SUMS_BY_TASK {
            add(&mut bytes, &[3]);
            for (subtopology, partition) in [(0, 1), (0, 4), (2, 1)] {
                // A sum of -2: it is at work on it. No name of a topology.
                add(&mut bytes, &[subtopology, partition, -1, -2]);
                bytes.extend([0xff, 0xff]);
            }
        } else {
            add(&mut bytes, &[2, 0, 2, 1, -1, -2, 4, 0, 1_000, 2, 1, 1, 0, 0]);
        }
        // What follows (a unique field, an error, tags) is not read.
        bytes.extend([0xff; 9]);
        bytes
    }

    #[test]
    fn sub_topologies_with_state_are_read_in_every_version_that_tells() {
        for version in [7, 8, 9, 10, 11, 99] {
            let read = streams_state(&subscribed(version));
            assert_eq!(read, Ok(Some(BTreeSet::from([0, 2]))), "version {version}");
            let whole = subscribed(version);
            for length in 1..whole.len() - 9 {
                assert!(streams_state(&whole[..length]).is_err(), "version {version}: {length} bytes");
            }
        }
        for version in [1, 2, 3, 6] {
            assert_eq!(streams_state(&subscribed(version)), Ok(None), "version {version}");
        }
        assert_eq!(streams_state(&[]), Ok(None));
    }

    #[test]
    fn what_is_cut_short_or_something_else_is_an_error() {
        let whole = written(11);
        for length in 1..whole.len() - 9 {
            assert!(streams_tasks(&whole[..length]).is_err(), "{length} bytes");
        }
        for other in [vec![0; 4], vec![0xff; 40], [0, 0, 0, 11].repeat(3), [0x7f; 24].to_vec()] {
            assert!(streams_tasks(&other).is_err(), "{other:?}");
        }
    }
}
