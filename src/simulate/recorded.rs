//! Arrivals recorded elsewhere: rates as CSV, or observations as `paceline recommend --record` writes them, one JSON
//! document a line. Errors name the line; nothing is guessed after one.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use super::scenario::TopicSettings;
use crate::yaml::{Invalid, Problem};

/// The largest file, in bytes. A recording of a week of a hundred partitions, polled every ten seconds, has about this
/// size.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Lines of `seconds,rate`: each rate holds from its time to the next.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rates(Vec<(f64, f64)>);

/// The end offsets of partitions over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// In the order of the topics and their partitions.
    partitions: Vec<ArrivalCounts>,
}

/// (seconds from the start, records that have arrived since the start) of one partition.
#[derive(Clone, Debug, Default, PartialEq)]
struct ArrivalCounts(Vec<(f64, u64)>);

impl Rates {
    /// Reads a file.
    pub fn read(file: &Path) -> Result<Self, Invalid> {
        let text = text(file)?;
        let mut rates: Vec<(f64, f64)> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let wrong = |message: &str| at_line(file, number, message);
            let line = line.trim();
            // A first line that does not start with a number is a header.
            let header = number == 0 && line.starts_with(|c: char| c.is_alphabetic());
            if line.is_empty() || line.starts_with('#') || header {
                continue;
            }
            let Some((seconds, rate)) = line.split_once(',') else { return Err(wrong("not of the form seconds,rate")) };
            let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
            let (Some(seconds), Some(rate)) = (number(seconds), number(rate).filter(|rate| (0.0..=1e7).contains(rate)))
            else {
                return Err(wrong("seconds or rate is not a number, or the rate is not between 0 and 10000000"));
            };
            if rates.last().is_some_and(|(last, _)| seconds <= *last) {
                return Err(wrong("not later than the line before"));
            }
            rates.push((seconds, rate));
        }
        if rates.is_empty() { Err(at_line(file, 0, "no line of seconds,rate")) } else { Ok(Self(rates)) }
    }

    /// The rate at a time in seconds, in records/s; 0 before the first line.
    pub fn at(&self, t: f64) -> f64 {
        let behind = self.0.partition_point(|(from, _)| *from <= t);
        behind.checked_sub(1).map_or(0.0, |last| self.0[last].1)
    }

    /// When the last line begins, in seconds.
    pub fn length(&self) -> f64 {
        self.0.last().map_or(0.0, |(t, _)| *t)
    }
}

/// One line of a recording: the fields that arrivals need.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum RecordedLine {
    Observation {
        t: f64,
        partitions: Option<Vec<RecordedPartition>>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct RecordedPartition {
    #[serde(default = "only_topic")]
    topic: String,
    p: u32,
    end: Option<i64>,
}

fn only_topic() -> String {
    "topic".to_owned()
}

impl Trace {
    /// Reads a file, and returns its topics as well; their weights are the recorded arrivals.
    pub fn read(file: &Path) -> Result<(Self, Vec<TopicSettings>), Invalid> {
        let text = text(file)?;
        let mut by_partition: BTreeMap<(String, u32), EndOffsetFollower> = BTreeMap::new();
        let (mut start, mut last) = (None, f64::NEG_INFINITY);
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let line: RecordedLine =
                serde_json::from_str(line).map_err(|error| at_line(file, number, &error.to_string()))?;
            let RecordedLine::Observation { t, partitions } = line else { continue };
            if t <= last {
                return Err(at_line(file, number, "t: not later than in the observation before"));
            }
            last = t;
            let t = t - *start.get_or_insert(t);
            for RecordedPartition { topic, p, end } in partitions.into_iter().flatten() {
                // An unknown end offset, or one of Kafka's negative codes, is no arrival.
                if let Some(end) = end.and_then(|end| u64::try_from(end).ok()) {
                    by_partition.entry((topic, p)).or_default().next(t, end);
                }
            }
        }
        if by_partition.is_empty() {
            return Err(at_line(file, 0, "no observation with an end offset; is it a file of recommend --record?"));
        }
        Ok(Self::from_partitions(by_partition))
    }

    fn from_partitions(mut by_partition: BTreeMap<(String, u32), EndOffsetFollower>) -> (Self, Vec<TopicSettings>) {
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for (topic, p) in by_partition.keys() {
            let count = counts.entry(topic.clone()).or_default();
            *count = (*count).max(p + 1);
        }
        let all: u64 = by_partition.values().map(|follower| follower.ends.total()).sum();
        let (mut partitions, mut topics) = (Vec::new(), Vec::new());
        for (name, count) in counts {
            let of_topic: Vec<ArrivalCounts> =
                (0..count).map(|p| by_partition.remove(&(name.clone(), p)).unwrap_or_default().ends).collect();
            let weights: Vec<f64> = of_topic.iter().map(|ends| ends.total() as f64 / all.max(1) as f64).collect();
            topics.push(TopicSettings { name, partitions: count, share: weights.iter().sum(), weights });
            partitions.extend(of_topic);
        }
        (Self { partitions }, topics)
    }

    /// Records of a partition that arrive between two times, in seconds.
    pub(super) fn arrivals(&self, partition: usize, from: f64, to: f64) -> u64 {
        self.partitions.get(partition).map_or(0, |ends| ends.at(to) - ends.at(from))
    }

    /// The rate at a time, in records/s over all partitions.
    pub(super) fn rate(&self, t: f64) -> f64 {
        self.partitions.iter().map(|ends| (ends.at(t + 1.0) - ends.at(t)) as f64).sum()
    }

    /// From the first observation to the last, in seconds.
    pub fn length(&self) -> f64 {
        self.partitions.iter().filter_map(|ends| ends.0.last()).map(|(t, _)| *t).fold(0.0, f64::max)
    }
}

/// Follows a partition's end offset, which starts again where the topic was recreated.
#[derive(Default)]
struct EndOffsetFollower {
    ends: ArrivalCounts,
    before: Option<u64>,
}

impl EndOffsetFollower {
    fn next(&mut self, t: f64, end: u64) {
        let total = self.ends.total();
        let new = self.before.map_or(0, |before| if end < before { end } else { end - before });
        self.before = Some(end);
        self.ends.0.push((t, total + new));
    }
}

impl ArrivalCounts {
    fn total(&self) -> u64 {
        self.0.last().map_or(0, |(_, total)| *total)
    }

    /// Records up to a time, interpolated linearly between two observations and rounded down.
    fn at(&self, t: f64) -> u64 {
        let behind = self.0.partition_point(|(at, _)| *at <= t);
        match (behind.checked_sub(1).map(|last| self.0[last]), self.0.get(behind)) {
            (Some((from, before)), Some((to, after))) => {
                before + ((after - before) as f64 * (t - from) / (to - from)) as u64
            }
            (Some((_, total)), None) => total,
            (None, _) => 0,
        }
    }
}

fn text(file: &Path) -> Result<String, Invalid> {
    bounded_text(file).map_err(|error| Invalid(vec![Problem::of_file(file, None, format!("can't be read: {error}"))]))
}

/// A device such as /dev/zero has no size and no end, and a pipe can't be opened before something writes into it. So only
/// regular files are read, and no more than the limit.
fn bounded_text(file: &Path) -> std::io::Result<String> {
    if !std::fs::metadata(file)?.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    let open = std::fs::File::open(file)?;
    let mut text = String::new();
    open.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(std::io::Error::other(format!("more than {} MiB", MAX_FILE_BYTES >> 20)));
    }
    Ok(text)
}

fn at_line(file: &Path, index: usize, message: &str) -> Invalid {
    Invalid(vec![Problem::of_file(file, Some(index + 1), message.to_owned())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_gives_exactly_the_records_that_arrived() {
        let mut follower = EndOffsetFollower::default();
        for (t, end) in [(0.0, 1_000), (10.0, 1_025), (20.0, 1_025), (30.0, 7), (40.0, 9)] {
            follower.next(t, end);
        }
        let trace = Trace { partitions: vec![follower.ends] };
        let ticks: Vec<u64> = (0..100).map(|i| trace.arrivals(0, f64::from(i) / 2.0, f64::from(i + 1) / 2.0)).collect();
        assert_eq!(ticks.iter().sum::<u64>(), 25 + 7 + 2, "the topic was made anew between 20 s and 30 s");
        assert_eq!(ticks[..20].iter().sum::<u64>(), 25);
        assert!(ticks[..20].iter().all(|count| *count <= 2), "spread over the time between the polls");
        assert_eq!(ticks[80..].iter().sum::<u64>(), 0, "nothing after the end");
    }

    #[test]
    fn a_rate_holds_until_the_next_line() {
        let rates = Rates(vec![(10.0, 5.0), (20.0, 7.0)]);
        let read: Vec<f64> = [0.0, 10.0, 19.9, 20.0, 500.0].into_iter().map(|t| rates.at(t)).collect();
        assert_eq!(read, [0.0, 5.0, 5.0, 7.0, 7.0]);
    }
}
