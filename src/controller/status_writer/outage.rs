//! Outages of Kafka clusters: a cause that all ScaledConsumers of a cluster share is logged once, and is one Event.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::core::Unknown;
use crate::kubernetes::scaledconsumer::ClusterRef;
use crate::registry::Entry;

/// Delay before an outage is reported, so that the report counts all affected ScaledConsumers: their polls fail within
/// a second or two of each other.
const REPORT_DELAY: Duration = Duration::from_secs(2);
/// Factor by which the affected ScaledConsumers must grow before an outage is reported again.
const REPORT_GROWTH: usize = 10;
/// From this many affected ScaledConsumers on, their conditions wait for two polls, so that a short outage changes only
/// some.
const LARGE_OUTAGE: usize = 10;

/// The unreadable cluster and the cause, if an entry is in an outage; of several sources the first.
pub(super) fn cause(entry: &Entry) -> Option<(&ClusterRef, &Unknown)> {
    let (spec, snapshot) = (entry.spec.as_ref()?, entry.snapshot.as_ref()?);
    let mut sources = snapshot.by_source().zip(spec.sources.iter());
    sources.find_map(|((seen, decision), source)| {
        let incomplete = decision.and_then(|decision| decision.lag.incomplete_because.as_ref());
        let reason = incomplete.map(|missing| &missing.reason).or(seen.observation.failure.as_ref())?;
        reason.is_outage().then_some((&source.cluster, reason))
    })
}

/// The current outages, by cluster.
#[derive(Default)]
pub(super) struct Outages(BTreeMap<ClusterRef, Outage>);

struct Outage {
    reason: &'static str,
    text: String,
    begun: Instant,
    poll_interval: Duration,
    affected: usize,
    most_affected: usize,
    /// How many were affected at the last report; 0 before the first one.
    reported: usize,
    /// Whether no leader has reported it before.
    is_new: bool,
    recovered: Option<Instant>,
}

/// The start, growth or end of an outage.
pub(super) struct OutageReport {
    pub(super) cluster: ClusterRef,
    pub(super) is_over: bool,
    pub(super) reason: &'static str,
    pub(super) affected: usize,
    pub(super) text: String,
}

impl Outages {
    /// Records one more affected ScaledConsumer. `is_new`: its conditions do not show it yet.
    pub(super) fn add(&mut self, entry: &Entry, is_new: bool, now: Instant) {
        let Some((cluster, reason)) = cause(entry) else { return };
        let poll_interval = entry.snapshot.as_ref().map_or(Duration::ZERO, |snapshot| snapshot.poll_interval());
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

    /// Records one affected ScaledConsumer fewer.
    pub(super) fn remove(&mut self, cluster: &ClusterRef, now: Instant) {
        if let Some(outage) = self.0.get_mut(cluster) {
            outage.affected = outage.affected.saturating_sub(1);
            if outage.affected == 0 {
                outage.recovered = Some(now);
            }
        }
    }

    /// Until when the conditions of affected ScaledConsumers should wait.
    pub(super) fn settled_at(&self, cluster: &ClusterRef) -> Option<Instant> {
        let outage = self.0.get(cluster).filter(|outage| outage.most_affected >= LARGE_OUTAGE)?;
        Some(outage.begun + 2 * outage.poll_interval)
    }

    /// The reports that are due.
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
            // An outage that resumes within two polls is the same one.
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
            if is_due && outage.affected >= (outage.reported * REPORT_GROWTH).max(1) {
                let (affected, text) = (outage.affected, &outage.text);
                let noun = if affected == 1 { "ScaledConsumer" } else { "ScaledConsumers" };
                let text =
                    format!("Kafka cluster \"{cluster}\" can't be read, which affects {affected} {noun}: {text}.");
                reports.push(report(false, affected, text));
                outage.reported = affected;
            }
            true
        });
        reports
    }
}
