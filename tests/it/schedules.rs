//! Schedules: when they begin and end in their time zone, what limits them, and what they are worth.

use std::path::Path;
use std::time::Duration;

use jiff::Zoned;
use paceline::core::*;
use paceline::simulate::{PolicyName, Run, parse, run};
use paceline::yaml::Source;

use crate::story::{policy, spread};

const HOUR: Duration = Duration::from_secs(3_600);

fn schedule(cron: &str, zone: &str, hours: u32, replicas: u32) -> Schedule {
    Schedule::new(cron, zone, HOUR * hours, replicas).unwrap_or_else(|wrong| panic!("{wrong}"))
}

/// A time as people write it: 2026-03-27T08:00[Europe/Berlin].
fn at(text: &str) -> Duration {
    let at: Zoned = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    at.timestamp().as_duration().try_into().unwrap()
}

/// What a new engine decides on a group without lag at a time.
fn decide(policy: &Policy, at: Duration, replicas: u32) -> Decision {
    Engine::new(policy.clone()).observe(&spread(0, 24).observe_at(at), Workload::of(replicas))
}

/// A start is believed to take 40 s before one was seen.
#[test]
fn a_schedule_begins_a_start_early_and_ends_on_time_whatever_the_clocks_do() {
    let weekdays = || schedule("0 8 * * 1-5", "Europe/Berlin", 10, 10);
    let nights = || schedule("0 22 * * 6", "Europe/Berlin", 10, 10);
    let early = || schedule("30 2 * * *", "Europe/Berlin", 1, 10);
    let tokyo = || schedule("55 11 * * FRI", "Asia/Tokyo", 6, 10);
    let howe = || schedule("10 2 * * *", "Australia/Lord_Howe", 1, 10);
    // The schedule, the time, and when it ends where it binds.
    let rows = [
        (weekdays(), "2026-03-27T07:59:19[Europe/Berlin]", None),
        (
            weekdays(),
            "2026-03-27T07:59:20[Europe/Berlin]",
            Some("from 08:00 until 18:00; they start early, to be ready then."),
        ),
        (weekdays(), "2026-03-27T08:00[Europe/Berlin]", Some("until 18:00.")),
        (weekdays(), "2026-03-27T17:59:59[Europe/Berlin]", Some("until 18:00.")),
        (weekdays(), "2026-03-27T18:00[Europe/Berlin]", None),
        (weekdays(), "2026-03-28T12:00[Europe/Berlin]", None),
        // Summer time has begun, and ended: 08:00 is 08:00.
        (weekdays(), "2026-03-30T07:59:19[Europe/Berlin]", None),
        (weekdays(), "2026-03-30T07:59:20[Europe/Berlin]", Some("from 08:00 until 18:00")),
        (weekdays(), "2026-03-30T18:00[Europe/Berlin]", None),
        (weekdays(), "2026-10-26T07:59:19[Europe/Berlin]", None),
        (weekdays(), "2026-10-26T08:00[Europe/Berlin]", Some("until 18:00.")),
        (weekdays(), "2026-10-26T18:00[Europe/Berlin]", None),
        // Over the night of the change, ten hours are ten hours.
        (nights(), "2026-03-28T23:00[Europe/Berlin]", Some("until 2026-03-29 09:00.")),
        (nights(), "2026-03-29T08:59:59[Europe/Berlin]", Some("until 09:00.")),
        (nights(), "2026-03-29T09:00[Europe/Berlin]", None),
        (nights(), "2026-10-24T23:00[Europe/Berlin]", Some("until 2026-10-25 07:00.")),
        (nights(), "2026-10-25T06:59:59[Europe/Berlin]", Some("until 07:00.")),
        (nights(), "2026-10-25T07:00[Europe/Berlin]", None),
        // 02:30 is left out, so it is 03:30.
        (early(), "2026-03-29T03:29:19[Europe/Berlin]", None),
        (early(), "2026-03-29T03:30[Europe/Berlin]", Some("until 04:30.")),
        (early(), "2026-03-29T04:30[Europe/Berlin]", None),
        (early(), "2026-03-28T02:30[Europe/Berlin]", Some("until 03:30.")),
        // 02:30 comes twice, and counts once.
        (early(), "2026-10-25T02:29:19+02:00[Europe/Berlin]", None),
        (early(), "2026-10-25T02:30+02:00[Europe/Berlin]", Some("until 02:30.")),
        (early(), "2026-10-25T02:29:59+01:00[Europe/Berlin]", Some("until 02:30.")),
        (early(), "2026-10-25T02:30+01:00[Europe/Berlin]", None),
        // Other zones, one of which changes by half an hour.
        (tokyo(), "2026-03-27T11:54:19[Asia/Tokyo]", None),
        (tokyo(), "2026-03-27T17:54:59[Asia/Tokyo]", Some("until 17:55.")),
        (tokyo(), "2026-03-27T12:00[Europe/Berlin]", None),
        (howe(), "2026-10-04T02:40[Australia/Lord_Howe]", Some("until 03:40.")),
        (howe(), "2026-10-04T03:40[Australia/Lord_Howe]", None),
        (schedule("0 0 29 2 *", "UTC", 24, 10), "2028-02-29T12:00[UTC]", Some("until 2028-03-01 00:00.")),
        (schedule("0 0 29 2 *", "UTC", 24, 10), "2027-03-01T00:00[UTC]", None),
        (schedule("* * * * *", "UTC", 24, 10), "2027-03-01T12:34:56[UTC]", Some("from 12:35 until 2027-03-02 12:35")),
    ];
    for (schedule, time, ends) in rows {
        let with = Policy { schedules: vec![schedule.clone()], ..policy(1_000, 1, None) };
        let decision = decide(&with, at(time), 1);
        let seen = (decision.desired.0, decision.reason.name(), decision.reason.to_string());
        let told = format!("{} at {time}: {}", schedule.cron(), seen.2);
        match ends {
            Some(ends) => {
                assert_eq!((seen.0, seen.1), (10, "Schedule"), "{told}");
                let sentence = format!(
                    "Schedule `{}` ({}) keeps at least 10 replicas {ends}",
                    schedule.cron(),
                    schedule.time_zone()
                );
                assert!(seen.2.starts_with(&sentence), "{told}");
            }
            None => assert_eq!((seen.0, seen.1), (1, "MinReplicas"), "{told}"),
        }
    }
}

#[test]
fn of_several_schedules_the_largest_minimum_counts_and_the_other_bounds_bind() {
    let noon = at("2026-03-27T12:30[UTC]");
    let all = vec![
        schedule("0 8 * * *", "UTC", 10, 4),
        schedule("0 12 * * *", "UTC", 1, 10),
        schedule("0 9 * * *", "UTC", 9, 10),
    ];
    let with = |min, max: Option<u32>| Policy { schedules: all.clone(), ..policy(1_000, min, max) };
    let time_lag = Policy {
        schedules: all.clone(),
        ..Policy::new(Rule::TimeLag(Objective::default()), Bounds::new(1, None).unwrap())
    };
    let paused = Policy { pause: Some(Pause::AsIs), ..with(1, None) };
    let fallback = |action| Policy { fallback: Fallback { after: Duration::ZERO, action }, ..with(1, None) };
    // The policy, the group, replicas now, then, and why.
    let rows = [
        ("the largest", with(1, None), spread(0, 24), 1, 10, "Schedule"),
        ("by the objective", time_lag.clone(), spread(0, 24), 1, 10, "Schedule"),
        ("kept", with(1, None), spread(0, 24), 10, 10, "Schedule"),
        ("kept by the objective", time_lag, spread(0, 24), 10, 10, "Schedule"),
        ("the rule needs more", with(1, None), spread(15_000, 24), 1, 15, "LagAboveThreshold"),
        ("the maximum", with(1, Some(6)), spread(0, 24), 1, 6, "Schedule"),
        ("the partitions", with(1, None), spread(0, 4), 1, 4, "Schedule"),
        ("the user's minimum is more", with(12, None), spread(0, 24), 12, 12, "MinReplicas"),
        ("from zero", with(0, None), spread(0, 24), 0, 10, "Schedule"),
        ("unreadable", with(1, None), spread(0, 24).failed(), 1, 10, "Schedule"),
        ("unreadable, at the maximum", with(1, Some(6)), spread(0, 24).failed(), 1, 6, "Schedule"),
        ("paused", paused, spread(0, 24), 1, 1, "Paused"),
        ("exactly", fallback(FallbackAction::Exactly(Replicas(2))), spread(0, 24).failed(), 1, 2, "Fallback"),
        ("at least", fallback(FallbackAction::AtLeast(Replicas(2))), spread(0, 24).failed(), 1, 10, "Schedule"),
    ];
    for (name, policy, group, current, desired, reason) in rows {
        let decision = Engine::new(policy).observe(&group.observe_at(noon), Workload::of(current));
        assert_eq!((decision.desired.0, decision.reason.name()), (desired, reason), "{name}: {}", decision.reason);
    }
    let told = |max, partitions| {
        let decision = Engine::new(with(1, max)).observe(&spread(0, partitions).observe_at(noon), Workload::of(1));
        decision.reason.to_string()
    };
    assert_eq!(told(None, 24), "Schedule `0 9 * * *` (UTC) keeps at least 10 replicas until 18:00.");
    assert_eq!(
        told(None, 4),
        "Schedule `0 9 * * *` (UTC) keeps at least 4 replicas, the most of 10 that can be used, until 18:00."
    );
}

/// Polls every ten seconds from a time on, and follows what is decided: (seconds, replicas) of each change.
fn follow(policy: &Policy, from: &str, replicas: u32, seconds: u64) -> Vec<(u64, u32)> {
    let (from, mut engine, mut current) = (at(from), Engine::new(policy.clone()), replicas);
    let mut changes = Vec::new();
    for t in (0..seconds).step_by(10) {
        let observation = spread(0, 24).observe_at(from + Duration::from_secs(t));
        let decision = engine.observe(&observation, Workload::of(current));
        if decision.is_change() {
            current = decision.desired.0;
            changes.push((t, current));
        }
    }
    changes
}

#[test]
fn after_the_end_the_usual_windows_begin() {
    let with = |min| Policy { schedules: vec![schedule("0 8 * * *", "UTC", 10, 10)], ..policy(1_000, min, None) };
    // Nothing to do for an hour: the schedule ends after half of it, and the window of 300 s begins then.
    assert_eq!(follow(&with(1), "2026-03-27T17:30[UTC]", 10, 3_600), [(1_800 + 300, 1)]);
    // The last poll of the schedule is ten seconds before its end, and `idle.after` counts from there as well.
    assert_eq!(follow(&with(0), "2026-03-27T17:30[UTC]", 10, 3_600), [(1_800 + 300, 0)]);
    // Up a start early: the first poll has no poll before it, so the second one knows how far polls are apart.
    assert_eq!(follow(&with(0), "2026-03-27T07:30[UTC]", 0, 3_600), [(1_750, 10)]);
}

#[test]
fn what_can_not_be_a_schedule_is_named() {
    // The cron expression, the zone, seconds, replicas; the field and what is told.
    let rows = [
        ("0 8 * *", "UTC", 60, 1, "cron: \"0 8 * *\" has 4 fields; a cron expression takes five"),
        ("0 0 8 * * 1-5", "UTC", 60, 1, "cron: \"0 0 8 * * 1-5\" has 6 fields"),
        ("@daily", "UTC", 60, 1, "cron: \"@daily\" has 1 field;"),
        ("0 25 * * *", "UTC", 60, 1, "cron: \"0 25 * * *\" is no cron expression; write for example 0 8 * * 1-5"),
        ("0 8 * * MOON", "UTC", 60, 1, "cron: \"0 8 * * MOON\" is no cron expression"),
        ("0 8 30 2 *", "UTC", 60, 1, "cron: \"0 8 30 2 *\" never comes"),
        ("0 8 * * *", "Berlin", 60, 1, "timeZone: \"Berlin\" is no time zone of the IANA database; write for example"),
        ("0 8 * * *", "", 60, 1, "timeZone: \"\" is no time zone"),
        ("0 8 * * *", "UTC", 0, 1, "duration: is 0"),
        ("0 8 * * *", "UTC", 60, 0, "minReplicas: is 0; it must be at least 1"),
    ];
    for (cron, zone, seconds, replicas, told) in rows {
        let wrong = Schedule::new(cron, zone, Duration::from_secs(seconds), replicas).unwrap_err().to_string();
        assert!(wrong.starts_with(told), "expected {told}, told {wrong}");
    }
}

/// The scenario of docs/schedules.md, with or without its schedule.
fn peak(is_scheduled: bool, seed: u64) -> Run {
    let document = include_str!("../../docs/schedules.md");
    let yaml = document.split("```yaml\n# A scenario").nth(1).unwrap().split("```").next().unwrap();
    let yaml = format!("# A scenario{yaml}");
    let source = Source { name: "peak.yaml".to_owned(), text: yaml };
    let mut scenario = parse(&source, "peak", Path::new("")).unwrap_or_else(|invalid| panic!("{invalid}"));
    if !is_scheduled {
        scenario.policy.schedules.clear();
    }
    run(&scenario, PolicyName::TimeLag, seed)
}

#[test]
fn a_known_peak_is_met_in_time() {
    let mut sums = [[0.0; 3]; 2];
    for seed in 1..=3 {
        for (is_scheduled, sums) in [false, true].into_iter().zip(&mut sums) {
            let it = peak(is_scheduled, seed);
            let seen = [it.figures.late_percent, it.figures.replica_hours, it.figures.rescales];
            println!("seed {seed}, schedule {is_scheduled}: {seen:?}, worst {} s", it.figures.time_lag_worst);
            sums.iter_mut().zip(seen).for_each(|(sum, seen)| *sum += seen / 3.0);
            if is_scheduled {
                // All are there when it begins, 3 h after the start, and none is removed within a minute of the end.
                let at = |t: f64| it.series.iter().find(|sample| sample.t >= t).unwrap();
                assert!(at(10_800.0).ready >= 12, "{:?}", at(10_800.0));
                let raised = it.series.iter().find(|sample| sample.replicas >= 12 && sample.t > 9_000.0).unwrap();
                assert!(raised.reason == "Schedule" && raised.t >= 10_600.0, "{raised:?}");
                assert!(at(12_620.0).replicas >= 12, "{:?}", at(12_620.0));
            }
        }
    }
    println!("late %, replica-hours, changes: {sums:?}");
    let [without, with] = sums;
    assert!(with[0] < 0.1 && without[0] > 1.0, "{without:?} {with:?}");
    assert!(with[1] < 1.1 * without[1], "{without:?} {with:?}");
}
