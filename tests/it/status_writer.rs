//! What the one writer of statuses and Events asks of the API server: how much, how soon, and in which order.

mod events;
mod fleet;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use paceline::controller::StatusBudget;
use paceline::core::Unknown;
use paceline::registry::{ActionResult, TargetError};
use tokio::time::Instant;
use tracing_subscriber::fmt::MakeWriter;

use crate::story::POLL_INTERVAL;
use fleet::{Fleet, LeadershipSwitch, pass};

const MINUTE: Duration = Duration::from_secs(60);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// So many that lead without a lease; all of them have a status.
async fn fleet(count: usize) -> Fleet {
    let (_, leadership) = LeadershipSwitch::new();
    let fleet = Fleet::new(count, StatusBudget::default(), leadership, true);
    // 50 at once, and 20 a second.
    for _ in 0..=count / 200 {
        fleet.observe_all(|_| 100, Duration::ZERO);
        pass(POLL_INTERVAL).await;
    }
    let (statuses, events) = fleet.take_written();
    assert_eq!((statuses.len(), events.len()), (count, 0), "each has its first status, and that is no Event");
    fleet
}

/// Collects what is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber =
            tracing_subscriber::fmt().with_writer(log.clone()).with_max_level(tracing::Level::INFO).with_ansi(false);
        (log, tracing::subscriber::set_default(subscriber.finish()))
    }

    fn take(&self) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn numbers_of_a_thousand_stay_within_the_budget_and_a_change_is_written_at_once_all_the_same() {
    let fleet = fleet(1000).await;
    for poll in 1..=12 {
        fleet.observe_all(|number| 100 + poll * (number as u64 + 1), Duration::ZERO);
        if poll == 6 {
            let begun = Instant::now();
            fleet.scale(500, 1, 5);
            pass(seconds(1)).await;
            let (statuses, events) = fleet.take_written();
            let change = statuses.iter().find(|written| written.key == fleet.key(500)).expect("it is written");
            assert!(change.at - begun < seconds(1));
            let fields = change.status.as_ref().unwrap();
            let line = fields["changes"][0].as_str().unwrap();
            assert!(line.contains("Z 1 -> 5 Steady: A lag of") && fields["desired"] == 5, "{fields:?}");
            assert!(!fields.contains_key("replicas") && !fields.contains_key("memory"), "only what is new: {fields:?}");
            assert!(events[0].note.starts_with("Scaled up from 1 to 5: "), "{events:?}");
            assert_eq!(events.len(), 1);
            pass(POLL_INTERVAL - seconds(1)).await;
        } else {
            pass(POLL_INTERVAL).await;
        }
        let (statuses, events) = fleet.take_written();
        // Five a second, and a second's worth that has been saved up before.
        assert!((40..=56).contains(&statuses.len()), "{} in poll {poll}", statuses.len());
        assert!(events.is_empty(), "{events:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_stands_still_is_not_written_though_it_gets_older() {
    let fleet = fleet(200).await;
    for poll in 0..60 {
        for number in 0..200 {
            let mut decision = fleet.decision(100, POLL_INTERVAL * poll);
            // Estimates of when it came move a little, as do estimates of the rates.
            decision.model.time_lag = paceline::core::TimeLag::Seconds(POLL_INTERVAL * poll + seconds(number % 3));
            decision.model.arrival_rate = Some(paceline::core::RecordsPerSecond(f64::from(poll % 3) / 4.0));
            fleet.observe(number as usize, decision, ActionResult::NothingToDo);
        }
        pass(POLL_INTERVAL).await;
        let (statuses, events) = fleet.take_written();
        if poll > 5 {
            assert!(statuses.is_empty() && events.is_empty(), "{statuses:?}");
        }
    }
    assert!(fleet.status(0).oldest_record_time.is_some(), "from which its age can be computed");
}

#[tokio::test(start_paused = true)]
async fn all_that_move_get_their_turn_and_fifty_are_ten_seconds_old_at_most() {
    for (count, longest) in [(50, 20), (300, 130)] {
        let fleet = fleet(count).await;
        let mut last: BTreeMap<_, _> = (0..count).map(|number| (fleet.key(number), Instant::now())).collect();
        let mut oldest = Duration::ZERO;
        for second in 1..300 {
            // Half of them move a little, half of them a lot.
            let lag = |number: usize| if number.is_multiple_of(2) { 10_000 + second } else { 1 << (second % 30) };
            if count <= 50 || second % 10 == 0 {
                fleet.observe_all(lag, Duration::ZERO);
            }
            pass(seconds(1)).await;
            for written in fleet.take_written().0 {
                let before = last.insert(written.key, written.at).unwrap();
                oldest = oldest.max(written.at - before);
            }
        }
        let never = last.values().map(Instant::elapsed).max().unwrap();
        assert!(oldest.max(never) <= seconds(longest), "{count}: {oldest:?}, {never:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_a_kafka_cluster_is_one_event_and_one_line_however_many_it_affects() {
    let (log, _guard) = Log::start();
    let fleet = fleet(1000).await;
    let reason = Unknown::Unreachable { detail: "no broker of b1:9092 answers".into() };
    log.take();

    let begun = Instant::now();
    for _ in 0..12 {
        fleet.fail_all(&reason);
        pass(POLL_INTERVAL).await;
    }
    let (statuses, events) = fleet.take_written();
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(events[0].note.contains("affects 1000 ScaledConsumers"), "{events:?}");
    let lines = log.take();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    // Each once, after two polls, at most 20 a second and 50 at once.
    assert_eq!(statuses.len(), 1000);
    assert!(statuses.iter().all(|written| written.at - begun >= 2 * POLL_INTERVAL));
    assert!(statuses.iter().filter(|written| written.at - begun < seconds(30)).count() <= 50 + 10 * 20 + 20);
    let status = fleet.status(999);
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "Unreachable"));

    for _ in 0..12 {
        fleet.observe_all(|_| 100, Duration::ZERO);
        pass(POLL_INTERVAL).await;
    }
    let (statuses, events) = fleet.take_written();
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(events[0].note.contains("can be read again"), "{events:?}");
    assert_eq!(log.take().len(), 1);
    assert!((1000..=1600).contains(&statuses.len()), "{}", statuses.len());
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_a_poll_changes_no_condition() {
    let fleet = fleet(1000).await;
    fleet.fail_all(&Unknown::TimedOut { after: seconds(5) });
    pass(POLL_INTERVAL).await;
    for _ in 0..3 {
        fleet.observe_all(|_| 100, Duration::ZERO);
        pass(POLL_INTERVAL).await;
    }
    let (statuses, events) = fleet.take_written();
    assert_eq!(statuses.len(), 0, "{statuses:?}");
    assert!(events.len() <= 2, "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_refused_again_and_again_has_one_event_and_one_that_flaps_has_a_bound() {
    let fleet = fleet(2).await;
    for try_number in 0..100 {
        fleet.refuse(0, "spec.kafka.cluster: there is no cluster \"mian\"");
        fleet.refuse(1, &format!("try {}", if try_number % 2 == 0 { "even" } else { "odd" }));
        if try_number % 2 == 1 {
            // It can be started after all.
            fleet.observe(1, fleet.decision(100, Duration::ZERO), ActionResult::NothingToDo);
            fleet.entries[1].update(|entry| entry.refused = None);
        }
        pass(seconds(3)).await;
    }
    let (_, events) = fleet.take_written();
    let of = |number: usize| events.iter().filter(|event| event.key == fleet.key(number)).count();
    assert_eq!(of(0), 1, "{events:?}");
    assert_eq!(of(1), 20, "{events:?}");
    // Those of the same text are one, with a count.
    let counts: Vec<_> = events.iter().filter(|event| event.key == fleet.key(1)).map(|event| event.count).collect();
    assert_eq!((counts.iter().filter(|count| **count == 1).count(), counts.iter().max()), (2, Some(&10)), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_lead_writes_nothing_and_who_begins_to_goes_on_from_what_is_there() {
    let (switch, leadership) = LeadershipSwitch::new();
    let fleet = Fleet::new(20, StatusBudget::default(), leadership, true);
    fleet.observe_all(|_| 100, Duration::ZERO);
    pass(seconds(5)).await;
    fleet.scale(3, 1, 4);
    pass(seconds(5)).await;
    assert_eq!(fleet.take_written().1.len(), 1);

    switch.set(false);
    fleet.observe_all(|_| 7000, Duration::ZERO);
    fleet.scale(4, 1, 9);
    pass(5 * MINUTE).await;
    let (statuses, events) = fleet.take_written();
    assert!(statuses.is_empty() && events.is_empty(), "{statuses:?} {events:?}");

    switch.set(true);
    fleet.observe_all(|_| 7000, Duration::ZERO);
    pass(seconds(30)).await;
    let (statuses, events) = fleet.take_written();
    assert_eq!(statuses.len(), 20, "the lag has moved");
    let fields: BTreeSet<_> = statuses.iter().flat_map(|written| written.status.as_ref().unwrap().keys()).collect();
    assert!(fields.iter().all(|field| ["lag", "desired"].contains(&field.as_str())), "{fields:?}");
    assert!(events.is_empty(), "another one has reported that: {events:?}");
    assert_eq!(fleet.status(3).changes.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_learned_is_written_when_it_changes_and_at_the_end_in_time() {
    let mut fleet = fleet(200).await;
    for entry in &fleet.entries {
        entry.update(|entry| entry.memory = Some("{\"learned\":1}".into()));
    }
    for _ in 0..12 {
        fleet.observe_all(|_| 100, Duration::ZERO);
        pass(POLL_INTERVAL).await;
    }
    let (statuses, _) = fleet.take_written();
    assert_eq!(statuses.len(), 200);
    assert!(statuses.iter().all(|written| written.status.as_ref().unwrap().keys().eq(["memory"])));

    fleet.server().latency = Duration::from_millis(20);
    for entry in &fleet.entries {
        entry.update(|entry| entry.memory = Some("{\"learned\":2}".into()));
    }
    fleet.scale(7, 1, 2);
    let begun = Instant::now();
    fleet.finish().await;
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    for number in 0..200 {
        assert_eq!(fleet.status(number).memory.as_deref(), Some("{\"learned\":2}"));
    }
    assert_eq!(fleet.status(7).changes.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_status_each_condition_is_logged_when_it_changes_and_when_it_is_over() {
    let (log, _guard) = Log::start();
    let (_, leadership) = LeadershipSwitch::new();
    let fleet = Fleet::new(1, StatusBudget::default(), leadership, false);
    let failed = TargetError { reason: "Forbidden", message: "RBAC says no".to_owned() };
    for action in [ActionResult::NothingToDo, ActionResult::Failed(failed), ActionResult::NothingToDo] {
        for _ in 0..10 {
            fleet.observe(0, fleet.decision(100, Duration::ZERO), action.clone());
            pass(POLL_INTERVAL).await;
        }
    }
    let lines = log.take();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].contains("Ready is False: RBAC says no") && lines[1].contains("Ready is True"), "{lines:#?}");
    let (statuses, events) = fleet.take_written();
    assert!(statuses.is_empty() && events.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_api_server_is_two_lines_and_few_requests() {
    let (log, _guard) = Log::start();
    let fleet = fleet(100).await;
    log.take();
    fleet.server().failure = Some(503);
    for poll in 0..60 {
        fleet.observe_all(|_| 200 + poll, Duration::ZERO);
        if poll == 30 {
            fleet.scale(1, 1, 5);
        }
        pass(POLL_INTERVAL).await;
    }
    let refused = std::mem::take(&mut fleet.server().refused);
    assert!((20..=120).contains(&refused), "{refused} requests in ten minutes");
    fleet.server().failure = None;
    pass(2 * MINUTE).await;
    let lines = log.take();
    let about_writes: Vec<_> = lines.iter().filter(|line| line.contains("The API server accepts")).collect();
    assert_eq!(about_writes.len(), 2, "{lines:#?}");
    assert!(about_writes[1].contains("failed="), "{lines:#?}");
    assert_eq!(fleet.status(1).changes.len(), 1, "what could not be written is not lost");
}

#[tokio::test(start_paused = true)]
async fn a_decision_that_is_outdated_says_so_in_a_condition_and_seldom() {
    let fleet = fleet(10).await;
    pass(MINUTE).await;
    let (statuses, events) = fleet.take_written();
    assert_eq!((statuses.len(), events.len()), (10, 10), "{statuses:?}");
    let status = fleet.status(0);
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "DecisionOutdated"));
    assert!(ready.message.contains("30s old"), "{}", ready.message);
    pass(60 * MINUTE).await;
    let (statuses, events) = fleet.take_written();
    assert!(events.is_empty());
    assert!(statuses.len() <= 10 * 7, "{} writes in an hour", statuses.len());
    fleet.observe_all(|_| 100, Duration::ZERO);
    pass(seconds(2)).await;
    let (statuses, events) = fleet.take_written();
    assert_eq!((statuses.len(), events.len()), (10, 10));
}
