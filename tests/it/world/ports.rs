//! Free ports of 127.0.0.1.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::{Mutex, OnceLock};

/// Below Linux' range for outgoing connections (32768 and up): a part that is stopped for a while finds its port still free.
const RANGE: std::ops::Range<u16> = 12_000..32_000;

/// A port that nothing listens on and that this process has not given out yet.
pub(crate) fn free() -> u16 {
    static GIVEN: OnceLock<Mutex<HashSet<u16>>> = OnceLock::new();
    let mut given = GIVEN.get_or_init(Mutex::default).lock().unwrap();
    for _ in 0..1_000 {
        let port = fastrand::u16(RANGE);
        if !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            given.insert(port);
            return port;
        }
    }
    panic!("No free port of 127.0.0.1 was found");
}
