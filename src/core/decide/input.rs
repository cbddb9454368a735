//! What both rules decide by, and what binds whatever the rule is.

use std::cmp::Ordering;
use std::time::Duration;

use super::super::allowed::{AllowedReplicas, UpperBound};
use super::super::clock::{length, seconds_between};
use super::super::decision::{Candidate, Outlook, Workload};
use super::super::estimate::departures::Ghosts;
use super::super::facts::Facts;
use super::super::finding::Finding;
use super::super::lag::{Anomaly, GroupLag, LagOfPartition};
use super::super::observation::{Observation, PartitionObservation};
use super::super::policy::{FallbackAction, OffsetReset, Pause, Policy};
use super::super::predict::is_hot;
use super::super::printable::printable;
use super::super::reason::Reason;
use super::super::rule_result::RuleResult;
use super::super::schedule::ScheduledMinimum;
use super::super::sizing::Sizing;
use super::super::state::{Quiet, not_quiet};
use super::super::streams::{is_stateful, threads_per_process, unobserved_repartition_topics};
use super::super::units::{Lag, RecordsPerSecond, Replicas, short};
use super::super::unknown::Unknown;
use super::behavior::{Direction, limit};

/// Transactions that are open for so long are told: producers' `transaction.timeout.ms` by default.
const OPEN_FOR: Duration = Duration::from_secs(60);

/// How many replicas, and why.
pub(super) type Choice = (Replicas, Reason);

/// All that a rule decides by.
pub(in crate::core) struct RuleInput<'a> {
    pub(in crate::core) policy: &'a Policy,
    pub(in crate::core) facts: &'a Facts,
    pub(in crate::core) observation: &'a Observation,
    pub(in crate::core) workload: Workload,
    pub(in crate::core) lag: &'a GroupLag,
    pub(in crate::core) sizing: &'a Sizing,
    pub(in crate::core) allowed: AllowedReplicas,
    /// The schedule that binds now.
    pub(in crate::core) schedule: Option<&'a ScheduledMinimum>,
    pub(in crate::core) quiet: Option<Quiet>,
    /// What has not followed the last change of the workload yet.
    pub(in crate::core) awaited: Option<String>,
}

/// What a rule makes of an observation.
pub(in crate::core) struct RuleOutput {
    pub(in crate::core) desired: Replicas,
    pub(in crate::core) reason: Reason,
    pub(in crate::core) candidates: Vec<Candidate>,
    /// How far their predictions look.
    pub(in crate::core) predicted_for: Option<Duration>,
    pub(in crate::core) outlook: Outlook,
    pub(in crate::core) findings: Vec<Finding>,
}

impl RuleInput<'_> {
    pub(super) fn now(&self) -> Duration {
        self.observation.at
    }

    /// Replicas now.
    pub(super) fn current(&self) -> Replicas {
        self.workload.spec
    }

    /// The user's pause, and what the user has set for when nothing can be read.
    pub(super) fn held(&self) -> Option<Choice> {
        match self.policy.pause {
            Some(Pause::AsIs) => Some((self.current(), Reason::Paused)),
            Some(Pause::At(replicas)) => Some(self.paused_at(replicas)),
            None => self.fallback(),
        }
    }

    /// The choice, or what the schedule keeps where that is more. A pause and a fallback to exactly some replicas are stronger.
    pub(super) fn scheduled(&self, (desired, reason): Choice) -> Choice {
        let Some(schedule) = self.schedule else { return (desired, reason) };
        let replicas = self.allowed.at_least;
        let is_fixed = self.policy.pause.is_some()
            || matches!((&reason, self.policy.fallback.action), (Reason::Fallback { .. }, FallbackAction::Exactly(_)));
        let is_kept = match desired.cmp(&replicas) {
            Ordering::Less => true,
            Ordering::Equal => matches!(
                reason,
                Reason::Steady(_)
                    | Reason::MinReplicas { .. }
                    | Reason::ScaleDownWindow { .. }
                    | Reason::NotIdleYet { .. }
            ),
            Ordering::Greater => false,
        };
        // Below the user's own minimum it asks for nothing.
        if is_fixed || !is_kept || replicas <= self.policy.bounds.min() {
            return (desired, reason);
        }
        let ScheduledMinimum { cron, time_zone, replicas: asked, begins, ends, .. } = schedule.clone();
        (replicas, Reason::Schedule { cron, time_zone, asked, replicas, begins, ends })
    }

    /// Zero stops the workload. Any other count keeps to the bounds, and to the partitions as far as they are known.
    fn paused_at(&self, requested: Replicas) -> Choice {
        let floor = self.allowed.floor;
        let ceiling = match self.allowed.bound {
            UpperBound::MaxReplicas | UpperBound::Partitions { .. } => self.allowed.ceiling,
            UpperBound::Unknown => self.policy.bounds.max().unwrap_or(requested).max(floor),
        };
        let limit = requested.clamp(floor, ceiling);
        if requested.0 == 0 || limit == requested {
            (requested, Reason::Paused)
        } else {
            (limit, Reason::PausedAtLimit { requested, limit })
        }
    }

    /// Nothing could be read for so long that the user's fallback counts.
    fn fallback(&self) -> Option<Choice> {
        let unread_for = self.now().saturating_sub(self.facts.unread_since?);
        let missing = self.lag.incomplete_because.as_ref()?.to_string();
        if unread_for < self.policy.fallback.after {
            return None;
        }
        // Never zero, and never outside of the user's bounds, whatever could not be read.
        let floor = self.allowed.floor;
        let allowed =
            |replicas: Replicas| replicas.clamp(floor, self.policy.bounds.max().unwrap_or(replicas).max(floor));
        let desired = match self.policy.fallback.action {
            FallbackAction::Hold => return None,
            FallbackAction::AtLeast(replicas) => self.current().max(allowed(replicas)),
            FallbackAction::Exactly(replicas) => allowed(replicas),
        };
        Some((desired, Reason::Fallback { unread_for, missing }))
    }

    /// Records that arrived where the group has no commit, and that it will read, since the workload was last above zero.
    pub(super) fn arrived_without_commit(&self) -> u64 {
        match self.policy.offset_reset_of(self.observation.kind) {
            OffsetReset::Latest => self.facts.arrived_without_commit,
            OffsetReset::Earliest => 0,
        }
    }

    /// Whether a workload at zero has something to do.
    pub(super) fn is_activated(&self) -> bool {
        let activation_lag = self.policy.idle.activation_lag;
        self.lag.total.0 > activation_lag || self.arrived_without_commit() > activation_lag
    }

    /// The reason of a workload at zero that has something to do.
    pub(super) fn activated(&self) -> Reason {
        let (lag, unit) = (self.lag.total, self.lag.unit());
        Reason::Activated { lag, unit, arrived: self.arrived_without_commit() }
    }

    /// The reason of a workload at zero that stays there.
    pub(super) fn stays_at_zero(&self) -> Reason {
        match &self.lag.incomplete_because {
            Some(missing) => Reason::DataIncomplete { missing: missing.to_string() },
            None => Reason::ScaledToZero,
        }
    }

    /// The upper bound as a reason, where it is below what the rule recommends.
    pub(super) fn bound(&self, result: &RuleResult) -> Option<Reason> {
        if result.replicas().is_none_or(|replicas| replicas <= self.allowed.ceiling) {
            return None;
        }
        Some(match self.allowed.bound {
            UpperBound::MaxReplicas => Reason::MaxReplicas { rule: result.clone(), max: self.allowed.ceiling },
            UpperBound::Unknown => Reason::PartitionsUnknown(result.clone()),
            UpperBound::Partitions { useful_members } => Reason::PartitionBound {
                rule: result.clone(),
                useful_members,
                threads_per_replica: self.sizing.threads_per_replica().get(),
                unit: self.sizing.unit(),
            },
        })
    }

    /// Offsets that contradict each other forbid every scale-down for a while.
    pub(super) fn inconsistent(&self, window: Duration) -> Option<Reason> {
        let fresh = self.facts.anomalies.iter().filter(|(_, (since, anomaly))| match anomaly {
            Anomaly::CommittedBeyondEnd(_) => self.now().saturating_sub(*since) < window,
            Anomaly::RecordsLost(_) => false,
        });
        let ((topic, partition), (_, anomaly)) = fresh.min_by_key(|(key, _)| *key)?;
        Some(Reason::OffsetsInconsistent { partition: format!("{}/{partition}", printable(topic)), anomaly: *anomaly })
    }

    /// For how long there has been nothing to do, or why that is no reason to stop the last replica.
    pub(super) fn idle(&self, after: Duration) -> Result<Duration, String> {
        if !self.policy.bounds.allow_zero() {
            return Err("minReplicas is 1 or more".to_owned());
        }
        if let Some(because) = not_quiet(self.lag, self.policy.idle.activation_lag) {
            return Err(because);
        }
        if self.nobody().is_some() {
            return Err("nobody is in the group".to_owned());
        }
        let quiet_for = self.quiet.map_or(Duration::ZERO, |quiet| self.now().saturating_sub(quiet.since));
        if quiet_for < after {
            return Err(format!("{} more without work is needed", short(after - quiet_for)));
        }
        Ok(quiet_for)
    }

    pub(super) fn limit_up(&self, target: Replicas) -> Replicas {
        let (current, changes) = (self.current(), &self.facts.workload.changes);
        // A workload at zero may always start: per cent of nothing would be nothing.
        let limit = limit(&self.policy.scale_up, changes, current, self.now(), Direction::Up).unwrap_or(target);
        target.min(limit.max(current).max(Replicas(1)))
    }

    pub(super) fn limit_down(&self, target: Replicas) -> Replicas {
        let (current, changes) = (self.current(), &self.facts.workload.changes);
        let limit = limit(&self.policy.scale_down, changes, current, self.now(), Direction::Down).unwrap_or(target);
        target.max(limit.min(current))
    }

    /// One replica less at a time where tasks with state move, and whether it is known that they have state: each replica that
    /// goes leaves tasks whose state is restored elsewhere, and nobody reads their partitions meanwhile. Zero leaves none.
    pub(super) fn one_at_a_time(&self, target: Replicas) -> Option<(Replicas, bool)> {
        let next = Replicas(self.current().0.saturating_sub(1));
        if target.0 == 0 || target >= next {
            return None;
        }
        match is_stateful(self.observation) {
            Some(false) => None,
            state => Some((next, state.is_some())),
        }
    }

    /// Members of the last scale-down that keep the next one back: how long they stay is to be seen first.
    pub(super) fn members_leave(&self) -> Option<Reason> {
        let waiting_for = match self.facts.estimator.delays.departures.awaited(self.now())? {
            1 => "1 member without a pod has not left the group".to_owned(),
            members => format!("{members} members without a pod have not left the group"),
        };
        Some(Reason::ChangePending { wanted: None, waiting_for })
    }

    /// The lag that would come of so many replicas while those that go keep their partitions; nothing where members leave as
    /// their pods do.
    pub(super) fn lag_of_release(&self, to: Replicas) -> Option<(Lag, Duration)> {
        let estimator = &self.facts.estimator;
        let unread_s = estimator.delays.departures.unread_s();
        let most = self.sizing.useful_members();
        let [busy, left] = [self.current(), to].map(|replicas| f64::from(self.sizing.members(replicas.0).min(most)));
        if unread_s <= 0.0 || left >= busy {
            return None;
        }
        let records = estimator.arriving() * (1.0 - left / busy) * unread_s;
        Some((Lag(self.lag.total.0.saturating_add(records as u64)), length(unread_s.ceil())))
    }

    /// What keeps a scale-up back where nothing is committed.
    pub(super) fn nothing_committed(&self) -> Option<Reason> {
        let waited_s = self.facts.estimator.stands_still_for_s()?;
        Some(Reason::NothingCommitted { waited: length(waited_s.floor()) })
    }

    /// What keeps a scale-down back where all replicas are ready and none of them is in the group.
    pub(super) fn nobody(&self) -> Option<Reason> {
        self.facts.membership.nobody_for_s(self.now(), &self.facts.estimator)?;
        Some(Reason::NobodyInGroup { group: self.observation.consumer_group.clone() })
    }

    /// What is wrong with how an application of Kafka Streams is looked at.
    fn streams_findings(&self) -> impl Iterator<Item = Finding> {
        let topics = unobserved_repartition_topics(self.observation);
        let ignored = topics
            .first()
            .map(|topic| Finding::RepartitionTopicsIgnored { topic: (*topic).to_owned(), more: topics.len() - 1 });
        let configured = self.sizing.threads_per_replica().get();
        let is_complete = self.awaited.is_none();
        let threads = threads_per_process(self.observation);
        // While members come and go, a process may have fewer than it runs, and never more.
        let differs = threads.filter(|threads| *threads > configured || (*threads < configured && is_complete));
        let threads = differs.map(|threads| Finding::ThreadsPerReplicaDiffers { threads, configured });
        ignored.into_iter().chain(threads)
    }

    /// Members that commit nothing where records come. Those that the lag counts are stuck, or stand still.
    fn without_commit(&self) -> Option<Finding> {
        let estimator = &self.facts.estimator;
        let longer_than_s = estimator.commits_within_s();
        let held = |partition: &LagOfPartition| {
            let held = estimator.held.of(partition, longer_than_s).filter(|held| held.waits_s > longer_than_s);
            held.filter(|_| partition.lag.not_counted() > 0)
        };
        let mut all = self.lag.by_partition.iter().filter_map(|partition| Some((partition, held(partition)?)));
        let (first, held) = all.next()?;
        Some(Finding::PartitionWithoutCommit {
            partition: first.name(),
            more: all.count(),
            arrived: held.arrived as u64,
            waited: length(held.waits_s.floor()),
        })
    }

    /// Open transactions that hold last stable offsets back for longer than is usual.
    fn open_transaction(&self) -> Option<Finding> {
        let held_back = |partition: &PartitionObservation| {
            let held_back = partition.last_stable.as_ref()?.held_back.as_deref()?;
            Some((self.now().saturating_sub(held_back.since), held_back.producer.clone()))
        };
        let of_partitions = self.observation.partitions.iter().filter_map(|it| Some((it, held_back(it)?)));
        let long: Vec<_> = of_partitions.filter(|(_, (held_for, _))| *held_for >= OPEN_FOR).collect();
        let (partition, (held_for, producer)) = long.iter().max_by_key(|(_, (held_for, _))| *held_for)?;
        let producer = producer.as_ref().copied().map_err(|reason| match reason {
            Unknown::NotAuthorized { resource, name } => {
                format!("DescribeProducers takes the right to Read {resource} \"{name}\"")
            }
            reason => reason.to_string(),
        });
        Some(Finding::OpenTransaction {
            partition: format!("{}/{}", printable(&partition.topic), partition.partition),
            more: long.len() - 1,
            producer,
            held_for: *held_for,
        })
    }

    /// Partitions that have no leader, and the first of those that have had none for longest.
    fn without_leader(&self) -> Option<Finding> {
        let waited = |partition: &&LagOfPartition| self.facts.estimator.without_leader_s(self.now(), partition);
        let has_none = |partition: &&LagOfPartition| partition.seen.end == Err(Unknown::NoLeader);
        let all: Vec<_> = self.lag.by_partition.iter().filter(has_none).collect();
        let first = all.iter().rev().max_by(|a, b| waited(a).total_cmp(&waited(b)))?;
        Some(Finding::PartitionWithoutLeader {
            partition: first.name(),
            more: all.len() - 1,
            lag: first.lag.lag(),
            waited: length(waited(first).floor()),
        })
    }

    /// Topics that no member has.
    fn unread_topics(&self) -> Option<Finding> {
        let topics = &self.observation.topics;
        if self.facts.readers.is_elsewhere() {
            let topic = topics.first()?.name.to_string();
            return Some(Finding::TopicsNotAssigned { topic, more: topics.len() - 1 });
        }
        let abandoned = &self.lag.abandoned;
        let first = abandoned.iter().max_by_key(|topic| topic.lag)?.clone();
        Some(Finding::AbandonedTopics { first, more: abandoned.len() - 1 })
    }

    /// What is wrong, whatever the rule is, the worst first.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let streams: Vec<_> = self.streams_findings().collect();
        let has_other_threads = streams.iter().any(|it| matches!(it, Finding::ThreadsPerReplicaDiffers { .. }));
        let members = self.facts.membership.finding(self.observation, self.sizing, &self.facts.estimator);
        findings.extend(members.filter(|_| !has_other_threads));
        let is_nobody = matches!(findings.first(), Some(Finding::NobodyInGroup { .. }));
        if let Some(missing) = &self.lag.incomplete_because {
            findings.push(Finding::DataIncomplete { missing: missing.to_string() });
        }
        let estimator = &self.facts.estimator;
        let loads = self.lag.by_partition.iter().zip(&estimator.loads);
        let (now, delays) = (self.now(), &estimator.delays);
        // Of a member without a pod no record is to blame.
        let stuck = loads.filter(|(partition, load)| load.stuck && !estimator.is_of_ghost(now, partition));
        let stuck = stuck.max_by(|(_, a), (_, b)| a.lag.total_cmp(&b.lag));
        if let Some((partition, _)) = stuck {
            findings.push(Finding::StuckPartition {
                partition: partition.name(),
                lag: partition.lag.lag().unwrap_or_default(),
                stuck_for: length(estimator.frozen_for_s(partition)),
            });
        }
        findings.extend(self.without_leader());
        findings.extend(self.without_commit());
        findings.extend(self.open_transaction());
        if let Some(capacity) = self.facts.capacity_of_member(self.policy) {
            let loads = self.lag.by_partition.iter().zip(&estimator.loads);
            let hottest = loads.max_by(|(_, a), (_, b)| a.rate.total_cmp(&b.rate));
            if let Some((partition, load)) = hottest.filter(|(_, load)| is_hot(load.rate, capacity)) {
                findings.push(Finding::HotPartition {
                    partition: partition.name(),
                    arrival_rate: RecordsPerSecond(load.rate),
                    capacity: RecordsPerSecond(capacity),
                });
            }
        }
        let standstill = &estimator.standstill;
        if let Some(waited_s) = estimator.stands_still_for_s().filter(|_| !standstill.is_expected()) {
            let waited = length(waited_s.floor());
            findings.push(Finding::CommitsStandStill { lag: self.lag.total, waited });
        } else if let Some(rare_s) = standstill.rare_interval_s() {
            let shortest = length((estimator.shortest_objective_s() + rare_s - estimator.commit_interval_s).ceil());
            findings.push(Finding::CommitsRare { interval: length(rare_s.ceil()), shortest });
        }
        if let Some(Ghosts { members, unread_s }) = delays.departures.ghosts() {
            findings.push(Finding::GhostMembers { members, unread_for: length(unread_s.floor()) });
        }
        if let Some(change) = delays.pending.filter(|_| delays.is_overdue(now) && !is_nobody) {
            let waited = length(seconds_between(change.since, now));
            findings.push(Finding::RescaleTimeout { wanted: Replicas(change.to), waited });
        }
        if let Some(throughput) = estimator.ceiling.throughput() {
            findings.push(Finding::ThroughputCeiling { throughput: RecordsPerSecond(throughput) });
        }
        findings.extend(self.unread_topics());
        findings.extend(streams);
        findings
    }
}
