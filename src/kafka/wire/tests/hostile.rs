//! Answers that no honest broker gives: cut, changed, made up, with lengths that lie. All are errors, none is a panic, and
//! none takes more memory than its size allows. (What is really allocated is counted in tests/it/kafka_wire.rs.)

use proptest::collection::vec;
use proptest::prelude::*;

use super::answers::*;
use super::pool::Pool;
use super::*;

/// An answer with its key and version.
type Recorded = (i16, i16, Vec<u8>);

/// An answer to each request in each version, made of the pool.
fn recorded(bytes: &[u8]) -> Vec<Recorded> {
    let mut all = Vec::new();
    macro_rules! record {
        ($($request:ty, $make:path;)*) => {
            $(
                for version in <$request>::VERSIONS {
                    let (their, _) = $make(&mut Pool::new(bytes), version);
                    all.push((<$request>::KEY, version, body(&their, version)));
                }
            )*
        };
    }
    record! {
        ApiVersions, api_versions;
        Metadata<'_>, metadata;
        FindCoordinator<'_>, find_coordinator;
        ListGroups, list_groups;
        OffsetFetch<'_>, offset_fetch;
        DescribeGroups<'_>, describe_groups;
        ConsumerGroupDescribe<'_>, consumer_groups;
        ShareGroupDescribe<'_>, share_groups;
        ListOffsets<'_>, list_offsets;
        DescribeConfigs<'_>, describe_configs;
        DescribeProducers<'_>, describe_producers;
        SaslHandshake<'_>, sasl_handshake;
        SaslAuthenticate<'_>, sasl_authenticate;
    }
    all.extend(super::streams::bodies().map(|body| (StreamsGroupDescribe::KEY, 0, body)));
    let topic = b"\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x05";
    // Version 1, and neither active nor standby tasks.
    let no_tasks = b"\0\0\0\x0c\0\0\0\x01\0\0\0\0\0\0\0\0";
    all.push((MEMBER_ASSIGNMENT, 0, [b"\0\x01", &topic[..], no_tasks].concat()));
    // Version 7, and the state of one task.
    let sums = b"\0\0\0\x01\0\0\0\x02\0\0\0\x01\0\0\0\x03\0\0\0\0\0\0\0\x09";
    let state = [&7_i32.to_be_bytes()[..], &7_i32.to_be_bytes(), &[5; 16], b"\0\0\0\x01h", sums].concat();
    let length = i32::try_from(state.len()).unwrap().to_be_bytes();
    all.push((MEMBER_SUBSCRIPTION, 0, [b"\0\x01\0\0\0\x01\0\x01a", &length[..], &state, topic].concat()));
    all
}

/// Lengths that lie, in each way of writing them: 2^31 - 1, -2, and 2^32 - 1 in the compact one, where one more or less
/// is null.
const LIES: [&[u8]; 6] = [
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xfe",
    b"\x00\xff\xff\xff",
    b"\x7f\xff",
    b"\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\xff\xff",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_answer_that_is_cut_is_an_error_wherever_it_is_cut(bytes in vec(any::<u8>(), 0..200)) {
        for (key, version, body) in recorded(&bytes) {
            prop_assert!(decode_any(key, version, &body), "{key} {version}");
            // These two end with what isn't needed, and nothing at all is an empty assignment or subscription.
            let lax = [ApiVersions::KEY, Metadata::KEY].contains(&key);
            for end in usize::from([MEMBER_ASSIGNMENT, MEMBER_SUBSCRIPTION].contains(&key))..body.len() {
                let read = decode_any(key, version, &body[..end]);
                prop_assert!(lax || !read, "{key} {version}: read {end} of {} bytes", body.len());
            }
        }
    }

    #[test]
    fn an_answer_with_changed_bytes_is_never_a_panic(
        bytes in vec(any::<u8>(), 0..300),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        for (key, version, mut body) in recorded(&bytes) {
            for (at, value) in &changes {
                let at = at.index(body.len());
                body[at] ^= value;
            }
            decode_any(key, version, &body);
        }
    }

    #[test]
    fn made_up_bytes_are_never_a_panic(bytes in vec(any::<u8>(), 0..300)) {
        for key in -3..100 {
            for version in 0..14 {
                decode_any(key, version, &bytes);
            }
        }
    }
}

proptest! {
    // Few cases, since each is some 100,000 answers.
    #![proptest_config(ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_length_that_lies_is_never_a_panic_wherever_it_stands(bytes in vec(any::<u8>(), 0..60)) {
        for (key, version, body) in recorded(&bytes) {
            for at in 0..body.len() {
                for lie in LIES {
                    let mut changed = body.clone();
                    let end = body.len().min(at + lie.len());
                    changed.splice(at..end, lie.iter().copied());
                    decode_any(key, version, &changed);
                    // The lie as the last of it.
                    changed.truncate(at + lie.len());
                    decode_any(key, version, &changed);
                }
            }
        }
    }
}

#[test]
fn an_array_that_lies_about_its_length_is_refused_before_anything_is_read() {
    // Each is the number of elements of the first array, in front of a few bytes.
    let rows: &[(i16, i16, &[u8])] = &[
        (Metadata::KEY, 1, b"\x7f\xff\xff\xff\0\0\0\0"),
        (ListGroups::KEY, 0, b"\0\0\x7f\xff\xff\xff\0\0\0\0"),
        (ListGroups::KEY, 0, b"\0\0\x80\0\0\0\0\0\0\0"),
        (OffsetFetch::KEY, 8, b"\0\0\0\0\0\xff\xff\xff\xff\x0f\0\0\0"),
        (OffsetFetch::KEY, 8, b"\0\0\0\0\0\x02\x02g\xff\xff\xff\xff\x0f\0\0\0\0"),
        // One topic whose partitions lie: nested.
        (OffsetFetch::KEY, 8, b"\0\0\0\0\0\x02\x02g\x02\x02t\xff\xff\xff\xff\x0f\0\0\0\0"),
        (ListOffsets::KEY, 1, b"\0\0\0\x01\0\x01t\x7f\xff\xff\xff\0\0\0\0"),
        (ConsumerGroupDescribe::KEY, 0, b"\0\0\0\0\0\xff\xff\xff\xff\x0f"),
        // A varint of six bytes, and one of more than 32 bits.
        (ListGroups::KEY, 3, b"\0\0\0\0\0\0\0\x80\x80\x80\x80\x80\x01"),
        (ListGroups::KEY, 3, b"\0\0\0\0\0\0\0\xff\xff\xff\xff\x7f"),
        // Four billion tags.
        (ListGroups::KEY, 3, b"\xff\xff\xff\xff\x0f\0\0\0\0\0\0\x01\0"),
        // Text and bytes that are longer than the answer, and a negative length.
        (SaslAuthenticate::KEY, 0, b"\0\0\0\x01a\x7f\xff\xff\xff"),
        (SaslAuthenticate::KEY, 0, b"\0\0\x7f\xffa\0\0\0\0"),
        (SaslAuthenticate::KEY, 0, b"\0\0\xff\xfea\0\0\0\0"),
    ];
    for (key, version, body) in rows {
        assert!(!decode_any(*key, *version, body), "{key} {version} {body:?}");
    }
}

#[test]
fn an_answer_of_nothing_but_tiny_elements_takes_only_a_multiple_of_its_size() {
    // 20 million listed groups without names: 80 MB of zeros that would take 480 MB.
    let groups: u32 = 20_000_000;
    let body = [&[0, 0][..], &groups.to_be_bytes(), &vec![0; groups as usize * 4]].concat();
    let error = answer::<ListGroups>(0, &body).unwrap_err();
    assert_eq!(error.to_string(), "the answer has too many elements at byte 6");
}

#[test]
fn honest_answers_of_many_small_elements_are_read() {
    // 500 dead groups with the shortest names, which is a whole chunk.
    let group = b"\0\0\x02g\x05Dead\x01\x01\x01\0\0\0\0\0";
    let body = [&b"\0\0\0\0\0\xf5\x03"[..], &group.repeat(500), b"\0"].concat();
    assert_eq!(answer::<DescribeGroups<'_>>(5, &body).unwrap().groups.len(), 500);
    // 100,000 groups in one list, as the oldest brokers give it: without a type.
    let mut body = vec![0, 0, 0, 1, 0x86, 0xa0];
    for n in 0..100_000 {
        body.extend_from_slice(format!("\0\x0bgroup-{n:05}\0\0").as_bytes());
    }
    assert_eq!(answer::<ListGroups>(0, &body).unwrap().groups.len(), 100_000);
}
