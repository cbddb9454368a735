//! Which broker coordinates a group: FindCoordinator, for many groups at once where the broker can (version 4).

use std::collections::HashMap;

use futures::StreamExt;

use super::cycle::Cycle;
use super::errors::RequestError;
use super::wire::{Coordinator, FindCoordinator};

/// Groups in one request: an answer about so many is some 30 KB.
const CHUNK: usize = 1_000;
/// Requests beside each other where the broker takes one group in each.
const SINGLES: usize = 100;
/// The first version that takes many groups (KIP-699).
const BATCHED_FROM: i16 = 4;

/// Looks the groups' coordinators up. A group that is missing from the result was not in the answer.
pub(super) async fn find(cycle: &Cycle<'_>, groups: &[&str]) -> HashMap<String, Result<i32, RequestError>> {
    let mut found = HashMap::with_capacity(groups.len());
    let until = cycle.end_of_groups();
    let broker = match cycle.brokers.any(until).await {
        Ok(broker) => broker,
        Err(error) => {
            let failed = |group: &&str| ((*group).to_owned(), Err(RequestError::Connection(error.clone())));
            return groups.iter().map(failed).collect();
        }
    };
    let batched = broker.version_of::<FindCoordinator<'_>>().is_some_and(|version| version >= BATCHED_FROM);
    let size = if batched { CHUNK } else { 1 };
    let requests: Vec<_> = groups.chunks(size).map(|chunk| ask(cycle, chunk)).collect();
    let mut answers = futures::stream::iter(requests).buffer_unordered(SINGLES);
    while let Some(answer) = answers.next().await {
        found.extend(answer);
    }
    found
}

async fn ask(cycle: &Cycle<'_>, groups: &[&str]) -> Vec<(String, Result<i32, RequestError>)> {
    let failed = |error: RequestError| groups.iter().map(|group| ((*group).to_owned(), Err(error.clone()))).collect();
    let until = cycle.end_of_groups();
    let (broker, answer) = match cycle.ask_any(&FindCoordinator { keys: groups }, until).await {
        Ok(answered) => answered,
        Err(error) => return failed(error),
    };
    let response = match answer.read() {
        Ok(response) => response,
        Err(error) => return failed(error),
    };
    broker.obey(response.throttle_ms);
    let understand = |coordinator: &Coordinator<'_>| {
        if coordinator.error != 0 {
            return Err(RequestError::Code(coordinator.error));
        }
        cycle.brokers.advertise_one(coordinator.node, &coordinator.host, coordinator.port);
        Ok(coordinator.node)
    };
    match (groups, response.coordinators.as_slice()) {
        // Without batches the answer does not repeat the group.
        ([group], [only]) if only.key.is_empty() => vec![((*group).to_owned(), understand(only))],
        (_, coordinators) => {
            coordinators.iter().map(|found| (found.key.clone().into_owned(), understand(found))).collect()
        }
    }
}
