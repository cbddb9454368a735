//! What people read of a decision, all of it made from the one [`DecisionView`]: the table of `recommend`, the rows of the
//! demo, Events, the log and the page.

use std::cmp::Reverse;
use std::time::Duration;

use super::decision::{Candidate, CandidateVerdict, Capacity, CapacitySource, Prediction};
use super::kind::GroupKind;
use super::policy::OffsetReset;
use super::printable::printable;
use super::units::{RecordsPerSecond, grouped, short};
use super::view::{DecisionView, LagView, PartitionView, TimeLagView};

/// Partitions listed: about a screen. The rest is summed up.
const PARTITIONS_SHOWN: usize = 20;
/// What stands for a value that is not known.
const UNKNOWN: &str = "?";

/// A decision in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// How many replicas there should be, and how many there are.
    pub headline: String,
    /// Label and text, the most important first: why, what would change it, what is missing, the group, the capacity.
    pub lines: Vec<(&'static str, String)>,
    /// The replica counts considered, and what each would bring.
    pub candidates: TextTable,
    /// The partitions that matter most.
    pub partitions: TextTable,
    /// What is left out of the partitions.
    pub more_partitions: Option<String>,
}

/// A table of texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextTable {
    /// The columns' names; empty where the column needs none.
    pub header: Vec<&'static str>,
    /// The columns of numbers, which end at the right.
    pub numbers: std::ops::Range<usize>,
    /// A text per column.
    pub rows: Vec<Vec<String>>,
}

/// Explains a decision.
pub fn explain(view: &DecisionView) -> Explanation {
    let (partitions, more_partitions) = partitions(view.lag.partitions.as_deref().unwrap_or_default());
    Explanation {
        headline: headline(view),
        lines: lines(view),
        candidates: candidates(view),
        partitions,
        more_partitions,
    }
}

impl DecisionView {
    /// A change in a line, for Events and the log: `3 -> 6: why`, with `how` it is done behind the numbers.
    pub fn change_text(&self, how: &str) -> String {
        let current = self.current_replicas.map_or(UNKNOWN.to_owned(), |current| current.0.to_string());
        format!("{current} -> {}{how}: {}", self.desired_replicas.0, self.reason.message)
    }

    /// The time lag: `24s`, `>5m` where it is older than the history, `?` where it is not known.
    pub fn time_lag_text(&self) -> String {
        self.time_lag.map_or(UNKNOWN.to_owned(), TimeLagView::text)
    }
}

impl TimeLagView {
    /// The time lag: `24s`, `>5m` where it is older than the history.
    pub fn text(self) -> String {
        format!("{}{}", if self.at_least { ">" } else { "" }, seconds(self.seconds.floor()))
    }
}

impl LagView {
    /// The lag in records: `900`, `>=900` where it is not complete, `?` where nothing is known.
    pub fn text(&self) -> String {
        match (self.total_records, self.complete) {
            (Some(total), true) => grouped(total),
            (Some(total), false) => format!(">={}", grouped(total)),
            (None, _) => UNKNOWN.to_owned(),
        }
    }
}

/// A rate, or `?` where it is not known.
pub fn rate_text(rate: Option<RecordsPerSecond>) -> String {
    rate.map_or(UNKNOWN.to_owned(), |rate| rate.to_string())
}

fn headline(view: &DecisionView) -> String {
    let desired = view.desired_replicas;
    let now = match view.current_replicas {
        Some(current) if current == desired => format!("{desired}, unchanged"),
        Some(current) => format!("{desired} instead of {}", current.0),
        None => desired.to_string(),
    };
    if view.wanted_replicas == desired {
        now
    } else {
        format!("{now}; the policy alone results in {}", view.wanted_replicas.0)
    }
}

fn lines(view: &DecisionView) -> Vec<(&'static str, String)> {
    let why = &view.reason.message;
    let mut lines = vec![("why", why.clone()), ("then", view.outlook.to_string())];
    if let Some(missing) = view.lag.missing.as_ref().filter(|missing| !why.contains(*missing)) {
        lines.push(("lacks", missing.clone()));
    }
    let group = &view.group;
    let text = match (group.state, group.members, &group.unknown) {
        (Some(state), Some(members), _) => format!("{state:?}, {members} members"),
        (_, _, Some(why)) => format!("unknown: {why}"),
        (_, _, None) => "unknown".to_owned(),
    };
    lines.push(("group", text));
    if group.kind != GroupKind::Unknown {
        let start = match group.offset_reset {
            OffsetReset::Earliest => "; without a commit it starts at the oldest record (offsetReset earliest)",
            OffsetReset::Latest => "",
        };
        lines.push(("kind", format!("{}{start}", group.kind)));
    }
    lines.extend(capacity(&view.model.capacity).map(|text| ("each", text)));
    if let (Some(why), Some(assumed)) = (&view.current_replicas_unknown, view.assumed_replicas) {
        lines.push(("note", format!("{assumed} assumed now, because {why}; set them with --current N")));
    }
    // What could not be read is in the lines above.
    let findings = view.findings.iter().filter(|finding| finding.name != "DataIncomplete");
    lines.extend(findings.map(|finding| ("note", finding.message.clone())));
    lines
}

/// The capacity of a replica, and where it comes from.
fn capacity(capacity: &Capacity) -> Option<String> {
    let each = capacity.per_replica?;
    Some(match capacity.source {
        CapacitySource::Unknown => return None,
        CapacitySource::Hint => format!("{each} records/s per replica, as configured; nothing has been measured yet"),
        CapacitySource::Measured => {
            let ago = capacity.age_seconds.map_or(String::new(), |age| format!(", the last {} ago", seconds(age)));
            let evidence = seconds(capacity.evidence_seconds);
            format!("{each} records/s per replica, measured over {evidence} at full load{ago}")
        }
        CapacitySource::LowerBound => {
            format!("at least {each} records/s per replica, which was reached below full load")
        }
    })
}

fn candidates(view: &DecisionView) -> TextTable {
    let has = |present: fn(&Candidate) -> bool| view.candidates.iter().any(present);
    if has(|candidate| candidate.prediction.is_some()) {
        return predictions(&view.candidates);
    }
    // With a time lag as the objective no candidate has a lag of its own.
    let has_lag = has(|candidate| candidate.lag_per_replica.is_some());
    let row = |candidate: &Candidate| {
        let lag = has_lag.then(|| candidate.lag_per_replica.map_or("-".to_owned(), grouped));
        let verdict = match candidate.verdict {
            CandidateVerdict::Wanted => "wanted for the lag, but held back (see why)",
            CandidateVerdict::MissesObjective => "too few: more lag each than the threshold",
            other => verdict(other),
        };
        [Some(candidate.replicas.0.to_string()), lag, Some(verdict.to_owned())].into_iter().flatten().collect()
    };
    let header = if has_lag { vec!["REPLICAS", "LAG EACH", "VERDICT"] } else { vec!["REPLICAS", "VERDICT"] };
    TextTable { numbers: 0..header.len() - 1, header, rows: view.candidates.iter().map(row).collect() }
}

impl Candidate {
    /// What it is predicted to bring, in a line; nothing where that can't be predicted.
    pub fn line(&self) -> Option<String> {
        let Prediction { late_records, total_cost_replica_seconds: cost, .. } = self.prediction.as_ref()?;
        let (late, cost) = (grouped(*late_records), grouped(*cost));
        let restored = match restored_in(self.prediction.as_ref()).as_str() {
            "never" => "never restored".to_owned(),
            "now" => "nothing to restore".to_owned(),
            after => format!("restored in {after}"),
        };
        let (replicas, verdict) = (self.replicas, verdict(self.verdict));
        Some(format!("{replicas}: {late} late records, {restored}, cost {cost} replica-seconds; {verdict}"))
    }
}

/// The time until no backlog is left.
fn restored_in(prediction: Option<&Prediction>) -> String {
    prediction.map_or(UNKNOWN.to_owned(), |it| match it.restore_seconds {
        None => "never".to_owned(),
        Some(0) => "now".to_owned(),
        Some(after) => short(Duration::from_secs(after)),
    })
}

/// What each replica count is predicted to bring.
fn predictions(candidates: &[Candidate]) -> TextTable {
    let row = |candidate: &Candidate| {
        let whole = |number: Option<u64>| number.map_or(UNKNOWN.to_owned(), grouped);
        let prediction = candidate.prediction.as_ref();
        vec![
            candidate.replicas.0.to_string(),
            whole(prediction.map(|it| it.late_records)),
            restored_in(prediction),
            whole(prediction.map(|it| it.replica_seconds)),
            whole(prediction.map(|it| it.total_cost_replica_seconds)),
            verdict(candidate.verdict).to_owned(),
        ]
    };
    TextTable {
        header: vec!["REPLICAS", "LATE RECORDS", "RESTORED IN", "REPLICA-SECONDS", "COST", "VERDICT"],
        numbers: 0..5,
        rows: candidates.iter().map(row).collect(),
    }
}

fn verdict(verdict: CandidateVerdict) -> &'static str {
    match verdict {
        CandidateVerdict::Chosen => "chosen",
        CandidateVerdict::Wanted => "wanted, but held back (see why)",
        CandidateVerdict::MissesObjective => "too few: leaves more records late",
        CandidateVerdict::MoreThanNeeded => "more than needed",
        CandidateVerdict::NotProvedYet => "may be enough, but has not proved it yet",
        CandidateVerdict::Unmeasured => "unknown: the capacity of a replica was not measured",
        CandidateVerdict::OutOfBounds => "outside of what the limits and the partitions allow",
    }
}

fn partitions(all: &[PartitionView]) -> (TextTable, Option<String>) {
    let mut worst: Vec<&PartitionView> = all.iter().collect();
    // What is unknown or odd first, then by lag; equal ones in the order of the topics.
    worst.sort_by_key(|it| Reverse((it.unknown.is_some(), it.note.is_some(), it.lag_records)));
    let (shown, rest) = worst.split_at(worst.len().min(PARTITIONS_SHOWN));
    let row = |it: &&PartitionView| {
        let number = |number: Option<u64>, unknown: &str| number.map_or(unknown.to_owned(), |it| it.to_string());
        vec![
            printable(&it.topic).to_string(),
            it.partition.to_string(),
            number(it.committed_offset, if it.note.is_some() { "-" } else { UNKNOWN }),
            number(it.start_offset, UNKNOWN),
            number(it.end_offset, UNKNOWN),
            it.lag_records.map_or(UNKNOWN.to_owned(), grouped),
            it.unknown.clone().or_else(|| it.note.clone()).unwrap_or_default(),
        ]
    };
    let table = TextTable {
        header: vec!["TOPIC", "PARTITION", "COMMITTED", "START", "END", "LAG", ""],
        numbers: 1..6,
        rows: shown.iter().map(row).collect(),
    };
    let lag = rest.iter().filter_map(|it| it.lag_records).fold(0, u64::saturating_add);
    let more = format!("and {} partitions more, with a lag of {} together", rest.len(), grouped(lag));
    (table, (!rest.is_empty()).then_some(more))
}

/// Seconds as people write a duration.
fn seconds(seconds: f64) -> String {
    short(Duration::from_secs(seconds.round().max(0.0) as u64))
}
