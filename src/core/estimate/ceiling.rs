//! Whether more members bring more throughput: every scale-up of a busy group is an experiment.
//!
//! A group that is at its limit and gains less than half of what was predicted shares something that is at its own
//! limit: a database, a quota, a network. Then more replicas do not help, and slow members are not the cause.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::clock::{seconds_between, time};
use super::super::persisted::persisted;
use super::capacity::{CapacityEstimate, Timing};
use super::delays::PendingChange;

/// Less of the predicted gain than this is none. Half: a jump from one member to twelve that ends at a ceiling of four
/// still gains a quarter.
const GAIN: f64 = 0.5;
/// Seconds for which a ceiling is believed at first. It is believed twice as long each time it proves true again.
const BELIEVED_FOR_S: f64 = 600.0;
/// Seconds for which a ceiling is believed at most.
const BELIEVED_AT_MOST_S: f64 = 4.0 * 3600.0;
/// An experiment that has shown nothing after so many seconds is void.
const TRIAL_LASTS_S: f64 = 600.0;
/// A ceiling counts a little lower, so that the noise of a member's capacity makes no level look better than another that
/// reaches it as well.
const NOISE: f64 = 0.97;
/// Throughput and arrivals that differ by less than this share are the same.
const KEEPS_UP: f64 = 0.05;
/// A throughput this much above a ceiling refutes it.
const REFUTED: f64 = 1.15;
/// A throughput this much below what is possible under a ceiling contradicts it.
const CONTRADICTED: f64 = 0.85;
/// A throughput this much below the one before the scale-up was made worse by it.
const WORSE: f64 = 0.95;

/// The throughput that the group does not exceed, whatever its members.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::core) struct Ceiling {
    /// The ceiling that is believed.
    believed: Option<BelievedCeiling>,
    /// Seconds for which the next one is believed; 0 stands for the first.
    next_lasts_s: f64,
    /// The scale-up whose effect is awaited.
    pub(in crate::core) trial: Option<Trial>,
    /// Whether the time is up, and one level more may show whether it still holds.
    pub(in crate::core) retry: bool,
    /// The group's throughput at its limit, in records/s, where it was there just now.
    throughput_now: Option<f64>,
}
persisted!(Ceiling { believed, next_lasts_s, trial, retry, throughput_now });

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct BelievedCeiling {
    /// Records/s.
    throughput: f64,
    /// When it was concluded.
    #[serde(with = "time")]
    since: Duration,
    /// Seconds for which it is believed.
    lasts_s: f64,
    /// From so many members on the throughput is lower, and what it is then, in records/s.
    worse: Option<(u32, f64)>,
}
persisted!(BelievedCeiling { throughput, since, lasts_s, worse });

/// A scale-up as an experiment.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(in crate::core) struct Trial {
    #[serde(with = "time")]
    since: Duration,
    /// Members before and after.
    from: u32,
    to: u32,
    /// The group's throughput before, in records/s.
    before: f64,
    /// The capacity of a member before, in records/s.
    capacity: f64,
    /// Records/s that arrived then.
    pub(in crate::core) demand: f64,
}
persisted!(Trial { since, from, to, before, capacity, demand });

impl Ceiling {
    /// The throughput that is not exceeded, in records/s.
    pub(in crate::core) fn throughput(&self) -> Option<f64> {
        self.believed.map(|believed| believed.throughput)
    }

    /// The group's throughput with so many members, in records/s: infinite where nothing limits it but its members.
    pub(in crate::core) fn at(&self, members: u32, current: u32) -> f64 {
        let Some(believed) = self.believed else { return f64::INFINITY };
        match believed.worse {
            Some((from, throughput)) if members >= from => throughput,
            Some(_) | None if self.retry && members > current => f64::INFINITY,
            Some(_) | None => NOISE * believed.throughput,
        }
    }

    /// Whether slow members may be slow because of what they share.
    pub(super) fn explains_slowness(&self) -> bool {
        self.believed.is_some() || self.trial.is_some()
    }

    /// Forgets everything, because another program runs.
    pub(in crate::core) fn forget(&mut self) {
        *self = Self::default();
    }

    /// A scale-up of members of this capacity was made, while `demand` arrived; `change` counts members.
    pub(super) fn begin_trial(&mut self, change: PendingChange, capacity: f64, demand: f64) {
        let PendingChange { since, from, to } = change;
        let measured = self.throughput_now;
        let expected = f64::from(from) * capacity;
        // A busy group far below what its members can do stands still for another reason: nothing to compare with.
        let is_void =
            from == 0 || measured.is_some_and(|measured| measured < 0.5 * expected && self.believed.is_none());
        let trial = Trial { since, from, to, before: measured.unwrap_or(expected), capacity, demand };
        self.trial = (!is_void).then_some(trial);
    }

    /// Looks whether the last scale-up has shown its effect, and whether a ceiling still holds. `arriving` is in
    /// records/s; `members` are all that the group has, the same since `unsettled_at`. Where nothing `is_judged`, members
    /// that are not known to be busy may be busy.
    pub(super) fn update(
        &mut self,
        timing: Timing,
        capacity: &CapacityEstimate,
        members: u32,
        unsettled_at: Option<Duration>,
        arriving: f64,
        is_judged: bool,
    ) {
        let now = timing.now;
        let throughput = capacity.throughput_at_limit(timing);
        self.throughput_now = throughput;
        let busy = capacity.are_most_busy();
        if let Some(trial) = self.trial {
            let over = seconds_between(trial.since, now) > TRIAL_LASTS_S;
            let settled = unsettled_at.is_some_and(|at| seconds_between(at, now) >= timing.window_s());
            match throughput {
                Some(throughput) if members >= trial.to && settled => {
                    let share = capacity.share_of_before(trial.capacity).unwrap_or(1.0);
                    self.conclude(now, trial, throughput, share, arriving);
                }
                // Without a backlog there is nothing to see.
                _ if over || (settled && !busy && is_judged) => self.trial = None,
                Some(_) | None => {}
            }
        }
        let Some(believed) = self.believed else { return };
        // Fewer members that should still reach the ceiling and do not: they are slow themselves.
        let possible = capacity.measured().map_or(0.0, |each| each * f64::from(members));
        let possible = possible.min(self.at(members, members));
        let is_wrong =
            |throughput: f64| throughput < CONTRADICTED * possible || throughput > REFUTED * believed.throughput;
        if throughput.is_some_and(is_wrong) {
            self.believed = None;
            self.retry = false;
        } else if is_judged && seconds_between(believed.since, now) > believed.lasts_s && !self.retry {
            if busy {
                self.retry = true;
            } else {
                self.believed = None;
            }
        }
    }

    /// `share`: what a member at its limit does now, as a share of what it did before. Members without work say nothing
    /// about the others.
    fn conclude(&mut self, now: Duration, trial: Trial, throughput: f64, share: f64, arriving: f64) {
        let (from, to) = (f64::from(trial.from), f64::from(trial.to));
        self.trial = None;
        self.retry = false;
        // A group that reads what arrives is limited by that: some of its members are slow, not all of them.
        let keeps_up = (throughput - arriving).abs() < KEEPS_UP * arriving;
        if keeps_up || (share * to - from) / (to - from) >= GAIN {
            self.believed = None;
            self.next_lasts_s = BELIEVED_FOR_S;
            return;
        }
        let lasts_s = if self.next_lasts_s > 0.0 { self.next_lasts_s } else { BELIEVED_FOR_S };
        self.next_lasts_s = (2.0 * lasts_s).min(BELIEVED_AT_MOST_S);
        self.believed = Some(BelievedCeiling {
            throughput: throughput.max(trial.before),
            since: now,
            lasts_s,
            worse: (throughput < WORSE * trial.before).then_some((trial.to, throughput)),
        });
    }
}
