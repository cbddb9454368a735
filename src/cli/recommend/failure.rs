//! Groups of which nothing could be read: what was tried, where, why it failed and what to do.

use super::observe::ObservedGroup;
use crate::core::{ClusterAnswer, Unknown, printable};

/// Why there is nothing to recommend for a group.
#[derive(Clone, Debug)]
pub(super) struct UnreadableGroup {
    group: String,
    servers: String,
    reason: Unknown,
    text: String,
}

impl UnreadableGroup {
    /// Nothing where at least one partition's lag is known.
    pub(super) fn of(observed: &ObservedGroup) -> Option<Self> {
        let lag = &observed.decision.lag;
        if lag.is_anything_known() {
            return None;
        }
        let missing = lag.incomplete_because.as_ref()?;
        let (group, reason) = (observed.decision.consumer_group.clone(), missing.reason.clone());
        let mut text = reason.to_string();
        let about_the_group = missing.what == format!("group \"{}\"", printable(&group));
        if !about_the_group && !text.contains(&missing.what) {
            text = format!("{missing}");
        }
        Some(Self { group, servers: observed.target.cluster.bootstrap_servers.clone(), reason, text })
    }
}

/// One message per cause, however many groups it keeps from being read.
pub(super) fn messages(failures: &[&UnreadableGroup]) -> Vec<String> {
    let mut causes: Vec<(&UnreadableGroup, Vec<String>)> = Vec::new();
    for failure in failures {
        let group = format!("\"{}\"", printable(&failure.group));
        match causes.iter_mut().find(|(first, _)| first.servers == failure.servers && first.text == failure.text) {
            Some((_, groups)) if groups.contains(&group) => {}
            Some((_, groups)) => groups.push(group),
            None => causes.push((failure, vec![group])),
        }
    }
    causes
        .into_iter()
        .map(|(failure, groups)| {
            let plural = if groups.len() == 1 { "" } else { "s" };
            let (groups, servers) = (groups.join(", "), &failure.servers);
            let advice = advice(&failure.reason).map(|advice| format!("\n  {advice}")).unwrap_or_default();
            format!("Can't read the lag of group{plural} {groups} from {servers}\n  {}{advice}", failure.text)
        })
        .collect()
}

/// What to do, where the reason itself does not name the flags of the command line.
fn advice(reason: &Unknown) -> Option<&'static str> {
    if let Unknown::TopicMissing { .. } = reason {
        return Some(
            "Check the topic's name; without --topic (or spec.kafka.topics) the topics are those that the group has committed to.",
        );
    }
    match reason.cluster_answer() {
        ClusterAnswer::Unreachable { detail } if detail.contains("advertised listener") => Some(
            "The address that was given is right. Let that name resolve and be reached from here, or have the brokers advertise another one (advertised.listeners).",
        ),
        ClusterAnswer::Unreachable { detail } if detail.contains("resolve") => {
            Some("Check the host name in --bootstrap-servers or in the configuration, and that it resolves from here.")
        }
        ClusterAnswer::Unreachable { .. } => Some(
            "Check the host and the port in --bootstrap-servers or in the configuration, that a broker listens there, and that nothing between here and there refuses the connection.",
        ),
        ClusterAnswer::TimedOut => Some(
            "Something accepts the connection or drops it silently: check the port and firewalls. Where brokers are only slow or far away, give them longer: --property socket.timeout.ms=10000, or requestTimeout in the configuration.",
        ),
        ClusterAnswer::AuthenticationFailed { detail } => security_advice(detail),
        ClusterAnswer::Answers | ClusterAnswer::NotAskedYet | ClusterAnswer::Refuses => None,
    }
}

const TLS_ADVICE: &str = "If it does: set --property security.protocol=SSL, or SASL_SSL where it wants a user as well, and for a CA of your own --property ssl.ca.location=FILE.";

const SASL_ADVICE: &str = "If it does: set --property security.protocol=SASL_SSL (or SASL_PLAINTEXT), sasl.mechanism, sasl.username and sasl.password.";

/// What to do about security settings; nothing where the client's own text has it.
fn security_advice(detail: &str) -> Option<&'static str> {
    let has = |words: &[&str]| words.iter().any(|word| detail.contains(word));
    if has(&["SSL listener?", "expect TLS"]) {
        Some(TLS_ADVICE)
    } else if has(&["require SASL", "SASL listener?"]) {
        Some(SASL_ADVICE)
    } else if has(&["PLAINTEXT"]) {
        Some(
            "That is what a port without TLS does: leave out --property security.protocol, or set it to PLAINTEXT or SASL_PLAINTEXT.",
        )
    } else if has(&["not among the authorities"]) {
        Some("Name the CA that signed the brokers' certificates: --property ssl.ca.location=FILE.")
    } else if has(&["certificate", "token", "AWS", "revocation"]) {
        None
    } else {
        Some("Check sasl.mechanism, sasl.username and sasl.password.")
    }
}
