//! What could not be found or read: what was tried, where, why it failed and what to do.

use crate::cli::output::print_error;
use crate::core::{ClusterAnswer, Decision, Unknown, printable};

/// Groups that a message names; of more it says how many there are.
const NAMED: usize = 5;

/// Why there is nothing to recommend for a group.
#[derive(Clone, Debug)]
pub(super) struct UnreadableGroup {
    group: String,
    servers: String,
    reason: Unknown,
    text: String,
}

impl UnreadableGroup {
    /// Nothing where at least one partition's lag is known, and where a group of its kind has none.
    pub(super) fn of(decision: &Decision, servers: &str) -> Option<Self> {
        let lag = &decision.lag;
        if lag.is_anything_known() || !decision.kind.has_offsets() {
            return None;
        }
        let missing = lag.incomplete_because.as_ref()?;
        let (group, reason) = (decision.consumer_group.clone(), missing.reason.clone());
        let mut text = reason.to_string();
        let about_the_group = missing.what == format!("group \"{}\"", printable(&group));
        if !about_the_group && !text.contains(&missing.what) {
            text = format!("{missing}");
        }
        Some(Self { group, servers: servers.to_owned(), reason, text })
    }

    /// Why, in a sentence.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// One message per kind of cause, however many groups it keeps from being read.
pub(super) fn messages(failures: &[&UnreadableGroup]) -> Vec<String> {
    let mut causes: Vec<(&UnreadableGroup, Vec<String>)> = Vec::new();
    for failure in failures {
        let group = format!("\"{}\"", printable(&failure.group));
        let is_same =
            |first: &UnreadableGroup| first.servers == failure.servers && first.reason.name() == failure.reason.name();
        match causes.iter_mut().find(|(first, _)| is_same(first)) {
            Some((_, groups)) if groups.contains(&group) => {}
            Some((_, groups)) => groups.push(group),
            None => causes.push((failure, vec![group])),
        }
    }
    causes.into_iter().map(|(failure, groups)| failure.message(failures, &groups)).collect()
}

impl UnreadableGroup {
    /// That these groups can't be read for this reason.
    fn message(&self, all: &[&Self], groups: &[String]) -> String {
        let servers = &self.servers;
        let named = groups.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        let which = match groups.len() {
            1 => format!("group {named}"),
            count if count > NAMED => format!("{count} groups ({named} and {} more)", count - NAMED),
            count => format!("{count} groups ({named})"),
        };
        // Where texts differ, this one is of the first group only, and mostly it names it itself.
        let is_other =
            |it: &Self| it.servers == self.servers && it.reason.name() == self.reason.name() && it.text != self.text;
        let is_named = self.text.contains(&printable(&self.group).to_string());
        let of_the_first =
            if !is_named && all.iter().any(|it| is_other(it)) { format!("{}: ", groups[0]) } else { String::new() };
        let advice = advice(&self.reason).map(|advice| format!("\n  {advice}")).unwrap_or_default();
        format!("Can't read the lag of {which} from {servers}\n  {of_the_first}{}{advice}", self.text)
    }
}

/// That the groups of a cluster can't be listed. `which` are "the" groups, or not "all" of them.
pub(super) fn unlisted(which: &str, servers: &str, reason: &Unknown) -> String {
    let advice = advice(reason).map(|advice| format!("\n  {advice}")).unwrap_or_default();
    format!("Can't list {which} groups of {servers}\n  {reason}{advice}")
}

/// What could not be found.
#[derive(Default)]
pub(super) struct LookupFailures(Vec<anyhow::Error>);

impl LookupFailures {
    pub(super) fn add(&mut self, error: anyhow::Error) {
        self.0.push(error);
    }

    /// Prints them, and gives whether there were any. Where nothing else is left, the first is the command's own error.
    pub(super) fn print_unless_all(self, is_nothing_left: bool) -> anyhow::Result<bool> {
        let any = !self.0.is_empty();
        let mut errors = self.0.into_iter();
        let first = if is_nothing_left { errors.next() } else { None };
        errors.for_each(|error| print_error(&error));
        first.map_or(Ok(any), Err)
    }
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
