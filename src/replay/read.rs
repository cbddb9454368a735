//! From lines to the core's types. A line that is not valid is refused with its number and its field, and nothing after it
//! is read.

use std::collections::HashSet;
use std::io::{BufRead, Read};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::config::Config;
use super::line::{
    Assigned, CONFIG, ConfigLine, GroupLine, Head, HeldBackLine, MemberLine, OBSERVATION, ObservationLine,
    PartitionLine, TaskLine, TopicConfigLine, TopicLine,
};
use super::unknown::ReadFailure;
use super::{VERSION, Wrong};
use crate::core::{
    GroupDescription, HeldBack, Known, LastStable, Member, Observation, Offset, PartitionObservation, Replicas,
    SubtopologySources, Task, TopicConfig, TopicObservation, Unknown, Workload,
};

/// The longest line, in bytes: enough for all fields of 100,000 partitions.
pub const MAX_LINE: u64 = 32 << 20;
/// The name of a topic whose lines leave it out.
const TOPIC: &str = "topic";

/// Why reading ended early.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A line is not valid.
    #[error("line {line}: {wrong}")]
    Malformed {
        /// Its number, from 1.
        line: u64,
        /// What is wrong with it.
        wrong: Wrong,
    },
    /// The input could not be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Reads lines one by one.
#[derive(Debug)]
pub struct ObservationReader<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
    names: KnownTopicNames,
}

impl<R: BufRead> ObservationReader<R> {
    /// At the first line.
    pub fn new(input: R) -> Self {
        Self { input, line: Vec::new(), number: 0, names: KnownTopicNames::default() }
    }

    /// The first line.
    pub fn config(&mut self) -> Result<Config, ReadError> {
        if !self.advance()? {
            let wrong = Wrong::new("", format!("there is no line; the first one has the type \"{CONFIG}\""));
            return Err(ReadError::Malformed { line: 1, wrong });
        }
        config(&self.line).map_err(|wrong| ReadError::Malformed { line: self.number, wrong })
    }

    /// The next observation, in the place of the one before, and the workload of that moment. Nothing at the end.
    pub fn next(&mut self, seen: &mut Observation) -> Result<Option<Workload>, ReadError> {
        if !self.advance()? {
            return Ok(None);
        }
        observation(&self.line, &mut self.names, seen)
            .map(Some)
            .map_err(|wrong| ReadError::Malformed { line: self.number, wrong })
    }

    /// Goes to the next line that is not empty; false at the end.
    fn advance(&mut self) -> Result<bool, ReadError> {
        loop {
            self.line.clear();
            self.number += 1;
            let read = (&mut self.input).take(MAX_LINE).read_until(b'\n', &mut self.line)?;
            if read as u64 == MAX_LINE && !self.line.ends_with(b"\n") {
                let wrong = Wrong::new("", format!("is longer than {MAX_LINE} bytes"));
                return Err(ReadError::Malformed { line: self.number, wrong });
            }
            self.line.truncate(self.line.trim_ascii_end().len());
            if read == 0 || !self.line.is_empty() {
                return Ok(read > 0);
            }
        }
    }
}

/// The line as `T`. Where that fails it is parsed again, slower, to find out which field is wrong.
fn parse<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, Wrong> {
    if let Ok(parsed) = serde_json::from_slice(line) {
        return Ok(parsed);
    }
    let mut json = serde_json::Deserializer::from_slice(line);
    let error = match serde_path_to_error::deserialize(&mut json) {
        Ok(parsed) => return json.end().map(|()| parsed).map_err(|error| Wrong::new("", without_line(&error))),
        Err(error) => error,
    };
    // A dot alone is the line itself, and a question mark something that has no name yet.
    let path = error.path().to_string();
    Err(Wrong::new(path.trim_end_matches(['.', '?']), without_line(error.inner())))
}

/// The number that serde_json has counts the lines within ours.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => format!("{} (column {})", &text[..at], error.column()),
        None => text,
    }
}

fn config(line: &[u8]) -> Result<Config, Wrong> {
    let Head { kind, version } = parse(line)?;
    if kind.0 != CONFIG {
        return Err(Wrong::new("type", format!("is \"{}\", but the first line has the type \"{CONFIG}\"", kind.0)));
    }
    match version {
        Some(version) if version == u64::from(VERSION) => {}
        Some(version) => {
            return Err(Wrong::new("version", format!("is {version}, and this program knows {VERSION} only")));
        }
        None => return Err(Wrong::new("version", format!("is missing; it is {VERSION}"))),
    }
    parse::<ConfigLine>(line)?.try_into()
}

fn observation(line: &[u8], names: &mut KnownTopicNames, seen: &mut Observation) -> Result<Workload, Wrong> {
    let wrong_kind = |kind: &str| {
        let text = format!("is \"{kind}\", but every line after the first has the type \"{OBSERVATION}\"");
        Wrong::new("type", text)
    };
    let line: ObservationLine<'_> = parse(line).map_err(|wrong| match parse::<Head<'_>>(line) {
        Ok(head) if head.kind.0 != OBSERVATION => wrong_kind(&head.kind.0),
        Ok(_) | Err(_) => wrong,
    })?;
    if line.kind.0 != OBSERVATION {
        return Err(wrong_kind(&line.kind.0));
    }
    seen.at = time(line.t)?;
    seen.kind = line.group_kind.unwrap_or_default();
    names.learn(&line);
    seen.failure = match line.partitions {
        Some(_) => None,
        None => Some(line.errors.first().map_or(Unknown::Missing, |failure| failure.0.clone())),
    };
    partitions(line.partitions.unwrap_or_default(), names, &mut seen.partitions)?;
    topics(line.topics, names, seen)?;
    seen.group = group(line.group, line.errors.first(), names)?;
    let deployment = line.deployment;
    let first_start = deployment.first_start_s.map(|seconds| match Duration::try_from_secs_f64(seconds) {
        Ok(start) if seconds <= LONGEST_START_S => Ok(start),
        Ok(_) | Err(_) => {
            Err(Wrong::new("deployment.first_start_s", format!("is {seconds}; it must be between 0 and a day")))
        }
    });
    Ok(Workload {
        spec: Replicas(deployment.spec),
        actual: deployment.replicas.map(Replicas),
        ready: deployment.ready.map(Replicas),
        template: deployment.template,
        first_start: first_start.transpose()?,
        read_at: None,
    })
}

/// The longest first start, in seconds.
const LONGEST_START_S: f64 = 86_400.0;

/// To the microsecond: finer than that, a number in JSON can't tell times of this century apart.
fn time(seconds: f64) -> Result<Duration, Wrong> {
    let micros = (seconds * 1e6).round();
    if (0.0..=1e18).contains(&micros) {
        return Ok(Duration::from_micros(micros as u64));
    }
    Err(Wrong::new("t", format!("is {seconds}; it must not be negative, nor beyond a few thousand years")))
}

fn partitions(
    lines: Vec<PartitionLine<'_>>,
    names: &mut KnownTopicNames,
    into: &mut Vec<Arc<PartitionObservation>>,
) -> Result<(), Wrong> {
    into.clear();
    let mut sorted = true;
    for (i, line) in lines.into_iter().enumerate() {
        let partition = partition(line, names, i)?;
        sorted = sorted && into.last().is_none_or(|last| key(last) < key(&partition));
        into.push(Arc::new(partition));
    }
    if !sorted {
        let mut keys = HashSet::with_capacity(into.len());
        if let Some(twice) = into.iter().position(|partition| !keys.insert(key(partition))) {
            let (topic, number) = key(&into[twice]);
            return Err(Wrong::new(format!("partitions[{twice}]"), format!("{topic}-{number} is there twice")));
        }
        into.sort_by(|a, b| key(a).cmp(&key(b)));
    }
    Ok(())
}

fn key(partition: &PartitionObservation) -> (&str, i32) {
    (&partition.topic, partition.partition)
}

fn partition(line: PartitionLine<'_>, names: &mut KnownTopicNames, i: usize) -> Result<PartitionObservation, Wrong> {
    let field = |name: &str| format!("partitions[{i}].{name}");
    if line.p < 0 {
        return Err(Wrong::new(field("p"), format!("is {}; partitions count from 0", line.p)));
    }
    let topic = match &line.topic {
        Some(topic) => names.arc(&topic.0),
        None => names.sole().ok_or_else(|| Wrong::new(field("topic"), "is missing, and there are several topics"))?,
    };
    let (committed, end, start) = match (line.committed, line.end, line.start, line.error) {
        (Some(committed), Some(end), Some(start), None) => (Ok(committed), Ok(end), Ok(start)),
        (Some(_), Some(_), Some(_), Some(_)) => {
            return Err(Wrong::new(field("error"), "is given, but no offset is null; what is not known is null"));
        }
        (committed, end, start, error) => {
            let reason = error.map_or(Unknown::Missing, |failure| failure.0);
            let known = |offset: Option<i64>| offset.ok_or_else(|| reason.clone());
            (known(committed), known(end), known(start))
        }
    };
    let event_time = line.event_time.map(time).transpose();
    Ok(PartitionObservation {
        topic,
        partition: line.p,
        event_time: event_time.map_err(|wrong| Wrong::new(field("event_time"), wrong.message))?,
        committed: committed.and_then(|raw| if raw == -1 { Ok(None) } else { offset(raw).map(Some) }),
        start: start.and_then(offset),
        end: end.and_then(offset),
        high_watermark: line.high_watermark.and_then(Offset::new),
        last_stable: last_stable(line.last_stable, line.held_back, i)?,
    })
}

fn last_stable(offset: Option<i64>, held_back: Option<HeldBackLine>, i: usize) -> Result<Option<LastStable>, Wrong> {
    let field = || format!("partitions[{i}].held_back");
    let Some(offset) = offset.and_then(Offset::new) else {
        return match held_back {
            Some(_) => Err(Wrong::new(field(), "is given, but last_stable is not")),
            None => Ok(None),
        };
    };
    let held_back = held_back.map(|line| {
        let since = time(line.since).map_err(|wrong| Wrong::new(format!("{}.since", field()), wrong.message))?;
        let producer = line.producer.ok_or_else(|| line.error.map_or(Unknown::Missing, |failure| failure.0));
        Ok(Box::new(HeldBack { since, producer }))
    });
    Ok(Some(LastStable { offset, held_back: held_back.transpose()? }))
}

fn offset(raw: i64) -> Known<Offset> {
    Offset::new(raw).ok_or(Unknown::NegativeOffset(raw))
}

/// The topics that the line lists, or those that its partitions name.
fn topics(lines: Option<Vec<TopicLine<'_>>>, names: &mut KnownTopicNames, seen: &mut Observation) -> Result<(), Wrong> {
    seen.topics.clear();
    let Some(lines) = lines else {
        for partition in &seen.partitions {
            match seen.topics.last_mut() {
                Some(TopicObservation { name, partitions: Ok(count), .. }) if *name == partition.topic => *count += 1,
                Some(_) | None => {
                    let name = Arc::clone(&partition.topic);
                    seen.topics.push(TopicObservation { name, id: None, partitions: Ok(1), config: None });
                }
            }
        }
        return Ok(());
    };
    for (i, line) in lines.into_iter().enumerate() {
        let config = line.config.map(|config| topic_config(&config, i)).transpose()?;
        let partitions = match (line.partitions, line.error) {
            (Some(count), _) => Ok(count),
            (None, error) => Err(error.map_or(Unknown::Missing, |failure| failure.0)),
        };
        let (name, id) = (names.arc(&line.name.0), line.id.map(|id| id.0.into_owned()));
        seen.topics.push(TopicObservation { name, id, partitions, config });
    }
    match seen.partitions.iter().position(|partition| !seen.topics.iter().any(|topic| topic.name == partition.topic)) {
        Some(at) => {
            let name = &seen.partitions[at].topic;
            Err(Wrong::new("topics", format!("does not list \"{name}\", of which there are partitions")))
        }
        None => Ok(()),
    }
}

fn topic_config(line: &TopicConfigLine, i: usize) -> Result<TopicConfig, Wrong> {
    let wrong = |_| Wrong::new(format!("topics[{i}].config.retention_seconds"), "is not a number of seconds");
    let retention = line.retention_seconds.map(Duration::try_from_secs_f64).transpose().map_err(wrong)?;
    Ok(TopicConfig { retention, compacted: line.compacted, deletes: line.deletes })
}

fn task(line: TaskLine<'_>) -> Task {
    Task { subtopology: line.subtopology.0.into_owned(), partition: line.partition, role: line.role }
}

fn group(
    line: Option<GroupLine<'_>>,
    error: Option<&ReadFailure>,
    names: &mut KnownTopicNames,
) -> Result<Known<GroupDescription>, Wrong> {
    let Some(line) = line else {
        return Ok(Err(error.map_or(Unknown::Missing, |failure| failure.0.clone())));
    };
    if let Some(failure) = line.error {
        return Ok(Err(failure.0));
    }
    let Some(state) = line.state else {
        return Err(Wrong::new("group", "has neither state nor error; where nothing is known of it, it is null"));
    };
    let Some(lines) = line.members else {
        return Err(Wrong::new("group", "missing field `members`"));
    };
    let mut members = Vec::with_capacity(lines.len());
    for (i, line) in lines.into_iter().enumerate() {
        members.push(member(line, names, i)?);
    }
    let assignor = line.assignor.map(|assignor| assignor.0.into_owned());
    let subtopologies = line.subtopologies.into_iter().map(|line| SubtopologySources {
        subtopology: line.subtopology.0.into_owned(),
        topics: line.topics.iter().map(|topic| names.arc(&topic.0)).collect(),
        is_stateful: line.stateful,
    });
    Ok(Ok(GroupDescription { state, assignor, members, subtopologies: subtopologies.collect() }))
}

fn member(line: MemberLine<'_>, names: &mut KnownTopicNames, i: usize) -> Result<Member, Wrong> {
    let lines = line.partitions.unwrap_or_default();
    let mut assignment = Vec::with_capacity(lines.len());
    for (j, assigned) in lines.iter().enumerate() {
        let field = || format!("group.members[{i}].partitions[{j}]");
        assignment.push(match assigned {
            Assigned::Number(number) => {
                let several = || Wrong::new(field(), "is a number, but there are several topics: write \"topic-0\"");
                (names.sole().ok_or_else(several)?, *number)
            }
            Assigned::Named(name) => name
                .rsplit_once('-')
                .and_then(|(topic, number)| Some((names.arc(topic), i32::try_from(number.parse::<u32>().ok()?).ok()?)))
                .ok_or_else(|| Wrong::new(field(), format!("is \"{name}\"; write topic-partition, as \"orders-0\"")))?,
        });
    }
    let text = |text: Option<super::line::Text<'_>>| text.map(|text| text.0.into_owned()).unwrap_or_default();
    Ok(Member {
        id: line.id.0.into_owned(),
        client_id: text(line.client_id),
        host: text(line.host),
        assignment,
        tasks: line.tasks.into_iter().map(task).collect(),
    })
}

/// The topics' names, each kept once.
#[derive(Debug)]
struct KnownTopicNames {
    /// Bounded by the topics of the group, of which a line of bounded length names so many.
    known: HashSet<Arc<str>>,
    /// The last one used: partitions come topic by topic.
    last: Arc<str>,
    /// The only topic, until a line names a second one.
    sole: Option<Arc<str>>,
}

impl Default for KnownTopicNames {
    fn default() -> Self {
        let topic: Arc<str> = Arc::from(TOPIC);
        Self { known: HashSet::new(), last: Arc::clone(&topic), sole: Some(topic) }
    }
}

impl KnownTopicNames {
    fn arc(&mut self, name: &str) -> Arc<str> {
        if *self.last != *name {
            self.last = match self.known.get(name) {
                Some(known) => Arc::clone(known),
                None => {
                    let new: Arc<str> = Arc::from(name);
                    self.known.insert(Arc::clone(&new));
                    new
                }
            };
        }
        Arc::clone(&self.last)
    }

    fn sole(&self) -> Option<Arc<str>> {
        self.sole.clone()
    }

    /// Finds out whether the line names one topic or several. A line that names none leaves it as it was.
    fn learn(&mut self, line: &ObservationLine<'_>) {
        let listed = line.topics.iter().flatten().map(|topic| &topic.name.0);
        let used = line.partitions.iter().flatten().filter_map(|partition| Some(&partition.topic.as_ref()?.0));
        let mut all = listed.chain(used);
        let Some(first) = all.next() else { return };
        let several = all.any(|name| name != first);
        let sole = (!several).then(|| self.arc(first));
        self.sole = sole;
    }
}
