//! The memory of decoding a response: a multiple of its size, whatever lengths it announces.

use paceline::kafka::decode_any;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::allocations::most_held;

/// The memory that a small response may take; the codec's own minimum for small responses is 1 MiB.
const FLOOR: usize = 1_100_000;

/// The requests that are implemented, with their versions; -1 is a classic member's assignment.
const KNOWN: &[(i16, std::ops::RangeInclusive<i16>)] = &[
    (18, 0..=3),
    (3, 1..=12),
    (10, 1..=4),
    (16, 0..=5),
    (9, 2..=9),
    (15, 0..=6),
    (69, 0..=1),
    (77, 1..=1),
    (89, 0..=0),
    (2, 1..=9),
    (32, 1..=4),
    (61, 0..=0),
    (17, 1..=1),
    (36, 0..=2),
    (-1, 0..=0),
];

fn each_version() -> impl Iterator<Item = (i16, i16)> {
    KNOWN.iter().flat_map(|(key, versions)| versions.clone().map(|version| (*key, version)))
}

fn check(key: i16, version: i16, body: &[u8]) {
    let (_, most) = most_held(|| decode_any(key, version, body));
    let allowed = FLOOR + 6 * body.len();
    assert!(most <= allowed, "{key} {version}: {most} bytes for an answer of {}", body.len());
}

#[test]
fn an_announced_length_of_billions_is_not_allocated() {
    let lies: [&[u8]; 5] = [
        b"\x7f\xff\xff\xff",
        b"\x3f\xff\xff\xff",
        b"\xff\xff\xff\xff\x0f",
        b"\xfe\xff\xff\xff\x0f",
        b"\x80\x80\x80\x80\x04",
    ];
    for (key, version) in each_version() {
        // Lies behind so many zeros: in each array, text and tag that zeros lead to.
        for zeros in 0..64 {
            for lie in lies {
                for rest in [0, 1, 2, 200] {
                    check(key, version, &[vec![0; zeros], lie.to_vec(), vec![1; rest]].concat());
                    check(key, version, &[vec![1; zeros], lie.to_vec(), vec![0; rest]].concat());
                }
            }
        }
    }
}

#[test]
fn megabytes_of_the_smallest_elements_take_a_multiple_of_their_size() {
    for (key, version) in each_version() {
        for byte in [0, 1, 2] {
            for count in [[0, 0x0f, 0x42, 0x40].as_slice(), &[0xc1, 0x84, 0x3d]] {
                for at in [0, 1, 4, 5, 6, 7, 8, 9, 11] {
                    check(key, version, &[vec![0; at], count.to_vec(), vec![byte; 4_000_000]].concat());
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_allocate_only_a_multiple_of_their_size(bytes in vec(prop_oneof![any::<u8>(), 0..4_u8, Just(0xff)], 0..400)) {
        for (key, version) in each_version() {
            check(key, version, &bytes);
        }
    }
}

/// What the fuzz target does, for a minute, where there is no fuzzer: random responses, and valid ones with changes.
#[test]
#[ignore = "takes a minute; tests/run --long runs it"]
fn a_minute_of_random_responses_is_harmless() {
    let mut random = fastrand::Rng::new();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let known: Vec<(i16, i16)> = each_version().collect();
    let likely = [0, 0, 0, 1, 1, 2, 3, 4, 5, 0x7f, 0x80, 0xff];
    let mut body = Vec::new();
    let mut read = 0_u64;
    while std::time::Instant::now() < until {
        for _ in 0..1_000 {
            // Sometimes from the beginning; else the previous one, changed, longer or shorter.
            match random.u8(0..20) {
                0 => body.clear(),
                1..4 => body.truncate(random.usize(0..=body.len())),
                4..10 if body.len() < 4_096 => {
                    for _ in 0..random.usize(1..20) {
                        body.push(if random.bool() { likely[random.usize(0..likely.len())] } else { random.u8(..) });
                    }
                }
                _ if !body.is_empty() => {
                    let at = random.usize(0..body.len());
                    body[at] = if random.bool() { likely[random.usize(0..likely.len())] } else { random.u8(..) };
                }
                _ => body.extend([0; 16]),
            }
            let (key, version) = known[random.usize(0..known.len())];
            read += u64::from(decode_any(key, version, &body));
            check(key, version, &body);
        }
    }
    assert!(read > 0, "nothing was ever read: the bytes are too odd to test anything");
}
