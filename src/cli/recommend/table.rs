//! A recommendation for people: the numbers, why, what else was considered, and the partitions that matter most.

use std::cmp::Reverse;
use std::fmt::Write;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

use super::report::{Partition, Recommendation};
use crate::core::{CandidateVerdict, Capacity, CapacitySource, GroupKind, RecordsPerSecond, grouped, printable, short};

/// Partitions listed: about a screen. The rest is summed up.
const PARTITIONS_SHOWN: usize = 20;

/// All recommendations, one after the other under one overview. What could not be read at all has a row there if others
/// could; why, is said on stderr.
pub(super) fn render(recommendations: &[Recommendation]) -> String {
    if recommendations.iter().all(|it| it.failure.is_some()) {
        return String::new();
    }
    let mut text = format!("{}\n", overview(recommendations));
    for recommendation in recommendations.iter().filter(|it| it.failure.is_none()) {
        text.push('\n');
        text.push_str(&detail(recommendation));
    }
    text
}

fn table(header: &[&str], numbers_from: usize) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    for column in numbers_from..header.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The table without the spaces that fill up its last column.
fn trimmed(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn overview(recommendations: &[Recommendation]) -> String {
    let header =
        ["NAME", "GROUP", "PARTITIONS", "LAG", "TIME LAG", "ARRIVAL/S", "CONSUMED/S", "REPLICAS", "RECOMMENDED"];
    let mut table = table(&header, 2);
    for it in recommendations {
        let lag = match (it.lag.total, it.lag.complete) {
            (Some(total), true) => grouped(total),
            (Some(total), false) => format!(">={}", grouped(total)),
            (None, _) => "?".to_owned(),
        };
        let name = it.namespace.as_ref().map_or(it.name.clone(), |namespace| format!("{namespace}/{}", it.name));
        let current = it.current_replicas.map_or("?".to_owned(), |replicas| replicas.0.to_string());
        let known = |rate: Option<RecordsPerSecond>| rate.map_or("?".to_owned(), |rate| rate.to_string());
        table.add_row([
            printable(&name).to_string(),
            printable(&it.consumer_group).to_string(),
            it.partitions.map_or("?".to_owned(), |count| count.to_string()),
            lag,
            it.time_lag_text.clone(),
            known(it.arrival_rate),
            known(it.consumption_rate),
            current,
            if it.failure.is_some() { "?".to_owned() } else { it.recommended_replicas.0.to_string() },
        ]);
    }
    trimmed(&table)
}

fn detail(it: &Recommendation) -> String {
    let mut text = String::new();
    // Writing to a String can't fail.
    let _ = writeln!(text, "{}: {}", printable(&it.name), headline(it));
    let _ = writeln!(text, "  why    {}", it.message);
    let _ = writeln!(text, "  then   {}", it.outlook_text);
    if let Some(missing) = it.lag.missing.as_ref().filter(|missing| !it.message.contains(*missing)) {
        let _ = writeln!(text, "  lacks  {missing}");
    }
    let group = match (&it.group_state, it.members, &it.group_unknown) {
        (Some(state), Some(members), _) => format!("{state:?}, {members} members"),
        (_, _, Some(why)) => format!("unknown: {why}"),
        (_, _, None) => "unknown".to_owned(),
    };
    let _ = writeln!(text, "  group  {group}");
    if it.group_kind != GroupKind::Unknown {
        let _ = writeln!(text, "  kind   {}", it.group_kind);
    }
    if let Some(capacity) = capacity(&it.capacity) {
        let _ = writeln!(text, "  each   {capacity}");
    }
    if let Some(why) = &it.current_unknown {
        let _ = writeln!(text, "  note   {} assumed now, because {why}; --current N says it", it.assumed_replicas);
    }
    // What could not be read is told above.
    for found in it.conditions.iter().filter(|found| found.kind != "DataIncomplete") {
        let _ = writeln!(text, "  note   {}", found.message);
    }
    let predicted = it.candidates.iter().any(|candidate| candidate.prediction.is_some());
    let _ = writeln!(text, "\n{}", indented(&if predicted { what_if(it) } else { candidates(it) }));
    let _ = writeln!(text, "\n{}", indented(&partitions(it)));
    text
}

fn headline(it: &Recommendation) -> String {
    let now = match it.current_replicas {
        Some(current) if current == it.recommended_replicas => format!("{current}, as now"),
        Some(current) => format!("{} instead of {}", it.recommended_replicas, current.0),
        None => it.recommended_replicas.to_string(),
    };
    if it.wanted_replicas == it.recommended_replicas {
        now
    } else {
        format!("{now}; the policy alone asks for {}", it.wanted_replicas.0)
    }
}

/// What a replica can do, and how that is known.
fn capacity(capacity: &Capacity) -> Option<String> {
    let each = capacity.per_replica?;
    let seconds = |seconds: f64| short(Duration::from_secs(seconds.round() as u64));
    Some(match capacity.source {
        CapacitySource::Unknown => return None,
        CapacitySource::Hint => format!("{each} records/s per replica, as told; nothing has been measured yet"),
        CapacitySource::Measured => {
            let ago = capacity.age_seconds.map_or(String::new(), |age| format!(", the last {} ago", seconds(age)));
            let evidence = seconds(capacity.evidence_seconds);
            format!("{each} records/s per replica, measured over {evidence} at full load{ago}")
        }
        CapacitySource::LowerBound => {
            format!("at least {each} records/s per replica, which was done without being at the limit")
        }
    })
}

/// What each replica count is predicted to bring.
fn what_if(it: &Recommendation) -> String {
    let header = ["REPLICAS", "LATE RECORDS", "RESTORED IN", "REPLICA-SECONDS", "COST", "VERDICT"];
    let mut table = table(&header, 0);
    if let Some(column) = table.column_mut(header.len() - 1) {
        column.set_cell_alignment(CellAlignment::Left);
    }
    // No number of records or seconds comes near the end of the range.
    let whole = |number: f64| grouped(number.round().max(0.0) as u64);
    for candidate in &it.candidates {
        let unknown = || "?".to_owned();
        let prediction = candidate.prediction.as_ref();
        table.add_row([
            candidate.replicas.0.to_string(),
            prediction.map_or_else(unknown, |it| whole(it.late_records)),
            prediction.map_or_else(unknown, |it| restored(it.restore_seconds)),
            prediction.map_or_else(unknown, |it| whole(it.replica_seconds)),
            prediction.map_or_else(unknown, |it| whole(it.cost)),
            match candidate.verdict {
                CandidateVerdict::Wanted => "asked for, but held back (see why)",
                CandidateVerdict::MissesObjective => "too few: leaves more records late",
                verdict @ (CandidateVerdict::Chosen
                | CandidateVerdict::MoreThanNeeded
                | CandidateVerdict::NotProvedYet
                | CandidateVerdict::Unmeasured
                | CandidateVerdict::OutOfBounds) => told(verdict),
            }
            .to_owned(),
        ]);
    }
    trimmed(&table)
}

fn restored(seconds: Option<f64>) -> String {
    match seconds {
        None => "never".to_owned(),
        Some(seconds) if seconds < 1.0 => "now".to_owned(),
        Some(seconds) => short(Duration::from_secs(seconds.round() as u64)),
    }
}

fn told(verdict: CandidateVerdict) -> &'static str {
    match verdict {
        CandidateVerdict::Chosen => "chosen",
        CandidateVerdict::Wanted => "asked for by the lag, but held back (see why)",
        CandidateVerdict::MissesObjective => "too few: more lag each than the threshold",
        CandidateVerdict::MoreThanNeeded => "more than needed",
        CandidateVerdict::NotProvedYet => "may be enough, but has not proved it yet",
        CandidateVerdict::Unmeasured => "not known: what a replica can do was not measured",
        CandidateVerdict::OutOfBounds => "outside of what the limits and the partitions allow",
    }
}

fn candidates(it: &Recommendation) -> String {
    // A time lag is no matter of the lag that each would have.
    let has_lag = it.candidates.iter().any(|candidate| candidate.lag_per_replica.is_some());
    let header = if has_lag { &["REPLICAS", "LAG EACH", "VERDICT"][..] } else { &["REPLICAS", "VERDICT"] };
    let mut table = table(header, 0);
    if let Some(column) = table.column_mut(header.len() - 1) {
        column.set_cell_alignment(CellAlignment::Left);
    }
    for candidate in &it.candidates {
        let mut row = vec![candidate.replicas.0.to_string()];
        if has_lag {
            row.push(candidate.lag_per_replica.map_or("-".to_owned(), grouped));
        }
        row.push(told(candidate.verdict).to_owned());
        table.add_row(row);
    }
    trimmed(&table)
}

fn partitions(it: &Recommendation) -> String {
    let mut worst: Vec<&Partition> = it.lag.by_partition.iter().collect();
    // What is unknown or odd first, then by lag; equal ones in the order of the topics.
    worst.sort_by_key(|partition| Reverse((partition.unknown.is_some(), partition.note.is_some(), partition.lag)));
    let mut table = table(&["TOPIC", "PARTITION", "COMMITTED", "START", "END", "LAG", ""], 1);
    if let Some(column) = table.column_mut(6) {
        column.set_cell_alignment(CellAlignment::Left);
    }
    let number = |number: Option<u64>, unknown: &str| number.map_or(unknown.to_owned(), |number| number.to_string());
    for partition in worst.iter().take(PARTITIONS_SHOWN) {
        let no_commit = if partition.note.is_some() { "-" } else { "?" };
        table.add_row([
            printable(&partition.topic).to_string(),
            partition.partition.to_string(),
            number(partition.committed, no_commit),
            number(partition.start, "?"),
            number(partition.end, "?"),
            partition.lag.map_or("?".to_owned(), grouped),
            partition.unknown.clone().or_else(|| partition.note.clone()).unwrap_or_default(),
        ]);
    }
    let rest = &worst[worst.len().min(PARTITIONS_SHOWN)..];
    let mut text = trimmed(&table);
    if !rest.is_empty() {
        let lag = rest.iter().filter_map(|partition| partition.lag).fold(0, u64::saturating_add);
        let _ = write!(text, "\nand {} partitions more, with a lag of {} together", rest.len(), grouped(lag));
    }
    text
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
