//! What external metrics say of a decision. The only place that knows which numbers an HPA may act on: what is unknown, or
//! incomplete in the direction that would take replicas away, is a reason and never a number.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::core::{Decision, GroupQuery, Objective, Observation, Reason, Rule, TimeLag};
use crate::kafka::now;
use crate::kubernetes::scaledconsumer::validate::Validated;
use crate::kubernetes::scaledconsumer::watch::Key;
use crate::serve::external_metrics::{Board, Labels, Notice, Values};

/// So many poll intervals an observation counts, unless the configuration says otherwise: one poll may be lost and one
/// late.
const POLLS: u32 = 3;

/// Puts up what is known of each ScaledConsumer.
#[derive(Clone, Debug)]
pub(super) struct Postings {
    /// Nothing where external metrics are off: then nothing is worked out either.
    board: Option<Board>,
    /// How long an observation counts; by the poll interval where absent.
    max_age: Option<Duration>,
}

impl Postings {
    pub(super) fn new(board: Option<Board>, max_age: Option<Duration>) -> Self {
        Self { board, max_age }
    }

    /// Every ScaledConsumer has been announced once.
    pub(super) fn listed(&self) {
        if let Some(board) = &self.board {
            board.listed();
        }
    }

    /// There is one, and it has not been read yet.
    pub(super) fn announce(&self, asked: &Validated) {
        if let Some(board) = &self.board {
            board.announce(&asked.namespace, &asked.name, labels(&asked.query));
        }
    }

    /// It is gone.
    pub(super) fn withdraw(&self, key: &Key) {
        if let Some(board) = &self.board {
            board.withdraw(&key.namespace, &key.name);
        }
    }

    /// It was decided on.
    pub(super) fn decided(&self, asked: &Validated, seen: &Observation, decision: &Decision, interval: Duration) {
        self.post(asked, seen.at, self.counts_for(interval), || values(decision, &asked.policy.rule));
    }

    /// It can't be decided on, for this reason.
    pub(super) fn undecided(&self, asked: &Validated, seen: &Observation, why: &str, interval: Duration) {
        self.post(asked, seen.at, self.counts_for(interval), || Values::unknown(why));
    }

    /// It can't even be read, for this reason.
    pub(super) fn refused(&self, asked: &Validated, why: &str) {
        // It counts for as long as nothing takes its place.
        self.post(asked, now(), Duration::MAX, || Values::unknown(why));
    }

    fn counts_for(&self, interval: Duration) -> Duration {
        self.max_age.unwrap_or(interval * POLLS)
    }

    fn post(&self, asked: &Validated, at: Duration, max_age: Duration, values: impl FnOnce() -> Values) {
        let Some(board) = &self.board else { return };
        let age = now().saturating_sub(at);
        let notice = Notice {
            labels: labels(&asked.query),
            // The observations' clock began at the wall clock.
            at: SignedDuration::try_from(at).ok().and_then(|at| Timestamp::from_duration(at).ok()).unwrap_or_default(),
            read: Instant::now().checked_sub(age).unwrap_or_else(Instant::now),
            max_age,
            values: values(),
        };
        board.post(&asked.namespace, &asked.name, notice);
    }
}

fn labels(query: &GroupQuery) -> Labels {
    Labels { consumer_group: query.group.clone(), topic: query.topics.only().map(str::to_owned) }
}

/// What may be acted on.
fn values(decision: &Decision, rule: &Rule) -> Values {
    let whole = match &decision.lag.incomplete_because {
        None => Ok(()),
        Some(missing) => Err(format!("not everything can be read: {missing}")),
    };
    Values {
        desired_replicas: desired(decision, &whole),
        lag_records: whole.clone().map(|()| decision.lag.total.0 as f64),
        time_lag_seconds: time_lag(decision, rule, &whole),
        arrival_records_per_second: whole.and_then(|()| match decision.model.arrival_rate {
            Some(rate) => Ok(rate.0),
            None => {
                Err("rates are known after a few polls, and this controller has just begun or has missed some"
                    .to_owned())
            }
        }),
    }
}

/// What is known is a lower bound, so more replicas are asked for whatever is missing. A pause and a fallback promise a
/// number.
fn desired(decision: &Decision, whole: &Result<(), String>) -> Result<f64, String> {
    let is_promised =
        matches!(decision.reason, Reason::Paused | Reason::PausedAtLimit { .. } | Reason::Fallback { .. });
    let is_safe = decision.desired > decision.current();
    if !is_promised && !is_safe {
        whole.clone()?;
    }
    Ok(f64::from(decision.desired.0))
}

/// An age that is only known to be at least so much counts where it is above the objective already: an HPA can only go up
/// on it. Otherwise it could go down.
fn time_lag(decision: &Decision, rule: &Rule, whole: &Result<(), String>) -> Result<f64, String> {
    let objective = match rule {
        Rule::TimeLag(objective) => *objective,
        Rule::LagPerReplica(_) => Objective::default(),
    };
    match decision.model.time_lag {
        TimeLag::AtLeast(age) if age > objective.time_lag() => Ok(age.as_secs_f64()),
        TimeLag::Seconds(age) => whole.clone().map(|()| age.as_secs_f64()),
        TimeLag::AtLeast(age) => {
            whole.clone()?;
            Err(format!(
                "the oldest record arrived before this controller began to look {} s ago, so it is not known how old it is",
                age.as_secs()
            ))
        }
        TimeLag::Unknown => {
            whole.clone()?;
            Err("how old the oldest record is is not known yet".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::sync::Arc;

    use super::*;
    use crate::core::*;
    use crate::kubernetes::scaledconsumer::validate::validate;
    use crate::serve::external_metrics::Metric;
    use crate::serve::external_metrics::selector::Selector;

    /// A decision on partitions with these lags, of which a negative one is unknown.
    fn decided(policy: &Policy, lags: &[i64], replicas: u32) -> Decision {
        let topic: Arc<str> = Arc::from("orders");
        let partitions = lags.iter().zip(0..).map(|(lag, partition)| PartitionObservation {
            topic: topic.clone(),
            partition,
            committed: Ok(Offset::new(1_000)),
            start: Ok(Offset::new(0).expect("not negative")),
            end: if *lag < 0 { Err(Unknown::NoLeader) } else { Ok(Offset::new(1_000 + lag).expect("not negative")) },
            high_watermark: None,
            last_stable: None,
        });
        let observation = Observation {
            consumer_group: "orders".to_owned(),
            at: Duration::from_secs(1_000),
            failure: None,
            topics: vec![TopicObservation {
                name: topic.clone(),
                id: None,
                partitions: Ok(lags.len() as u32),
                config: None,
            }],
            partitions: partitions.collect(),
            group: Err(Unknown::Unsupported { what: "describing groups".to_owned() }),
            kind: GroupKind::Classic,
        };
        Engine::new(policy.clone()).observe(&observation, Workload::of(replicas))
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
            ("a pause holds a number", paused(Pause::At(Replicas(5))), &[-1, -1], 3, Some(5.0), None),
        ];
        for (name, policy, lags, replicas, wanted, lag) in rows {
            let Values { desired_replicas, lag_records, .. } = values(&decided(policy, lags, *replicas), &policy.rule);
            assert_eq!(desired_replicas.as_ref().ok(), wanted.as_ref(), "{name}: {desired_replicas:?}");
            assert_eq!(lag_records.as_ref().ok(), lag.as_ref(), "{name}: {lag_records:?}");
            for refusal in [desired_replicas.err(), lag_records.err()].into_iter().flatten() {
                assert!(refusal.contains("partition orders/"), "{name}: {refusal}");
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
            let served = values(&decision, &policy().rule).time_lag_seconds;
            assert_eq!(served.ok(), wanted, "{time_lag:?}, {is_whole}");
        }
    }

    /// However short an observation counts: what can't be read at all has no observation that could become too old.
    #[test]
    fn why_one_is_refused_stays_up_until_something_takes_its_place() {
        let board = Board::new();
        let postings = Postings::new(Some(board.clone()), Some(Duration::ZERO));
        let object = serde_json::json!({
            "metadata": {"name": "orders", "namespace": "shop"},
            "spec": {"scaleTargetRef": {"name": "orders"}, "kafka": {"cluster": "main", "consumerGroup": "orders"}},
        });
        let asked = validate(&serde_json::from_value(object).expect("a ScaledConsumer")).expect("valid");
        postings.listed();
        postings.refused(&asked, "the cluster is unknown");
        let refusal = board.read("shop", Metric::LagRecords, &Selector::default()).expect_err("it has no number");
        assert!(refusal.contains("the cluster is unknown"), "{refusal}");
    }

    #[test]
    fn a_topic_is_a_label_where_there_is_just_one() {
        let named = |topics: &[&str]| TopicSelection::Named(topics.iter().map(|&topic| topic.to_owned()).collect());
        for (topics, label) in [(named(&["a"]), Some("a")), (named(&["a", "b"]), None), (TopicSelection::OfGroup, None)]
        {
            let isolation = IsolationLevel::default();
            let query = GroupQuery { group: "g".to_owned(), topics, partitions: None, isolation, exclude: None };
            assert_eq!(labels(&query).topic.as_deref(), label);
        }
    }
}
