//! `--replica-cost`: what replicas cost, in the user's own currency.

use std::str::FromStr;

/// Hours of a day.
const DAY_H: f64 = 24.0;
/// Hours of a month: a twelfth of a year of 365 days.
const MONTH_H: f64 = 730.0;

/// What one replica costs an hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ReplicaCost(f64);

impl ReplicaCost {
    /// What so many replicas cost more an hour; negative where it is less.
    pub(super) fn per_hour(self, replicas: i64) -> f64 {
        self.0 * replicas as f64
    }

    /// The same for a month, in whole units of the currency where there are some.
    pub(super) fn per_month(self, replicas: i64) -> String {
        let cost = self.per_hour(replicas) * MONTH_H;
        if cost.abs() < 10.0 { format!("{cost:+.2}") } else { format!("{cost:+.0}") }
    }
}

impl FromStr for ReplicaCost {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const HOW: &str = "write a number and its time, such as 0.05/h, 1.2/day or 36/month";
        let (number, time) = text.split_once('/').ok_or(HOW)?;
        let hours = match time.trim() {
            "h" | "hour" => 1.0,
            "d" | "day" => DAY_H,
            "month" => MONTH_H,
            _ => return Err(HOW),
        };
        let cost: f64 = number.trim().parse().map_err(|_| HOW)?;
        if cost.is_finite() && cost > 0.0 { Ok(Self(cost / hours)) } else { Err("it must be above 0") }
    }
}

#[cfg(test)]
mod tests {
    use super::ReplicaCost;

    #[test]
    fn a_cost_has_a_time() {
        for (text, hour) in [("0.05/h", 0.05), ("1.2/day", 0.05), ("36.5/month", 0.05), (" 2 / hour", 2.0)] {
            let cost: ReplicaCost = text.parse().expect("it is a cost");
            assert!((cost.0 - hour).abs() < 1e-9, "{text}: {cost:?}");
        }
        for text in ["0.05", "0.05/year", "/h", "x/h", "-1/h", "0/h", "inf/h", ""] {
            assert!(text.parse::<ReplicaCost>().is_err(), "{text}");
        }
        let cost: ReplicaCost = "0.05/h".parse().expect("it is a cost");
        assert_eq!((cost.per_month(-9).as_str(), cost.per_month(0).as_str()), ("-328", "+0.00"));
    }
}
