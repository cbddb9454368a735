//! The value of a metric for a decision. The only place that decides which numbers an HPA may act on: what is unknown,
//! or incomplete in a way that would remove replicas, is an error and never a number.

use crate::core::{Decision, Decisions, Objective, Reason, Rule, TimeLag, of_source};
use crate::kubernetes::hpa::Metric;

/// The value, or a sentence why there is none. Of several sources it is the largest, and the sum of records and rates. A source
/// without a value is an error, unless another one asks for more replicas than there are: then the value can only scale up.
pub(super) fn value(metric: Metric, decisions: &Decisions) -> Result<f64, String> {
    let of = |decision: &Decision| {
        let value = match metric {
            Metric::DesiredReplicas => desired_replicas(decision),
            Metric::LagRecords => check_complete(decision).map(|()| decision.lag.total.0 as f64),
            Metric::TimeLagSeconds => time_lag(decision),
            Metric::ArrivalRecordsPerSecond => arrival_rate(decision),
        };
        value.map_err(|why| of_source(decision.source.as_deref(), why))
    };
    let values: Vec<_> = decisions.all().iter().map(|decision| of(decision)).collect();
    let is_more = match metric {
        Metric::DesiredReplicas => decisions.is_change() && decisions.desired() > decisions.current(),
        Metric::TimeLagSeconds => decisions.all().iter().zip(&values).any(|(decision, value)| {
            value.as_ref().is_ok_and(|age| *age > objective(decision).time_lag().as_secs_f64())
        }),
        Metric::LagRecords | Metric::ArrivalRecordsPerSecond => false,
    };
    let known: Vec<f64> = if is_more {
        values.into_iter().filter_map(Result::ok).collect()
    } else {
        values.into_iter().collect::<Result<_, _>>()?
    };
    Ok(match metric {
        Metric::DesiredReplicas | Metric::TimeLagSeconds => known.into_iter().fold(0.0, f64::max),
        Metric::LagRecords | Metric::ArrivalRecordsPerSecond => known.into_iter().sum(),
    })
}

fn arrival_rate(decision: &Decision) -> Result<f64, String> {
    check_complete(decision)?;
    let rate = decision
        .model
        .arrival_rate
        .ok_or("rates are known after a few polls, and this controller has just started or missed some")?;
    Ok(rate.0)
}

fn check_complete(decision: &Decision) -> Result<(), String> {
    match &decision.lag.incomplete_because {
        None => Ok(()),
        Some(missing) => Err(format!("not everything can be read: {missing}")),
    }
}

/// The known lag is a lower bound, so a number above the current replicas is valid with incomplete data. A pause and a
/// fallback define the number.
fn desired_replicas(decision: &Decision) -> Result<f64, String> {
    let is_fixed = matches!(decision.reason, Reason::Paused | Reason::PausedAtLimit { .. } | Reason::Fallback { .. });
    if !is_fixed && decision.desired <= decision.current() {
        check_complete(decision)?;
    }
    Ok(f64::from(decision.desired.0))
}

/// A lower bound of the age is served only above the objective, where it can only scale up. Otherwise the HPA could
/// scale down on it.
fn time_lag(decision: &Decision) -> Result<f64, String> {
    let time_lag = decision.model.time_lag;
    if let TimeLag::AtLeast(age) = time_lag
        && age > objective(decision).time_lag()
    {
        return Ok(age.as_secs_f64());
    }
    check_complete(decision)?;
    match time_lag {
        TimeLag::Seconds(age) => Ok(age.as_secs_f64()),
        TimeLag::AtLeast(age) => Err(format!(
            "the oldest record arrived before this controller's first poll {} s ago, so its age is unknown",
            age.as_secs()
        )),
        TimeLag::Unknown => Err("the age of the oldest record is not known yet".to_owned()),
    }
}

fn objective(decision: &Decision) -> Objective {
    match decision.rule {
        Rule::TimeLag(objective) => objective,
        Rule::LagPerReplica(_) => Objective::default(),
    }
}

/// A non-negative number as a Kubernetes Quantity in its canonical form: whole units (`7`) or thousandths (`1500m`),
/// the unit of the HPA's arithmetic. `None` for other numbers.
pub(super) fn quantity(number: f64) -> Option<String> {
    /// The largest number that a Quantity holds in an int64, and the largest of which the thousandths fit.
    const MAX: f64 = 9_223_372_036_854_775_807.0;
    const MAX_IN_THOUSANDTHS: f64 = MAX / 1000.0;

    if !number.is_finite() || number < 0.0 {
        return None;
    }
    if number >= MAX_IN_THOUSANDTHS {
        // The cast saturates at the largest int64.
        return Some((number as i64).to_string());
    }
    let thousandths = (number * 1000.0).round() as i64;
    Some(if thousandths % 1000 == 0 { (thousandths / 1000).to_string() } else { format!("{thousandths}m") })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::sync::Arc;

    use std::time::Duration;

    use super::*;
    use crate::core::*;

    /// A decision on partitions with these lags, of which a negative one is unknown.
    fn decided(policy: &Policy, lags: &[i64], replicas: u32) -> Decision {
        Engine::new(policy.clone()).observe(&observed(lags), Workload::of(replicas))
    }

    fn observed(lags: &[i64]) -> Observation {
        let topic: Arc<str> = Arc::from("orders");
        let partitions = lags.iter().zip(0..).map(|(lag, partition)| PartitionObservation {
            topic: topic.clone(),
            partition,
            committed: Ok(Offset::new(1_000)),
            start: Ok(Offset::new(0).expect("not negative")),
            end: if *lag < 0 { Err(Unknown::NoLeader) } else { Ok(Offset::new(1_000 + lag).expect("not negative")) },
            high_watermark: None,
            last_stable: None,
            event_time: None,
        });
        Observation {
            consumer_group: "orders".to_owned(),
            at: Duration::from_secs(1_000),
            failure: None,
            topics: vec![TopicObservation {
                name: topic.clone(),
                id: None,
                partitions: Ok(lags.len() as u32),
                config: None,
            }],
            partitions: partitions.map(Arc::new).collect(),
            group: Err(Unknown::Unsupported { what: "describing groups".into() }),
            kind: GroupKind::Classic,
        }
    }

    fn policy() -> Policy {
        let rule = Rule::LagPerReplica(NonZeroU64::new(100).expect("not zero"));
        Policy::new(rule, Bounds::new(1, Some(10)).expect("possible"))
    }

    #[test]
    fn a_number_is_served_only_where_an_hpa_may_act_on_it() {
        let paused = |pause| Policy { pause: Some(pause), ..policy() };
        // (policy, lags, replicas) -> desired replicas, lag; nothing where it is refused.
        type Row = (&'static str, Policy, &'static [i64], u32, Option<f64>, Option<f64>);
        let rows: &[Row] = &[
            ("all is known", policy(), &[150, 250], 2, Some(2.0), Some(400.0)),
            ("all is known, and more are needed", policy(), &[150, 250, 50, 50], 2, Some(4.0), Some(500.0)),
            ("what is known asks for more", policy(), &[150, 250, -1], 1, Some(3.0), None),
            ("what is known asks for no more", policy(), &[150, -1], 3, None, None),
            ("nothing is known", policy(), &[-1, -1], 3, None, None),
            ("a pause holds what there is", paused(Pause::AsIs), &[150, -1], 3, Some(3.0), None),
            ("a pause holds a number", paused(Pause::At(Replicas(2))), &[-1, -1], 3, Some(2.0), None),
        ];
        for (name, policy, lags, replicas, wanted, lag) in rows {
            let decision = Decisions::from(decided(policy, lags, *replicas));
            let desired_replicas = value(Metric::DesiredReplicas, &decision);
            let lag_records = value(Metric::LagRecords, &decision);
            assert_eq!(desired_replicas.as_ref().ok(), wanted.as_ref(), "{name}: {desired_replicas:?}");
            assert_eq!(lag_records.as_ref().ok(), lag.as_ref(), "{name}: {lag_records:?}");
            for refusal in [desired_replicas.err(), lag_records.err()].into_iter().flatten() {
                assert!(refusal.contains("partition orders/"), "{name}: {refusal}");
            }
        }
    }

    #[test]
    fn of_several_sources_the_largest_number_and_the_sum_are_served() {
        // The lags of two sources and the replicas -> desired replicas, lag; nothing where it is refused.
        type Row = (&'static str, [&'static [i64]; 2], u32, Option<f64>, Option<f64>);
        let rows: &[Row] = &[
            ("all is known", [&[150, 250], &[50, 50]], 2, Some(2.0), Some(500.0)),
            ("the second asks for more", [&[50, 50], &[150, 250, 50]], 2, Some(3.0), Some(550.0)),
            ("one is unknown and the other asks for no more", [&[50, 50], &[-1]], 2, None, None),
            ("one is unknown and the other asks for more", [&[150, 250, 50], &[-1]], 2, Some(3.0), None),
            ("what is known of one asks for more", [&[50], &[150, 250, 50, -1]], 2, Some(4.0), None),
        ];
        for (name, lags, replicas, wanted, lag) in rows {
            let engine = |name: &str| Engine::new(policy()).of_source(Some(name.into()));
            let mut engines = Engines::new(vec![engine("a"), engine("b")]);
            let seen = lags.map(|lags| Arc::new(observed(lags)));
            // At once, as the window of a scale-down has not been seen.
            let decisions = engines.observe(&seen, Workload::of(*replicas));
            let desired_replicas = value(Metric::DesiredReplicas, &decisions);
            let lag_records = value(Metric::LagRecords, &decisions);
            assert_eq!(desired_replicas.as_ref().ok(), wanted.as_ref(), "{name}: {desired_replicas:?}");
            assert_eq!(lag_records.as_ref().ok(), lag.as_ref(), "{name}: {lag_records:?}");
            for refusal in [desired_replicas.err(), lag_records.err()].into_iter().flatten() {
                assert!(refusal.starts_with("Source `b`: not everything can be read"), "{name}: {refusal}");
            }
        }
    }

    #[test]
    fn an_age_that_is_a_lower_bound_counts_only_above_the_objective() {
        let seconds = Duration::from_secs;
        let rows = [
            (TimeLag::Seconds(seconds(7)), true, Some(7.0)),
            (TimeLag::Seconds(seconds(7)), false, None),
            (TimeLag::AtLeast(seconds(30)), true, None),
            (TimeLag::AtLeast(seconds(90)), true, Some(90.0)),
            (TimeLag::AtLeast(seconds(90)), false, Some(90.0)),
            (TimeLag::Unknown, true, None),
        ];
        for (time_lag, is_whole, wanted) in rows {
            let lags: &[i64] = if is_whole { &[5] } else { &[5, -1] };
            let mut decision = decided(&policy(), lags, 1);
            decision.model.time_lag = time_lag;
            let served = value(Metric::TimeLagSeconds, &decision.into());
            assert_eq!(served.ok(), wanted, "{time_lag:?}, {is_whole}");
        }
    }

    #[test]
    fn whole_numbers_are_written_as_they_are_and_fractions_in_thousandths() {
        let rows: [(f64, Option<&str>); 16] = [
            (0.0, Some("0")),
            (-0.0, Some("0")),
            (7.0, Some("7")),
            (1.5, Some("1500m")),
            (0.001, Some("1m")),
            (0.0004, Some("0")),
            (2.000_000_000_1, Some("2")),
            (10.999_9, Some("11")),
            (1e6, Some("1000000")),
            (123_456.789, Some("123456789m")),
            (1e17, Some("100000000000000000")),
            (1e300, Some("9223372036854775807")),
            (-1.0, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
            (f64::NEG_INFINITY, None),
        ];
        for (number, expected) in rows {
            assert_eq!(quantity(number).as_deref(), expected, "{number}");
        }
    }
}
