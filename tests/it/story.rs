//! Observations in a few words, for tests of the engine.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use paceline::core::*;
use paceline::registry::{ActionResult, Snapshot, SourceSnapshot, TargetError};

/// What is true of a group at some moment; `observe` makes a poll of it.
#[derive(Clone, Debug)]
pub struct Group {
    pub partitions: Vec<Seen>,
    pub group: Known<GroupDescription>,
    pub failure: Option<Unknown>,
    pub topic_unknown: Option<Unknown>,
    /// Whether every commit has expired.
    pub commits_expired: bool,
}

/// Offsets as a broker would send them; -1 committed is none, a negative end or start an error.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub committed: i64,
    pub start: i64,
    pub end: i64,
}

/// A poll of group `orders` and its topic `orders`. `offsets`: the committed (-1: no commit) and the end offset of each partition;
/// `members`: their numbers, by which they have their ids, and the partitions of each.
pub fn poll_of_orders(
    t: u64,
    kind: GroupKind,
    state: GroupState,
    offsets: &[(i64, i64)],
    members: impl IntoIterator<Item = (u32, Vec<i32>)>,
) -> Observation {
    let topic: Arc<str> = Arc::from("orders");
    let offset = |raw: i64| Offset::new(raw).unwrap();
    let seen = offsets.iter().zip(0..).map(|((committed, end), partition)| PartitionObservation {
        topic: topic.clone(),
        partition,
        committed: Ok(Offset::new(*committed)),
        start: Ok(offset(0)),
        end: Ok(offset(*end)),
        high_watermark: None,
        last_stable: None,
        event_time: None,
    });
    let member = |(number, partitions): (u32, Vec<i32>)| Member {
        id: format!("m{number}"),
        client_id: "orders".to_owned(),
        host: "h".to_owned(),
        tasks: Vec::new(),
        assignment: partitions.into_iter().map(|partition| (topic.clone(), partition)).collect(),
    };
    Observation {
        consumer_group: "orders".to_owned(),
        at: seconds(t),
        kind,
        failure: None,
        topics: vec![TopicObservation {
            name: topic.clone(),
            id: None,
            partitions: Ok(offsets.len() as u32),
            config: None,
        }],
        partitions: seen.map(Arc::new).collect(),
        group: Ok(GroupDescription {
            state,
            subtopologies: Vec::new(),
            assignor: Some("range".to_owned()),
            members: members.into_iter().map(member).collect(),
        }),
    }
}

/// A group with these lags, one a partition, at offsets around 1,000.
pub fn lags(lags: &[u64]) -> Group {
    let seen = |lag: &u64| Seen { committed: 1_000, start: 0, end: 1_000 + *lag as i64 };
    Group {
        partitions: lags.iter().map(seen).collect(),
        group: Err(unsupported()),
        failure: None,
        topic_unknown: None,
        commits_expired: false,
    }
}

/// `total` spread over so many partitions.
pub fn spread(total: u64, partitions: u64) -> Group {
    let share = |p| total / partitions + u64::from(p < total % partitions);
    lags(&(0..partitions).map(share).collect::<Vec<_>>())
}

pub fn unsupported() -> Unknown {
    Unknown::Unsupported { what: "describing groups".into() }
}

pub fn seconds(t: u64) -> Duration {
    Duration::from_secs(t)
}

impl Group {
    pub fn with(mut self, partition: usize, seen: Seen) -> Self {
        self.partitions[partition] = seen;
        self
    }

    pub fn unknown(self, partition: usize) -> Self {
        self.with(partition, Seen { committed: 1_000, start: 0, end: -1 })
    }

    pub fn failed(mut self) -> Self {
        self.failure = Some(Unknown::TimedOut { after: seconds(5) });
        self
    }

    pub fn described(mut self, state: GroupState, members: usize) -> Self {
        let member = |n: usize| Member {
            id: format!("m{n}"),
            client_id: "c".to_owned(),
            host: "h".to_owned(),
            assignment: Vec::new(),
            tasks: Vec::new(),
        };
        self.group = Ok(GroupDescription {
            state,
            assignor: Some("cooperative-sticky".to_owned()),
            members: (0..members).map(member).collect(),
            subtopologies: Vec::new(),
        });
        self
    }

    pub fn observe(&self, t: u64) -> Observation {
        self.observe_at(seconds(t))
    }

    pub fn observe_at(&self, at: Duration) -> Observation {
        if let Some(reason) = &self.failure {
            return Observation::failed("orders", at, reason.clone());
        }
        let topic: Arc<str> = Arc::from("orders");
        let known = |raw: i64| Offset::new(raw).ok_or(Unknown::NegativeOffset(raw));
        let seen = |(p, seen): (usize, &Seen)| PartitionObservation {
            topic: topic.clone(),
            partition: p as i32,
            committed: if self.commits_expired {
                Err(Unknown::CommitsExpired { group: "orders".into() })
            } else {
                Ok(Offset::new(seen.committed))
            },
            start: known(seen.start),
            end: known(seen.end),
            high_watermark: None,
            last_stable: None,
            event_time: None,
        };
        let partitions = match &self.topic_unknown {
            Some(reason) => Err(reason.clone()),
            None => Ok(self.partitions.len() as u32),
        };
        Observation {
            consumer_group: "orders".to_owned(),
            at,
            failure: None,
            partitions: if partitions.is_ok() {
                self.partitions.iter().enumerate().map(seen).map(Arc::new).collect()
            } else {
                Vec::new()
            },
            topics: vec![TopicObservation { name: topic.clone(), id: None, partitions, config: None }],
            group: self.group.clone(),
            kind: GroupKind::Classic,
        }
    }
}

/// A workload of so many replicas that all exist, so many of which are ready.
pub fn ready(spec: u32, ready: u32) -> Workload {
    Workload { actual: Some(Replicas(spec)), ready: Some(Replicas(ready)), ..Workload::of(spec) }
}

/// `ceil(lag / threshold)` with these bounds and every default.
pub fn policy(threshold: u64, min: u32, max: impl Into<Option<u32>>) -> Policy {
    let rule = Rule::LagPerReplica(NonZeroU64::new(threshold).unwrap());
    Policy::new(rule, Bounds::new(min, max.into()).unwrap())
}

/// The time between two polls in the registry, unless a test says otherwise.
pub const POLL_INTERVAL: Duration = Duration::from_secs(10);

/// What the registry has of the only source.
pub fn snapshot(
    observation: Arc<Observation>,
    decisions: Result<Decisions, TargetError>,
    action: ActionResult,
) -> Snapshot {
    let source = SourceSnapshot { name: None, observation, certificate: None, poll_interval: POLL_INTERVAL };
    Snapshot { sources: vec![source], decisions, action, competitor: None }
}
