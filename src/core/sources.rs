//! Several sources of one workload: an engine for each, and the decision of the neediest. One source is the same with one
//! engine, whose source has no name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::decision::{Decision, Workload};
use super::engine::Engine;
use super::memory::UnusableMemory;
use super::model::TimeLag;
use super::names::SourceName;
use super::observation::Observation;
use super::policy::Policy;
use super::units::{RecordsPerSecond, Replicas};
use super::unknown::Unknown;
use super::view::LagView;

/// The engines of a workload's sources, in their order. There is at least one.
#[derive(Clone, Debug)]
pub struct Engines {
    engines: Vec<Engine>,
    /// By source: when it was last taken for unread, because nothing came of it.
    missed: Vec<Option<Duration>>,
}

impl Engines {
    /// Of these sources.
    ///
    /// # Panics
    ///
    /// Where there is none.
    pub fn new(engines: Vec<Engine>) -> Self {
        assert!(!engines.is_empty(), "a workload has at least one source");
        let missed = vec![None; engines.len()];
        Self { engines, missed }
    }

    /// The name of each source.
    pub fn names(&self) -> impl Iterator<Item = Option<&SourceName>> {
        self.engines.iter().map(Engine::source)
    }

    /// Uses other policies from now on, one for each source; what was observed stays.
    pub fn set_policies(&mut self, policies: &[Policy]) {
        for (engine, policy) in
            self.engines.iter_mut().zip(policies).filter(|(engine, policy)| engine.policy() != *policy)
        {
            engine.set_policy(policy.clone());
        }
    }

    /// The last observation of each source as it counts now. Where others were read and one was not for longer than
    /// consecutive observations are apart, it is unknown.
    pub fn current(&mut self, seen: &[Arc<Observation>]) -> Vec<Arc<Observation>> {
        let newest = seen.iter().map(|seen| seen.at).max().unwrap_or_default();
        let sources = self.engines.iter().zip(&mut self.missed).zip(seen);
        let current = sources.map(|((engine, missed), seen)| {
            let most = engine.policy().max_observation_gap;
            // An engine must not see an earlier time than before.
            if newest.saturating_sub(seen.at) <= most && missed.is_none_or(|missed| missed < seen.at) {
                return Arc::clone(seen);
            }
            *missed = Some(newest);
            Arc::new(Observation::failed(&seen.consumer_group, newest, Unknown::TimedOut { after: most }))
        });
        current.collect()
    }

    /// Remembers what was seen of each source and decides on it. The workload gets what the neediest source asks for: one
    /// that can't be read asks for the replicas that there are, so none is removed.
    pub fn observe(&mut self, seen: &[Arc<Observation>], workload: Workload) -> Decisions {
        let sources = self.engines.iter_mut().zip(seen);
        let decisions = Decisions::of(sources.map(|(engine, seen)| Arc::new(engine.observe(seen, workload))).collect());
        let desired = decisions.chosen().desired;
        for (engine, own) in self.engines.iter_mut().zip(decisions.all()) {
            if own.desired != desired {
                engine.note_other_decision(own, desired);
            }
            engine.forget_situation();
        }
        decisions
    }

    /// Remembers what was seen of each source, without a decision: for when the workload can't be read.
    pub fn remember(&mut self, seen: &[Arc<Observation>]) {
        self.engines.iter_mut().zip(seen).for_each(|(engine, seen)| engine.remember(seen));
    }

    /// The memories as text: that of the engine, or with several sources a JSON object of them by their names.
    pub fn save(&self) -> String {
        if let [only] = &self.engines[..]
            && only.source().is_none()
        {
            return only.save();
        }
        let memories: BTreeMap<&str, String> =
            self.engines.iter().filter_map(|engine| Some((&**engine.source()?, engine.save()))).collect();
        serde_json::to_string(&memories).expect("texts are JSON")
    }

    /// Goes on from saved memories; the engines must not have seen anything yet. A source without one starts over.
    pub fn restore(&mut self, saved: &str) -> Result<(), UnusableMemory> {
        if let [only] = &mut self.engines[..]
            && only.source().is_none()
        {
            return only.restore(saved);
        }
        let memories: BTreeMap<&str, String> = serde_json::from_str(saved)?;
        for engine in &mut self.engines {
            let memory = engine.source().and_then(|name| memories.get(&**name));
            memory.map_or(Ok(()), |memory| engine.restore(memory))?;
        }
        Ok(())
    }
}

/// What each source of a workload asks for, and the decision that is acted on. There is at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Decisions {
    all: Vec<Arc<Decision>>,
    chosen: usize,
    lag: Arc<LagView>,
}

impl From<Decision> for Decisions {
    /// Of the only source.
    fn from(decision: Decision) -> Self {
        Self::of(vec![Arc::new(decision)])
    }
}

impl Decisions {
    /// The first of those that ask for most is chosen.
    fn of(all: Vec<Arc<Decision>>) -> Self {
        let mut chosen = 0;
        for (at, decision) in all.iter().enumerate() {
            if decision.desired > all[chosen].desired {
                chosen = at;
            }
        }
        let lag = |it: &Arc<Decision>| (it.source.as_deref().map(str::to_owned), LagView::of(&it.lag, &it.partitions));
        let lag = Arc::new(LagView::sum(all.iter().map(lag)));
        Self { all, chosen, lag }
    }

    /// The decision that is acted on: that of the source that asks for most.
    pub fn chosen(&self) -> &Arc<Decision> {
        &self.all[self.chosen]
    }

    /// The decision of each source.
    pub fn all(&self) -> &[Arc<Decision>] {
        &self.all
    }

    /// That of one source, as if it was the only one.
    ///
    /// # Panics
    ///
    /// Where there are not so many sources.
    pub fn only(&self, at: usize) -> Self {
        Self::of(vec![Arc::clone(&self.all[at])])
    }

    /// When the last poll ended of which it knows.
    pub fn at(&self) -> Duration {
        self.all.iter().map(|decision| decision.at).max().unwrap_or_default()
    }

    /// Replicas now.
    pub fn current(&self) -> Replicas {
        self.chosen().current()
    }

    /// How many replicas there should be now.
    pub fn desired(&self) -> Replicas {
        self.chosen().desired
    }

    /// Whether the workload must be changed.
    pub fn is_change(&self) -> bool {
        self.chosen().is_change()
    }

    /// The lag of all sources together.
    pub fn lag(&self) -> &LagView {
        &self.lag
    }

    /// The highest time lag.
    pub fn time_lag(&self) -> TimeLag {
        TimeLag::highest(self.all.iter().map(|decision| decision.model.time_lag))
    }

    /// Records that producers add per second, for all sources; nothing where that of one is not known.
    pub fn arrival_rate(&self) -> Option<RecordsPerSecond> {
        self.rate(|decision| decision.model.arrival_rate)
    }

    /// Records that the groups commit per second; nothing where that of one is not known.
    pub fn consumption_rate(&self) -> Option<RecordsPerSecond> {
        self.rate(|decision| decision.model.consumption_rate)
    }

    fn rate(&self, of: impl Fn(&Decision) -> Option<RecordsPerSecond>) -> Option<RecordsPerSecond> {
        let rates: Option<Vec<_>> = self.all.iter().map(|decision| of(decision).map(|rate| rate.0)).collect();
        Some(RecordsPerSecond(rates?.iter().sum()))
    }

    /// How often the lag is what the rule allows, of the source where it is most; nothing where none is known.
    pub fn excess(&self) -> Option<f64> {
        self.all.iter().filter_map(|decision| decision.excess()).reduce(f64::max)
    }
}

impl TimeLag {
    /// The highest of several; a lower bound where one of them is not known.
    pub fn highest(all: impl Iterator<Item = Self>) -> Self {
        all.reduce(|one, other| match (one, other) {
            (Self::Seconds(one), Self::Seconds(other)) => Self::Seconds(one.max(other)),
            (Self::Unknown, Self::Unknown) => Self::Unknown,
            (Self::Unknown, Self::Seconds(age) | Self::AtLeast(age))
            | (Self::Seconds(age) | Self::AtLeast(age), Self::Unknown) => Self::AtLeast(age),
            (Self::AtLeast(one), Self::Seconds(other) | Self::AtLeast(other))
            | (Self::Seconds(one), Self::AtLeast(other)) => Self::AtLeast(one.max(other)),
        })
        .unwrap_or(Self::Unknown)
    }
}

impl LagView {
    /// The lag of several sources together, without partitions. Of one it is the same.
    pub fn sum(sources: impl IntoIterator<Item = (Option<String>, Self)>) -> Self {
        let mut sources = sources.into_iter().map(|(source, lag)| {
            let missing = lag.missing.map(|missing| match source {
                Some(name) => format!("source `{name}`: {missing}"),
                None => missing,
            });
            Self { missing, ..lag }
        });
        let first = sources.next().unwrap_or_default();
        sources.fold(first, |mut sum, lag| {
            sum.total_records = match (sum.total_records, lag.total_records) {
                (Some(one), Some(other)) => Some(one.saturating_add(other)),
                (one, other) => one.or(other),
            };
            sum.complete &= lag.complete;
            sum.without_commit = match (sum.without_commit.take(), lag.without_commit) {
                (Some(mut one), Some(other)) => {
                    one.partitions += other.partitions;
                    one.records = one.records.saturating_add(other.records);
                    one.held += other.held;
                    Some(one)
                }
                (one, other) => one.or(other),
            };
            sum.missing = sum.missing.take().or(lag.missing);
            sum.compacted_topics.extend(lag.compacted_topics);
            sum.abandoned_topics.extend(lag.abandoned_topics);
            sum
        })
    }
}
