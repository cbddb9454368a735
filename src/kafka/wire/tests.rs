//! What the codec must do, checked against another implementation (the crate `kafka-protocol`, made from Kafka's own
//! schemas) and against answers that no honest broker gives.

mod answers;
mod hostile;
mod pool;
mod requests;
mod streams;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::offset_fetch::event_time;
use super::*;

#[test]
fn a_request_begins_with_its_length_and_its_header() {
    let old = frame(&SaslHandshake { mechanism: "PLAIN" }, 1, 7, "me");
    assert_eq!(old, b"\0\0\0\x13\0\x11\0\x01\0\0\0\x07\0\x02me\0\x05PLAIN");
    let flexible = frame(&ListGroups, 3, 0x0102_0304, "me");
    assert_eq!(flexible, b"\0\0\0\x0e\0\x10\0\x03\x01\x02\x03\x04\0\x02me\0\0", "the client id is never compact");
}

#[test]
fn codes_have_their_names() {
    let rows = [
        (-1, "UNKNOWN_SERVER_ERROR"),
        (0, "NONE"),
        (16, "NOT_COORDINATOR"),
        (69, "GROUP_ID_NOT_FOUND"),
        (133, "SHARE_SESSION_LIMIT_REACHED"),
        (134, "an error that Kafka 4.3 does not have"),
        (-2, "an error that Kafka 4.3 does not have"),
        (i16::MAX, "an error that Kafka 4.3 does not have"),
        (i16::MIN, "an error that Kafka 4.3 does not have"),
    ];
    for (code, name) in rows {
        assert_eq!(error_codes::error_name(code), name, "{code}");
    }
}

#[test]
fn secrets_of_authentication_are_not_shown() {
    let request = format!("{:?}", SaslAuthenticate { auth: b"\0user\0hunter2" });
    let body = [0, 0, 0xff, 0xff, 0, 0, 0, 7, b'h', b'u', b'n', b't', b'e', b'r', b'2'];
    let response = format!("{:?}", answer::<SaslAuthenticate<'_>>(0, &body).unwrap());
    for shown in [request, response] {
        assert!(!shown.contains("104, 117") && !shown.contains("hunter"), "{shown}");
    }
}

#[test]
fn a_name_that_is_no_text_spoils_nothing_else() {
    let body = [0, 0, 0, 0, 0, 1, 0, 2, 0xff, b'a', 0, 0];
    let read = answer::<ListGroups>(0, &body).unwrap();
    assert_eq!(read.groups[0], "\u{fffd}a");
}

#[test]
fn the_assignment_of_a_classic_member_is_read() {
    let topics = b"\0\x01\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x05\0\x02bc\0\0\0\0";
    let expected =
        |user_data| MemberAssignment { topics: vec![("a".into(), vec![0, 5]), ("bc".into(), Vec::new())], user_data };
    let with = |rest: &[u8]| [topics, rest].concat();
    let (without, some, newer) =
        (with(b"\xff\xff\xff\xff"), with(b"\0\0\0\x03xyz"), with(b"\0\0\0\0 what a newer version adds"));
    assert_eq!(member_assignment(&without), Ok(expected(b"")));
    assert_eq!(member_assignment(&some), Ok(expected(b"xyz")));
    assert_eq!(member_assignment(&newer), Ok(expected(b"")));
    assert_eq!(member_assignment(b""), Ok(MemberAssignment::default()), "the group isn't stable");
    for wrong in [&b"\xff\xff\0\0\0\0\xff\xff\xff\xff"[..], b"\0", b"\0\x01\x7f\xff\xff\xff", &some[..some.len() - 1]] {
        assert!(member_assignment(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn the_subscription_of_a_classic_member_is_read() {
    let begin = b"\0\0\0\x02\0\x01a\0\x02bc\0\0\0\x03xyz";
    let owned = b"\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x05";
    let of = |version: i16, rest: &[u8]| [&version.to_be_bytes()[..], begin, rest].concat();
    let held = vec![("a".into(), vec![0, 5])];
    let rows = [
        ("version 0", of(0, b""), Vec::new()),
        ("holding nothing", of(1, b"\0\0\0\0"), Vec::new()),
        ("holding two partitions", of(1, owned), held.clone()),
        ("with a generation and a rack", of(3, &[owned, &b"\0\0\0\x09\xff\xff"[..]].concat()), held),
    ];
    for (name, bytes, owned) in rows {
        assert_eq!(member_subscription(&bytes), Ok(MemberSubscription { user_data: b"xyz", owned }), "{name}");
    }
    assert_eq!(member_subscription(b""), Ok(MemberSubscription::default()), "the group isn't stable");
    for wrong in [of(-1, b""), of(1, b""), b"\0".to_vec(), b"\0\x01\x7f\xff\xff\xff".to_vec()] {
        assert!(member_subscription(&wrong).is_err(), "{wrong:?}");
    }
}

/// The texts are of `TopicPartitionMetadata.encode` (version 2) and of the same with version 1.
#[test]
fn the_event_time_in_a_commit_is_read() {
    let text = |bytes: &[u8]| STANDARD.encode(bytes);
    let of = |version: u8, time: i64, rest: &[u8]| text(&[&[version], &time.to_be_bytes()[..], rest].concat());
    let long = of(2, 77, &[0xff; 3_000]);
    let rows: &[(&str, Option<i64>)] = &[
        ("AgAAAYvP5WgA", Some(1_700_000_000_000)),
        (&of(1, 1_700_000_000_000, b""), Some(1_700_000_000_000)),
        (&of(2, 0, b""), Some(0)),
        (&of(2, 9, b"\0\0\0\x01\0\0\0\x01k\0\0\0\0\0\0\0\x07"), Some(9)),
        (&long, Some(77)),
        (&of(2, -1, b""), None),
        (&of(2, i64::MIN, b""), None),
        (&of(1, 9, b"more"), None),
        (&of(0, 9, b""), None),
        (&of(3, 9, b""), None),
        ("", None),
        ("A", None),
        ("AgAAAYvP5Wg", None),
        ("AgAAAYvP5Wg=", None),
        ("AgAAAYvP5WgA=", None),
        ("AgAAAYvP5WgA{}{}", None),
        ("{\"host\": \"a\"}", None),
        ("Aggregate by hour", None),
        (&"A".repeat(32_767), None),
    ];
    for (metadata, expected) in rows {
        assert_eq!(event_time(metadata.as_bytes()), *expected, "{}", &metadata[..metadata.len().min(40)]);
    }
    assert_eq!(event_time(b"AgAAAYvP5Wg\xff"), None);
}
