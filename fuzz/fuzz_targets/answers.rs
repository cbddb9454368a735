//! Feeds made up answers to the decoders of Kafka's protocol. The first byte chooses the request, the second the version.
//!
//! `cargo +nightly fuzz run answers -- -max_len=4096 -malloc_limit_mb=16`
#![no_main]

// The codec alone, which knows nothing of the rest, so that building takes seconds.
#[path = "../../src/kafka"]
mod kafka {
    #[allow(dead_code, unreachable_pub)]
    mod wire;
    pub(crate) use wire::decode_any;
}

use libfuzzer_sys::fuzz_target;

/// The requests' numbers; -1 is what a classic member holds, -2 what it said as it joined.
const KEYS: [i16; 16] = [18, 3, 10, 16, 9, 15, 69, 77, 89, 2, 32, 61, 17, 36, -1, -2];

fuzz_target!(|input: &[u8]| {
    if let [key, version, body @ ..] = input {
        kafka::decode_any(KEYS[usize::from(*key) % KEYS.len()], i16::from(*version % 16), body);
    }
});
