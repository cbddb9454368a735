//! Notices that tasks of a connector have left the group although nobody changed their number: their worker has left, and
//! Kafka Connect gives them to another one only after `scheduled.rebalance.max.delay.ms`. More tasks don't help meanwhile.

use std::time::Duration;

use tokio::time::Instant;

use crate::core::Replicas;
use crate::registry::TargetError;

/// Default of the workers' `scheduled.rebalance.max.delay.ms`. Afterwards something else is wrong than a worker's restart.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// What was seen of the members of one connector's group.
#[derive(Debug, Default)]
pub(super) struct MissingTasks {
    /// The tasks that there should be, and whether all of them were in the group since there should be so many.
    complete_for: Option<(Replicas, bool)>,
    /// Since when fewer are in the group.
    since: Option<Instant>,
}

impl MissingTasks {
    /// Records what one poll saw. `members`: of the group; `None` where they are not known, which changes nothing. Returns
    /// why no task is added, while that is so.
    pub(super) fn seen(&mut self, members: Option<usize>, tasks: Replicas, now: Instant) -> Option<TargetError> {
        let (of, was_complete) = self.complete_for.unwrap_or((tasks, false));
        let was_complete = was_complete && of == tasks;
        let all = usize::try_from(tasks.0).unwrap_or(usize::MAX);
        let is_complete = members.is_some_and(|members| members >= all);
        self.complete_for = Some((tasks, was_complete || is_complete));
        if is_complete || !was_complete {
            self.since = None;
            return None;
        }
        let since = match (self.since, members) {
            (Some(since), _) => since,
            (None, Some(_)) => *self.since.insert(now),
            (None, None) => return None,
        };
        if now.duration_since(since) >= LONGEST_WAIT {
            return None;
        }
        let here = members.map_or_else(|| "fewer".to_owned(), |members| members.to_string());
        let minutes = LONGEST_WAIT.as_secs() / 60;
        Some(TargetError {
            reason: "TasksUnassigned",
            message: format!(
                "{here} of {all} tasks are in the group: a worker has left, and Kafka Connect waits for it (scheduled.rebalance.max.delay.ms). No task is added before it is back, for {minutes} min at most"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_leaves_is_waited_for_and_tasks_that_start_are_not() {
        let start = Instant::now();
        let mut missing = MissingTasks::default();
        // Seconds, members, tasks, and whether it waits.
        let rows = [
            (0, Some(0), 2, false, "they start"),
            (10, Some(1), 2, false, "they start"),
            (20, Some(2), 2, false, "all are there"),
            (30, None, 2, false, "not known"),
            (40, Some(1), 2, true, "a worker left"),
            (50, None, 2, true, "not known, and not back"),
            (60, Some(2), 2, false, "it is back"),
            (70, Some(0), 2, true, "all workers left"),
            (369, Some(0), 2, true, "up to five minutes"),
            (370, Some(0), 2, false, "and no longer"),
            (380, Some(2), 2, false, "all are there again"),
            (390, Some(2), 4, false, "two more are wanted and start"),
            (400, Some(3), 4, false, "one has started"),
            (410, Some(4), 4, false, "all have"),
            (420, Some(3), 4, true, "a worker left"),
            (430, Some(3), 3, false, "somebody set them to three"),
        ];
        for (seconds, members, tasks, waits, why) in rows {
            let told = missing.seen(members, Replicas(tasks), start + Duration::from_secs(seconds));
            assert_eq!(told.is_some(), waits, "{seconds} s, {why}: {told:?}");
        }
    }
}
