//! What may arrive after now, relative to the present rate.

/// Arrivals are assumed this much higher: it covers the noise of the rates. The lag itself is the second buffer.
pub(in crate::core) const MARGIN: f64 = 0.10;

/// Arrivals after now: as they are for `lasts_s` seconds, then only a share of them; and more by the margin for
/// `margin_s` seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct ArrivalCourse {
    pub(super) lasts_s: f64,
    pub(super) share: f64,
    pub(super) margin_s: f64,
}

impl ArrivalCourse {
    /// Seconds of the present rate, with the margin, that arrive until a time.
    pub(super) fn seconds_until(self, time_s: f64) -> f64 {
        let without = |time_s: f64| time_s.min(self.lasts_s) + self.share * (time_s - self.lasts_s).max(0.0);
        without(time_s) + MARGIN * without(time_s.min(self.margin_s))
    }

    /// The share of the present rate at a time, with the margin.
    pub(super) fn share_at(self, time_s: f64) -> f64 {
        let margin = if time_s < self.margin_s { MARGIN } else { 0.0 };
        (1.0 + margin) * if time_s < self.lasts_s { 1.0 } else { self.share }
    }

    /// When so many seconds of the present rate have arrived; infinite where that many never do.
    pub(super) fn time_of(self, seconds: f64) -> f64 {
        let (first_s, second_s) = (self.lasts_s.min(self.margin_s), self.lasts_s.max(self.margin_s));
        let is_before = |time_s: f64| seconds <= self.seconds_until(time_s);
        let from_s = match () {
            () if is_before(first_s) => 0.0,
            () if is_before(second_s) => first_s,
            () => second_s,
        };
        let share = self.share_at(from_s);
        if share > 0.0 { from_s + (seconds - self.seconds_until(from_s)) / share } else { f64::INFINITY }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_found_again_by_what_has_arrived_until_then() {
        for (lasts_s, share, margin_s) in
            [(f64::INFINITY, 1.0, f64::INFINITY), (60.0, 0.5, 20.0), (20.0, 0.1, 90.0), (f64::INFINITY, 1.0, 60.0)]
        {
            let course = ArrivalCourse { lasts_s, share, margin_s };
            for time_s in [0.0, 5.0, 20.0, 60.0, 75.0, 90.0, 300.0] {
                let found = course.time_of(course.seconds_until(time_s));
                assert!((found - time_s).abs() < 1e-9, "{course:?}: {time_s} was found at {found}");
            }
        }
        let ends = ArrivalCourse { lasts_s: 60.0, share: 0.0, margin_s: 60.0 };
        assert_eq!(ends.time_of(1_000.0), f64::INFINITY);
    }
}
