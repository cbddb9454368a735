//! The demo's clock. It runs faster than the machine's, so that a minute and a half shows what takes nine minutes with the
//! usual poll, commit and start-up times. Everything that is shown is on this clock; what runs on the machine is faster by as
//! much.

use std::sync::OnceLock;
use std::time::Duration;

use crate::kafka;

/// Seconds on the demo's clock in a second of the machine's: a minute takes ten seconds.
pub(crate) const SPEED: u32 = 6;

/// The time of observations on the demo's clock. It starts at the wall clock's time.
pub(super) fn now() -> Duration {
    static START: OnceLock<Duration> = OnceLock::new();
    let start = *START.get_or_init(kafka::now);
    start + (kafka::now() - start) * SPEED
}

/// What a time on the demo's clock takes on the machine.
pub(super) fn on_machine(time: Duration) -> Duration {
    time / SPEED
}
