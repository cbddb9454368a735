//! Outages of Kafka clusters: one cause that all ScaledConsumers of a cluster share is logged once, and is one Event.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::core::Unknown;
use crate::kubernetes::scaledconsumer::ClusterRef;
use crate::registry::Entry;

/// How long an outage is watched before it is reported, so that the report counts all that it affects: their polls end
/// within a second or two of each other.
const REPORT_DELAY: Duration = Duration::from_secs(2);
/// An outage is reported again when it affects this many times more.
const GROWTH: usize = 10;
/// From so many affected ScaledConsumers on, their conditions wait for two polls: a short outage then changes only some.
const MANY: usize = 10;

/// Whether a reason's name is that of a whole cluster's failure.
pub(super) fn is_outage(reason: &str) -> bool {
    matches!(reason, "Unreachable" | "AuthenticationFailed" | "TimedOut")
}

/// The cluster that can't be read, if that is what an entry says.
pub(super) fn cause(entry: &Entry) -> Option<(&ClusterRef, &Unknown)> {
    let (spec, snapshot) = (entry.spec.as_ref()?, entry.snapshot.as_ref()?);
    let incomplete = snapshot.decision().and_then(|decision| decision.lag.incomplete_because.as_ref());
    let reason = incomplete.map(|missing| &missing.reason).or(snapshot.observation.failure.as_ref())?;
    is_outage(reason.name()).then_some((&spec.cluster, reason))
}

/// The outages there are, by cluster.
#[derive(Default)]
pub(super) struct Outages(BTreeMap<ClusterRef, Outage>);

struct Outage {
    reason: &'static str,
    text: String,
    begun: Instant,
    poll_interval: Duration,
    affected: usize,
    most_affected: usize,
    /// How many were affected when it was last reported; 0 before the first report.
    reported: usize,
    /// Whether nobody has reported it before: another leader may have.
    is_new: bool,
    recovered: Option<Instant>,
}

/// The begin, the growth or the end of an outage.
pub(super) struct OutageReport {
    pub(super) cluster: ClusterRef,
    pub(super) is_over: bool,
    pub(super) reason: &'static str,
    pub(super) affected: usize,
    pub(super) text: String,
}

impl Outages {
    /// One more ScaledConsumer is affected. `is_new`: its conditions don't say so yet.
    pub(super) fn add(&mut self, entry: &Entry, is_new: bool, now: Instant) {
        let Some((cluster, reason)) = cause(entry) else { return };
        let poll_interval = entry.snapshot.as_ref().map_or(Duration::ZERO, |snapshot| snapshot.poll_interval);
        let outage = self.0.entry(cluster.clone()).or_insert_with(|| Outage {
            reason: reason.name(),
            text: reason.to_string(),
            begun: now,
            poll_interval,
            affected: 0,
            most_affected: 0,
            reported: 0,
            is_new: false,
            recovered: None,
        });
        outage.affected += 1;
        outage.most_affected = outage.most_affected.max(outage.affected);
        outage.is_new |= is_new;
        outage.recovered = None;
    }

    /// One ScaledConsumer fewer is affected.
    pub(super) fn remove(&mut self, cluster: &ClusterRef, now: Instant) {
        if let Some(outage) = self.0.get_mut(cluster) {
            outage.affected = outage.affected.saturating_sub(1);
            if outage.affected == 0 {
                outage.recovered = Some(now);
            }
        }
    }

    /// Until when the conditions of those that a cluster's outage affects should wait.
    pub(super) fn settled_at(&self, cluster: &ClusterRef) -> Option<Instant> {
        let outage = self.0.get(cluster).filter(|outage| outage.most_affected >= MANY)?;
        Some(outage.begun + 2 * outage.poll_interval)
    }

    /// What is to be reported now.
    pub(super) fn reports(&mut self, now: Instant) -> Vec<OutageReport> {
        let mut reports = Vec::new();
        self.0.retain(|cluster, outage| {
            let report = |is_over, affected, text| OutageReport {
                cluster: cluster.clone(),
                is_over,
                reason: outage.reason,
                affected,
                text,
            };
            // One that comes back within two polls is the same one.
            if let Some(recovered) = outage.recovered {
                let is_over = now >= recovered + 2 * outage.poll_interval;
                if is_over && (outage.reported > 0 || !outage.is_new) {
                    let lasted = crate::core::short(recovered.duration_since(outage.begun));
                    let text = format!("Kafka cluster \"{cluster}\" can be read again, after {lasted}.");
                    reports.push(report(true, outage.most_affected, text));
                }
                return !is_over;
            }
            let is_due = outage.is_new && now >= outage.begun + REPORT_DELAY;
            if is_due && outage.affected >= (outage.reported * GROWTH).max(1) {
                let (affected, text) = (outage.affected, &outage.text);
                let whom = if affected == 1 { "ScaledConsumer" } else { "ScaledConsumers" };
                let text =
                    format!("Kafka cluster \"{cluster}\" can't be read, which affects {affected} {whom}: {text}.");
                reports.push(report(false, affected, text));
                outage.reported = affected;
            }
            true
        });
        reports
    }
}
