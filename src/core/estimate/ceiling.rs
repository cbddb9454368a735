//! Whether more members bring more throughput: every scale-up of a busy group is an experiment.
//!
//! A group that is at its limit and gains less than half of what was predicted shares something that is at its own
//! limit: a database, a quota, a network. Then more replicas are no help, and slow members are not to blame.

use serde::{Deserialize, Serialize};

use super::Estimator;
use super::capacity::Timing;
use super::delays::Flight;

/// Less of the predicted gain than this is none. Half: a jump from one member to twelve that ends at a ceiling of four
/// still gains a quarter.
const GAIN: f64 = 0.5;
/// A ceiling is believed for this long at first, in seconds, and twice as long each time it proves true again.
const BELIEVED_FOR: f64 = 600.0;
/// And never longer than this.
const BELIEVED_AT_MOST: f64 = 4.0 * 3600.0;
/// An experiment that has shown nothing after so many seconds is void.
const TRIAL_LASTS: f64 = 600.0;
/// A ceiling counts a little lower, so that the noise of a member's capacity makes no level look better than another that
/// reaches it as well.
const NOISE: f64 = 0.97;
/// Throughput and arrivals that differ by less than this share are the same.
const KEEPS_UP: f64 = 0.05;
/// A throughput this much above a ceiling refutes it.
const REFUTED: f64 = 1.15;
/// And one that is this much below what is possible under the ceiling contradicts it.
const CONTRADICTED: f64 = 0.85;
/// A throughput this much below the one before the scale-up was made worse by it.
const WORSE: f64 = 0.95;

/// What was learnt of the throughput that the group does not get beyond.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::core) struct Ceiling {
    /// The ceiling that is believed.
    verdict: Option<Verdict>,
    /// How long the next one is believed; 0 stands for the first.
    lasts: f64,
    /// The scale-up whose effect is awaited.
    pub(in crate::core) trial: Option<Trial>,
    /// Whether the time is up, and one level more may show whether it still holds.
    pub(in crate::core) retry: bool,
    /// The group's throughput at its limit, where it was there just now.
    throughput_now: Option<f64>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Verdict {
    /// Records/s.
    throughput: f64,
    until: f64,
    /// From so many members on the throughput is lower, and by how much.
    worse: Option<(u32, f64)>,
}

/// A scale-up as an experiment.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(in crate::core) struct Trial {
    since: f64,
    /// Members before and after.
    from: u32,
    to: u32,
    /// The group's throughput before, in records/s.
    before: f64,
    /// What a member was believed to do, in records/s.
    capacity: f64,
    /// Records/s that arrived then.
    pub(in crate::core) demand: f64,
}

impl Ceiling {
    /// The throughput that is not got beyond, in records/s.
    pub(in crate::core) fn throughput(&self) -> Option<f64> {
        self.verdict.map(|verdict| verdict.throughput)
    }

    /// The group's throughput with so many members, in records/s: infinite where nothing limits it but its members.
    pub(in crate::core) fn at(&self, members: u32, current: u32) -> f64 {
        let Some(verdict) = self.verdict else { return f64::INFINITY };
        match verdict.worse {
            Some((from, throughput)) if members >= from => throughput,
            Some(_) | None if self.retry && members > current => f64::INFINITY,
            Some(_) | None => NOISE * verdict.throughput,
        }
    }

    /// Whether slow members may be slow because of what they share.
    pub(super) fn explains_slowness(&self) -> bool {
        self.verdict.is_some() || self.trial.is_some()
    }

    /// Another program runs.
    pub(in crate::core) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl Estimator {
    fn timing(&self, now: f64) -> Timing {
        Timing { now, poll: self.poll, commit_interval: self.commit_interval }
    }

    /// A scale-up was made, of a group of members of this capacity that gets `demand`.
    pub(in crate::core) fn begin_trial(&mut self, flight: Flight, threads: u32, capacity: f64, demand: f64) {
        let (from, to) = (flight.from.saturating_mul(threads), flight.to.saturating_mul(threads));
        let measured = self.ceiling.throughput_now;
        let expected = f64::from(from) * capacity;
        // A busy group far below what its members can do stands still for another reason: nothing to compare with.
        let is_void =
            from == 0 || measured.is_some_and(|measured| measured < 0.5 * expected && self.ceiling.verdict.is_none());
        self.ceiling.trial = (!is_void).then(|| Trial {
            since: flight.since,
            from,
            to,
            before: measured.unwrap_or(expected),
            capacity,
            demand,
        });
    }

    /// Looks whether the last scale-up has shown its effect, and whether a ceiling still holds.
    pub(in crate::core) fn judge(&mut self, now: f64, members: u32) {
        let timing = self.timing(now);
        let throughput = self.capacity.throughput_at_limit(timing);
        self.ceiling.throughput_now = throughput;
        let busy = self.capacity.are_most_busy();
        if let Some(trial) = self.ceiling.trial {
            let over = now - trial.since > TRIAL_LASTS;
            let settled = self.unsettled_at.is_some_and(|at| now - at.as_secs_f64() >= timing.window());
            match throughput {
                Some(throughput) if members >= trial.to && settled => {
                    let share = self.capacity.share_of_before(trial.capacity).unwrap_or(1.0);
                    let arriving: f64 = self.loads.iter().map(|load| load.rate).sum();
                    self.ceiling.conclude(now, trial, throughput, share, arriving);
                }
                // Without a backlog there is nothing to see.
                _ if over || (settled && !busy) => self.ceiling.trial = None,
                Some(_) | None => {}
            }
        }
        let Some(verdict) = self.ceiling.verdict else { return };
        // Fewer members that should still reach the ceiling and do not: they are slow themselves.
        let possible = self.capacity.measured(now).map_or(0.0, |each| each * f64::from(members));
        let possible = possible.min(self.ceiling.at(members, members));
        if throughput.is_some_and(|throughput| throughput < CONTRADICTED * possible) {
            self.ceiling.verdict = None;
            self.ceiling.retry = false;
            return;
        }
        if throughput.is_some_and(|throughput| throughput > REFUTED * verdict.throughput) {
            self.ceiling.verdict = None;
            self.ceiling.retry = false;
        } else if now > verdict.until && !self.ceiling.retry {
            if busy {
                self.ceiling.retry = true;
            } else {
                self.ceiling.verdict = None;
            }
        }
    }
}

impl Ceiling {
    /// `share`: what a member at its limit does now, as a share of what it did before. Members without work say nothing
    /// about the others.
    fn conclude(&mut self, now: f64, trial: Trial, throughput: f64, share: f64, arriving: f64) {
        let (from, to) = (f64::from(trial.from), f64::from(trial.to));
        self.trial = None;
        self.retry = false;
        // A group that reads what arrives is limited by that: some of its members are slow, not all of them.
        let keeps_up = (throughput - arriving).abs() < KEEPS_UP * arriving;
        if keeps_up || (share * to - from) / (to - from) >= GAIN {
            self.verdict = None;
            self.lasts = BELIEVED_FOR;
            return;
        }
        let lasts = if self.lasts > 0.0 { self.lasts } else { BELIEVED_FOR };
        self.lasts = (2.0 * lasts).min(BELIEVED_AT_MOST);
        self.verdict = Some(Verdict {
            throughput: throughput.max(trial.before),
            until: now + lasts,
            worse: (throughput < WORSE * trial.before).then_some((trial.to, throughput)),
        });
    }
}
