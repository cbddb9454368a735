//! What people read of a decision, all of it made from the one [`DecisionView`]: the table of `recommend`, the rows of the
//! demo, Events, the log and the page.

use std::cmp::Reverse;
use std::fmt;
use std::time::Duration;

use super::accuracy::PredictionRecord;
use super::decision::{Candidate, CandidateVerdict, Prediction};
use super::kind::GroupKind;
use super::model::{Capacity, CapacitySource, Model};
use super::policy::OffsetReset;
use super::printable::printable;
use super::units::{LagUnit, RecordsPerSecond, grouped, short};
use super::view::{DecisionView, LagView, PartitionView, TimeLagView, WithoutCommit};

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
    /// What it shows; empty where that needs no words.
    pub caption: String,
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
    /// What it counts, for people: offsets where a topic is compacted, as fewer records may be left.
    pub fn unit(&self) -> LagUnit {
        LagUnit::of(!self.compacted_topics.is_empty())
    }

    /// Whether the total is all of it.
    pub fn is_exact(&self) -> bool {
        self.complete && self.without_commit.is_none()
    }

    /// The lag in records: `900`, `>=900` where that is not all of it, `?` where nothing is known.
    pub fn text(&self) -> String {
        match (self.total_records, self.is_exact()) {
            (Some(total), true) => grouped(total),
            (Some(total), false) => format!(">={}", grouped(total)),
            (None, _) => UNKNOWN.to_owned(),
        }
    }
}

impl Model {
    /// Records that the group commits per second: `149`, `>=149` where some partitions are not known, `?` where none is.
    pub fn consumption_text(&self) -> String {
        match self.consumption_at_least {
            Some(at_least) => format!(">={at_least}"),
            None => rate_text(self.consumption_rate),
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
    let wanted = view.wanted_replicas;
    if wanted == desired { now } else { format!("{now}; {} wanted, but held back", wanted.0) }
}

/// Findings that say what is not known, and not that something is wrong.
const NOTES: [&str; 2] = ["CapacityUnknown", "ObjectiveTooShort"];

fn lines(view: &DecisionView) -> Vec<(&'static str, String)> {
    let why = &view.reason.message;
    // What could not be read is in the lines below.
    let findings = || view.findings.iter().filter(|finding| finding.name != "DataIncomplete");
    let (notes, problems): (Vec<_>, Vec<_>) = findings().partition(|finding| NOTES.contains(&finding.name));
    let mut lines: Vec<_> = problems.iter().map(|problem| ("problem", problem.message.clone())).collect();
    lines.extend([("why", why.clone()), ("then", view.outlook.to_string())]);
    if let Some(missing) = view.lag.missing.as_ref().filter(|missing| !why.contains(*missing)) {
        lines.push(("lacks", missing.clone()));
    }
    let group = &view.group;
    let text = match (group.state, group.members, &group.unknown) {
        (Some(state), Some(1), _) => format!("{state:?}, 1 member"),
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
    let event_time = |behind: TimeLagView| {
        format!("Event time of what was processed is {} behind the clock; it decides nothing.", behind.text())
    };
    lines.extend(view.event_time_lag.map(|behind| ("event", event_time(behind))));
    lines.extend(capacity(&view.model.capacity).map(|text| ("each", text)));
    lines.extend(accuracy(&view.predictions).map(|text| ("trust", text)));
    if let (Some(why), Some(assumed)) = (&view.current_replicas_unknown, view.assumed_replicas) {
        lines.push(("note", format!("{assumed} assumed now, because {why}; set them with --current N")));
    }
    lines.extend(view.lag.without_commit.as_ref().map(|these| ("note", these.to_string())));
    lines.extend(compacted(&view.lag).map(|text| ("note", text)));
    lines.extend(notes.iter().map(|note| ("note", note.message.clone())));
    lines
}

impl fmt::Display for WithoutCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partitions, first, records, held } = self;
        let (its, which) = match partitions {
            1 => ("its", format!("Partition {first} has no commit")),
            count => ("their", format!("{count} partitions have no commit ({first}, …)")),
        };
        let records = match records {
            1 => "1 record is not counted".to_owned(),
            records => format!("{} records are not counted", grouped(*records)),
        };
        write!(f, "{which}: {its} {records}, because a new consumer starts at the end.")?;
        if held == partitions {
            let (has, it) = if *held == 1 { ("A member has", "it") } else { ("Members have", "them") };
            write!(
                f,
                " {has} had {it} for longer than a commit takes: nothing new has come, or nothing is read there."
            )?;
        } else if *held > 0 {
            write!(
                f,
                " Members have had {held} of them for longer than a commit takes: nothing new has come, or nothing is read there."
            )?;
        }
        f.write_str(" Count them with offsetReset: earliest (--offset-reset earliest).")
    }
}

/// That the lag counts offsets, where a topic is compacted.
fn compacted(lag: &LagView) -> Option<String> {
    let first = printable(lag.compacted_topics.first()?);
    Some(match lag.compacted_topics.len() {
        1 => format!("Topic {first} is compacted: its lag counts offsets, and fewer records may be left to read."),
        more => format!(
            "{more} topics are compacted ({first}, …): their lag counts offsets, and fewer records may be left to read."
        ),
    })
}

/// How the last predictions came true.
fn accuracy(records: &[PredictionRecord]) -> Option<String> {
    let texts: Vec<_> = records.iter().map(PredictionRecord::to_string).collect();
    (!texts.is_empty()).then(|| format!("Back within the objective after a scale-up: {}.", texts.join("; ")))
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
        return predictions(view);
    }
    // With a time lag as the objective no candidate has a lag of its own.
    let has_lag = has(|candidate| candidate.lag_per_replica.is_some());
    let row = |candidate: &Candidate| {
        let lag = has_lag.then(|| candidate.lag_per_replica.map_or("-".to_owned(), grouped));
        [Some(candidate.replicas.0.to_string()), lag, Some(verdict(candidate))].into_iter().flatten().collect()
    };
    let header = if has_lag { vec!["REPLICAS", "LAG EACH", "VERDICT"] } else { vec!["REPLICAS", "VERDICT"] };
    TextTable {
        caption: String::new(),
        numbers: 0..header.len() - 1,
        header,
        rows: view.candidates.iter().map(row).collect(),
    }
}

impl Candidate {
    /// What it is predicted to bring, in a line; nothing where that can't be predicted.
    pub fn line(&self) -> Option<String> {
        let prediction = self.prediction.as_ref()?;
        let within = after(prediction.within_objective_seconds);
        let (replicas, wait) = (self.replicas, whole_seconds(prediction.worst_wait_seconds));
        let reliable = match prediction.is_reliable {
            true => format!(
                ", caught up {}, {} late records",
                after(prediction.caught_up_seconds),
                grouped(prediction.late_records)
            ),
            false => String::new(),
        };
        let verdict = verdict(self);
        Some(format!("{replicas}: longest wait {wait}, within the objective {within}{reliable}; {verdict}"))
    }
}

/// When something will be: `in 50s`, `now`, `never`.
fn after(seconds: Option<u64>) -> String {
    match seconds {
        None => "never".to_owned(),
        Some(0) => "now".to_owned(),
        Some(seconds) => format!("in {}", whole_seconds(seconds)),
    }
}

/// What each replica count is predicted to bring.
fn predictions(view: &DecisionView) -> TextTable {
    let row = |candidate: &Candidate| {
        let prediction = candidate.prediction.as_ref();
        let text = |text: fn(&Prediction) -> String| prediction.map_or(UNKNOWN.to_owned(), text);
        let reliable =
            |text: fn(&Prediction) -> String| prediction.filter(|it| it.is_reliable).map_or(UNKNOWN.to_owned(), text);
        vec![
            candidate.replicas.0.to_string(),
            text(|it| whole_seconds(it.worst_wait_seconds)),
            text(|it| after(it.within_objective_seconds)),
            reliable(|it| after(it.caught_up_seconds)),
            reliable(|it| grouped(it.late_records)),
            (24 * u64::from(candidate.replicas.0)).to_string(),
            verdict(candidate),
        ]
    };
    let span =
        view.predicted_for_seconds.map_or(String::new(), |span| format!(" for the next {}", whole_seconds(span)));
    let objective = view.objective_seconds.map_or(String::new(), |objective| {
        format!(". A record is late where it waits longer than {}", whole_seconds(objective))
    });
    TextTable {
        caption: format!("Predicted{span}, at the present load{objective}."),
        header: vec![
            "REPLICAS",
            "LONGEST WAIT",
            "WITHIN OBJECTIVE",
            "CAUGHT UP",
            "LATE RECORDS",
            "HOURS/DAY",
            "VERDICT",
        ],
        numbers: 0..6,
        rows: view.candidates.iter().map(row).collect(),
    }
}

/// Whether it was chosen, and why not.
fn verdict(candidate: &Candidate) -> String {
    match (candidate.verdict, &candidate.prediction) {
        (CandidateVerdict::Chosen, _) => "chosen",
        (CandidateVerdict::Wanted, _) => "wanted, but held back",
        (CandidateVerdict::MissesObjective, Some(_)) => "too few",
        (CandidateVerdict::MissesObjective, None) => "too few: more lag each than the threshold",
        (CandidateVerdict::MoreThanNeeded, _) => "more than needed",
        (CandidateVerdict::NotProvedYet, Some(Prediction { steady_seconds: Some(steady), .. })) if *steady > 0 => {
            return format!("would have kept up for {}, not long enough yet", whole_seconds(*steady));
        }
        (CandidateVerdict::NotProvedYet, _) => "may be enough, not proved yet",
        (CandidateVerdict::Unmeasured, _) => "unknown: what one replica reads was not measured",
        (CandidateVerdict::OutOfBounds, _) => "outside of the limits or the partitions",
    }
    .to_owned()
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
            lag(it),
            it.unknown.clone().or_else(|| it.note.clone()).unwrap_or_default(),
        ]
    };
    let mut table = TextTable {
        caption: String::new(),
        header: vec!["TOPIC", "PARTITION", "COMMITTED", "START", "END", "LAG", ""],
        numbers: 1..6,
        rows: shown.iter().map(row).collect(),
    };
    if all.iter().any(|it| it.event_time_lag_seconds.is_some()) {
        table.header.insert(6, "EVENT TIME LAG");
        table.numbers = 1..7;
        for (row, it) in table.rows.iter_mut().zip(shown) {
            row.insert(6, it.event_time_lag_seconds.map_or("-".to_owned(), |behind| seconds(behind.floor())));
        }
    }
    let lag = rest.iter().filter_map(|it| it.lag_records).fold(0, u64::saturating_add);
    let at_least = if rest.iter().any(|it| it.is_lower_bound || it.unknown.is_some()) { "at least " } else { "" };
    let more = format!("and {} partitions more, with a lag of {at_least}{} together", rest.len(), grouped(lag));
    (table, (!rest.is_empty()).then_some(more))
}

/// The lag: a lower bound where records are not counted.
fn lag(partition: &PartitionView) -> String {
    let at_least = if partition.is_lower_bound { ">=" } else { "" };
    partition.lag_records.map_or(UNKNOWN.to_owned(), |lag| format!("{at_least}{}", grouped(lag)))
}

fn whole_seconds(seconds: u64) -> String {
    short(Duration::from_secs(seconds))
}

/// Seconds as people write a duration.
fn seconds(seconds: f64) -> String {
    short(Duration::from_secs(seconds.round().max(0.0) as u64))
}
