//! Which broker coordinates a group: FindCoordinator, for many groups in one request where the broker supports it
//! (version 4).

use std::collections::HashMap;

use futures::StreamExt;

use super::cycle::Cycle;
use super::errors::RequestError;
use super::wire::{Coordinator, FindCoordinator};

/// The most groups in one request: a response about so many is some 30 KB.
const MAX_GROUPS_PER_REQUEST: usize = 1_000;
/// Concurrent requests where the broker takes one group in each.
const MAX_IN_FLIGHT: usize = 100;
/// The first version that takes many groups (KIP-699).
const FIRST_BATCHED_VERSION: i16 = 4;

/// Finds the groups' coordinators. A group that is missing from the result was not in the response.
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
    let batched = broker.version_of::<FindCoordinator<'_>>().is_some_and(|version| version >= FIRST_BATCHED_VERSION);
    let size = if batched { MAX_GROUPS_PER_REQUEST } else { 1 };
    let requests: Vec<_> = groups.chunks(size).map(|chunk| find_chunk(cycle, chunk)).collect();
    let mut answers = futures::stream::iter(requests).buffer_unordered(MAX_IN_FLIGHT);
    while let Some(answer) = answers.next().await {
        found.extend(answer);
    }
    found
}

async fn find_chunk(cycle: &Cycle<'_>, groups: &[&str]) -> Vec<(String, Result<i32, RequestError>)> {
    let failed = |error: RequestError| groups.iter().map(|group| ((*group).to_owned(), Err(error.clone()))).collect();
    let until = cycle.end_of_groups();
    let (broker, answer) = match cycle.send_any(&FindCoordinator { keys: groups }, until).await {
        Ok(answered) => answered,
        Err(error) => return failed(error),
    };
    let response = match answer.read() {
        Ok(response) => response,
        Err(error) => return failed(error),
    };
    broker.apply_throttle(response.throttle_ms);
    let parse = |coordinator: &Coordinator<'_>| {
        if coordinator.error != 0 {
            return Err(RequestError::Code(coordinator.error));
        }
        cycle.brokers.add_advertised(coordinator.node, &coordinator.host, coordinator.port);
        Ok(coordinator.node)
    };
    match (groups, response.coordinators.as_slice()) {
        // Below version 4 the response does not repeat the group.
        ([group], [only]) if only.key.is_empty() => vec![((*group).to_owned(), parse(only))],
        (_, coordinators) => coordinators.iter().map(|found| (found.key.clone().into_owned(), parse(found))).collect(),
    }
}
