//! What a saved memory consists of: each value can be visited, so that a restored one is checked before it is used, and
//! so that no point in time is in the future.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::Replicas;

/// One value of a saved memory.
pub(super) enum PersistedValue<'a> {
    /// A point in time on the observations' clock.
    Time(&'a mut Duration),
    /// Seconds, records, records/s or replica-seconds.
    Amount(f64),
    /// Replicas, members, or how often something happened.
    Count(u32),
}

/// No amount is larger: 10^15 records are a petabyte of single bytes, and 10^15 s are 30 million years.
const MOST_AMOUNT: f64 = 1e15;
/// No count is larger. A ScaledConsumer may ask for 10,000 replicas of 1,000 threads each.
const MOST_COUNT: u32 = 10_000_000;

impl PersistedValue<'_> {
    /// Whether an engine can have written it, where no time is later than `latest`.
    pub(super) fn is_plausible(&self, latest: Duration) -> bool {
        match self {
            Self::Time(time) => **time <= latest,
            Self::Amount(amount) => (0.0..=MOST_AMOUNT).contains(amount),
            Self::Count(count) => *count <= MOST_COUNT,
        }
    }

    /// Moves a point in time back with its clock: `last` is `now` from here on, and nothing is later.
    pub(super) fn move_back(self, last: Duration, now: Duration) {
        if let Self::Time(time) = self {
            *time = time.saturating_sub(last.saturating_sub(now)).min(now);
        }
    }
}

/// Something of which all that is saved can be visited.
pub(super) trait Persisted {
    /// Calls `visit` with each value that is saved.
    fn visit(&mut self, visit: &mut dyn FnMut(PersistedValue<'_>));
}

/// Implements [`Persisted`] field by field. All fields must be named, those after `not` are not saved: so a new field
/// can't be forgotten.
macro_rules! persisted {
    ($type:ty { $($field:ident),* } $(not { $($skipped:ident),* })?) => {
        impl $crate::core::persisted::Persisted for $type {
            fn visit(&mut self, visit: &mut dyn FnMut($crate::core::persisted::PersistedValue<'_>)) {
                let Self { $($field,)* $($($skipped: _,)*)? } = self;
                $($crate::core::persisted::Persisted::visit($field, visit);)*
            }
        }
    };
}
pub(super) use persisted;

impl Persisted for Duration {
    fn visit(&mut self, visit: &mut dyn FnMut(PersistedValue<'_>)) {
        visit(PersistedValue::Time(self));
    }
}

impl Persisted for f64 {
    fn visit(&mut self, visit: &mut dyn FnMut(PersistedValue<'_>)) {
        visit(PersistedValue::Amount(*self));
    }
}

impl Persisted for u32 {
    fn visit(&mut self, visit: &mut dyn FnMut(PersistedValue<'_>)) {
        visit(PersistedValue::Count(*self));
    }
}

impl Persisted for Replicas {
    fn visit(&mut self, visit: &mut dyn FnMut(PersistedValue<'_>)) {
        self.0.visit(visit);
    }
}

impl Persisted for bool {
    fn visit(&mut self, _: &mut dyn FnMut(PersistedValue<'_>)) {}
}

impl<T: Persisted> Persisted for Option<T> {
    fn visit(&mut self, visit: &mut dyn FnMut(PersistedValue<'_>)) {
        self.iter_mut().for_each(|value| value.visit(visit));
    }
}

impl<T: Persisted> Persisted for Vec<T> {
    fn visit(&mut self, visit: &mut dyn FnMut(PersistedValue<'_>)) {
        self.iter_mut().for_each(|value| value.visit(visit));
    }
}

impl<A: Persisted, B: Persisted> Persisted for (A, B) {
    fn visit(&mut self, visit: &mut dyn FnMut(PersistedValue<'_>)) {
        self.0.visit(visit);
        self.1.visit(visit);
    }
}

/// The last `MOST` values of something; a new one replaces the oldest. A longer list can't be restored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "VecDeque<T>", bound(deserialize = "T: Deserialize<'de>"))]
pub(super) struct Recent<T, const MOST: usize>(VecDeque<T>);

impl<T, const MOST: usize> Default for Recent<T, MOST> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T, const MOST: usize> TryFrom<VecDeque<T>> for Recent<T, MOST> {
    type Error = String;

    fn try_from(values: VecDeque<T>) -> Result<Self, String> {
        if values.len() > MOST {
            Err(format!("a list of {}, of {MOST} at most", values.len()))
        } else {
            Ok(Self(values))
        }
    }
}

impl<T: Persisted, const MOST: usize> Persisted for Recent<T, MOST> {
    fn visit(&mut self, visit: &mut dyn FnMut(PersistedValue<'_>)) {
        self.0.iter_mut().for_each(|value| value.visit(visit));
    }
}

impl<T, const MOST: usize> Recent<T, MOST> {
    /// Adds a value.
    pub(super) fn push(&mut self, value: T) {
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        // Most of these lists stay short, and there are dozens in an engine: no room for twice as many.
        self.0.reserve_exact(1);
        self.0.push_back(value);
    }

    /// The newest value.
    pub(super) fn newest_mut(&mut self) -> Option<&mut T> {
        self.0.back_mut()
    }

    /// All of them, oldest first, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut()
    }

    /// Takes out the first value for which this is true.
    pub(super) fn take_first(&mut self, is_wanted: impl FnMut(&T) -> bool) -> Option<T> {
        self.0.remove(self.0.iter().position(is_wanted)?)
    }

    /// Takes the newest value out.
    pub(super) fn pop_newest(&mut self) -> Option<T> {
        self.0.pop_back()
    }

    /// Takes the oldest value out.
    pub(super) fn pop_oldest(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    /// Forgets all values.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Keeps so many of the newest.
    pub(super) fn keep_newest(&mut self, count: usize) {
        self.0.drain(..self.0.len().saturating_sub(count));
    }

    /// Drops the values for which this is false.
    pub(super) fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.0.retain(keep);
    }
}

impl<T, const MOST: usize> std::ops::Deref for Recent<T, MOST> {
    type Target = VecDeque<T>;

    fn deref(&self) -> &VecDeque<T> {
        &self.0
    }
}
