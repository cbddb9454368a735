//! What a run looked like from outside: offsets and replicas over time, and what follows from them. It knows nothing of Paceline.
//!
//! Records of a partition are handled in order, so the curve of what had arrived and the curve of what was committed say of
//! each record how long it waited.

use std::fmt::Write as _;

/// One look.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    /// Seconds since the start.
    pub(super) at: f64,
    /// Records that have arrived, by partition.
    pub(super) arrived: Vec<u64>,
    /// Records that are committed, by partition.
    pub(super) committed: Vec<u64>,
    /// Replicas asked for.
    pub(super) wanted: u32,
    /// Replicas that are ready.
    pub(super) ready: u32,
}

/// All looks in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Curve(pub(super) Vec<Sample>);

impl Sample {
    pub(super) fn lag(&self) -> u64 {
        self.arrived.iter().zip(&self.committed).map(|(end, done)| end.saturating_sub(*done)).sum()
    }
}

/// The rate is taken over so many seconds.
const RATE_OVER: f64 = 10.0;

impl Curve {
    pub(super) fn last(&self) -> Option<&Sample> {
        self.0.last()
    }

    /// When a partition had so many records, between two looks by a straight line; nothing where it never had.
    fn arrival(&self, partition: usize, count: u64) -> Option<f64> {
        let after = self.0.partition_point(|sample| sample.arrived[partition] < count);
        let late = self.0.get(after)?;
        let Some(early) = after.checked_sub(1).map(|before| &self.0[before]) else { return Some(late.at) };
        let part =
            (count - early.arrived[partition]) as f64 / (late.arrived[partition] - early.arrived[partition]) as f64;
        Some(early.at + part * (late.at - early.at))
    }

    /// How many records were committed more than `objective` seconds after they had arrived, or wait that long already.
    pub(super) fn late_records(&self, objective: f64) -> u64 {
        let Some(last) = self.last() else { return 0 };
        let late_in = |partition: usize| -> u64 {
            let mut late = 0;
            for pair in self.0.windows(2) {
                let (from, to) = (pair[0].committed[partition], pair[1].committed[partition]);
                for record in from..to {
                    let part = (record + 1 - from) as f64 / (to - from) as f64;
                    let handled = pair[0].at + part * (pair[1].at - pair[0].at);
                    let arrived = self.arrival(partition, record + 1).unwrap_or(handled);
                    late += u64::from(handled - arrived > objective);
                }
            }
            let waiting = last.committed[partition]..last.arrived[partition];
            let old = |record| self.arrival(partition, record + 1).is_some_and(|at| last.at - at > objective);
            late + waiting.filter(|record| old(*record)).count() as u64
        };
        (0..last.arrived.len()).map(late_in).sum()
    }

    /// The age of the oldest record that was not committed at that look, in seconds.
    pub(super) fn time_lag(&self, look: usize) -> f64 {
        let sample = &self.0[look];
        let age = |partition: usize| {
            let next = sample.committed[partition] + 1;
            (next <= sample.arrived[partition]).then(|| sample.at - self.arrival(partition, next).unwrap_or(sample.at))
        };
        (0..sample.arrived.len()).filter_map(age).fold(0.0, f64::max)
    }

    /// Replica-seconds asked for from a time on: what is paid for.
    pub(super) fn replica_seconds(&self, from: f64) -> f64 {
        let pairs = self.0.windows(2).filter(|pair| pair[0].at >= from);
        pairs.map(|pair| f64::from(pair[0].wanted) * (pair[1].at - pair[0].at)).sum()
    }

    /// The first look from which the lag is that of `seconds` of arrivals at most.
    pub(super) fn caught_up_after(&self, from: f64, seconds: f64) -> Option<f64> {
        let looks = (0..self.0.len()).filter(|look| self.0[*look].at >= from);
        looks.map(|look| (look, &self.0[look])).find_map(|(look, sample)| {
            let (arriving, _) = self.rates(look);
            (sample.lag() as f64 <= seconds * arriving).then_some(sample.at)
        })
    }

    /// Records/s that arrived and that were committed in the ten seconds before that look.
    pub(super) fn rates(&self, look: usize) -> (f64, f64) {
        let now = &self.0[look];
        let Some(then) = self.0[..look].iter().rfind(|sample| now.at - sample.at >= RATE_OVER) else {
            return (0.0, 0.0);
        };
        rates_between(then, now)
    }

    /// Records/s that arrived and that were committed between two times.
    pub(super) fn rates_between(&self, from: f64, to: f64) -> (f64, f64) {
        let mut between = self.0.iter().filter(|sample| (from..=to).contains(&sample.at));
        match (between.next(), between.next_back()) {
            (Some(first), Some(last)) => rates_between(first, last),
            _ => (0.0, 0.0),
        }
    }

    /// The curve as a table.
    pub(super) fn csv(&self) -> String {
        let mut text = "seconds,arrival_rate,consumption_rate,lag,time_lag,wanted,ready\n".to_owned();
        for (look, sample) in self.0.iter().enumerate() {
            let ((arriving, done), time_lag) = (self.rates(look), self.time_lag(look));
            let Sample { at, wanted, ready, .. } = sample;
            let lag = sample.lag();
            writeln!(text, "{at:.1},{arriving:.0},{done:.0},{lag},{time_lag:.1},{wanted},{ready}").expect("it is text");
        }
        text
    }
}

fn rates_between(first: &Sample, last: &Sample) -> (f64, f64) {
    let sum = |counts: &[u64]| counts.iter().sum::<u64>() as f64;
    let seconds = (last.at - first.at).max(f64::EPSILON);
    let rate = |first: &[u64], last: &[u64]| (sum(last) - sum(first)) / seconds;
    (rate(&first.arrived, &last.arrived), rate(&first.committed, &last.committed))
}

/// Ten records a second into one partition, nothing read for 10 s, and then twenty a second: worked out by hand.
#[test]
fn what_was_late_follows_from_offsets_alone() {
    let look = |second: u64| Sample {
        at: second as f64,
        arrived: vec![(second * 10).min(200)],
        committed: vec![(second.saturating_sub(10) * 20).min(200)],
        wanted: if second < 10 { 1 } else { 2 },
        ready: 1,
    };
    let curve = Curve((0..=25).map(look).collect());
    // Record n arrives at n/10 and is read at 10 + n/20: it waits 10 - n/20 seconds, the first 200 at most.
    for (objective, late) in [(10.0, 0), (7.525, 49), (5.025, 99), (0.025, 199)] {
        assert_eq!(curve.late_records(objective), late, "later than {objective} s");
    }
    assert!((curve.time_lag(10) - 9.9).abs() < 1e-9, "{}", curve.time_lag(10));
    assert!((curve.time_lag(14) - 5.9).abs() < 1e-9, "{}", curve.time_lag(14));
    assert!((curve.replica_seconds(0.0) - 40.0).abs() < 1e-9);
    assert!((curve.replica_seconds(5.0) - 35.0).abs() < 1e-9);
    assert_eq!(curve.caught_up_after(5.0, 4.0), Some(16.0));
    assert_eq!(curve.rates(20), (10.0, 20.0));
    assert_eq!(curve.rates_between(10.0, 20.0), (10.0, 20.0));
    // What is never read is late as well, once it is old enough.
    let unread = Curve(curve.0[..=10].to_vec());
    assert_eq!(unread.late_records(4.95), 50);
    assert_eq!(curve.csv().lines().nth(15), Some("14.0,10,8,60,5.9,2,1"));
}
