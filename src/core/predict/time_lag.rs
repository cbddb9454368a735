//! The time lag in a roll-out: the highest, and when it is back within the objective.

/// The time lag in a roll-out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TimeLagCourse {
    /// The highest so far, in seconds.
    pub(super) worst_s: f64,
    /// At the last step, in seconds.
    pub(super) last_s: f64,
    /// Seconds from now until the step at which it came back within the objective for the last time.
    pub(super) within_s: f64,
}

impl TimeLagCourse {
    /// Adds the time lag at the end of a step, whose length is also given.
    pub(super) fn add(&mut self, at_s: f64, step_s: f64, time_lag_s: f64, objective_s: f64) {
        if time_lag_s <= objective_s && self.last_s > objective_s {
            let share = (self.last_s - objective_s) / (self.last_s - time_lag_s);
            self.within_s = at_s - step_s * (1.0 - share);
        }
        (self.last_s, self.worst_s) = (time_lag_s, self.worst_s.max(time_lag_s));
    }
}
