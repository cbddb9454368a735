//! The poller's timing against mock clusters: subscriptions, one cycle at a time, deadlines, shutdown.

use std::sync::Arc;
use std::time::{Duration, Instant};

use paceline::core::*;
use paceline::kafka::{Poller, now};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::kafka_mock::{query, settings};
use crate::mock_ffi::{Mock, OFFSET_FETCH};

type Receiver = watch::Receiver<Option<Arc<Observation>>>;

/// The next observation that is not older than this call.
async fn next(receiver: &mut Receiver) -> Arc<Observation> {
    tokio::time::timeout(Duration::from_secs(15), receiver.changed())
        .await
        .expect("in time")
        .expect("the poller lives");
    receiver.borrow_and_update().clone().expect("never published empty")
}

fn is_complete(observation: &Observation) -> bool {
    observation.failure.is_none() && observation.partitions.iter().all(|p| p.end.is_ok() && p.committed.is_ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_polled_at_once_then_each_interval_and_ends_with_its_receivers() {
    let mock = Mock::start(1);
    mock.topic("orders", 2, 1);
    let mut settings = settings(&mock.bootstrap());
    settings.poll_interval = Duration::from_secs(600);
    let poller = Poller::start(settings.clone(), now, &CancellationToken::new()).unwrap();
    let mut first = poller.subscribe(query("a", "orders"));
    assert!(is_complete(&*next(&mut first).await), "the first at once");
    let mut second = poller.subscribe(query("b", "orders"));
    assert!(is_complete(&*next(&mut second).await), "another at once, long before the interval is over");
    assert!(!first.has_changed().unwrap(), "the first was not polled again for that");
    assert_eq!(poller.statistics().subscriptions, 2);
    drop(first);
    assert_eq!(poller.statistics().subscriptions, 1);

    settings.poll_interval = Duration::from_millis(500);
    let poller = Poller::start(settings, now, &CancellationToken::new()).unwrap();
    let mut receiver = poller.subscribe(query("a", "orders"));
    let times = [next(&mut receiver).await.at, next(&mut receiver).await.at, next(&mut receiver).await.at];
    assert!(times.is_sorted() && times[2] - times[1] >= Duration::from_millis(400), "{times:?}");
    let statistics = poller.statistics();
    assert!(statistics.cycles >= 2 && statistics.failed_cycles == 0 && statistics.last_success.is_some());
    let undescribed = [("Unsupported", statistics.cycles)].into();
    assert_eq!(statistics.partial, undescribed, "the mock cluster can't describe groups");
    assert!(statistics.cycle_time > Duration::ZERO, "{statistics:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_being_measured_is_polled_long_before_the_interval_is_over_and_no_other() {
    let mock = Mock::start(1);
    mock.topic("orders", 2, 1);
    let mut settings = settings(&mock.bootstrap());
    settings.poll_interval = Duration::from_secs(600);
    let poller = Poller::start(settings, now, &CancellationToken::new()).unwrap();
    let (mut measured, mut other) = (poller.subscribe(query("a", "orders")), poller.subscribe(query("b", "orders")));
    let first = next(&mut measured).await.at;
    next(&mut other).await;
    let hint = poller.group_hint("a");
    hint.set_measuring(true);
    let (second, third) = (next(&mut measured).await.at, next(&mut measured).await.at);
    assert!(first < second && third - second >= Duration::from_millis(1_500), "{first:?}, {second:?}, {third:?}");
    assert!(!other.has_changed().unwrap(), "the other one waits for the interval");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_cluster_does_not_delay_another() {
    let (slow, quick) = (Mock::start(1), Mock::start(1));
    [&slow, &quick].into_iter().for_each(|mock| mock.topic("orders", 2, 1));
    slow.round_trip(-1, Duration::from_secs(30));
    let poller = |mock: &Mock| {
        let mut settings = settings(&mock.bootstrap());
        settings.poll_interval = Duration::from_millis(500);
        Poller::start(settings, now, &CancellationToken::new()).unwrap()
    };
    let (slow, quick) = (poller(&slow), poller(&quick));
    let mut of_slow = slow.subscribe(query("a", "orders"));
    let mut of_quick = quick.subscribe(query("a", "orders"));
    let mut seen = 0;
    let failed = loop {
        tokio::select! {
            failed = next(&mut of_slow) => break failed,
            observation = next(&mut of_quick) => {
                assert!(is_complete(&observation));
                seen += 1;
            }
        }
    };
    assert!(failed.failure.is_some(), "the slow one is unknown");
    assert!(seen >= 3, "{seen} observations of the quick cluster meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_one_cycle_at_a_time_however_slow_it_is() {
    let mock = Mock::start(1);
    mock.topic("orders", 2, 1);
    let mut settings = settings(&mock.bootstrap());
    settings.poll_interval = Duration::from_millis(500);
    settings.request_timeout = Some(Duration::from_secs(6));
    let poller = Poller::start(settings, now, &CancellationToken::new()).unwrap();
    let mut receiver = poller.subscribe(query("a", "orders"));
    next(&mut receiver).await;
    // A cycle has at least three round trips, one after the other.
    mock.round_trip(-1, Duration::from_millis(700));
    let before = poller.statistics().cycles;
    let started = Instant::now();
    let ((), requests) = {
        let (sender, done) = std::sync::mpsc::channel();
        let handle = tokio::runtime::Handle::current();
        let watcher = handle.spawn(async move {
            for _ in 0..4 {
                next(&mut receiver).await;
            }
            sender.send(()).unwrap();
        });
        let counted = tokio::task::block_in_place(|| mock.requests(|| done.recv().unwrap()));
        watcher.await.unwrap();
        counted
    };
    let cycles = usize::try_from(poller.statistics().cycles - before).unwrap();
    let fetches = requests[&OFFSET_FETCH];
    assert!(fetches <= cycles + 1, "{fetches} fetches in {cycles} cycles");
    assert!(started.elapsed() >= Duration::from_millis(700) * 4, "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_polling_at_once_even_amid_a_slow_cycle() {
    // It accepts the connection, and never responds.
    let broker = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let token = CancellationToken::new();
    let mut settings = settings(&broker.local_addr().unwrap().to_string());
    (settings.request_timeout, settings.deadline) = (Some(Duration::from_secs(300)), Duration::from_secs(300));
    let poller = Poller::start(settings, now, &token).unwrap();
    let receiver = poller.subscribe(query("a", "orders"));
    let begun = tokio::time::timeout(Duration::from_secs(15), broker.accept()).await;
    let _connection = begun.expect("the first cycle begins").unwrap();
    token.cancel();
    tokio::time::timeout(Duration::from_secs(60), poller.ended()).await.expect("it does not wait for the cycle");
    drop(receiver);
}
