//! What is expected, beside what decisions are made by: these are cautious, with more arrivals and the slowest start.

use super::{PredictionInput, QueuePrediction};

/// Arrivals of two equal spans differ by chance no more than this many times the square root of their number.
const NOISE: f64 = 3.0;

impl PredictionInput {
    /// What so many replicas bring where arrivals stay as they are and new members start as usual.
    pub(in crate::core) fn expect(&self, replicas: u32) -> QueuePrediction {
        let usual = Self { start_delay_s: self.mean_start_s, ..self.clone() };
        usual.predict(replicas, &usual.prefix(0.0, 0.0), 0.0)
    }

    /// Whether as many records have come in the second half of the past objective as in the first.
    pub(in crate::core) fn are_arrivals_calm(&self) -> bool {
        let width = self.past_width();
        let since = |point: usize| self.past.iter().skip(point).step_by(width.max(1)).sum::<f64>();
        let (all, second) = (since(0), since(width / 2));
        (all - 2.0 * second).abs() <= NOISE * all.sqrt()
    }
}
