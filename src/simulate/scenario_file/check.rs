//! What the types of a scenario can't check: each check names its field, and all errors are reported at once.

use std::time::Duration;

use crate::core::{Objective, format_duration};
use crate::simulate::TICK;
use crate::simulate::scenario::{Arrival, DURATIONS, Event, Scenario};
use crate::yaml::{Document, Invalid, Problem, path};

/// The most partitions; with more, a run takes minutes.
const MAX_PARTITIONS: u32 = 10_000;
/// The highest rate, in records/s; with more, one tick takes too long.
const FASTEST: f64 = 1e7;

struct ScenarioCheck<'a> {
    document: &'a Document<'a>,
    problems: Vec<Problem>,
}

pub(super) fn check(document: &Document<'_>, scenario: &Scenario) -> Result<(), Invalid> {
    let mut check = ScenarioCheck { document, problems: Vec::new() };
    check.all(scenario);
    if check.problems.is_empty() { Ok(()) } else { Err(Invalid(check.problems)) }
}

impl ScenarioCheck<'_> {
    fn problem(&mut self, field: &str, message: impl Into<String>) {
        let problem = self.document.problem(&path(field), message.into());
        self.problems.push(problem);
    }

    fn within(&mut self, field: &str, value: f64, least: f64, most: f64) {
        if !(least..=most).contains(&value) {
            self.problem(field, format!("{value} is not between {least} and {most}"));
        }
    }

    fn rate(&mut self, field: &str, value: f64) {
        self.within(field, value, 0.0, FASTEST);
    }

    fn at_least(&mut self, field: &str, value: Duration, least: Duration) {
        if value < least {
            let (value, least) = (format_duration(value), format_duration(least));
            self.problem(field, format!("{value} is too short; {least} is the shortest"));
        }
    }

    fn all(&mut self, it: &Scenario) {
        let tick = Duration::from_secs_f64(TICK);
        self.at_least("duration", it.duration, *DURATIONS.start());
        if it.duration > *DURATIONS.end() {
            self.problem("duration", format!("longer than {}", format_duration(*DURATIONS.end())));
        }
        if Objective::new(it.objective).is_none() {
            self.problem("objective", "not between 1s and 1day");
        }
        self.arrival(&it.arrival);
        self.topics(it);
        self.within("members.capacity", it.members.capacity, 0.001, FASTEST);
        self.within("members.noise", it.members.noise, 0.0, 1.0);
        self.within("members.spread", it.members.spread, 0.0, 0.95);
        self.at_least("members.commitInterval", it.members.commit_interval, tick);
        self.within("members.threadsPerReplica", f64::from(it.members.threads_per_replica), 1.0, 1000.0);
        self.within("pods.replicas", f64::from(it.pods.replicas), 0.0, f64::from(MAX_PARTITIONS));
        self.at_least("polls.interval", it.polls.interval, Duration::from_secs(1));
        self.within("polls.partial", it.polls.partial, 0.0, 1.0);
        self.within("polls.failed", it.polls.failed, 0.0, 1.0);
        if let Some(downstream) = &it.downstream {
            self.rate("downstream.limit", downstream.limit);
            self.rate("downstream.lossPerMember", downstream.loss_per_member);
        }
        if let Some(retention) = it.retention {
            self.at_least("retention", retention, Duration::from_secs(10));
        }
        self.policy(it);
        for (i, event) in it.events.iter().enumerate() {
            self.event(it, &format!("events[{i}]"), event);
        }
    }

    fn arrival(&mut self, it: &Arrival) {
        if *it == Arrival::default() {
            let kinds = "constant, steps, ramp, wave, flash, batch, bursts, csv or trace";
            self.problem("arrival", format!("nothing ever arrives; give at least one of {kinds}"));
        }
        if let Some(rate) = it.constant {
            self.rate("arrival.constant", rate);
        }
        for (i, step) in it.steps.iter().enumerate() {
            self.rate(&format!("arrival.steps[{i}].rate"), step.rate);
            if i > 0 && step.at <= it.steps[i - 1].at {
                self.problem(&format!("arrival.steps[{i}].at"), "not later than the step before");
            }
        }
        if let Some(ramp) = &it.ramp {
            self.rate("arrival.ramp.from", ramp.from);
            self.rate("arrival.ramp.to", ramp.to);
            if ramp.end <= ramp.start {
                self.problem("arrival.ramp.end", "not later than its start");
            }
        }
        if let Some(wave) = &it.wave {
            self.rate("arrival.wave.low", wave.low);
            self.rate("arrival.wave.high", wave.high);
            self.at_least("arrival.wave.period", wave.period, Duration::from_secs(1));
        }
        if let Some(flash) = &it.flash {
            self.rate("arrival.flash.rate", flash.rate);
            if let Some(every) = flash.every {
                self.at_least("arrival.flash.every", every, flash.rise + flash.lasts + flash.fall);
            }
        }
        if let Some(batch) = &it.batch {
            self.rate("arrival.batch.records", batch.records);
            self.at_least("arrival.batch.over", batch.over, Duration::from_secs(1));
            self.at_least("arrival.batch.every", batch.every, batch.over);
        }
        if let Some(bursts) = &it.bursts {
            self.rate("arrival.bursts.rate", bursts.rate);
            self.at_least("arrival.bursts.pause", bursts.pause, Duration::from_secs(1));
            self.at_least("arrival.bursts.lasts", bursts.lasts, Duration::from_secs(1));
        }
    }

    fn topics(&mut self, it: &Scenario) {
        if it.topics.is_empty() {
            self.problem("topics", "empty; there must be a topic");
        }
        let partitions: u64 = it.topics.iter().map(|topic| u64::from(topic.partitions)).sum();
        if partitions > u64::from(MAX_PARTITIONS) {
            self.problem("topics", format!("{partitions} partitions; {MAX_PARTITIONS} is the most"));
        }
        for (i, topic) in it.topics.iter().enumerate() {
            let field = |name: &str| format!("topics[{i}].{name}");
            if topic.partitions == 0 {
                self.problem(&field("partitions"), "0; a topic has at least one");
            }
            if topic.name.is_empty() || it.topics[..i].iter().any(|other| other.name == topic.name) {
                self.problem(&field("name"), format!("\"{}\" is empty or there twice", topic.name));
            }
            self.within(&field("share"), topic.share, 0.0, 1e6);
            if topic.weights.len() > topic.partitions as usize {
                let (weights, partitions) = (topic.weights.len(), topic.partitions);
                self.problem(&field("weights"), format!("{weights} weights for {partitions} partitions"));
            }
            for (p, weight) in topic.weights.iter().enumerate() {
                self.within(&format!("topics[{i}].weights[{p}]"), *weight, 0.0, 1e6);
            }
        }
        if it.topics.iter().all(|topic| topic.share <= 0.0) {
            self.problem("topics", "no topic has a share above 0");
        }
    }

    fn policy(&mut self, it: &Scenario) {
        let policy = &it.policy;
        if let Err(why) = crate::core::Bounds::new(policy.min_replicas, policy.max_replicas) {
            self.problem("policy.maxReplicas", why.to_string());
        }
        for (i, schedule) in policy.schedules.iter().enumerate() {
            let field = |name: &str| format!("policy.schedules[{i}].{name}");
            if policy.max_replicas.is_some_and(|max| schedule.min_replicas > max) {
                self.problem(&field("minReplicas"), "above policy.maxReplicas");
            }
            if let Err(wrong) = schedule.schedule() {
                self.problem(&field(wrong.field), wrong.text);
            }
        }
        if policy.lag_per_replica == 0 {
            self.problem("policy.lagPerReplica", "0; it must be at least one record");
        }
        if let Some(hint) = policy.capacity_hint {
            self.within("policy.capacityHint", hint, 0.001, FASTEST);
        }
        self.within("policy.targetUtilization", policy.target_utilization, 0.01, 1.0);
    }

    fn event(&mut self, it: &Scenario, field: &str, event: &Event) {
        let kinds = [
            event.capacity.is_some(),
            event.rollout.is_some(),
            event.stuck.is_some(),
            event.no_leader.is_some(),
            event.weight.is_some(),
            event.downstream.is_some(),
            event.crash.is_some(),
            event.restart.is_some(),
        ];
        if kinds.iter().filter(|is| **is).count() != 1 {
            let names = "capacity, rollout, stuck, noLeader, weight, downstream, crash or restart";
            self.problem(field, format!("an event is exactly one of {names}"));
        }
        if event.until.is_some_and(|until| until <= event.at) {
            self.problem(&format!("{field}.until"), "not later than its start");
        }
        let lasting = kinds[0] || kinds[2..=5].contains(&true);
        if event.until.is_some() && !lasting {
            self.problem(&format!("{field}.until"), "this kind of event has no end");
        }
        for (name, factor) in [("capacity", event.capacity), ("rollout", event.rollout)] {
            if let Some(factor) = factor {
                self.within(&format!("{field}.{name}"), factor, 0.0, 1000.0);
            }
        }
        if let Some(limit) = event.downstream {
            self.rate(&format!("{field}.downstream"), limit);
        }
        let stuck = event.stuck.as_ref().map(|name| ("stuck", name));
        let no_leader = event.no_leader.as_ref().map(|name| ("noLeader", name));
        let weighed = event.weight.as_ref().map(|weight| ("weight.partition", &weight.partition));
        for (name, partition) in [stuck, no_leader, weighed].into_iter().flatten() {
            if it.index_of(partition).is_none() {
                self.problem(&format!("{field}.{name}"), "no such partition in this scenario");
            }
        }
        if let Some(weight) = &event.weight {
            self.within(&format!("{field}.weight.share"), weight.share, 0.0, 1e6);
        }
    }
}
