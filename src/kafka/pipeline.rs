//! Many requests at once over one client: bounded in number and in time, with retries. Knows nothing of what is asked.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::client::Handle;
use super::errors::code;
use super::messages::{Answer, Failure, Question, Reply, Terms};
use super::settings::ClusterSettings;

/// Requests in flight. A broker handles one connection's requests in turn and holds 500 in its queue
/// (`queued.max.requests`), so more would only wait elsewhere.
const WINDOW: usize = 500;
/// Requests in flight before the first answer; each answer allows one more. While connections are being made, librdkafka
/// looks all waiting groups' coordinators up again at every change of a broker's state.
const FIRST_WINDOW: usize = 16;
/// How long a wait lasts at most before the client is listened to and the stop flag is looked at.
const HEARTBEAT: Duration = Duration::from_millis(100);

/// How long after a request's time-out it is given up on, where librdkafka has not said so by then.
const SLACK: Duration = Duration::from_millis(200);

/// One cycle under way: the client, its limits and what it has cost so far.
pub(super) struct Cycle<'a> {
    pub(super) handle: &'a mut Handle,
    pub(super) settings: &'a ClusterSettings,
    pub(super) stop: &'a AtomicBool,
    pub(super) started: Instant,
    /// Calls to librdkafka so far.
    pub(super) asked: u64,
    /// Whether the client was replaced in this cycle.
    pub(super) renewed: bool,
}

/// What becomes of a job after an answer.
pub(super) enum Next {
    Done,
    AskAgain { after: Duration },
}

impl Cycle<'_> {
    /// Whether nobody wants the result any more.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// When all must be over. A little before the deadline, so that what was read is not thrown away by who waits.
    pub(super) fn end(&self) -> Instant {
        self.started + self.settings.deadline.mul_f32(0.95)
    }

    /// When the commits must have been read, so that the ends still can be: one request's time before the end, but
    /// never less than half of the deadline.
    pub(super) fn end_of_groups(&self) -> Instant {
        let deadline = self.settings.deadline;
        self.started + (deadline.mul_f32(0.9).saturating_sub(self.settings.request_timeout)).max(deadline / 2)
    }

    /// How long one request may take that must be over at `until`.
    pub(super) fn patience(&self, until: Instant) -> Duration {
        self.settings.request_timeout.min(until.saturating_duration_since(Instant::now()))
    }

    /// Asks for every job and hands each answer to `answered`, which may want it asked again. Jobs that have no answer
    /// at `until` get a time-out.
    pub(super) fn run<J>(
        &mut self,
        jobs: &mut [J],
        until: Instant,
        ask: impl Fn(&J) -> (Question<'_>, Option<i32>),
        mut answered: impl FnMut(&mut J, Result<Reply, Failure>) -> Next,
    ) {
        let requests = self.handle.client.requests();
        let mut ready: VecDeque<usize> = (0..jobs.len()).collect();
        let mut later: Vec<(Instant, usize)> = Vec::new();
        let mut in_flight = vec![false; jobs.len()];
        // When the requests were given up on, in the order in which they were sent; librdkafka doesn't time all of them out.
        let mut ends: VecDeque<(Instant, usize)> = VecDeque::new();
        let (mut flying, mut window) = (0, FIRST_WINDOW);
        while flying > 0 || !ready.is_empty() || !later.is_empty() {
            let now = Instant::now();
            if now >= until || self.is_stopped() {
                break;
            }
            later.retain(|(due, job)| {
                let wait = *due > now;
                if !wait {
                    ready.push_back(*job);
                }
                wait
            });
            while flying < window
                && let Some(tag) = ready.pop_front()
            {
                let (question, broker) = ask(&jobs[tag]);
                requests.ask(&question, Terms { tag, timeout: self.patience(until), broker });
                in_flight[tag] = true;
                ends.push_back((now + self.patience(until) + SLACK, tag));
                flying += 1;
                self.asked += 1;
            }
            let next_due = later.iter().map(|(due, _)| due.saturating_duration_since(now)).min();
            let wait = HEARTBEAT.min(until - now).min(next_due.unwrap_or(HEARTBEAT)).max(Duration::from_millis(1));
            let Answer { tag, result } = match requests.next(wait) {
                Some(answer) => answer,
                None => {
                    self.handle.listen();
                    let Some(&(end, tag)) = ends.front() else { continue };
                    if end > Instant::now() {
                        continue;
                    }
                    ends.pop_front();
                    Answer { tag, result: Err(Failure::of(code::TIMED_OUT)) }
                }
            };
            // One that has been answered already, or a late answer.
            if !in_flight[tag] {
                continue;
            }
            in_flight[tag] = false;
            flying -= 1;
            window = WINDOW.min(window + 1);
            if let Next::AskAgain { after } = answered(&mut jobs[tag], result) {
                later.push((now + after, tag));
            }
        }
        self.handle.listen();
        let waiting = later.into_iter().map(|(_, job)| job).chain(ready);
        let silent = in_flight.iter().enumerate().filter(|(_, flies)| **flies).map(|(job, _)| job);
        for job in waiting.chain(silent) {
            answered(&mut jobs[job], Err(Failure::of(code::TIMED_OUT)));
        }
    }

    /// Asks for one thing, once.
    pub(super) fn ask_one(
        &mut self,
        question: Question<'_>,
        broker: Option<i32>,
        until: Instant,
    ) -> Result<Reply, Failure> {
        let mut job = [(question, None)];
        self.run(
            &mut job,
            until,
            |(question, _)| (*question, broker),
            |(_, answer), result| {
                *answer = Some(result);
                Next::Done
            },
        );
        let [(_, answer)] = job;
        answer.unwrap_or_else(|| Err(Failure::of(code::TIMED_OUT)))
    }
}
