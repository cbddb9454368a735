//! Streams groups. The other implementation does not know them, so the answers here were written by Kafka 4.3.0's own
//! `StreamsGroupDescribeResponseData`.

use super::super::described_group::Subtopology;
use super::*;

/// A group with two subtopologies and two members, one with all that a member can have and one with nothing.
const FULL: &str = "\
    0000000c02000000046170700c5265636f6e63696c696e670000000900000008010000000203023003076f72646572730872\
    657475726e73021c6170702d62792d637573746f6d65722d7265706172746974696f6e02146170702d73746f72652d636861\
    6e67656c6f67000000000003020f636c65616e75702e706f6c69637908636f6d70616374000001000231010101021c617070\
    2d62792d637573746f6d65722d7265706172746974696f6e00000006000001000000030461626300000004066170702d3006\
    65752d31610f6170702d302d7468726561642d310a2f31302e302e302e3700000002037031010a6170702d302e617070ffff\
    0002057a6f6e6502610002023000000001000000000000004d0002023000000001000000012a05f200000302300300000000\
    0000000100023102000000050002023002000000020002023102000000030000020230040000000000000001000000020001\
    0100010004646566000000000000066170702d310a2f31302e302e302e3800000001037032ff010101010101000101010000\
    00800000000000";

/// A group that is not ready (its subtopologies are null), and one that is not there.
const REST: &str = "\
    0000000003000000046e6577094e6f74526561647900000000000000000100000001000001800000000000451647726f7570\
    20676f6e65206e6f7420666f756e642e05676f6e65010000000000000000ff01800000000000";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().map(|digit| digit.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// The answers, with the header's empty tags in front, for tests of what goes wrong.
pub(super) fn bodies() -> [Vec<u8>; 2] {
    [FULL, REST].map(|hex| [vec![0], bytes(hex)].concat())
}

fn tasks(subtopology: &str, partitions: &[i32]) -> TaskIds<'static> {
    TaskIds { subtopology: subtopology.to_owned().into(), partitions: partitions.to_vec() }
}

#[test]
fn groups_are_requested_as_kafka_does_it() {
    let sent = frame(&StreamsGroupDescribe { groups: &["app", "gone"] }, 0, 1, "");
    let header = [0, 89, 0, 0, 0, 0, 0, 1, 0, 0, 0];
    assert_eq!(sent[4..], [&header[..], &bytes("030461707005676f6e650000")].concat());
}

#[test]
fn topology_members_and_tasks_are_read() {
    let body = &bodies()[0];
    let read = answer::<StreamsGroupDescribe<'_>>(0, body).unwrap();
    let member = |id: &'static str, client_id: &'static str, host: &'static str, assignment| GroupMember {
        id: id.into(),
        client_id: client_id.into(),
        host: host.into(),
        assignment,
    };
    let full = StreamsAssignment {
        active: vec![tasks("0", &[0, 1]), tasks("1", &[5])],
        standby: vec![tasks("0", &[2])],
        warmup: vec![tasks("1", &[3])],
    };
    let members = vec![
        member("abc", "app-0-thread-1", "/10.0.0.7", full),
        member("def", "app-1", "/10.0.0.8", StreamsAssignment::default()),
    ];
    let subtopologies = vec![
        Subtopology { id: "0".into(), sources: vec!["orders".into(), "returns".into()], is_stateful: true },
        Subtopology { id: "1".into(), sources: vec!["app-by-customer-repartition".into()], is_stateful: false },
    ];
    let group = GroupDetails {
        error: 0,
        group: "app".into(),
        state: "Reconciling".into(),
        protocol_type: "".into(),
        assignor: "".into(),
        subtopologies,
        members,
    };
    assert_eq!(read, DescribeResponse { throttle_ms: 12, groups: vec![group] });
}

#[test]
fn a_group_without_a_topology_and_one_that_is_not_there_are_read() {
    let body = &bodies()[1];
    let groups = answer::<StreamsGroupDescribe<'_>>(0, body).unwrap().groups;
    let [not_ready, gone] = &groups[..] else { panic!("{groups:?}") };
    assert_eq!((&*not_ready.group, &*not_ready.state, not_ready.error), ("new", "NotReady", 0));
    assert_eq!((&*gone.group, gone.error), ("gone", 69));
    assert!(not_ready.subtopologies.is_empty() && gone.subtopologies.is_empty());
}
