//! The Events of the status writer: what they are called, and that they come where a status can't be written.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use paceline::controller::StatusBudget;
use paceline::kubernetes::scaledconsumer::{Mode, Validated};
use paceline::registry::{ActionResult, TargetError};

use super::fleet::{LeadershipSwitch, Written, pass};
use super::{Fleet, fleet, seconds};
use crate::story::POLL_INTERVAL;

fn told(events: &[Written]) -> Vec<(&str, &str)> {
    events.iter().map(|event| (event.reason.as_str(), event.note.split(": A lag of").next().unwrap())).collect()
}

#[tokio::test(start_paused = true)]
async fn only_a_change_that_was_written_is_called_a_scaling() {
    for (mode, from, to, reason, note) in [
        (Mode::Scale, 1, 5, "ScaledUp", "Scaled up from 1 to 5"),
        (Mode::Scale, 5, 2, "ScaledDown", "Scaled down from 5 to 2"),
        (Mode::DryRun, 1, 5, "WouldScale", "Dry run: would scale from 1 to 5"),
        (Mode::Metrics, 5, 1, "WouldScale", "Served to the HorizontalPodAutoscaler: would scale from 5 to 1"),
    ] {
        let fleet = fleet(1).await;
        fleet.entries[0].update(|entry| {
            let spec = entry.spec.as_deref().unwrap().clone();
            entry.spec = Some(Arc::new(Validated { mode, ..spec }));
        });
        fleet.scale(0, from, to);
        pass(seconds(2)).await;
        let (_, events) = fleet.take_written();
        assert_eq!(told(&events), [(reason, note)]);
    }
}

/// Without the right to patch statuses, as with RBAC of another version.
#[tokio::test(start_paused = true)]
async fn events_come_where_no_status_can_be_written() {
    let (_, leadership) = LeadershipSwitch::new();
    let fleet = Fleet::new(60, StatusBudget::default(), leadership, true);
    fleet.server().status_failure = Some(403);
    for _ in 0..12 {
        fleet.observe_all(|_| 100, Duration::ZERO);
        pass(POLL_INTERVAL).await;
    }
    fleet.take_written();
    let failed = TargetError { reason: "Forbidden", message: "RBAC says no".to_owned() };
    fleet.scale(7, 1, 5);
    fleet.observe(8, fleet.decision(100, Duration::ZERO), ActionResult::Failed(failed));
    pass(seconds(2)).await;
    let (statuses, events) = fleet.take_written();
    assert!(statuses.is_empty());
    let names: BTreeSet<_> = told(&events).into_iter().collect();
    let expected = [("NotReady", "Ready is False: RBAC says no"), ("ScaledUp", "Scaled up from 1 to 5")];
    assert_eq!(names, BTreeSet::from(expected), "{events:?}");

    // Each once, although the status is tried again and again, and is there when it can be written.
    for _ in 0..30 {
        fleet.observe_all(|_| 200, Duration::ZERO);
        pass(POLL_INTERVAL).await;
    }
    let (_, events) = fleet.take_written();
    assert_eq!(told(&events), [("Ready", "Ready is True: Kafka and the target can be read.")]);
    fleet.server().status_failure = None;
    for _ in 0..12 {
        fleet.observe_all(|_| 300, Duration::ZERO);
        pass(POLL_INTERVAL).await;
    }
    assert_eq!(fleet.status(7).changes.len(), 1);
    let (statuses, events) = fleet.take_written();
    assert!(statuses.len() >= 60 && events.is_empty(), "{} {events:?}", statuses.len());
}

#[tokio::test(start_paused = true)]
async fn an_event_outlives_a_short_outage_of_the_api_server() {
    let fleet = fleet(2).await;
    fleet.server().failure = Some(503);
    fleet.scale(0, 1, 5);
    for poll in 0..8 {
        pass(POLL_INTERVAL).await;
        fleet.observe_all(|_| 100, Duration::ZERO);
        if poll == 2 {
            fleet.server().failure = None;
        }
    }
    let (_, events) = fleet.take_written();
    assert_eq!(told(&events), [("ScaledUp", "Scaled up from 1 to 5")]);
}
