//! What Kafka Streams puts into a classic member's assignment: its tasks (`AssignmentInfo` and `ConsumerProtocolUtils` of
//! Kafka Streams, versions 1 to 12). KIP-1071's groups have a request of their own instead.

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
