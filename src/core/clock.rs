//! The clock that observations are timed by, and lengths of time on it.
//!
//! A point in time is a `Duration` since 1970. Within one process it is monotonic: the wall clock is read once, when the
//! process starts, and the monotonic clock is added from then on. So windows and rates never see a clock that is set, and
//! the number can be shown as a date. From one process to the next it may jump, because another machine's wall clock may
//! differ: see [`Persisted`](super::persisted::Persisted) for what is done about that.
//!
//! A length of time is a `Duration`, or seconds as `f64` under a name that ends in `_s`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest length of time that is worked with, in seconds: a hundred years. It keeps sums far from overflow.
const LONGEST_S: f64 = 100.0 * 365.0 * 86_400.0;

/// Seconds from `earlier` to `later`; 0 where it is not earlier.
pub(super) fn seconds_between(earlier: Duration, later: Duration) -> f64 {
    later.saturating_sub(earlier).as_secs_f64()
}

/// So many seconds as a length of time: 0 for a negative number and for no number, a hundred years for more than that.
pub(super) fn length(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, LONGEST_S).max(0.0))
}

/// Points in time as seconds in JSON. More than a few centuries after 1970 is an error.
pub(super) mod time {
    use super::{Deserialize, Deserializer, Duration, LONGEST_S, Serializer};

    pub(in crate::core) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(time.as_secs_f64())
    }

    pub(in crate::core) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        let time = Duration::try_from_secs_f64(seconds).ok().filter(|_| seconds < 4.0 * LONGEST_S);
        time.ok_or_else(|| serde::de::Error::custom(format!("{seconds} s is no point in time")))
    }
}

/// The same for a point in time that may be absent.
pub(super) mod optional_time {
    use super::{Deserialize, Deserializer, Duration, Serialize, Serializer, time};

    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Time(#[serde(with = "time")] Duration);

    pub(in crate::core) fn serialize<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        time.map(|time| time.as_secs_f64()).serialize(serializer)
    }

    pub(in crate::core) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Time>::deserialize(deserializer)?.map(|Time(time)| time))
    }
}
