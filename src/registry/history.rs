//! Past points of one ScaledConsumer, for charts: about an hour of all polls, and four hours before that of every
//! tenth. Bounded to 9 KiB, as all but the newest are packed; where there are several sources, to as much again for each of
//! them. A copy shares all but the newest points.

use std::collections::VecDeque;
use std::sync::Arc;

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec;

use crate::core::{Decisions, TimeLag};

/// Points per block. Copies share full blocks.
const BLOCK: usize = 60;
/// Full blocks with all polls: 360 points, an hour at polls of 10 s.
const RECENT_BLOCKS: usize = 6;
/// In older blocks, each group of this many points is reduced to the one with the highest lag.
const THINNING: usize = 10;
/// Thinned blocks: 144 points, four hours at polls of 10 s.
const OLDER_BLOCKS: usize = 24;
/// Level of compression, of 10: higher ones take longer and save a percent or two.
const LEVEL: u8 = 6;
/// Words of 4 bytes of a point.
const WORDS: usize = 7;
/// Bits of a rate and of a time lag that say nothing: 12 of 23 are left, which is a part in 4,000. No picture shows more, and
/// zeros take no room.
const ROUNDED_BITS: u32 = 11;

/// The state at one poll. What is not known is NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When, in whole seconds on the observations' clock.
    pub at_seconds: u32,
    /// Unread records, as far as known.
    pub lag_records: f32,
    /// The age of the oldest unread record.
    pub time_lag_seconds: f32,
    /// Arrival rate, in records/s.
    pub arrival_rate: f32,
    /// Consumption rate, in records/s.
    pub consumption_rate: f32,
    /// The target's spec.replicas.
    pub replicas: u16,
    /// Desired replicas.
    pub desired: u16,
    /// Replicas that the partitions can use; 0 if unknown.
    pub useful_replicas: u16,
    /// Whether the lag of every partition was known.
    pub is_complete: bool,
    /// Whether the lag was beyond what the rule allows.
    pub is_late: bool,
}

/// Points, oldest first.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Shared, as each poll copies the history and few of them complete a block.
    packed: Arc<PackedHistory>,
    newest: Vec<Point>,
}

#[derive(Clone, Debug, Default)]
struct PackedHistory {
    older: VecDeque<PackedPoints>,
    recent: VecDeque<PackedPoints>,
}

/// A block of points, oldest first. Copies share it.
#[derive(Clone, Debug)]
struct PackedPoints(Arc<[u8]>);

impl Point {
    /// The point of these decisions, for all their sources together.
    pub fn of(decisions: &Decisions) -> Self {
        let rate = |rate: Option<crate::core::RecordsPerSecond>| rate.map_or(f32::NAN, |rate| rounded(rate.0 as f32));
        let count = |replicas: u32| u16::try_from(replicas).unwrap_or(u16::MAX);
        let lag = decisions.lag();
        Self {
            at_seconds: u32::try_from(decisions.at().as_secs()).unwrap_or(u32::MAX),
            lag_records: lag.total_records.map_or(f32::NAN, |records| records as f32),
            time_lag_seconds: match decisions.time_lag() {
                TimeLag::Unknown => f32::NAN,
                TimeLag::Seconds(age) | TimeLag::AtLeast(age) => rounded(age.as_secs_f32()),
            },
            arrival_rate: rate(decisions.arrival_rate()),
            consumption_rate: rate(decisions.consumption_rate()),
            replicas: count(decisions.current().0),
            desired: count(decisions.desired().0),
            useful_replicas: decisions.chosen().model.useful_members.map_or(0, count),
            is_complete: lag.is_exact(),
            is_late: decisions.excess().is_some_and(|excess| excess > 1.0),
        }
    }

    fn words(&self) -> [u32; WORDS] {
        let pair = |low: u16, high: u16| u32::from(low) | (u32::from(high) << 16);
        let flags = u16::from(self.is_complete) | (u16::from(self.is_late) << 1);
        let [lag, time_lag, arrival, consumption] =
            [self.lag_records, self.time_lag_seconds, self.arrival_rate, self.consumption_rate].map(f32::to_bits);
        let (replicas, others) = (pair(self.replicas, self.desired), pair(self.useful_replicas, flags));
        [self.at_seconds, lag, time_lag, arrival, consumption, replicas, others]
    }

    fn of_words([at_seconds, lag, time_lag, arrival, consumption, replicas, others]: [u32; WORDS]) -> Self {
        let pair = |word: u32| (word as u16, (word >> 16) as u16);
        let ((replicas, desired), (useful_replicas, flags)) = (pair(replicas), pair(others));
        Self {
            at_seconds,
            lag_records: f32::from_bits(lag),
            time_lag_seconds: f32::from_bits(time_lag),
            arrival_rate: f32::from_bits(arrival),
            consumption_rate: f32::from_bits(consumption),
            replicas,
            desired,
            useful_replicas,
            is_complete: flags & 1 != 0,
            is_late: flags & 2 != 0,
        }
    }
}

/// To the nearest number without the bits that say nothing. A rate that rounds up beyond all numbers is infinite, as it was.
pub(super) fn rounded(number: f32) -> f32 {
    let unit = 1 << ROUNDED_BITS;
    if number.is_finite() { f32::from_bits((number.to_bits() + unit / 2) & !(unit - 1)) } else { number }
}

impl PackedPoints {
    fn of(points: &[Point]) -> Self {
        let mut last = 0;
        let words = points.iter().map(|point| {
            let mut words = point.words();
            // The time since the point before, which is nearly always the same.
            words[0] = words[0].wrapping_sub(std::mem::replace(&mut last, words[0]));
            words.map(u32::to_le_bytes)
        });
        let words: Vec<_> = words.collect();
        // The first byte of all points, then the second, and so on: most are the same from point to point.
        let places = (0..WORDS).flat_map(|word| (0..4).map(move |byte| (word, byte)));
        let bytes: Vec<u8> = places.flat_map(|(word, byte)| words.iter().map(move |it| it[word][byte])).collect();
        Self(compress_to_vec(&bytes, LEVEL).into())
    }

    fn unpack(&self) -> Vec<Point> {
        let bytes = decompress_to_vec(&self.0).expect("it was packed here");
        let count = bytes.len() / (4 * WORDS);
        let mut last = 0_u32;
        let point = |at: usize| {
            let byte = |word: usize, byte: usize| bytes[(4 * word + byte) * count + at];
            let mut words: [u32; WORDS] =
                std::array::from_fn(|word| u32::from_le_bytes(std::array::from_fn(|place| byte(word, place))));
            words[0] = words[0].wrapping_add(last);
            last = words[0];
            Point::of_words(words)
        };
        (0..count).map(point).collect()
    }
}

impl History {
    /// Adds the newest point; thins or drops the oldest ones.
    pub fn push(&mut self, point: Point) {
        // Each poll copies them, so room for twice as many would be taken each time and never used.
        self.newest.reserve_exact(1);
        self.newest.push(point);
        if self.newest.len() < BLOCK {
            return;
        }
        let PackedHistory { older, recent } = Arc::make_mut(&mut self.packed);
        recent.push_back(PackedPoints::of(&std::mem::take(&mut self.newest)));
        if recent.len() > RECENT_BLOCKS
            && let Some(block) = recent.pop_front()
        {
            older.push_back(PackedPoints::of(&thinned(&block.unpack())));
            if older.len() > OLDER_BLOCKS {
                older.pop_front();
            }
        }
    }

    /// The newest point.
    pub fn newest(&self) -> Option<Point> {
        self.points().next_back()
    }

    /// All points, oldest first. From the end only those are unpacked that are asked for.
    pub fn points(&self) -> impl DoubleEndedIterator<Item = Point> {
        let packed = self.packed.older.iter().chain(&self.packed.recent);
        packed.flat_map(PackedPoints::unpack).chain(self.newest.iter().copied())
    }

    /// Bytes that it takes, including those that copies share.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let PackedHistory { older, recent } = &*self.packed;
        let blocks = older.iter().chain(recent).map(|block| block.0.len());
        let lists = (older.capacity() + recent.capacity()) * size_of::<PackedPoints>();
        blocks.sum::<usize>() + lists + self.newest.capacity() * size_of::<Point>()
    }
}

/// The highest lag of each few points: a peak must not vanish from a picture.
fn thinned(block: &[Point]) -> Vec<Point> {
    let highest = |points: &[Point]| points.iter().copied().max_by(|a, b| a.lag_records.total_cmp(&b.lag_records));
    block.chunks(THINNING).filter_map(highest).collect()
}
