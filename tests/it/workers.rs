//! The consumers that tests and `demo` scale: that they behave, well or badly, as they are told to. The proof rests on it.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::world::downstream::Downstream;
use crate::world::kafka::Kafka;
use crate::world::process::Process;
use crate::world::workers::Workers;
use crate::world::{kafka, run_dir, unique, wait_until};

const SOON: Duration = Duration::from_secs(60);

/// A topic of four partitions, each with at least so many records, that came in small batches as they do from a live source.
fn deep_topic(kafka: &Kafka, topic: &str, each: u64) {
    kafka.create_topic(topic, 4);
    let producer = kafka.start_producer(topic, 4, 4_000.0);
    wait_until("the records", SOON, || match producer.sent() {
        sent if sent < 4 * each => Err(sent),
        _ => Ok(()),
    });
    producer.stop();
}

fn start(workers: &Workers, name: &str) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
    let log = run_dir().join(format!("{}-{name}.log", workers.group));
    Process::start("a worker", command.args(workers.args()), &log).unwrap()
}

/// What is committed in each of the four partitions.
fn committed(kafka: &Kafka, topic: &str) -> Vec<i64> {
    kafka.committed(topic, topic, 4).into_iter().map(Option::unwrap_or_default).collect()
}

fn wait_for_members(kafka: &Kafka, group: &str, count: usize) {
    wait_until("the members", SOON, || match kafka.group(group) {
        (state, members) if state == "Stable" && members == count => Ok(()),
        seen => Err(format!("{seen:?}")),
    });
}

#[test]
#[allow(clippy::cast_precision_loss)]
fn workers_together_never_exceed_what_they_share() {
    let (kafka, topic) = (kafka(), unique("shared"));
    deep_topic(kafka, &topic, 2_000);
    let downstream = Downstream::start(800.0);
    let workers = Workers {
        capacity: 1_000.0,
        downstream: Some(downstream.address()),
        ..Workers::new(kafka, "shared", &topic, &topic)
    };
    let mut processes = [start(&workers, "one"), start(&workers, "two")];
    wait_for_members(kafka, &topic, 2);
    let before = committed(kafka, &topic);
    let began = Instant::now();
    let (after, took) = wait_until("the next 4,000 records", SOON, || {
        let now = committed(kafka, &topic);
        let done = now.iter().sum::<i64>() - before.iter().sum::<i64>();
        if done < 4_000 { Err(done) } else { Ok((now, began.elapsed())) }
    });
    let done: Vec<i64> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
    let total: i64 = done.iter().sum();
    // A second's worth may have been handled before and committed in the time that was measured.
    assert!(total as f64 <= 800.0 * (took.as_secs_f64() + 2.0), "{total} records in {took:?}");
    for process in &mut processes {
        assert!(process.stop(SOON).success());
    }
}

#[test]
fn a_stuck_partition_stands_still_while_the_others_go_on() {
    let (kafka, topic) = (kafka(), unique("stuck"));
    deep_topic(kafka, &topic, 300);
    let workers = Workers {
        capacity: 1_000.0,
        stuck: Some(format!("{topic}/2@100")),
        ..Workers::new(kafka, "stuck", &topic, &topic)
    };
    let ends: Vec<i64> = (0..4).map(|partition| kafka.bounds(&topic, partition).1).collect();
    let wait_for = |what: &str, wanted: Vec<i64>| {
        wait_until(what, SOON, || {
            let now = committed(kafka, &topic);
            if now == wanted { Ok(()) } else { Err(format!("{now:?} instead of {wanted:?}")) }
        });
    };
    let mut first = start(&workers, "one");
    wait_for("all but one partition", vec![ends[0], ends[1], 100, ends[3]]);
    // Whoever gets the partition next meets the same record.
    let mut second = start(&workers, "two");
    wait_for_members(kafka, &topic, 2);
    assert!(first.stop(SOON).success());
    wait_for_members(kafka, &topic, 1);
    kafka.produce(&topic, 1, 50);
    wait_for("the other's records", vec![ends[0], ends[1] + 50, 100, ends[3]]);
    assert!(second.stop(SOON).success(), "and it can still be stopped");
    assert_eq!(committed(kafka, &topic)[2], 100);
}
