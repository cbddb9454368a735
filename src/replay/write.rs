//! From the core's types to lines: decisions as answers, and observations to be read again later.

use std::borrow::Cow;
use std::io::Write;

use serde::Serialize;

use super::config::Config;
use super::line::{
    Assigned, DECISION, DeploymentLine, GroupLine, HeldBackLine, MemberLine, OBSERVATION, ObservationLine,
    PartitionLine, SubtopologyLine, TaskLine, Text, TopicConfigLine, TopicLine,
};
use super::unknown::ReadFailure;
use crate::core::{
    Decision, DecisionView, GroupDescription, GroupState, HeldBack, Known, Member, Observation, Offset,
    PartitionObservation, SubtopologySources, Task, TopicConfig, TopicObservation, Workload,
};

/// A decision as a line.
#[derive(Serialize)]
struct DecisionLine {
    #[serde(rename = "type")]
    kind: &'static str,
    /// The observation's.
    t: f64,
    #[serde(flatten)]
    decision: DecisionView,
}

/// Writes a decision as a line with its end.
pub fn write_decision(decision: &Decision, mut into: impl Write) -> std::io::Result<()> {
    let line = DecisionLine { kind: DECISION, t: decision.at.as_secs_f64(), decision: DecisionView::of(decision) };
    serde_json::to_writer(&mut into, &line)?;
    into.write_all(b"\n")
}

/// Writes what was seen, each line as a whole and at once.
#[derive(Debug)]
pub struct ObservationRecorder<W: Write> {
    output: W,
    line: Vec<u8>,
}

impl<W: Write> ObservationRecorder<W> {
    /// Writes the first line.
    pub fn begin(output: W, config: &Config) -> std::io::Result<Self> {
        let mut recorder = Self { output, line: Vec::new() };
        recorder.write(&config.line())?;
        Ok(recorder)
    }

    /// Writes an observation and the workload that it was decided on with.
    pub fn write_observation(&mut self, seen: &Observation, workload: &Workload) -> std::io::Result<()> {
        self.write(&ObservationLine {
            kind: OBSERVATION.into(),
            t: seen.at.as_secs_f64(),
            group_kind: Some(seen.kind),
            topics: seen.failure.is_none().then(|| seen.topics.iter().map(topic).collect()),
            partitions: seen.failure.is_none().then(|| seen.partitions.iter().map(|seen| partition(seen)).collect()),
            group: Some(group(&seen.group)),
            deployment: DeploymentLine {
                spec: workload.spec.0,
                replicas: workload.actual.map(|replicas| replicas.0),
                ready: workload.ready.map(|replicas| replicas.0),
                template: workload.template,
                first_start_s: workload.first_start.map(|start| start.as_secs_f64()),
            },
            errors: seen.failure.iter().map(|reason| ReadFailure(reason.clone())).collect(),
        })
    }

    fn write(&mut self, line: &impl Serialize) -> std::io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)?;
        self.line.push(b'\n');
        self.output.write_all(&self.line)?;
        self.output.flush()
    }
}

fn topic(topic: &TopicObservation) -> TopicLine<'_> {
    TopicLine {
        name: (&*topic.name).into(),
        id: topic.id.as_deref().map(Text::from),
        partitions: topic.partitions.as_ref().ok().copied(),
        error: topic.partitions.as_ref().err().map(|reason| ReadFailure(reason.clone())),
        config: topic.config.map(topic_config),
    }
}

fn partition(partition: &PartitionObservation) -> PartitionLine<'_> {
    let PartitionObservation { topic, partition, committed, event_time, start, end, high_watermark, last_stable } =
        partition;
    // The line has place for one reason.
    let reason = committed.as_ref().err().or(end.as_ref().err()).or(start.as_ref().err());
    PartitionLine {
        topic: Some((&**topic).into()),
        p: *partition,
        committed: committed.as_ref().ok().map(|committed| committed.map_or(-1, number)),
        end: end.as_ref().ok().copied().map(number),
        start: start.as_ref().ok().copied().map(number),
        event_time: event_time.map(|event_time| event_time.as_secs_f64()),
        high_watermark: high_watermark.map(number),
        last_stable: last_stable.as_ref().map(|last_stable| number(last_stable.offset)),
        held_back: last_stable.as_ref().and_then(|last_stable| last_stable.held_back.as_deref()).map(held_back),
        error: reason.map(|reason| ReadFailure(reason.clone())),
    }
}

fn held_back(held_back: &HeldBack) -> HeldBackLine {
    HeldBackLine {
        since: held_back.since.as_secs_f64(),
        producer: held_back.producer.as_ref().ok().copied(),
        error: held_back.producer.as_ref().err().map(|reason| ReadFailure(reason.clone())),
    }
}

fn topic_config(config: TopicConfig) -> TopicConfigLine {
    TopicConfigLine {
        retention_seconds: config.retention.map(|retention| retention.as_secs_f64()),
        compacted: config.compacted,
        deletes: config.deletes,
    }
}

fn task(task: &Task) -> TaskLine<'_> {
    TaskLine { subtopology: task.subtopology.as_str().into(), partition: task.partition, role: task.role }
}

fn subtopology(sources: &SubtopologySources) -> SubtopologyLine<'_> {
    let topics = sources.topics.iter().map(|topic| Text::from(&**topic)).collect();
    SubtopologyLine { subtopology: sources.subtopology.as_str().into(), topics, stateful: sources.is_stateful }
}

fn number(offset: Offset) -> i64 {
    i64::try_from(offset.get()).unwrap_or(i64::MAX)
}

fn group(group: &Known<GroupDescription>) -> GroupLine<'_> {
    match group {
        Ok(group) => GroupLine {
            state: Some(group.state),
            assignor: group.assignor.as_deref().map(Text::from),
            members: Some(group.members.iter().map(|it| member(it, group.state)).collect()),
            subtopologies: group.subtopologies.iter().map(subtopology).collect(),
            error: None,
        },
        Err(reason) => GroupLine { error: Some(ReadFailure(reason.clone())), ..GroupLine::default() },
    }
}

fn member(member: &Member, state: GroupState) -> MemberLine<'_> {
    let some = |text: &'_ str| (!text.is_empty()).then_some(());
    let hidden = member.assignment.is_empty() && state != GroupState::Stable;
    let assigned =
        |(topic, partition): &(std::sync::Arc<str>, i32)| Assigned::Named(Cow::Owned(format!("{topic}-{partition}")));
    MemberLine {
        id: member.id.as_str().into(),
        client_id: some(&member.client_id).map(|()| member.client_id.as_str().into()),
        host: some(&member.host).map(|()| member.host.as_str().into()),
        partitions: (!hidden).then(|| member.assignment.iter().map(assigned).collect()),
        tasks: member.tasks.iter().map(task).collect(),
    }
}
